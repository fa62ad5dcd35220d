import { createConnection } from 'node:net';

/**
 * Talks to a server whose protocol is made of text lines: sends `request` once connected, and waits for a line that
 * `accepts`. Rejects after 2 s, when the connection ends, or with what `accepts` throws.
 *
 * @param {{ port: number, request: string, accepts: (line: string) => boolean }} exchange
 * @returns {Promise<void>}
 */
export function exchangeLines({ port, request, accepts }) {
  return new Promise((resolve, reject) => {
    let received = '';
    const socket = createConnection({ host: '127.0.0.1', port, timeout: 2000 });
    /** @param {Error} [error] */
    const finish = (error) => {
      socket.destroy();
      if (error) reject(error);
      else resolve();
    };
    socket.setEncoding('utf8');
    socket.once('connect', () => socket.write(request));
    socket.once('error', finish);
    socket.once('timeout', () => finish(new Error(`no answer on port ${port}`)));
    socket.once('close', () => finish(new Error(`port ${port} closed the connection`)));
    socket.on('data', (chunk) => {
      received += chunk;
      const lines = received.split('\r\n');
      received = lines.pop() ?? '';
      try {
        if (lines.some(accepts)) finish();
      } catch (error) {
        finish(error instanceof Error ? error : new Error(String(error)));
      }
    });
  });
}
