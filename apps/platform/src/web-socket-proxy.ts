import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { endInTime } from './ending.js';

/**
 * Passes a request for a WebSocket on, and what follows both ways. The server behind is told what only this one sees:
 * the address of the client, and whether it speaks TLS.
 * @param reach connects to that server; rejects when there is none to connect to.
 */
export async function passWebSocket(
  request: IncomingMessage,
  socket: Socket,
  head: Buffer,
  reach: () => Promise<Socket>,
): Promise<void> {
  const { method, url, rawHeaders } = request;
  const lines = [`${method} ${url} HTTP/1.1`];
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (!/^x-forwarded-/i.test(rawHeaders[i]!)) lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
  lines.push(`X-Forwarded-Proto: ${socket instanceof TLSSocket ? 'https' : 'http'}`);
  lines.push(`X-Forwarded-For: ${socket.remoteAddress ?? ''}`);
  const passed = await reach().catch(() => undefined);
  if (!passed) {
    socket.end('HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n');
    return;
  }
  passed.on('error', () => passed.destroy());
  passed.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  passed.write(head);
  const ended = (): void => {
    socket.destroySoon();
    passed.destroySoon();
  };
  endInTime(socket, passed);
  pipeline(socket, passed, ended);
  pipeline(passed, socket, ended);
}
