import { type IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { ApiError } from './errors.js';

/** A request for a WebSocket, whose connection is the endpoint's to answer on. */
export interface WebSocketRequest {
  request: IncomingMessage;
  socket: Socket;
  /** What the client sent behind the request. */
  head: Buffer;
  /** Address of the client, also behind trusted proxies. */
  ip: string;
  /** Host name that the client asked for. */
  hostName: string;
}

/** Answers requests for a WebSocket at one path. */
export interface WebSocketEndpoint {
  accept(request: WebSocketRequest): void;
  /** Ends the connections: the server waits for them before it stops. */
  close(): Promise<void> | void;
}

/** Endpoints by their path. */
export type WebSocketEndpoints = Record<string, WebSocketEndpoint>;

/**
 * Hands requests for a WebSocket to the endpoint of their path. They pass the router like all requests, which knows what
 * trusted proxies say of them, and must have come encrypted, to here or to the proxy (manual 6.2).
 */
export function serveWebSockets(fastify: FastifyInstance, endpoints: WebSocketEndpoints): void {
  const asked = new WeakMap<IncomingMessage, { socket: Socket; head: Buffer }>();
  for (const [path, endpoint] of Object.entries(endpoints)) {
    fastify.get(path, (request, reply) => {
      const upgrade = asked.get(request.raw);
      if (!upgrade) return reply.callNotFound();
      if (request.protocol !== 'https') throw new ApiError('FORBIDDEN', `expected wss://, not ws://, for ${path}`);
      reply.hijack();
      reply.raw.detachSocket(upgrade.socket);
      endpoint.accept({ request: request.raw, ip: request.ip, hostName: request.hostname, ...upgrade });
      return reply;
    });
    fastify.addHook('preClose', async () => endpoint.close());
  }
  acceptUpgrades(fastify.server, (request, socket, head) => {
    asked.set(request, { socket, head });
    const response = new ServerResponse(request);
    // Refusals are the last that is said on the connection.
    response.shouldKeepAlive = false;
    response.assignSocket(socket);
    response.once('finish', () => socket.destroySoon());
    fastify.routing(request, response);
  });
}

/** Lets the server take requests for a WebSocket; `Upgrade: h2c` and others are answered as if nobody had offered it. */
export function acceptUpgrades(
  server: Server,
  take: (request: IncomingMessage, socket: Socket, head: Buffer) => void,
): void {
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    if (request.headers.upgrade?.toLowerCase() === 'websocket') take(request, socket, head);
    else answerWithoutUpgrade(server, request, socket, head);
  });
}

// Node hands over every request with the header once there is a listener, its body unread: it is read again without it.
function answerWithoutUpgrade(server: Server, request: IncomingMessage, socket: Socket, head: Buffer): void {
  const { method, url, httpVersion, rawHeaders } = request;
  const lines = [`${method} ${url} HTTP/${httpVersion}`];
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]!.toLowerCase() !== 'upgrade') lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
  if (head.length > 0) socket.unshift(head);
  socket.unshift(Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'));
  server.emit('connection', socket);
}
