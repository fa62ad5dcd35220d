import { setTimeout as sleep } from 'node:timers/promises';
import type { Audit, AuditEntry } from '@orrery/core/audit';
import type { Database } from '@orrery/core/database';
import { WokenWork } from '@orrery/core/jobs';
import type { DataMessage, MessageHeader } from '@orrery/core/messages';
import type { Logger, Tracing } from '@orrery/core/telemetry';
import { WebhookError, type WebhookRules, type Webhooks } from '@orrery/core/webhooks';
import { failureEntry } from './audit-entries.js';
import { pipelineMetrics } from '../metrics.js';
import { MAX_MESSAGE_BYTES, runSteps, StepFailure } from './external-transformation.js';
import type { CompiledPipeline, PipelineCache } from './pipeline-cache.js';
import { complete, nextMessages, type Outcome, type WaitingMessage, waitingTenants } from './waiting-messages.js';

/** Messages of a tenant that one instance has transformed at once: a dead server holds up its own tenant alone. */
const CALLS_PER_TENANT = 10;
/** Messages of a tenant that are read at once, and their bytes. */
const PAGE = 100;
const PAGE_BYTES = 512 << 10;
/** Of a tenant, and of all, in memory: beyond that no more are read. */
const TENANT_BYTES = 2 << 20;
const MAX_BYTES = 256 << 20;
/** Messages that are handed on in one transaction, and their characters. */
const MAX_OUTCOMES = 500;
const MAX_OUTCOME_LENGTH = 16 << 20;
/** Characters of answers that may wait for the database before no more are asked for: they may be much larger. */
const MAX_ANSWERED = 128 << 20;
/** What waits in partitions that have been taken over is found within this time. */
const LOOK_MS = 5000;
const RETRY_MS = 500;
/** A pipeline that was changed or disabled is so for what waits in memory within this time. */
const FRESH_MS = 1000;
/** Calls under way when the process ends get so long: what is given up is called again by the next owner. */
const GRACE_MS = 3000;

/** The messages of a tenant, in memory. */
interface Lane {
  tenantId: string;
  /** By key, in their order; the first one is being called or handed on, or its key is in `ready`. */
  keys: Map<string, WaitingMessage[]>;
  ready: string[];
  calls: number;
  bytes: number;
  /** The tenant's pipelines, and when they were asked for. */
  pipelines: readonly CompiledPipeline[];
  checked: number;
  /** Keys that were left out when the table was last read. */
  leftOut: ReadonlySet<string>;
  /** There may be more in the table. */
  more: boolean;
  reading: boolean;
}

/** What comes of a call. */
interface Transformed {
  outcome: Outcome;
  result: 'transformed' | 'failed' | 'skipped';
  /** For the audit log. */
  entry?: AuditEntry;
}

export interface TransformerParts {
  database: Database;
  audit: Audit;
  webhooks: Webhooks;
  pipelines: PipelineCache;
  rules: WebhookRules;
  logger: Logger;
  tracing: Tracing;
}

/**
 * Calls the servers of pipelines for the messages that wait in the partitions of this instance, and hands them on. A
 * row is the message: whoever removes it hands it on, so that two instances that both believe to own a partition may
 * both call, and one of them goes on. Messages of one key are called one after the other.
 */
export class Transformer {
  private readonly lanes = new Map<string, Lane>();
  private readonly calls = new Set<Promise<void>>();
  private readonly abort = new AbortController();
  private readonly look: WokenWork;
  private readonly completion: WokenWork;
  private outcomes: Array<Transformed & { lane: Lane; message: WaitingMessage }> = [];
  private bytes = 0;
  private answered = 0;
  private stopped = false;

  /** @param partitions those that this instance owns now. */
  constructor(
    private readonly parts: TransformerParts,
    private readonly partitions: () => number[],
  ) {
    const { logger } = parts;
    this.look = new WokenWork({
      name: 'messages that wait for pipelines',
      everyMs: LOOK_MS,
      run: async () => this.wake(await waitingTenants(parts.database, partitions())),
      logger,
    });
    this.completion = new WokenWork({
      name: 'results of pipelines',
      everyMs: RETRY_MS,
      run: () => this.complete(),
      logger,
    });
  }

