import { JourneyAnswers } from '@orrery/core/journey';
import type { Service } from '@orrery/core/service';
import { SERVICE } from './contract.js';
import { elasticsearchClient } from './elasticsearch/client.js';
import { ElasticsearchEngine } from './elasticsearch/elasticsearch-engine.js';
import { EmbeddedEngine } from './embedded/index.js';
import { FieldRegistry } from './fields/index.js';
import { Indexer } from './indexing/indexer.js';
import { journeySteps } from './indexing/journey.js';
import { messagesReader } from './indexing/messages.reader.js';
import { measured } from './metrics.js';
import { migrations } from './migrations.js';
import { removeExpired } from './retention.js';
import { Reindexer } from './reindexing/reindexer.js';
import { ReindexingController } from './reindexing/reindexing.controller.js';
import { ReindexingService } from './reindexing/reindexing.service.js';
import { ComputeTime } from './searches/compute-time.js';
import { DeviceStreams } from './searches/device-streams.js';
import { SearchesController } from './searches/searches.controller.js';
import { SearchesService } from './searches/searches.service.js';

const DAY_MS = 24 * 3600 * 1000;

/** The index of messages, and searches in it (manual 13.3 and 13.4). */
export const search: Service = {
  name: 'search',
  schema: { name: 'search', entities: [], migrations },
  restPaths: ['/api/v0/data/search', '/api/v1/data/search'],
  build({ bus, database, apiKeys, audit, rateLimits, jobs, config, logger, roles }) {
    const registry = new FieldRegistry(bus, apiKeys, database);
    const client = config.ELASTICSEARCH_URL ? elasticsearchClient(config.ELASTICSEARCH_URL) : undefined;
    const engine = measured(
      client
        ? new ElasticsearchEngine({
            client,
            index: config.ORRERY_SEARCH_INDEX,
            shards: config.ORRERY_SEARCH_SHARDS,
            registry,
            logger,
          })
        : new EmbeddedEngine(database),
    );
    const indexer = new Indexer(registry, engine, audit);
    const reader = messagesReader(bus, database, indexer);
    const reindexer = new Reindexer(bus, database, indexer, logger);
    return {
      controllers: [SearchesController, ReindexingController],
      providers: [
        { token: SearchesService, value: new SearchesService(engine, registry) },
        { token: ComputeTime, value: new ComputeTime(rateLimits) },
        {
          token: ReindexingService,
          value: new ReindexingService(bus, database, engine, () => {
            if (roles.worker) reindexer.wake();
          }),
        },
      ],
      removeTenant: (tenantId) => engine.removeTenant(tenantId),
      running: [
        { start: async () => undefined, stop: async () => client?.close() },
        new JourneyAnswers(bus, SERVICE, (question) => journeySteps(engine, question)),
        new DeviceStreams(bus, engine),
        ...(roles.worker
          ? [
              {
                async start() {
                  // An index that is away makes nobody else wait: messages are indexed when it is back.
                  await engine
                    .prepare?.()
                    .catch((error: unknown) => logger.warn({ error: String(error) }, 'no index yet'));
                  await jobs.repeat({
                    name: 'search.retention',
                    everyMs: DAY_MS / 4,
                    run: async () => {
                      await engine.prepare?.();
                      await removeExpired(bus, engine);
                    },
                  });
                  await reader.start();
                },
                stop: () => reader.stop(),
              },
              reindexer,
            ]
          : []),
      ],
    };
  },
};
