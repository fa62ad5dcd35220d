import type { AuditEntry } from '@orrery/core/audit';
import { LogicError } from '@orrery/core/json-logic';
import { type DataMessage, type MessageHeader, messageTime } from '@orrery/core/messages';
import type { TenantContext } from '../contexts/context-cache.js';
import type { RuleLogic, Scope } from '../logic/rule-logic.js';
import type { Effects } from './effects.js';
import type { CompiledRule, TenantRules } from './tenant-rules.js';

/** A data message that there are rules for. */
export class Incoming {
  private parsed?: DataMessage;
  private text?: string;

  constructor(
    /** Place in the batch. */
    readonly index: number,
    readonly header: MessageHeader,
    private readonly body: string,
    readonly rules: TenantRules,
    readonly context: TenantContext,
  ) {}

  get message(): DataMessage {
    return (this.parsed ??= JSON.parse(this.body) as DataMessage);
  }

  get tenantId(): string {
    return this.header.tenantId;
  }

  /** When it arrived, epoch milliseconds: the clock of what sleeps, so that a reader that is late changes nothing. */
  get arrived(): number {
    return messageTime(this.header.id).getTime();
  }

  /** JSON of the message as events tell of it (manual 15.4.2.2), without the braces. */
  get data(): string {
    if (this.text === undefined) {
      const { id: _id, created: _created, ...rest } = this.message;
      this.text = JSON.stringify(rest).slice(1, -1);
    }
    return this.text;
  }
}

/** Bytes, about, of the rows that are written at once. */
const MAX_CHUNK_BYTES = 4 << 20;
/** Of an event beside its message: the rules, mostly. */
const EVENT_BYTES = 2048;
/** Events that wait to be put in order: many rules may make many of each message. */
const MAX_EMITTED = 50_000;
/** Longest time that the transaction waits for evaluations: the database ends those that seem to be left alone. */
const MAX_IDLE_MS = 50;

/** An event before it leaves. */
export interface Emitted {
  incoming: Incoming;
  type: string;
  /** In full, by their field in the event. */
  rules: Record<string, unknown>;
  /** The routed shape, as JSON text. */
  body: () => string;
}

/** One batch of messages on its way through the rules: its clock, its events, and what went wrong. */
export class Batch {
  readonly timestamp: string;
  /** What was done, for metrics. */
  readonly counts = { evaluations: 0, failures: 0, evaluatedMs: 0, firings: new Map<string, number>() };
  private readonly failed = new Map<string, AuditEntry>();
  private emitted: Emitted[] = [];
  private touched = performance.now();

  constructor(
    readonly effects: Effects,
    readonly messages: readonly Incoming[],
    readonly now = new Date(),
  ) {
    this.timestamp = now.toISOString();
  }

  /** One entry for each rule that has failed. */
  get failures(): AuditEntry[] {
    return [...this.failed.values()];
  }

  /** @returns undefined when the logic fails, of which the audit log is told. */
  evaluate(rule: CompiledRule, logic: RuleLogic, incoming: Incoming, state: unknown = null): unknown {
    this.counts.evaluations++;
    const { context } = incoming;
    const scope: Scope = { context: (key) => context.get(key), state, now: this.now };
    try {
      return logic(incoming.message, scope);
    } catch (error) {
      if (!(error instanceof LogicError)) throw error;
      this.fail(rule, incoming, error.message);
      return undefined;
    }
  }

  fail(rule: CompiledRule, { tenantId, header }: Incoming, reason: string): void {
    this.counts.failures++;
    if (this.failed.has(rule.id)) return;
    this.failed.set(rule.id, {
      tenantId,
      level: 'error',
      category: 'data',
      subcategory: 'event_processing',
      type: 'rule_failed',
      description: `The rule "${rule.name ?? rule.id}" could not be applied to a data message: ${reason}`,
      ...(header.deviceId === undefined ? {} : { source: { deviceId: header.deviceId } }),
      content: { ruleId: rule.id, messageId: header.id, streamId: header.streamId },
    });
  }

  /** What has been done since then was evaluation. @param began on the monotonic clock. */
  evaluatedSince(began: number): void {
    this.counts.evaluatedMs += performance.now() - began;
  }

  /** True when it is time to `breathe`. */
  get isLong(): boolean {
    return performance.now() - this.touched > MAX_IDLE_MS;
  }

  /** Between evaluations: the transaction, the leases and the other work of the process go on. */
  async breathe(): Promise<void> {
    await this.effects.breathe();
    this.touched = performance.now();
  }

  /** @param body writes the routed shape of the event, as JSON text. */
  async emit(incoming: Incoming, type: string, rules: Record<string, unknown>, body: () => string): Promise<void> {
    this.counts.firings.set(type, (this.counts.firings.get(type) ?? 0) + 1);
    this.emitted.push({ incoming, type, rules, body });
    if (this.emitted.length >= MAX_EMITTED) await this.flush();
  }

  /** Writes the events that have been emitted, in the order of their messages, whatever rule they come from. */
  async flush(): Promise<void> {
    const emitted = this.emitted.toSorted((a, b) => a.incoming.index - b.incoming.index);
    this.emitted = [];
    for (const chunk of chunks(emitted, ({ incoming }) => incoming.data.length + EVENT_BYTES)) {
      await this.effects.publish(chunk);
      this.touched = performance.now();
    }
  }
}

/** Rows in pieces that one statement can take, in their order. */
export function* chunks<Row>(rows: readonly Row[], bytes: (row: Row) => number): Generator<Row[]> {
  let chunk: Row[] = [];
  let size = 0;
  for (const row of rows) {
    chunk.push(row);
    size += bytes(row);
    if (size > MAX_CHUNK_BYTES) {
      yield chunk;
      [chunk, size] = [[], 0];
    }
  }
  if (chunk.length > 0) yield chunk;
}

/** In the one order in which all instances lock rows. */
export const inLockOrder = <Row>(rows: readonly Row[], keyOf: (row: Row) => string): Row[] =>
  rows
    .map((row) => [keyOf(row), row] as const)
    .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([, row]) => row);

export const referenceTo = ({ id, name }: CompiledRule): { id: string; name?: string } => ({
  id,
  ...(name === undefined ? {} : { name }),
});
