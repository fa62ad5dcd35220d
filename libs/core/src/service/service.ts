import { setTimeout as sleep } from 'node:timers/promises';
import {
  type DynamicModule,
  type InjectionToken,
  Module,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type Provider,
  type Type,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance } from 'fastify';
import { Audit } from '../audit/index.js';
import { ApiKeys } from '../auth/index.js';
import { Bus, OutboxRelay, StreamPurger } from '../bus/index.js';
import type { Config } from '../config/index.js';
import { Database, type Schema } from '../database/index.js';
import {
  checkAccessIsStated,
  configureServer,
  ErrorFilter,
  fastifyAdapter,
  type Health,
  RolesGuard,
  serveHttps,
  serveWebSockets,
  validationPipe,
  type WebSocketEndpoints,
} from '../http/index.js';
import { HeldCounts, LimitStore, RateLimits, SharedCounters } from '../limits/index.js';
import { Jobs } from '../jobs/index.js';
import { Mailer } from '../mail/index.js';
import { TenantRemoval } from '../tenants/index.js';
import { createLogger, type Logger, startTracing } from '../telemetry/index.js';
import { Webhooks } from '../webhooks/index.js';

/** What a process does of a service: answers others (REST, RPC, protocols), or works on the bus and the clock. */
export interface ServiceRoles {
  api: boolean;
  worker: boolean;
}

/** What a service gets to build itself from. */
export interface ServiceContext {
  config: Config;
  bus: Bus;
  /** The service's own schema; throws for a service that declares none. */
  database: Database;
  apiKeys: ApiKeys;
  audit: Audit;
  jobs: Jobs;
  mailer: Mailer;
  webhooks: Webhooks;
  rateLimits: RateLimits;
  sharedCounters: SharedCounters;
  heldCounts: HeldCounts;
  logger: Logger;
  roles: ServiceRoles;
}

