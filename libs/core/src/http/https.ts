import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Config } from '../config/index.js';
import type { Logger } from '../telemetry/index.js';
import { tlsOptions } from '../tls/index.js';
import { cutConnectionsAtClose } from './closing.js';

/**
 * Answers over TLS what this server answers, and ends before it. Called before it is ready.
 * @returns starts listening and resolves with the port.
 */
export async function serveHttps(
  fastify: FastifyInstance,
  config: Config,
  logger: Logger,
): Promise<() => Promise<number>> {
  const server = createServer(await tlsOptions(config), (request, response) => fastify.routing(request, response));
  server.on('upgrade', (...upgrade) => fastify.server.emit('upgrade', ...upgrade));
  server.on('tlsClientError', (error, socket) => {
    logger.debug({ remote: socket.remoteAddress, error: error.message }, 'TLS handshake failed');
    socket.destroy();
  });
  cutConnectionsAtClose(fastify, server);
  fastify.addHook('preClose', (done) => void server.close(() => done()));
  return () =>
    new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(config.ORRERY_HTTPS_PORT, config.ORRERY_BIND_ADDRESS, () => {
        server.off('error', reject);
        server.on('error', (error) => logger.error({ error }, 'the HTTPS listener failed'));
        resolve((server.address() as AddressInfo).port);
      });
    });
}
