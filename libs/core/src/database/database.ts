import { setTimeout as delay } from 'node:timers/promises';
import type { Pool, PoolClient } from 'pg';
import { DataSource, type EntityManager, type EntitySchema, type MigrationInterface } from 'typeorm';
import { type Logger, metrics, onScrape } from '../telemetry/index.js';
import { coreMigrations } from './core.migrations.js';

type EntityClass = new () => object;
type MigrationClass = new () => MigrationInterface;

/** What one service keeps in PostgreSQL. */
export interface Schema {
  /** PostgreSQL schema: the service reads and writes this one alone. */
  name: string;
  entities: Array<EntityClass | EntitySchema>;
  migrations: MigrationClass[];
  /**
   * Tables without a column `tenant_id` whose rows belong to tenants all the same: a condition in SQL for the rows of
   * tenant $1. They go before the others when a tenant is removed.
   */
  owned?: Record<string, string>;
  /** Settings of PostgreSQL for its connections, by name. */
  settings?: Record<string, string>;
}

export interface DatabaseOptions {
  url: string;
  schema: Schema;
  /** Most connections of this service in this process. */
  poolSize?: number;
  applicationName?: string;
  /**
   * A transaction that waits this long for its own process is rolled back, and a statement that takes five times as
   * long is cancelled: the locks of a paused process must not outlive its leases by much. None when absent.
   */
  idleTransactionMs?: number;
}

/** Connections of one service, whose search path is its own schema, so that SQL names no schema. */
export class Database {
  private readonly endMeasuring: () => void;

  private constructor(
    readonly dataSource: DataSource,
    readonly options: DatabaseOptions,
  ) {
    const schema = options.schema.name;
    this.endMeasuring = onScrape(() => () => {
      const { idleCount, totalCount, waitingCount } = (dataSource.driver as unknown as { master: Pool }).master;
      metrics.poolConnections.inc({ schema, state: 'idle' }, idleCount);
      metrics.poolConnections.inc({ schema, state: 'used' }, totalCount - idleCount);
      metrics.poolWaiting.inc({ schema }, waitingCount);
    });
  }

  static async connect(options: DatabaseOptions): Promise<Database> {
    const { idleTransactionMs } = options;
    const timeouts = idleTransactionMs
      ? ` -c idle_in_transaction_session_timeout=${idleTransactionMs} -c statement_timeout=${5 * idleTransactionMs}`
      : '';
    const settings = Object.entries(options.schema.settings ?? {}).map(([name, value]) => ` -c ${name}=${value}`);
    const dataSource = new DataSource({
      type: 'postgres',
      url: options.url,
      schema: options.schema.name,
      entities: options.schema.entities,
      migrations: [...coreMigrations, ...options.schema.migrations],
      migrationsTableName: 'migrations',
      migrationsTransactionMode: 'each',
      poolSize: options.poolSize ?? 8,
      synchronize: false,
      logging: false,
      extra: {
        options: `-c search_path=${options.schema.name},public -c timezone=UTC -c jit=off${timeouts}${settings.join('')}`,
        application_name: options.applicationName ?? options.schema.name,
        connectionTimeoutMillis: 10_000,
        keepAlive: true,
        keepAliveInitialDelayMillis: 10_000,
        // Between the pool and TypeORM nobody listens for a moment, and an error without a listener ends the process.
        onConnect: (client: PoolClient) => void client.on('error', () => undefined),
      },
    });
    await dataSource.initialize();
    return new Database(dataSource, options);
  }

  get manager(): EntityManager {
    return this.dataSource.manager;
  }

  query<Row>(sql: string, parameters?: unknown[]): Promise<Row[]> {
    return this.dataSource.query(sql, parameters as unknown[]) as Promise<Row[]>;
  }

  transaction<Result>(work: (manager: EntityManager) => Promise<Result>): Promise<Result> {
    return this.dataSource.transaction(work);
  }

  async close(): Promise<void> {
    this.endMeasuring();
    if (this.dataSource.isInitialized) await this.dataSource.destroy();
  }
}

/** The driver's own connection of a transaction, for COPY and prepared statements. */
export async function driverClient(manager: EntityManager): Promise<PoolClient> {
  return (await manager.queryRunner!.connect()) as unknown as PoolClient;
}

/** How often a migration looks whether another one has ended. */
const TURN_MS = 200;

/** Creates the schema and brings it up to date. Run by the migration job; an advisory lock lets one run at a time. */
export async function migrate(url: string, schema: Schema, logger: Logger): Promise<void> {
  const plain = new DataSource({ type: 'postgres', url, poolSize: 1 });
  await plain.initialize();
  try {
    await ownTurn(plain);
    await plain.query(`CREATE SCHEMA IF NOT EXISTS "${schema.name}"`);
    const database = await Database.connect({ url, schema, poolSize: 2, applicationName: 'orrery-migrate' });
    try {
      const applied = await database.dataSource.runMigrations();
      for (const migration of applied) logger.info({ schema: schema.name, migration: migration.name }, 'migrated');
    } finally {
      await database.close();
    }
  } finally {
    await plain.destroy();
  }
}

/** Asks again and again: an index that is made concurrently waits for every statement that waits for a lock. */
async function ownTurn(connection: DataSource): Promise<void> {
  const lock = async (): Promise<boolean> => {
    const [row] = (await connection.query(
      `SELECT pg_try_advisory_lock(hashtext('orrery.migrations')) AS locked`,
    )) as Array<{ locked: boolean }>;
    return row!.locked;
  };
  while (!(await lock())) await delay(TURN_MS);
}
