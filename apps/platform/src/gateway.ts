import httpProxy from '@fastify/http-proxy';
import { loadConfig } from '@orrery/core/config';
import { acceptUpgrades, serveHttps } from '@orrery/core/http';
import { createLogger } from '@orrery/core/telemetry';
import { fastify } from 'fastify';
import { services } from './services.js';
import { passWebSocket } from './web-socket-proxy.js';

// One address for services that run one process each, as an ingress does it in a cluster: the path decides the service.
// ORRERY_GATEWAY_ROUTES names where each service answers: `store=http://127.0.0.1:9001|http://127.0.0.1:9002,...`.
const logger = createLogger('gateway', process.env['ORRERY_LOG_LEVEL'] ?? 'info');
const targets = new Map(
  (process.env['ORRERY_GATEWAY_ROUTES'] ?? '').split(',').map((route) => {
    const [service = '', upstreams = ''] = route.split('=');
    return [service, upstreams.split('|')] as const;
  }),
);
const server = fastify({ bodyLimit: 16 << 20, routerOptions: { maxParamLength: 512 } });
for (const { name, restPaths } of services) {
  const upstreams = targets.get(name);
  if (!upstreams) continue;
  let next = 0;
  // Instances take turns.
  const getUpstream = (): string => upstreams[next++ % upstreams.length]!;
  for (const prefix of restPaths)
    await server.register(httpProxy, { upstream: '', prefix, rewritePrefix: prefix, replyOptions: { getUpstream } });
}
/** Any instance of each service. */
const instances = (): string[] => [...targets.values()].map(([upstream]) => upstream!);
interface Description {
  paths: object;
  components?: { schemas?: object };
}
// Each service describes its own operations: together they are the platform's.
server.get('/swagger-ui-json', async () => {
  const descriptions = await Promise.all(
    instances().map(async (url) => (await (await fetch(`${url}/swagger-ui-json`)).json()) as Description),
  );
  const schemas = Object.assign({}, ...descriptions.map(({ components }) => components?.schemas)) as object;
  return {
    ...descriptions[0]!,
    paths: Object.assign({}, ...descriptions.map(({ paths }) => paths)) as object,
    components: { ...descriptions[0]!.components, schemas },
  };
});
await server.register(httpProxy, {
  upstream: instances()[0]!,
  prefix: '/swagger-ui',
  rewritePrefix: '/swagger-ui',
});
server.get('/health/ready', async (_request, reply) => {
  const parts = await Promise.all(
    [...targets].map(async ([service, upstreams]) => {
      const answers = await Promise.all(
        upstreams.map((url) =>
          fetch(`${url}/health/ready`).then(
            ({ ok }) => ok,
            () => false,
          ),
        ),
      );
      return [service, { status: answers.some(Boolean) ? 'up' : 'down' }] as const;
    }),
  );
  const ready = parts.every(([, { status }]) => status === 'up');
  return reply.status(ready ? 200 : 503).send({ status: ready ? 'up' : 'down', parts: Object.fromEntries(parts) });
});
server.get('/health/live', () => ({ status: 'up' }));
server.setNotFoundHandler((_request, reply) => reply.status(404).send({ code: 'NOT_FOUND', message: 'Not found' }));
const mqttConnectors = targets.get('mqtt-connector') ?? [];
let connections = 0;
acceptUpgrades(server.server, (request, socket, head) => {
  const upstream = mqttConnectors[connections++ % mqttConnectors.length];
  if (upstream === undefined) socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n');
  else passWebSocket(request, socket, head, upstream);
});
const listenHttps = await serveHttps(server, loadConfig(), logger);
const port = Number(process.env['ORRERY_HTTP_PORT'] ?? 8080);
await server.listen({ port, host: process.env['ORRERY_BIND_ADDRESS'] ?? '0.0.0.0' });
await listenHttps();
logger.info({ port, services: [...targets.keys()] }, 'started');
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => void server.close().then(() => process.exit(0)));
