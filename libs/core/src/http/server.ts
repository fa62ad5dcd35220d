import { setTimeout as sleep } from 'node:timers/promises';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { ApiKeys } from '../auth/index.js';
import type { RateLimits } from '../limits/index.js';
import { type Logger, metrics, registry, scrape, type Tracing } from '../telemetry/index.js';
import { serveApiDocumentation } from './api-documentation.js';
import { authenticate, keyInBody, UnreadableBody } from './authorization.js';
import { toApiError } from './error.filter.js';
import { cutConnectionsAtClose } from './closing.js';
import { ApiError } from './errors.js';
import { limitRate } from './rate-limiting.js';
import { endRequestSpan, traceRequest } from './request-spans.js';

/** Largest request body: a bulk of many small messages, or one value with room around it. */
const BODY_LIMIT = 16 << 20;
/** The same for those who have shown no key: room for a login. */
const PUBLIC_BODY_LIMIT = 64 << 10;

/** A server that does not answer a health check for so long counts as down. */
const HEALTH_MS = 2000;

/** What a process does without for a while: data flows when Redis is away, so clients must still be sent here. */
const DISPENSABLE = new Set(['redis']);

/** Readiness of what this process needs; each name is shown by `/health/ready`. */
export type HealthChecks = Record<string, () => Promise<void>>;

/** What the process says of itself; it is not ready once it is stopping. */
export interface Health {
  checks: HealthChecks;
  stopping: boolean;
}

export const fastifyAdapter = (): FastifyAdapter =>
  new FastifyAdapter({
    bodyLimit: PUBLIC_BODY_LIMIT,
    trustProxy: 'loopback, uniquelocal',
    routerOptions: { maxParamLength: 512 },
  });

/** Whether the key of the request can only be in its body. */
const awaitsKey = ({ headers, routeOptions }: FastifyRequest): boolean =>
  headers['x-api-key'] === undefined && routeOptions.config.outsideApi?.keyField !== undefined;

/** What every HTTP server of the platform does: authentication, rate limits, content types, health, metrics. */
export function configureServer(
  app: NestFastifyApplication,
  apiKeys: ApiKeys,
  rateLimits: RateLimits,
  health: Health,
  logger: Logger,
  tracing: Tracing,
): void {
  const fastify = app.getHttpAdapter().getInstance() as unknown as FastifyInstance;

  cutConnectionsAtClose(fastify, fastify.server);
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser(/^application\/(?:[\w.+-]*\+)?json/, { parseAs: 'string' }, (_request, body, done) => {
    if (body === '') return done(null, undefined);
    try {
      done(null, JSON.parse(body as string));
    } catch (error) {
      done(null, new UnreadableBody(error instanceof Error ? error.message : 'unreadable'));
    }
  });

  // Their keys are checked before their bodies are read.
  fastify.addHook('onRoute', (route) => {
    if (route.url.startsWith('/api/') && !route.config?.public) route.bodyLimit = BODY_LIMIT;
  });
  const answerErrors = async (
    request: FastifyRequest,
    reply: FastifyReply,
    work: () => Promise<unknown>,
  ): Promise<void> => {
    try {
      await work();
    } catch (error) {
      const apiError = toApiError(error);
      if (apiError.status >= 500) logger.error({ error, url: request.url }, 'a request could not be authenticated');
      await reply.status(apiError.status).send(apiError.toBody());
    }
  };
  fastify.addHook('onRequest', async (request, reply) => {
    const { url, config } = request.routeOptions;
    // The route, where there is one: the address may be written in other ways (`/%61pi/`, `http://host/api/`).
    if (!(url ?? request.url).startsWith('/api/') && !config.outsideApi) return;
    const since = Date.now();
    await answerErrors(request, reply, async () => {
      if (!config.public && !awaitsKey(request)) await authenticate(apiKeys, request);
      traceRequest(tracing, request, since);
      if (!(await limitRate(rateLimits, request, reply))) return;
      const accept = request.headers.accept;
      if (accept && !/\*\/\*|application\/(\*|json)/i.test(accept)) throw new ApiError('NOT_ACCEPTABLE');
      // JSON is the only format, so its declaration is optional (manual 16.1.3).
      request.headers['content-type'] ??= 'application/json';
    });
  });
  // The body has been read.
  fastify.addHook('preValidation', async (request, reply) => {
    if (!awaitsKey(request)) return;
    await answerErrors(request, reply, async () => {
      await authenticate(apiKeys, request, keyInBody(request));
      await limitRate(rateLimits, request, reply);
    });
  });
  fastify.addHook('onRequestAbort', (request, done) => {
    endRequestSpan(request);
    done();
  });
  fastify.addHook('onResponse', (request, reply, done) => {
    endRequestSpan(request, reply.statusCode);
    metrics.httpSeconds.observe(
      { method: request.method, route: request.routeOptions.url ?? 'none', status: reply.statusCode },
      reply.elapsedTime / 1000,
    );
    done();
  });

  serveApiDocumentation(app, fastify);
  fastify.get('/health/live', () => ({ status: 'up' }));
  fastify.get('/health/ready', async (_request, reply) => {
    if (health.stopping) return reply.status(503).send({ status: 'stopping', parts: {} });
    const results = await Promise.all(
      Object.entries(health.checks).map(async ([name, check]) => {
        const late = new AbortController();
        const problem = await Promise.race([
          check().then(() => undefined),
          sleep(HEALTH_MS, `no answer within ${HEALTH_MS} ms`, { signal: late.signal }),
        ]).catch((error: unknown) => (error instanceof Error ? error.message : String(error)));
        late.abort();
        return [name, problem === undefined ? { status: 'up' } : { status: 'down', problem }] as const;
      }),
    );
    const ready = results.every(([name, result]) => result.status === 'up' || DISPENSABLE.has(name));
    return reply.status(ready ? 200 : 503).send({ status: ready ? 'up' : 'down', parts: Object.fromEntries(results) });
  });
  fastify.get('/metrics', async (_request, reply) => reply.type(registry.contentType).send(await scrape()));
}
