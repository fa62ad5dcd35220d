import { z } from 'zod';

const port = (fallback: number) => z.coerce.number().int().min(0).max(65535).default(fallback);
const optional = z.string().min(1).optional();
/** True for the base64 text of the 32 bytes that AES-256 takes. */
export const isSecretKey = (text: string): boolean => /^[A-Za-z0-9+/]{43}=$/.test(text);

/** An address that clients can use. They quote one that they can't, with the password in it. */
function isAddress(text: string): boolean {
  try {
    const { username, password } = new URL(text);
    for (const part of [username, password]) decodeURIComponent(part);
    return true;
  } catch {
    return false;
  }
}

/**
 * Every environment variable that Orrery reads. The table in `docs/reference/configuration.md` is generated from it:
 * the description says what the variable means to whoever runs the platform.
 */
export const configSchema = z.object({
  ORRERY_HTTP_PORT: port(8080).describe('REST API, OpenAPI at `/swagger-ui`, health and metrics. 0 takes a free port.'),
  ORRERY_HTTPS_PORT: port(8443).describe(
    'The same over TLS, and MQTT over WebSocket at `/mqtt`, which the HTTP port takes from TLS proxies in private networks too. Listened on by the process that serves MQTT. 0 takes a free port.',
  ),
  ORRERY_MQTT_PORT: port(1883).describe('MQTT without encryption, device mode only.'),
  ORRERY_MQTTS_PORT: port(8883).describe('MQTT over TLS, all modes.'),
  ORRERY_BIND_ADDRESS: z.string().default('0.0.0.0').describe('Address that HTTP and MQTT listen on.'),
  ORRERY_DATA_DIR: z
    .string()
    .default('.orrery')
    .describe('Everything kept on disk: development certificates, embedded services.'),
  ORRERY_SECRET_KEY: z
    .string()
    .refine((text) => isSecretKey(text), 'expected 32 bytes in base64, as `openssl rand -base64 32` makes them')
    .optional()
    .describe(
      'Encrypts secrets that must be readable again: 32 random bytes in base64, the same for all services. Generated into the data directory when absent.',
    ),
  ORRERY_TLS_CERT: optional.describe(
    'PEM file of the server certificate. Without it a development CA is made in the data directory.',
  ),
  ORRERY_TLS_KEY: optional.describe('PEM file of the server key.'),
  ORRERY_HOST_NAMES: optional.describe(
    'Comma-separated host names under which clients reach the platform. A TLS handshake that names another host is refused. The names in the certificate when absent.',
  ),
  ORRERY_MQTT_DEVICE_HOST: optional.describe(
    'One more host name, for MQTT of devices alone: connector and application mode are refused there.',
  ),
  ORRERY_BOOTSTRAP_API_KEY: z
    .string()
    .min(16, 'expected at least 16 characters')
    .optional()
    .describe('Master API key of the first tenant. Generated and printed once when absent.'),
  ORRERY_BOOTSTRAP_VENDOR_API_KEY: z
    .string()
    .min(16, 'expected at least 16 characters')
    .optional()
    .describe('Master API key of the first vendor, who creates customers. Generated and printed once when absent.'),
  ORRERY_BOOTSTRAP_ADMIN_API_KEY: z
    .string()
    .min(16, 'expected at least 16 characters')
    .optional()
    .describe('Master API key of the administrator, who creates vendors and offers. Generated and printed once.'),
  ORRERY_BOOTSTRAP_LOGIN: z.string().default('admin').describe('Login of the first user, who has the Admin profile.'),
  ORRERY_BOOTSTRAP_PASSWORD: optional.describe('Password of the first user. Generated and printed once when absent.'),
  ORRERY_SESSION_TTL_MS: z.coerce
    .number()
    .int()
    .min(1000)
    // 24 days: the column is an integer.
    .max(2_147_483_647)
    .default(1_800_000)
    .describe('Milliseconds without a call after which the key of a login ends.'),
  ORRERY_LOGIN_FAILURES: z.coerce
    .number()
    .int()
    .min(1)
    .max(10_000)
    .default(5)
    .describe('Wrong passwords in a row that lock a login.'),
  ORRERY_LOCK_MS: z.coerce
    .number()
    .int()
    .min(1)
    .max(31_536_000_000)
    .default(900_000)
    .describe('Milliseconds that a login stays locked.'),
  ORRERY_AUDIT_PER_MINUTE: z.coerce
    .number()
    .int()
    .min(1)
    .default(100)
    .describe('Audit log messages a minute that are kept of a tenant, category and subcategory; one more says so.'),
  SMTP_URL: z
    .string()
    .regex(/^smtps?:\/\//, 'expected smtp://user:password@host:port or smtps://...')
    .optional()
    .describe('SMTP server for e-mails. Without it they are written into the folder `mail` of the data directory.'),
  ORRERY_MAIL_FROM: z.string().default('Orrery <orrery@localhost>').describe('Sender of e-mails.'),
  ORRERY_PUBLIC_URL: z
    .string()
    .regex(/^https?:\/\//, 'expected http:// or https://')
    .default('http://localhost:8080')
    .describe('Address under which users reach the platform, for what e-mails say.'),
  ORRERY_WEBHOOK_ALLOW: z
    .string()
    .default('')
    .describe(
      'Comma-separated `host:port` or `cidr:port` (`*` for any port) that webhooks and pipelines may call although they are private, plain HTTP or on another port.',
    ),
  ELASTICSEARCH_URL: z
    .string()
    .regex(/^https?:\/\//, 'expected http:// or https://')
    .refine(isAddress, 'expected an address, with user and password percent-encoded')
    .optional()
    .describe('Elasticsearch 7 or 8 for searches. Without it messages are indexed in PostgreSQL, for one machine.'),
  ORRERY_SEARCH_INDEX: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,80}$/, 'expected lower case letters, digits and -')
    .default('orrery-messages')
    .describe('Begin of the names of the indices in Elasticsearch, one for each month of arrival.'),
  ORRERY_SEARCH_SHARDS: z.coerce
    .number()
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe('Primary shards of an index in Elasticsearch, from the next month on.'),
  DATABASE_URL: z
    .string()
    .startsWith('postgres')
    .describe('PostgreSQL, as `postgres://user:password@host:port/database`.'),
  NATS_URL: z.string().startsWith('nats').describe('NATS with JetStream, 2.10.23 or newer.'),
  REDIS_URL: z.string().startsWith('redis').describe('Redis, for scheduled jobs and rate limits.'),
  ORRERY_PARTITIONS: z.coerce
    .number()
    .int()
    .min(1)
    .max(256)
    .default(8)
    .describe('Partitions of the bus. Fixed at installation, checked at each start.'),
  ORRERY_STREAM_MAX_BYTES: z.coerce
    .number()
    .int()
    .min(1 << 20)
    .default(256 << 20)
    .describe(
      'Disk budget of one stream of the bus in bytes. A full stream refuses new messages until its readers catch up.',
    ),
  ORRERY_STREAM_REPLICAS: z.coerce
    .number()
    .int()
    .min(1)
    .max(5)
    .default(1)
    .describe('Replicas of each stream in a NATS cluster.'),
  ORRERY_LEASE_TTL_MS: z.coerce
    .number()
    .int()
    .min(1000)
    .default(6000)
    .describe('Milliseconds without renewal after which another instance takes over a partition or a session.'),
  ORRERY_LIMITS_WAIT_MS: z.coerce
    .number()
    .int()
    .min(10)
    .max(60_000)
    .default(100)
    .describe(
      'How long a request waits for Redis to count it. Without an answer the process counts for itself for a second.',
    ),
  ORRERY_DRAIN_MS: z.coerce
    .number()
    .int()
    .min(0)
    .max(300_000)
    .default(0)
    .describe(
      'Milliseconds after SIGTERM in which a process says that it is not ready and still answers, so that load balancers send it nothing more before it stops.',
    ),
  OTEL_EXPORTER_OTLP_ENDPOINT: z
    .string()
    .regex(/^https?:\/\/[^\s?#]+$/, 'expected http:// or https://, without query')
    .optional()
    .describe(
      'Collector of traces that speaks OTLP over HTTP, as `http://collector:4318`. Without it nothing is traced. Further variables of the exporter, as `OTEL_EXPORTER_OTLP_HEADERS`, hold as OpenTelemetry describes them.',
    ),
  OTEL_TRACES_SAMPLER_ARG: z.coerce
    .number()
    .min(0)
    .max(1)
    .default(0.01)
    .describe(
      'Ratio of messages and REST requests that are traced, 0 to 1, beside those whose sender asks for it by a sampled `traceparent`.',
    ),
  ORRERY_LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
    .default('info')
    .describe('Log level.'),
});

export type Config = z.infer<typeof configSchema>;

/** Reads and checks the environment once. @throws Error that names each wrong variable and what was expected. */
export function loadConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const result = configSchema.safeParse(env);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => {
    const name = issue.path.join('.');
    const given = env[name] === undefined ? 'it is not set' : issue.message;
    return `  ${name}: ${given} (${configSchema.shape[name as keyof Config]?.description ?? 'unknown variable'})`;
  });
  throw new Error(`Configuration is not usable:\n${problems.join('\n')}`);
}
