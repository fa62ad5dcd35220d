import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Called {
  path: string;
  headers: IncomingHttpHeaders;
  body: Record<string, unknown>;
  at: number;
}

/** What a server answers: JSON with status 200, text as it is, or whatever the function does. */
export type Answer = object | string | ((called: Called, reply: ServerResponse, incoming: IncomingMessage) => unknown);

/** An HTTP server that transforms messages, for tests: by path, what it answers and what it was asked. */
export class TransformerServer {
  readonly calls: Called[] = [];
  private readonly answers = new Map<string, Answer>();
  private readonly server = createServer((incoming, reply) => void this.handle(incoming, reply));
  private paths = 0;

  async start(): Promise<void> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
  }

  /** Answers on a path of its own. @returns its URL */
  answer(answer: Answer): string {
    const path = `/${++this.paths}`;
    this.answers.set(path, answer);
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}${path}`;
  }

  callsOf(url: string): Called[] {
    const { pathname } = new URL(url);
    return this.calls.filter(({ path }) => path === pathname);
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  private async handle(incoming: IncomingMessage, reply: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>;
    const called = { path: incoming.url!.split('?')[0]!, headers: incoming.headers, body, at: Date.now() };
    this.calls.push(called);
    const answer = this.answers.get(called.path);
    if (typeof answer === 'function') await answer(called, reply, incoming);
    else reply.end(typeof answer === 'string' ? answer : JSON.stringify(answer));
  }
}