  start(): void {
    this.look.wake();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.look.stop();
    await Promise.race([Promise.all(this.calls), sleep(GRACE_MS, undefined, { ref: false })]);
    this.abort.abort();
    await Promise.all(this.calls);
    await this.completion.stop();
    await this.complete().catch((error: unknown) =>
      this.parts.logger.warn(
        { error: String(error) },
        'results of pipelines are lost; their messages are called again',
      ),
    );
  }

  /** These tenants have new messages. */
  wake(tenantIds: Iterable<string>): void {
    if (this.stopped) return;
    for (const tenantId of tenantIds) {
      let lane = this.lanes.get(tenantId);
      if (!lane)
        this.lanes.set(
          tenantId,
          (lane = {
            tenantId,
            keys: new Map(),
            ready: [],
            calls: 0,
            bytes: 0,
            pipelines: [],
            checked: 0,
            leftOut: new Set(),
            more: true,
            reading: false,
          }),
        );
      lane.more = true;
      this.advance(lane);
    }
  }

  private advance(lane: Lane): void {
    if (this.stopped) return;
    while (lane.calls < CALLS_PER_TENANT && lane.ready.length > 0 && this.answered < MAX_ANSWERED)
      this.call(lane, lane.ready.shift()!);
    if (lane.reading) return;
    if (lane.more && lane.ready.length < CALLS_PER_TENANT && lane.bytes < TENANT_BYTES && this.bytes < MAX_BYTES)
      void this.read(lane);
    // What is over the bounds is found by the next look, if nothing else of the tenant ends before.
    else if (lane.keys.size === 0) this.lanes.delete(lane.tenantId);
  }

  private async read(lane: Lane): Promise<void> {
    lane.reading = true;
    lane.more = false;
    lane.leftOut = new Set(lane.keys.keys());
    const { database, logger } = this.parts;
    try {
      const page = await nextMessages(database, lane.tenantId, this.partitions(), [...lane.leftOut], PAGE, PAGE_BYTES);
      lane.more ||= page.more;
      if (page.messages.length > 0) await this.refresh(lane);
      for (const message of page.messages) this.load(lane, message);
    } catch (error) {
      if (this.stopped) return;
      logger.warn({ error: String(error) }, 'could not read messages that wait for pipelines; trying again');
      await sleep(RETRY_MS);
      lane.more = true;
    }
    lane.reading = false;
    this.advance(lane);
  }

  private async refresh(lane: Lane): Promise<void> {
    const { database, pipelines } = this.parts;
    const checked = Date.now();
    lane.pipelines = (await pipelines.of(database.manager, [lane.tenantId])).get(lane.tenantId) ?? [];
    lane.checked = checked;
  }

  private load(lane: Lane, message: WaitingMessage): void {
    lane.bytes += message.body.length;
    this.bytes += message.body.length;
    const queue = lane.keys.get(message.key);
    if (queue) queue.push(message);
    else {
      lane.keys.set(message.key, [message]);
      lane.ready.push(message.key);
    }
  }

  private call(lane: Lane, key: string): void {
    const message = lane.keys.get(key)![0]!;
    if (!this.partitions().includes(message.partition)) return this.drop(lane, key);
    lane.calls++;
    const call = this.transform(lane, message)
      .then(
        (transformed) => {
          this.answered += transformed.outcome.body.length;
          this.outcomes.push({ ...transformed, lane, message });
          this.completion.wake();
        },
        // Given up: the row stays, and its key is not called again by this process.
        () => undefined,
      )
      .finally(() => {
        lane.calls--;
        this.calls.delete(call);
        this.advance(lane);
      });
    this.calls.add(call);
  }

