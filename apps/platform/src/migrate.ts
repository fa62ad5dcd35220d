import { connectNats, declareStreams } from '@orrery/core/bus';
import { loadConfig } from '@orrery/core/config';
import { Database, migrate } from '@orrery/core/database';
import { createLogger } from '@orrery/core/telemetry';
import { bootstrapTenant, identity } from '@orrery/identity';
import { services } from './services.js';

// The migration job: streams, schemas and the first tenant. Run before any service, again after each upgrade.
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
const { masterKey } = await bootstrapTenant(
  database,
  'default',
  config.ORRERY_BOOTSTRAP_API_KEY ? { apiKey: config.ORRERY_BOOTSTRAP_API_KEY } : {},
);
await database.close();
// The one moment at which the key can be read; a key that was given is known already.
if (masterKey && !config.ORRERY_BOOTSTRAP_API_KEY) process.stdout.write(`master API key: ${masterKey}\n`);
