import { connectNats, declareStreams } from '@orrery/core/bus';
import { loadConfig } from '@orrery/core/config';
import { Database, migrate } from '@orrery/core/database';
import { createLogger } from '@orrery/core/telemetry';
import { bootstrap, identity } from '@orrery/identity';
import { services } from './services.js';

// The migration job: streams, schemas and the first accounts. Run before any service, again after each upgrade.
const config = loadConfig();
const logger = createLogger('migrate', config.ORRERY_LOG_LEVEL);

const connection = await connectNats(config.NATS_URL, 'orrery-migrate');
await declareStreams(connection, {
  partitions: config.ORRERY_PARTITIONS,
  maxBytes: config.ORRERY_STREAM_MAX_BYTES,
  replicas: config.ORRERY_STREAM_REPLICAS,
  leaseTtlMs: config.ORRERY_LEASE_TTL_MS,
});
await connection.close();
for (const { schema } of services) if (schema) await migrate(config.DATABASE_URL, schema, logger);

const database = await Database.connect({ url: config.DATABASE_URL, schema: identity.schema!, poolSize: 1 });
const made = await bootstrap(database, config);
await database.close();
// The one moment at which secrets can be read; those that were given are known already.
const secrets: Array<[name: string, value: string | undefined, given: string | undefined]> = [
  ['master API key', made.apiKey, config.ORRERY_BOOTSTRAP_API_KEY],
  ['vendor API key', made.vendorApiKey, config.ORRERY_BOOTSTRAP_VENDOR_API_KEY],
  ['administrator API key', made.adminApiKey, config.ORRERY_BOOTSTRAP_ADMIN_API_KEY],
  [`password of the user ${config.ORRERY_BOOTSTRAP_LOGIN}`, made.password, config.ORRERY_BOOTSTRAP_PASSWORD],
];
for (const [name, value, given] of secrets) if (value && !given) process.stdout.write(`${name}: ${value}\n`);
