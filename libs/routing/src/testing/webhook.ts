import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

export interface ReceivedPush {
  path: string;
  headers: IncomingMessage['headers'];
  /** Names and values in turn, as they came. */
  rawHeaders: string[];
  body: string;
}

type Answer = (response: ServerResponse, push: ReceivedPush) => void | Promise<void>;

/** A server that keeps what is pushed to it. It answers 200 unless told otherwise. */
export interface Webhook {
  url: string;
  /** `host:port` */
  host: string;
  pushes: ReceivedPush[];
  /** Requests that have no answer yet, and the most of them. */
  open: number;
  mostOpen: number;
  answer: Answer;
  close(): Promise<void>;
}

export const status =
  (code: number, body = '', headers: Record<string, string> = {}): Answer =>
  (response) =>
    void response.writeHead(code, headers).end(body);

/** @param tls key and certificate in PEM: HTTPS. */
export async function startWebhook(tls?: { key: string; cert: string }): Promise<Webhook> {
  const take = (request: IncomingMessage, response: ServerResponse): void => {
    const chunks: Buffer[] = [];
    webhook.open++;
    webhook.mostOpen = Math.max(webhook.mostOpen, webhook.open);
    response.on('close', () => webhook.open--);
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const push = {
        path: request.url!,
        headers: request.headers,
        rawHeaders: request.rawHeaders,
        body: Buffer.concat(chunks).toString(),
      };
      webhook.pushes.push(push);
      void webhook.answer(response, push);
    });
  };
  const server: Server = tls ? createTlsServer(tls, take) : createServer(take);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const webhook: Webhook = {
    url: `${tls ? 'https' : 'http'}://${host}/hook`,
    host,
    pushes: [],
    open: 0,
    mostOpen: 0,
    answer: status(200),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return webhook;
}
