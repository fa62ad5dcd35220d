import type { ApiKeyIdentity } from '@orrery/core/auth';
import type { Bus } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import { ApiError } from '@orrery/core/http';
import { isTrue } from '@orrery/core/json-logic';
import { type DataMessage, messageTime } from '@orrery/core/messages';
import { isDataMessage, parseReplay, replay } from '@orrery/store/contract';
import { contextOf } from '../contexts/context-cache.js';
import { Batch, type Emitted, Incoming } from '../processing/batch.js';
import { processSimpleEvents } from '../processing/simple-events.js';
import { processStates } from '../processing/state-changes.js';
import {
  compileFiring,
  compileMatching,
  compileState,
  type CompiledMatchingRule,
  type TenantRules,
} from '../processing/tenant-rules.js';
import { parseRule, UUID } from '../rules/rule-document.js';
import { Rule, type RuleKind } from '../rules/rule.entity.js';
import type { BacktestDto } from './backtest.dto.js';
import { MemoryEffects } from './memory-effects.js';

/** Characters of the events and matches of an answer: a message may have a million. */
const MAX_ANSWER = 4_000_000;

/**
 * Runs a rule over stored messages, by the code that runs it on new ones, and tells what it would have fired. Nothing is
 * written: guards and states begin empty and stay in memory. Clocks are those of the arrivals; contexts and the other
 * rules are the present ones.
 */
export class Backtests {
  constructor(
    private readonly bus: Bus,
    private readonly database: Database,
  ) {}

  /** @throws NOT_FOUND; GENERIC_INVALID_PARAMETER_ERROR that lists every bad field. */
  async run(key: ApiKeyIdentity, kind: RuleKind, id: string, body: unknown): Promise<BacktestDto> {
    const { tenantId } = key;
    const rule = await this.ruleOf(tenantId, kind, id, body);
    const range = parseReplay(key, body);
    const report = new Report(range.limit);
    const rules = await this.rulesFor(rule, (message) => report.match(message));
    const context = await contextOf(this.database, tenantId);
    const effects = new MemoryEffects((event) => report.fire(event));
    let messages = 0;
    const end = await replay(this.bus, tenantId, range, async (stored, text) => {
      // Rules are applied to messages alone.
      if (!isDataMessage(stored)) return;
      messages++;
      const { streamId, timestamp, metadata } = stored;
      const deviceId = metadata.source;
      const header = { tenantId, id: stored.id, streamId, timestamp, ...(deviceId === undefined ? {} : { deviceId }) };
      const incoming = new Incoming(0, header, text, rules, context);
      // A batch for each message: its clock is that of the arrival.
      const batch = new Batch(effects, [incoming], messageTime(stored.id));
      await processSimpleEvents(batch);
      await processStates(batch);
      await batch.flush();
      for (const { content, description } of batch.failures)
        report.fail(String(content!['ruleId']), stored.id, description);
    });
    const { from, to } = range;
    return { from, to, ...end, messages, ...report.dto(kind) };
  }

  private async ruleOf(tenantId: string, kind: RuleKind, id: string, body: unknown): Promise<Rule> {
    const rule = UUID.test(id) ? await this.database.manager.findOneBy(Rule, { tenantId, kind, id }) : null;
    if (!rule) throw new ApiError('NOT_FOUND', `no rule ${id}`);
    const changed = (body as { rule?: unknown } | null)?.rule ?? undefined;
    return changed === undefined ? rule : Object.assign(rule, parseRule(kind, changed, rule.id));
  }

  /** The rule counts as enabled; the rules that it works with are those that are. */
  private async rulesFor(rule: Rule, matched: (message: DataMessage) => void): Promise<TenantRules> {
    if (rule.kind === 'state') return { matching: [], states: [compileState(rule)] };
    const watched = (each: Rule): Omit<CompiledMatchingRule, 'firing'> => {
      const compiled = compileMatching(each);
      return {
        ...compiled,
        predicate: (message, scope) => {
          const result = compiled.predicate(message, scope);
          if (isTrue(result)) matched(message as DataMessage);
          return result;
        },
      };
    };
    const other = rule.kind === 'matching' ? 'firing' : 'matching';
    const others = await this.database.manager.find(Rule, {
      where: { tenantId: rule.tenantId, kind: other, enabled: true },
      order: { created: 'ASC', id: 'ASC' },
    });
    if (rule.kind === 'matching') {
      const firing = others.map(compileFiring).filter(({ matchingIds }) => matchingIds.has(rule.id));
      return { matching: [{ ...watched(rule), firing }], states: [] };
    }
    const firing = compileFiring(rule);
    return {
      matching: others
        .filter(({ id }) => firing.matchingIds.has(id))
        .map((each) => ({ ...watched(each), firing: [firing] })),
      states: [],
    };
  }
}

/** What has happened: everything counted, the first listed. */
class Report {
  private readonly matches: NonNullable<BacktestDto['matches']> = [];
  private readonly events: BacktestDto['events'] = [];
  private readonly failures: BacktestDto['failures'] = [];
  private last: DataMessage | undefined;
  private matched = 0;
  private fired = 0;
  private failed = 0;
  private size = 0;

  constructor(private readonly limit: number) {}

  /** Several rules may match one message. */
  match(message: DataMessage): void {
    if (this.last === message) return;
    this.last = message;
    this.matched++;
    const { id: messageId, streamId, created } = message;
    if (this.matches.length < this.limit) this.matches.push({ messageId, streamId, created });
  }

  fire({ incoming, body }: Emitted): void {
    this.fired++;
    if (this.events.length >= this.limit || this.size >= MAX_ANSWER) return;
    const text = body();
    this.size += text.length;
    this.events.push({ messageId: incoming.header.id, event: JSON.parse(text) as Record<string, unknown> });
  }

  fail(ruleId: string, messageId: string, reason: string): void {
    this.failed++;
    if (this.failures.length < this.limit) this.failures.push({ ruleId, messageId, reason });
  }

  dto(kind: RuleKind): Omit<BacktestDto, 'from' | 'to' | 'messages' | 'complete'> {
    const { matched, matches, fired, events, failed, failures } = this;
    return { ...(kind === 'state' ? {} : { matched, matches }), fired, events, failed, failures };
  }
}
