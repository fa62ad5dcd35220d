import type { FastifyRequest } from 'fastify';
import { type TraceSpan, type Tracing, validTraceparent } from '../telemetry/index.js';

declare module 'fastify' {
  interface FastifyRequest {
    span?: TraceSpan;
  }
}

/**
 * Begins the span of a request whose key is known: those who have none may not ask for traces. From here on the header
 * `traceparent` is the context that what the request does belongs to, and there is none when it was no trace context.
 * @param since when the request came, epoch milliseconds.
 */
export function traceRequest(tracing: Tracing, request: FastifyRequest, since: number): void {
  const { headers, method, routeOptions, apiKey } = request;
  const caller = validTraceparent(headers['traceparent']);
  let traceparent = tracing.passOn(caller);
  delete headers['traceparent'];
  const route = routeOptions.url;
  if (apiKey && route !== undefined) {
    const span = tracing.enter(`${method} ${route}`, 'server', { traceparent: caller, since });
    if (span) {
      span.set({ 'http.request.method': method, 'http.route': route, 'orrery.tenant.id': apiKey.tenantId });
      request.span = span;
      traceparent = span.traceparent;
    }
  }
  if (traceparent !== undefined) headers['traceparent'] = traceparent;
}

/** @param status of the answer; undefined when the client did not wait for it. */
export function endRequestSpan(request: FastifyRequest, status?: number): void {
  const { span } = request;
  delete request.span;
  if (status !== undefined) span?.set({ 'http.response.status_code': status });
  span?.end(status === undefined ? 'aborted' : status >= 500 ? String(status) : undefined);
}
