import type { Service } from '@orrery/core/service';
import { Journeys } from './journey/journeys.js';
import { JourneysController } from './journey/journeys.controller.js';
import { Arrivals } from './messages/arrivals.js';
import { dropExpiredPartitions, ensurePartitions } from './messages/retention.js';
import { messagesReader } from './messages/messages.reader.js';
import { migrations } from './migrations.js';
import { StreamsController } from './streams/streams.controller.js';
import { StreamsService } from './streams/streams.service.js';

const DAY_MS = 24 * 3600 * 1000;

/** Keeps data messages and returns them by stream; takes them in over HTTP. */
export const store: Service = {
  name: 'store',
  schema: { name: 'store', entities: [], migrations },
  restPaths: ['/api/v0/data/streams', '/api/v0/data/bulk', '/api/v1/data/messages'],
  build({ bus, database, rateLimits, audit, jobs, roles }) {
    const streams = new StreamsService(bus, database, rateLimits, audit);
    const reader = messagesReader(bus, database);
    return {
      controllers: [StreamsController, JourneysController],
      providers: [
        { token: StreamsService, value: streams },
        { token: Journeys, value: new Journeys(bus, database) },
      ],
      running: [
        { start: () => streams.ingestion.start(), stop: () => streams.ingestion.close() },
        ...(roles.worker
          ? [
              {
                async start() {
                  await ensurePartitions(database);
                  await jobs.repeat({
                    name: 'store.retention',
                    everyMs: DAY_MS / 4,
                    async run() {
                      await ensurePartitions(database);
                      await dropExpiredPartitions(bus, database);
                    },
                  });
                  await reader.start();
                },
                stop: () => reader.stop(),
              },
              new Arrivals(bus, database),
            ]
          : []),
      ],
    };
  },
};
