import httpProxy from '@fastify/http-proxy';
import { createLogger } from '@orrery/core/telemetry';
import { fastify } from 'fastify';
import { restPaths } from './rest-paths.js';

// One address for services that run one process each, as an ingress does it in a cluster: the path decides the service.
// ORRERY_GATEWAY_ROUTES names where each service answers: `store=http://127.0.0.1:9001,...`.
const logger = createLogger('gateway', process.env['ORRERY_LOG_LEVEL'] ?? 'info');
const targets = new Map(
  (process.env['ORRERY_GATEWAY_ROUTES'] ?? '').split(',').map((route) => route.split('=') as [string, string]),
);
const server = fastify({ bodyLimit: 16 << 20, routerOptions: { maxParamLength: 512 } });
for (const [service, paths] of Object.entries(restPaths)) {
  const upstream = targets.get(service);
  if (upstream)
    for (const prefix of paths) await server.register(httpProxy, { upstream, prefix, rewritePrefix: prefix });
}
server.get('/health/live', () => ({ status: 'up' }));
server.setNotFoundHandler((_request, reply) => reply.status(404).send({ code: 'NOT_FOUND', message: 'Not found' }));
const port = Number(process.env['ORRERY_HTTP_PORT'] ?? 8080);
await server.listen({ port, host: process.env['ORRERY_BIND_ADDRESS'] ?? '0.0.0.0' });
logger.info({ port, services: [...targets.keys()] }, 'started');
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => void server.close().then(() => process.exit(0)));