  /** @throws WebhookError `aborted` alone: whatever else happens, the message goes on. */
  private async transform(lane: Lane, message: WaitingMessage): Promise<Transformed> {
    const { webhooks, rules, logger, tracing } = this.parts;
    const { seq, partition } = message;
    // While the database is away, what is known holds.
    if (Date.now() - lane.checked > FRESH_MS) await this.refresh(lane).catch(() => undefined);
    const pipeline = lane.pipelines.find(({ id }) => id === message.pipelineId);
    const header = JSON.parse(message.header) as MessageHeader;
    // It was deleted or disabled meanwhile.
    if (!pipeline) return { outcome: { seq, partition, header, body: message.body }, result: 'skipped' };
    const original = JSON.parse(message.body) as DataMessage;
    const span = tracing.follow('pipeline transform', 'client', header.traceparent);
    span?.set({ 'orrery.tenant.id': header.tenantId, 'orrery.pipeline.id': pipeline.id });
    if (span) header.traceparent = span.traceparent;
    const end = pipelineMetrics.seconds.startTimer();
    try {
      const { traceparent } = header;
      const transformed = await runSteps(webhooks, rules, pipeline, original, this.abort.signal, traceparent);
      const { timestamp } = transformed;
      const body = JSON.stringify(withTrace(transformed, pipeline.id, true));
      if (Buffer.byteLength(body) > MAX_MESSAGE_BYTES)
        throw new StepFailure(`the transformed message has more than ${MAX_MESSAGE_BYTES} bytes`);
      span?.end();
      return { outcome: { seq, partition, header: { ...header, timestamp }, body }, result: 'transformed' };
    } catch (error) {
      span?.end(error);
      if (error instanceof WebhookError && error.reason === 'aborted') throw error;
      const body = JSON.stringify(withTrace(original, pipeline.id, false));
      const entry = failureEntry(header, original, pipeline.id, error, logger);
      return { outcome: { seq, partition, header, body }, result: 'failed', entry };
    } finally {
      end();
    }
  }

  private async complete(): Promise<void> {
    while (this.outcomes.length > 0) {
      const batch: typeof this.outcomes = [];
      let length = 0;
      for (const each of this.outcomes) {
        if (batch.length === MAX_OUTCOMES || length > MAX_OUTCOME_LENGTH) break;
        batch.push(each);
        length += each.outcome.body.length;
      }
      const done = await complete(
        this.parts.database,
        batch.map(({ outcome }) => outcome),
      );
      this.outcomes = this.outcomes.slice(batch.length);
      const held = this.answered >= MAX_ANSWERED;
      this.answered -= length;
      for (const { lane, message, result, entry } of batch) {
        if (done.has(message.seq)) {
          pipelineMetrics.messages.inc({ outcome: result });
          if (entry) this.parts.audit.write(entry);
          this.unload(lane, message);
        } else this.drop(lane, message.key);
      }
      for (const lane of held ? this.lanes.values() : new Set(batch.map((each) => each.lane))) this.advance(lane);
    }
  }

  /** The first message of its key has been handed on: the next one may be called. */
  private unload(lane: Lane, message: WaitingMessage): void {
    lane.bytes -= message.body.length;
    this.bytes -= message.body.length;
    const queue = lane.keys.get(message.key)!;
    queue.shift();
    if (queue.length > 0) lane.ready.push(message.key);
    else {
      lane.keys.delete(message.key);
      lane.more ||= lane.leftOut.has(message.key);
    }
  }

  /** The messages of a key are those of another instance now; if not, they are read again. */
  private drop(lane: Lane, key: string): void {
    for (const { body } of lane.keys.get(key)!) {
      lane.bytes -= body.length;
      this.bytes -= body.length;
    }
    lane.keys.delete(key);
  }
}

/** What the stage leaves in the metadata (manual 11.4.1 and 15.3.8). */
function withTrace(message: DataMessage, id: string, success: boolean): DataMessage {
  const { location, metadata } = message;
  return {
    ...message,
    metadata: {
      ...metadata,
      transformation: {
        ...metadata.transformation,
        ...(success && location ? { external: { location } } : {}),
        pipeline: { id, success },
      },
    },
  };
}
