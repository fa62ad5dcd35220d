import type { Server, Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';

/** What requests have left when the server closes, below the 10 s that Fastify waits for a hook. */
const LAST_REQUESTS_MS = 5000;

/**
 * Cuts the connections that are left some time after Fastify begins to close: servers wait for those on which nothing or
 * half a request has come, for those whose client does not read, and for those that were upgraded, as long as they last.
 * Called before any of them is accepted.
 */
export function cutConnectionsAtClose(fastify: FastifyInstance, server: Server): void {
  const connections = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    // One that is answered without its upgrade comes again.
    if (connections.has(socket)) return;
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
  });
  fastify.addHook('preClose', (done) => {
    setTimeout(() => connections.forEach((socket) => socket.destroy()), LAST_REQUESTS_MS).unref();
    done();
  });
}
