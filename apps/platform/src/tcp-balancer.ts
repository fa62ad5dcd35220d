import { createServer, type Server, type Socket } from 'node:net';
import { pipeline } from 'node:stream';
import { ENDING_MS, endInTime } from './ending.js';

/**
 * Passes each connection on, byte for byte, so that TLS ends at the server behind, which alone sees the certificate of
 * the client. That server sees the address of this one, not the client's.
 * @param reach connects to the server behind; rejects when there is none to connect to.
 * @param endingMs how long one side may be silent when the other one has ended.
 */
export const balanceTcp = (reach: () => Promise<Socket>, endingMs = ENDING_MS): Server =>
  createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true }, (client) => void pass(client, reach, endingMs));

async function pass(client: Socket, reach: () => Promise<Socket>, endingMs: number): Promise<void> {
  client.on('error', () => client.destroy());
  const server = await reach().catch(() => undefined);
  if (!server || client.destroyed) {
    // As if nobody had listened.
    client.resetAndDestroy();
    server?.destroy();
    return;
  }
  server.on('error', () => server.destroy());
  // A side that has ended still gets what the other one sends.
  const ended = (error?: Error | null): void => {
    if (!error) return;
    client.destroy();
    server.destroy();
  };
  endInTime(client, server, endingMs);
  pipeline(client, server, ended);
  pipeline(server, client, ended);
}
