import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { startServices } from '../../../../tools/services/index.mjs';
import { Bus, connectNats, declareStreams } from '../bus/index.js';
import { type Config, loadConfig } from '../config/index.js';
import { migrate } from '../database/index.js';
import { bootServices, type RunningPlatform, type Service, type ServiceRoles } from '../service/index.js';
import { createLogger } from '../telemetry/index.js';

const logger = createLogger('test', process.env['ORRERY_TEST_LOG'] ?? 'silent');

/** Real PostgreSQL, NATS and Redis for one test file: a database, a NATS server and a Redis of its own. */
export interface Backend {
  config: Config;
  /** Starts services in this process, on a free port; stopped with the backend. */
  boot(services: Service[], roles?: ServiceRoles, overrides?: Partial<Config>): Promise<TestPlatform>;
  /** A connection to the bus, for tests that speak as another service. */
  bus(): Promise<Bus>;
  /** Rows of a service's schema, to look at what a test cannot see through a public door. */
  query<Row>(sql: string, parameters?: unknown[]): Promise<Row[]>;
  stop(): Promise<void>;
}

export interface TestPlatform extends RunningPlatform {
  url: string;
}

/**
 * Starts the backend of a test file and migrates the schemas of these services. PostgreSQL is shared by
 * the whole run (jest.setup.mjs starts it); NATS and Redis belong to the file.
 */
export async function startBackend(services: Service[], overrides: NodeJS.ProcessEnv = {}): Promise<Backend> {
  const shared = process.env['ORRERY_TEST_DATABASE_URL'];
  if (!shared) throw new Error('jest.setup.mjs has not started PostgreSQL');
  const dataDir = await mkdtemp(join(tmpdir(), 'orrery-test-'));
  const { NATS_URL: _nats, REDIS_URL: _redis, ...env } = process.env;
  const own = await startServices({ dataDir, log: () => undefined, only: ['nats', 'redis'], env });

  const database = `test_${randomBytes(6).toString('hex')}`;
  const admin = new Client({ connectionString: shared });
  await admin.connect();
  await admin.query(`CREATE DATABASE ${database}`);
  const databaseUrl = Object.assign(new URL(shared), { pathname: `/${database}` }).href;

  const config = loadConfig({
    ORRERY_HTTP_PORT: '0',
    ORRERY_HTTPS_PORT: '0',
    ORRERY_MQTT_PORT: '0',
    ORRERY_MQTTS_PORT: '0',
    ORRERY_BIND_ADDRESS: '127.0.0.1',
    ORRERY_DATA_DIR: dataDir,
    // Limits are exact only while Redis answers in time, however slow the machine is.
    ORRERY_LIMITS_WAIT_MS: '20000',
    ORRERY_LEASE_TTL_MS: '20000',
    ORRERY_STREAM_MAX_BYTES: String(64 << 20),
    ORRERY_LOG_LEVEL: process.env['ORRERY_TEST_LOG'] ?? 'silent',
    DATABASE_URL: databaseUrl,
    NATS_URL: own.natsUrl,
    REDIS_URL: own.redisUrl,
    ...overrides,
  });
  await installPlatform(config, services);

  const platforms = new Set<TestPlatform>();
  const buses: Bus[] = [];
  const sql = new Client({ connectionString: databaseUrl });
  await sql.connect();
  return {
    config,
    async boot(booted, roles = { api: true, worker: true }, changes = {}) {
      const running = await bootServices(booted, roles, { ...config, ...changes });
      const platform: TestPlatform = {
        ...running,
        url: `http://127.0.0.1:${running.httpPort}`,
        close: async () => {
          if (platforms.delete(platform)) await running.close();
        },
      };
      platforms.add(platform);
      return platform;
    },
    async bus() {
      const bus = await Bus.connect({
        url: config.NATS_URL,
        name: 'test',
        partitions: config.ORRERY_PARTITIONS,
        leaseTtlMs: config.ORRERY_LEASE_TTL_MS,
        answerMs: 60_000,
        logger,
      });
      buses.push(bus);
      return bus;
    },
    query: async <Row>(text: string, parameters?: unknown[]) => (await sql.query(text, parameters)).rows as Row[],
    async stop() {
      for (const platform of platforms) await platform.close();
      for (const bus of buses) await bus.close();
      await sql.end();
      await own.stop();
      await admin.query(`DROP DATABASE ${database} WITH (FORCE)`);
      await admin.end();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** What the migration job does: the streams, and every schema. */
export async function installPlatform(config: Config, services: Service[]): Promise<void> {
  const connection = await connectNats(config.NATS_URL, 'test');
  await declareStreams(connection, {
    partitions: config.ORRERY_PARTITIONS,
    maxBytes: config.ORRERY_STREAM_MAX_BYTES,
    replicas: config.ORRERY_STREAM_REPLICAS,
    leaseTtlMs: config.ORRERY_LEASE_TTL_MS,
  });
  await connection.close();
  for (const service of services) if (service.schema) await migrate(config.DATABASE_URL, service.schema, logger);
}

/** Waits until the condition holds and returns its value. @throws the condition's last failure after the time-out. */
export async function eventually<Result>(
  condition: () => Promise<Result> | Result,
  timeoutMs = 120_000,
): Promise<Exclude<Result, false | null | undefined>> {
  const deadline = Date.now() + timeoutMs;
  let failure: unknown = new Error('the condition never held');
  for (;;) {
    try {
      const result = await condition();
      if (result !== undefined && result !== null && result !== false)
        return result as Exclude<Result, false | null | undefined>;
      failure = new Error(`the condition did not hold within ${timeoutMs} ms`);
    } catch (error) {
      failure = error;
    }
    if (Date.now() > deadline) throw failure;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
