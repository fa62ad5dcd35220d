import type { IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/**
 * Passes a request for a WebSocket on, and what follows both ways. The server behind is told what only this one sees:
 * the address of the client, and whether it speaks TLS.
 * @param upstream URL of that server.
 */
export function passWebSocket(request: IncomingMessage, socket: Socket, head: Buffer, upstream: string): void {
  const { method, url, rawHeaders } = request;
  const lines = [`${method} ${url} HTTP/1.1`];
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (!/^x-forwarded-/i.test(rawHeaders[i]!)) lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
  lines.push(`X-Forwarded-Proto: ${socket instanceof TLSSocket ? 'https' : 'http'}`);
  lines.push(`X-Forwarded-For: ${socket.remoteAddress ?? ''}`);
  const { hostname, port } = new URL(upstream);
  const passed = connect(Number(port), hostname, () => {
    passed.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
    passed.write(head);
    socket.pipe(passed).pipe(socket);
  });
  for (const [one, other] of [
    [socket, passed],
    [passed, socket],
  ] as const) {
    one.on('error', () => one.destroy());
    one.on('close', () => other.destroySoon());
  }
}
