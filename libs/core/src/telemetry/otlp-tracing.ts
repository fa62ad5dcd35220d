import { ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace, TraceFlags } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { AlwaysOnSampler, BatchSpanProcessor, type ReadableSpan, TracerProvider } from '@opentelemetry/sdk-trace';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EntryItem } from '../messages/index.js';
import type { Logger } from './logger.js';
import { metrics } from './metrics.js';
import { formatTraceparent, maySampled, parseTraceparent, type TraceContext } from './trace-context.js';
import type { BatchSpans, Entry, SpanAttributes, SpanKind as Kind, TraceSpan, Tracing } from './tracing.js';

const KINDS: Readonly<Record<Kind, SpanKind>> = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
  internal: SpanKind.INTERNAL,
};

/** Spans that wait for the collector: more are dropped, and counted. */
const MAX_WAITING = 4096;
const MAX_BATCH = 512;
/** How long a span waits for others to be sent with. */
const DELAY_MS = 1000;
/** Of one request to the collector, with what is tried again. */
const EXPORT_MS = 5000;
/** Of what is sent at last, when the process stops. */
const CLOSE_MS = 3000;
/**
 * Traces of callers that are honoured each second, in a process: callers are tenants, and whoever samples all of its
 * messages must not make the platform slower for the others. What is over it is sampled as if nobody had asked for it.
 */
const CALLERS_PER_SECOND = 100;
const WARN_EVERY_MS = 60_000;
const MAX_ATTRIBUTE_LENGTH = 512;

export interface OtlpOptions {
  /** Base URL of the collector. */
  endpoint: string;
  /** Of what is traced without a caller who asks for it, 0 to 1. */
  ratio: number;
  service: string;
  logger: Logger;
}

/** Counts what becomes of spans, and bounds how many wait. */
class CountedExporter extends OTLPTraceExporter {
  waiting = 0;
  private warnedAt = -Infinity;

  constructor(
    endpoint: string,
    private readonly logger: Logger,
  ) {
    super({ url: `${endpoint.replace(/\/+$/, '')}/v1/traces`, timeoutMillis: EXPORT_MS });
  }

  override export(spans: ReadableSpan[], done: Parameters<OTLPTraceExporter['export']>[1]): void {
    super.export(spans, (result) => {
      this.waiting -= spans.length;
      // 0 is success.
      metrics.traceSpans.inc({ outcome: result.code === 0 ? 'exported' : 'failed' }, spans.length);
      if (result.code !== 0) this.warn(result.error);
      done(result);
    });
  }

  private warn(error: Error | undefined): void {
    if (performance.now() - this.warnedAt < WARN_EVERY_MS) return;
    this.warnedAt = performance.now();
    this.logger.warn({ error: String(error) }, 'the collector does not take traces: they are dropped');
  }
}

class BoundedProcessor extends BatchSpanProcessor {
  constructor(private readonly exporter: CountedExporter) {
    super({
      exporter,
      // Never reached: those in the hands of the exporter count too.
      maxQueueSize: MAX_WAITING,
      maxExportBatchSize: MAX_BATCH,
      scheduledDelayMillis: DELAY_MS,
      exportTimeoutMillis: 2 * EXPORT_MS,
    });
  }

  override onEnd(span: ReadableSpan): void {
    if (this.exporter.waiting >= MAX_WAITING) {
      metrics.traceSpans.inc({ outcome: 'dropped' });
      return;
    }
    this.exporter.waiting++;
    super.onEnd(span);
  }
}

class RecordedSpan implements TraceSpan {
  readonly traceparent: string;

  constructor(private readonly span: Span) {
    this.traceparent = formatTraceparent({ ...span.spanContext(), sampled: true });
  }

  set(attributes: SpanAttributes): void {
    this.span.setAttributes(attributes);
  }

  end(error?: unknown): void {
    if (error !== undefined) this.fail(error);
    this.span.end();
  }

  // Texts of errors hold what users have sent.
  fail(error: unknown): void {
    this.span.setAttribute('error.type', kindOf(error));
    this.span.setStatus({ code: SpanStatusCode.ERROR });
  }
}

