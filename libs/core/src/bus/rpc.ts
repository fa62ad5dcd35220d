import { RequestError, TimeoutError, type Subscription } from '@nats-io/transport-node';
import { isErrorCode } from '../http/errors.js';
import type { Bus } from './bus.js';

/** Name and types of a question that one service answers for others: lives in the answering service's contract. */
export interface Rpc<Request, Response> {
  readonly subject: string;
  readonly types?: { request: Request; response: Response };
}

export const defineRpc = <Request, Response>(service: string, method: string): Rpc<Request, Response> => ({
  subject: `rpc.${service}.${method}`,
});

/** An answer that is an error: the code is one of the registry, or INTERNAL_ERROR when the request may succeed another time. */
export class RpcError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly details?: unknown,
  ) {
    super(message);
  }
}

/** Nobody answered in time: the service is not there, or not now. */
export class RpcUnavailableError extends Error {}

type Reply<Response> = { ok: Response } | { error: { code: string; message: string; details?: unknown } };

/** Asks the service. @throws RpcError as answered; RpcUnavailableError when nobody answers. */
export async function callRpc<Request, Response>(
  bus: Bus,
  rpc: Rpc<Request, Response>,
  request: Request,
  options: { timeoutMs?: number; to?: string } = {},
): Promise<Response> {
  let reply: Reply<Response>;
  try {
    const message = await bus.connection.request(
      options.to ? `${rpc.subject}.${options.to}` : rpc.subject,
      JSON.stringify(request),
      { timeout: options.timeoutMs ?? bus.options.answerMs ?? 5000 },
    );
    reply = message.json();
  } catch (error) {
    if (error instanceof TimeoutError || error instanceof RequestError)
      throw new RpcUnavailableError(`${rpc.subject}: ${error.message}`);
    throw error;
  }
  if ('error' in reply) throw new RpcError(reply.error.code, reply.error.message, reply.error.details);
  return reply.ok;
}

/**
 * Answers a question. Instances of a service share the questions.
 * @param to answers only those asked of this address, such as a partition, and alone.
 */
export function serveRpc<Request, Response>(
  bus: Bus,
  rpc: Rpc<Request, Response>,
  answer: (request: Request) => Promise<Response> | Response,
  to?: string,
): Subscription {
  return bus.connection.subscribe(to ? `${rpc.subject}.${to}` : rpc.subject, {
    ...(to ? {} : { queue: 'service' }),
    callback: (error, message) => {
      if (error) return;
      void (async () => {
        let reply: Reply<Response>;
        try {
          reply = { ok: await answer(message.json<Request>()) };
        } catch (failure) {
          const { code, message: text, details } = failure as { code?: unknown; message?: unknown; details?: unknown };
          if (typeof code === 'string' && isErrorCode(code))
            reply = { error: { code, message: String(text), ...(details === undefined ? {} : { details }) } };
          else {
            // Databases and sockets have codes too: they are nobody else's, and do not tell what to do.
            bus.logger.error({ rpc: rpc.subject, error: failure }, 'a request of another service failed');
            reply = { error: { code: 'INTERNAL_ERROR', message: 'internal error' } };
          }
        }
        message.respond(JSON.stringify(reply));
      })().catch((failure: unknown) =>
        // The connection ended before the answer was known, or the answer is larger than the server takes.
        bus.logger.warn({ rpc: rpc.subject, error: failure }, 'a request of another service could not be answered'),
      );
    },
  });
}
