import httpProxy from '@fastify/http-proxy';
import { once } from 'node:events';
import { callbackify } from 'node:util';
import { loadConfig } from '@orrery/core/config';
import { acceptUpgrades, ApiError, serveHttps } from '@orrery/core/http';
import { createLogger } from '@orrery/core/telemetry';
import { fastify, type FastifyReply } from 'fastify';
import { services } from './services.js';
import { balanceTcp } from './tcp-balancer.js';
import { Upstreams } from './upstreams.js';
import { passWebSocket } from './web-socket-proxy.js';

// One address for services that run processes of their own, as an ingress and load balancers do it in a cluster: the path
// of a request decides the service, the port of a connection to the connectors which of theirs it is for.
// ORRERY_GATEWAY_ROUTES names the file that says where their instances answer: see Upstreams.
/** Longest that an instance takes to describe its operations. */
const DESCRIPTION_MS = 5000;
const logger = createLogger('gateway', process.env['ORRERY_LOG_LEVEL'] ?? 'info');
const config = loadConfig();
const upstreams = new Upstreams(process.env['ORRERY_GATEWAY_ROUTES'] ?? '', logger);
await upstreams.start();
const server = fastify({ bodyLimit: 16 << 20, routerOptions: { maxParamLength: 512 } });

const unavailable = (reply: FastifyReply): FastifyReply =>
  reply.status(503).send(new ApiError('SERVICE_UNAVAILABLE').toBody());
const proxy = (service: () => string | undefined, prefix: string) =>
  server.register(httpProxy, {
    upstream: '',
    prefix,
    rewritePrefix: prefix,
    preHandler: (_request, reply, done) => {
      if (upstreams.instances(service() ?? '').length > 0) done();
      else void unavailable(reply);
    },
    // Instances take turns. A connection that one refuses is made to the next, before anything of a request is sent; what
    // was under way on one that ended is sent again when that cannot do harm.
    undici: {
      connect: ({ protocol, hostname, port }, done) => {
        const url = `${protocol}//${hostname}:${port}`;
        callbackify((wanted: string) => upstreams.connectTo(wanted))(url, (error, socket) =>
          error ? done(error, null) : done(null, socket),
        );
      },
    },
    replyOptions: {
      getUpstream: () => upstreams.candidates(service() ?? '')[0]?.http ?? '',
      retriesCount: 2,
      onError: (reply, { error }) => {
        logger.warn({ service: service(), error: error.message }, 'a request could not be passed on');
        void unavailable(reply as FastifyReply);
      },
    },
  });
for (const { name, restPaths } of services) for (const prefix of restPaths) await proxy(() => name, prefix);

interface Description {
  paths: object;
  components?: { schemas?: object };
}
/** What the first instance that answers says of its service. */
async function describe(service: string): Promise<Description | undefined> {
  for (const { http } of upstreams.candidates(service))
    try {
      const answer = await fetch(`${http}/swagger-ui-json`, { signal: AbortSignal.timeout(DESCRIPTION_MS) });
      if (answer.ok) return (await answer.json()) as Description;
      logger.warn({ service, status: answer.status }, 'an instance does not describe its operations');
    } catch (error) {
      logger.warn({ service, error: String(error) }, 'an instance does not describe its operations');
    }
  return undefined;
}
// Each service describes its own operations: together they are the platform's.
server.get('/swagger-ui-json', async (_request, reply) => {
  const answers = await Promise.all(upstreams.services.map(describe));
  const descriptions = answers.filter((answer) => answer !== undefined);
  if (descriptions.length === 0 || descriptions.length < answers.length) return unavailable(reply);
  const schemas = Object.assign({}, ...descriptions.map(({ components }) => components?.schemas)) as object;
  return {
    ...descriptions[0]!,
    paths: Object.assign({}, ...descriptions.map(({ paths }) => paths)) as object,
    components: { ...descriptions[0]!.components, schemas },
  };
});
await proxy(() => upstreams.services[0], '/swagger-ui');
server.get('/health/ready', async (_request, reply) => {
  const parts = await Promise.all(
    upstreams.services.map(async (service) => {
      const answers = await Promise.all(upstreams.instances(service).map(({ http }) => upstreams.ask(http)));
      const ready = answers.filter(Boolean).length;
      return [service, { status: ready > 0 ? 'up' : 'down', instances: answers.length, ready }] as const;
    }),
  );
  const ready = parts.every(([, { status }]) => status === 'up');
  return reply.status(ready ? 200 : 503).send({ status: ready ? 'up' : 'down', parts: Object.fromEntries(parts) });
});
server.get('/health/live', () => ({ status: 'up' }));
server.setNotFoundHandler((_request, reply) => reply.status(404).send({ code: 'NOT_FOUND', message: 'Not found' }));

const reach = (port: 'http' | 'mqtt' | 'mqtts') => () =>
  upstreams.connect(upstreams.candidates('mqtt-connector'), port);
acceptUpgrades(server.server, (request, socket, head) => void passWebSocket(request, socket, head, reach('http')));
const listenHttps = await serveHttps(server, config, logger);
const host = config.ORRERY_BIND_ADDRESS;
await server.listen({ port: config.ORRERY_HTTP_PORT, host });
await listenHttps();
const mqtt = [
  [balanceTcp(reach('mqtt')), config.ORRERY_MQTT_PORT],
  [balanceTcp(reach('mqtts')), config.ORRERY_MQTTS_PORT],
] as const;
for (const [balancer, port] of mqtt) await once(balancer.listen(port, host), 'listening');
logger.info({ port: config.ORRERY_HTTP_PORT, services: upstreams.services }, 'started');

/** What is being answered and passed on may end by itself; connections to connectors last. */
const END_WITHIN_MS = 5000;
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => {
    upstreams.stop();
    for (const [balancer] of mqtt) balancer.close();
    setTimeout(() => process.exit(0), END_WITHIN_MS).unref();
    void server.close().then(() => process.exit(0));
  });