/** Traces by OpenTelemetry's SDK, to a collector that speaks OTLP over HTTP. Nothing global is touched: no library is traced. */
export class OtlpTracing implements Tracing {
  private readonly provider: TracerProvider;
  private second = 0;
  private callers = 0;

  constructor(private readonly options: OtlpOptions) {
    this.provider = new TracerProvider({
      resource: resourceFromAttributes({
        'service.namespace': 'orrery',
        'service.name': options.service,
        'service.instance.id': randomBytes(8).toString('hex'),
      }),
      // Only what is sampled begins a span at all.
      sampler: new AlwaysOnSampler(),
      spanLimits: { attributeValueLengthLimit: MAX_ATTRIBUTE_LENGTH },
      spanProcessors: [new BoundedProcessor(new CountedExporter(options.endpoint, options.logger))],
    });
  }

  enter(name: string, kind: Kind, { traceparent, since }: Entry): TraceSpan | undefined {
    const caller = traceparent === undefined ? undefined : parseTraceparent(traceparent);
    if (!(caller?.sampled && this.mayAsk()) && Math.random() >= this.options.ratio) return undefined;
    return this.begin(name, kind, caller, since);
  }

  passOn(traceparent: string | undefined): string | undefined {
    const caller = parseTraceparent(traceparent);
    return caller && formatTraceparent({ ...caller, sampled: false });
  }

  follow(name: string, kind: Kind, traceparent: string | undefined): TraceSpan | undefined {
    const parent = traceparent === undefined ? undefined : parseTraceparent(traceparent);
    return parent?.sampled ? this.begin(name, kind, parent) : undefined;
  }

  batch<Item extends EntryItem>(
    name: string,
    kind: Kind,
    items: Item[],
    describe: (item: Item, header: Record<string, unknown>) => SpanAttributes,
    withHeader: (item: Item, header: string) => Item = (item, header) => ({ ...item, header }),
  ): BatchSpans<Item> {
    const spans = new Map<Item, RecordedSpan>();
    for (const [i, item] of items.entries()) {
      if (!maySampled(item.header)) continue;
      const header = headerOf(item);
      const parent = parseTraceparent(header['traceparent']);
      if (!parent?.sampled) continue;
      const span = this.begin(name, kind, parent);
      span.set(describe(item, header));
      const traced = withHeader(item, JSON.stringify({ ...header, traceparent: span.traceparent }));
      items[i] = traced;
      spans.set(traced, span);
    }
    return {
      fail: (item, error) => spans.get(item)?.fail(error),
      end: (error) => spans.forEach((span) => span.end(error)),
    };
  }

  async close(): Promise<void> {
    // A collector that does not answer must not hold up the end of the process.
    await Promise.race([this.provider.shutdown().catch(() => undefined), sleep(CLOSE_MS, undefined, { ref: false })]);
  }

  private begin(name: string, kind: Kind, parent: TraceContext | undefined, since?: number): RecordedSpan {
    const context = parent
      ? trace.setSpanContext(ROOT_CONTEXT, {
          traceId: parent.traceId,
          spanId: parent.spanId,
          traceFlags: TraceFlags.SAMPLED,
          isRemote: true,
        })
      : ROOT_CONTEXT;
    const options = { kind: KINDS[kind], ...(since === undefined ? {} : { startTime: since }) };
    return new RecordedSpan(this.provider.getTracer('orrery').startSpan(name, options, context));
  }

  private mayAsk(): boolean {
    const second = Math.floor(performance.now() / 1000);
    if (second !== this.second) {
      this.second = second;
      this.callers = 0;
    }
    return ++this.callers <= CALLERS_PER_SECOND;
  }
}

function headerOf({ header }: EntryItem): Record<string, unknown> {
  try {
    return JSON.parse(header) as Record<string, unknown>;
  } catch {
    return {};
  }
}

/** SQLSTATE, code of Node.js, or class. */
function kindOf(error: unknown): string {
  if (typeof error === 'string') return error;
  const { code, driverError, constructor } = error as {
    code?: unknown;
    driverError?: { code?: unknown };
    constructor?: { name?: unknown };
  };
  const kind = driverError?.code ?? code ?? constructor?.name;
  return typeof kind === 'string' ? kind : 'error';
}
