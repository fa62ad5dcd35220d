import type { Config } from '../config/index.js';
import type { EntryItem } from '../messages/index.js';
import type { Logger } from './logger.js';
import { validTraceparent } from './trace-context.js';

/** What a span is of (OpenTelemetry's SpanKind). */
export type SpanKind = 'server' | 'client' | 'producer' | 'consumer' | 'internal';

/**
 * What a span says beside its name and time. It leaves the platform for whoever operates it: ids of tenants, devices,
 * messages and policies may be in it; values, keys, URLs, names that users give and texts of errors may not.
 */
export type SpanAttributes = Record<string, string | number | boolean>;

/** A span that has begun. */
export interface TraceSpan {
  /** What follows belongs under it. */
  readonly traceparent: string;
  set(attributes: SpanAttributes): void;
  /** @param error its kind is told, never its text. */
  end(error?: unknown): void;
}

/** The spans of a batch. */
export interface BatchSpans<Item> {
  /** The item has failed by itself. */
  fail(item: Item, error: unknown): void;
  end(error?: unknown): void;
}

/** What somebody else has begun, whose trace it goes on with. */
export interface Entry {
  /** The caller's context, of any text. A sampled one is honoured, up to a number each second. */
  traceparent?: string | undefined;
  /** Epoch milliseconds; now when absent. */
  since?: number;
}

/** Makes spans of the traces that are sampled, and nothing of all others. */
export interface Tracing {
  /** Something reaches the platform: here it is decided whether it is traced. */
  enter(name: string, kind: SpanKind, entry: Entry): TraceSpan | undefined;
  /**
   * The context of a caller of whose trace nothing was begun, as it travels on: what comes after follows every sampled one,
   * without a limit.
   * @param traceparent any text; what is no context is left out.
   */
  passOn(traceparent: string | undefined): string | undefined;
  /** A step of something that may be traced. */
  follow(name: string, kind: SpanKind, traceparent: string | undefined): TraceSpan | undefined;
  /**
   * A step of each traced item of a batch. In place of such an item comes a copy, in whose header the new span is the
   * context: what is made of it goes on from there.
   * @param describe what the span of an item says, of its parsed header.
   * @param withHeader copies an item that is more than its own properties.
   */
  batch<Item extends EntryItem>(
    name: string,
    kind: SpanKind,
    items: Item[],
    describe: (item: Item, header: Record<string, unknown>) => SpanAttributes,
    withHeader?: (item: Item, header: string) => Item,
  ): BatchSpans<Item>;
  /** Sends what has ended, within a few seconds. */
  close(): Promise<void>;
}

const NO_SPANS: BatchSpans<unknown> = { fail: () => undefined, end: () => undefined };

/** What there is without a collector: contexts are passed on, and nothing is recorded. */
export const NO_TRACING: Tracing = {
  enter: () => undefined,
  passOn: validTraceparent,
  follow: () => undefined,
  batch: () => NO_SPANS,
  close: () => Promise.resolve(),
};

/**
 * Tracing as it is configured. The SDK is loaded only where there is a collector.
 * @param service name of the process, as in its log.
 */
export async function startTracing(
  config: Pick<Config, 'OTEL_EXPORTER_OTLP_ENDPOINT' | 'OTEL_TRACES_SAMPLER_ARG'>,
  service: string,
  logger: Logger,
): Promise<Tracing> {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_TRACES_SAMPLER_ARG: ratio } = config;
  if (endpoint === undefined) return NO_TRACING;
  const { OtlpTracing } = await import('./otlp-tracing.js');
  return new OtlpTracing({ endpoint, ratio, service, logger });
}