/** Something that runs between the start and the end of a process: readers, servers, subscriptions. */
export interface Running {
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** A service as its library exports it; `bootServices` puts any set of them into one process. */
export interface Service {
  name: string;
  schema?: Schema;
  /** First path segments that its REST API answers, for gateways and ingresses. */
  restPaths: string[];
  /** Built once per process. Providers are injectable into the controllers by their token. */
  build(context: ServiceContext): {
    controllers: Array<Type<unknown>>;
    providers: Array<{ token: InjectionToken; value: unknown }>;
    running: Running[];
    /** Where the service answers over WebSocket. A process with such a service serves HTTPS too. */
    webSockets?: WebSocketEndpoints;
    /** Removes what it keeps of a tenant outside its schema; it may be called again for the same tenant. */
    removeTenant?: (tenantId: string) => Promise<void>;
  };
}

export interface RunningPlatform {
  app: NestFastifyApplication;
  /** Port that REST is answered on. */
  httpPort: number;
  /** The same over TLS, and WebSockets; undefined when no service answers over WebSocket. */
  httpsPort?: number;
  logger: Logger;
  /** Resolves when the bus is lost for good; never while the platform is being closed. */
  disconnected: Promise<unknown>;
  /** Says that it is not ready, serves on for `ORRERY_DRAIN_MS`, and stops. */
  close(): Promise<void>;
}

/** Starts the services in this process and answers REST when all of them are running. */
export async function bootServices(services: Service[], roles: ServiceRoles, config: Config): Promise<RunningPlatform> {
  const name =
    services.length === 1 ? services[0]!.name : roles.worker ? (roles.api ? 'platform' : 'processing') : 'edge';
  const logger = createLogger(name, config.ORRERY_LOG_LEVEL);
  const tracing = await startTracing(config, name, logger);
  const bus = await Bus.connect({
    url: config.NATS_URL,
    name,
    partitions: config.ORRERY_PARTITIONS,
    leaseTtlMs: config.ORRERY_LEASE_TTL_MS,
    logger,
    tracing,
  });
  const health: Health = { checks: { nats: async () => void (await bus.connection.flush()) }, stopping: false };
  const disconnected = new Promise((resolve) => {
    void bus.connection.closed().then((error) => health.stopping || resolve(error));
  });
  const jobs = new Jobs(config.REDIS_URL, logger);
  health.checks['redis'] = () => jobs.ping();
  const limitStore = new LimitStore(config.REDIS_URL, config.ORRERY_LIMITS_WAIT_MS, logger);
  const heldCounts = new HeldCounts(limitStore, config.ORRERY_LEASE_TTL_MS);
  const sharedCounters = new SharedCounters(limitStore);
  const rateLimits = new RateLimits(limitStore, heldCounts);
  const apiKeys = new ApiKeys(bus);
  const audit = new Audit(bus, config.ORRERY_AUDIT_PER_MINUTE);
  const mailer = new Mailer(config);
  const webhooks = new Webhooks(config);

  const databases: Database[] = [];
  const removals = new Map<Database, (tenantId: string) => Promise<void>>();
  const running: Running[] = [];
  const controllers: Array<Type<unknown>> = [];
  const providers: Provider[] = [];
  const webSockets: WebSocketEndpoints = {};
  for (const service of services) {
    const database = service.schema
      ? await Database.connect({
          url: config.DATABASE_URL,
          schema: service.schema,
          applicationName: `orrery-${service.name}`,
          idleTransactionMs: config.ORRERY_LEASE_TTL_MS,
        })
      : undefined;
    if (database) {
      databases.push(database);
      health.checks[`postgres:${service.name}`] = async () => void (await database.query('SELECT 1'));
      if (roles.worker) running.push(new OutboxRelay(bus, database));
    }
    const context: ServiceContext = {
      config,
      bus,
      get database(): Database {
        if (!database) throw new Error(`${service.name} declares no schema`);
        return database;
      },
      apiKeys,
      audit,
      jobs,
      mailer,
      webhooks,
      rateLimits,
      sharedCounters,
      heldCounts,
      logger: logger.child({ service: service.name }),
      roles,
    };
    const parts = service.build(context);
    running.push(...parts.running);
    Object.assign(webSockets, parts.webSockets);
    if (database && parts.removeTenant) removals.set(database, parts.removeTenant);
    if (roles.api) controllers.push(...parts.controllers);
    providers.push(...parts.providers.map(({ token, value }) => ({ provide: token, useValue: value })));
  }

  if (roles.worker) {
    running.push(new StreamPurger(bus));
    for (const database of databases) running.push(new TenantRemoval(bus, database, logger, removals.get(database)));
  }

  checkAccessIsStated(controllers as Array<Type<object>>);

  @Module({})
  class PlatformModule implements OnApplicationBootstrap, OnApplicationShutdown {
    async onApplicationBootstrap(): Promise<void> {
      for (const each of running) await each.start();
    }

    // In reverse, so that what takes messages in stops before what passes them on.
    async onApplicationShutdown(): Promise<void> {
      for (const each of running.toReversed())
        await each.stop().catch((error: unknown) => logger.error({ error }, 'could not stop cleanly'));
      await webhooks.close();
      await jobs.close();
      await heldCounts.close();
      limitStore.close();
      await bus.close();
      for (const database of databases) await database.close();
      await tracing.close();
    }
  }

  const module: DynamicModule = { module: PlatformModule, controllers, providers };
  const app = await NestFactory.create<NestFastifyApplication>(module, fastifyAdapter(), {
    logger: ['error', 'warn'],
    bodyParser: false,
  });
  app.useGlobalFilters(new ErrorFilter(logger));
  app.useGlobalGuards(new RolesGuard());
  app.useGlobalPipes(validationPipe());
  configureServer(app, apiKeys, rateLimits, health, logger, tracing);
  let listenHttps: (() => Promise<number>) | undefined;
  if (Object.keys(webSockets).length > 0) {
    const fastify = app.getHttpAdapter().getInstance() as unknown as FastifyInstance;
    serveWebSockets(fastify, webSockets);
    listenHttps = await serveHttps(fastify, config, logger);
  }
  await app.listen(config.ORRERY_HTTP_PORT, config.ORRERY_BIND_ADDRESS);
  const httpsPort = await listenHttps?.();
  const address = app.getHttpServer().address() as { port: number };
  return {
    app,
    httpPort: address.port,
    ...(httpsPort === undefined ? {} : { httpsPort }),
    logger,
    disconnected,
    async close() {
      health.stopping = true;
      await sleep(config.ORRERY_DRAIN_MS);
      await app.close();
    },
  };
}

/** After the time to drain; the chart's grace period is longer, so that the log still says why. */
const STOP_WITHIN_MS = 25_000;

/** Body of every `main.ts`: starts, says where it listens, and ends cleanly on SIGTERM and SIGINT. */
export async function runServices(services: Service[], roles: ServiceRoles, config: Config): Promise<void> {
  const platform = await bootServices(services, roles, config);
  platform.logger.info(
    { port: platform.httpPort, services: services.map((service) => service.name), roles },
    'started',
  );
  // The client reconnects for ever, unless the server refuses it: whoever supervises this process must see that.
  void platform.disconnected.then((error) => {
    platform.logger.fatal({ error }, 'NATS closed the connection for good');
    process.exit(1);
  });
  let ending = false;
  const end = (signal: string): void => {
    if (ending) return;
    ending = true;
    platform.logger.info({ signal }, 'stopping');
    setTimeout(() => {
      platform.logger.fatal('could not stop in time: ending with what was under way');
      process.exit(1);
    }, config.ORRERY_DRAIN_MS + STOP_WITHIN_MS).unref();
    platform
      .close()
      .then(() => process.exit(0))
      .catch((error: unknown) => {
        platform.logger.error({ error }, 'could not stop cleanly');
        process.exit(1);
      });
  };
  process.once('SIGTERM', () => end('SIGTERM'));
  process.once('SIGINT', () => end('SIGINT'));
}
