import { isTrue } from '@orrery/core/json-logic';
import { digestOf } from '../guards/criteria.js';
import { type Batch, type Incoming, inLockOrder, referenceTo } from './batch.js';
import type { CompiledStateRule } from './tenant-rules.js';

export type State = string | number | boolean;

/** The messages of one state key, in their order. */
export interface StateKey {
  tenantId: string;
  rule: CompiledStateRule;
  key: string;
  digest: string;
  messages: Incoming[];
}

interface Transition {
  incoming: Incoming;
  from: State | null;
  to: State;
}

export interface Computed {
  stateKey: StateKey;
  transitions: Transition[];
  before: State | null;
  after: State;
}

/** Longest text that is a state. */
export const MAX_STATE_LENGTH = 1024;

const isPrimitive = (value: unknown): value is State =>
  typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';

/**
 * State processing (manual 17.2.6). A state is set by comparing it with the one that it was computed from: a key that
 * another instance has changed in the meantime is locked by the attempt, and computed again, so that no transition is
 * lost. All instances lock in the same order.
 */
export async function processStates(batch: Batch): Promise<void> {
  let open = inLockOrder(await keysOf(batch), ({ tenantId, rule, digest }) => `${tenantId} ${rowKey(rule.id, digest)}`);
  while (open.length > 0) {
    const states = await batch.effects.readStates(open);
    const computed: Computed[] = [];
    for (const stateKey of open)
      computed.push(...(await compute(batch, stateKey, states.get(rowKey(stateKey.rule.id, stateKey.digest)) ?? null)));
    const written = await batch.effects.writeStates(computed);
    const isWritten = ({ stateKey }: Computed): boolean => written.has(rowKey(stateKey.rule.id, stateKey.digest));
    for (const each of computed.filter(isWritten))
      for (const transition of each.transitions) await report(batch, each.stateKey, transition);
    open = computed.filter((each) => !isWritten(each)).map(({ stateKey }) => stateKey);
  }
}

/** The state keys of the messages that pass their rule's filter. */
async function keysOf(batch: Batch): Promise<StateKey[]> {
  const keys = new Map<CompiledStateRule, Map<string, StateKey>>();
  for (const incoming of batch.messages) {
    const began = performance.now();
    for (const rule of incoming.rules.states) {
      if (rule.filter && !isTrue(batch.evaluate(rule, rule.filter, incoming))) continue;
      const value = rule.key(incoming.message);
      if (!isPrimitive(value)) continue;
      const key = String(value);
      let ofRule = keys.get(rule);
      if (!ofRule) keys.set(rule, (ofRule = new Map()));
      const known = ofRule.get(key);
      if (known) known.messages.push(incoming);
      else ofRule.set(key, { tenantId: incoming.tenantId, rule, key, digest: digestOf(key), messages: [incoming] });
    }
    batch.evaluatedSince(began);
    if (batch.isLong) await batch.breathe();
  }
  return [...keys.values()].flatMap((ofRule) => [...ofRule.values()]);
}

/** The transitions from a state on; nothing when there are none. */
async function compute(batch: Batch, stateKey: StateKey, before: State | null): Promise<Computed[]> {
  const { rule } = stateKey;
  const transitions: Transition[] = [];
  let state = before;
  for (const incoming of stateKey.messages) {
    const began = performance.now();
    const next = batch.evaluate(rule, rule.next, incoming, state);
    batch.evaluatedSince(began);
    if (batch.isLong) await batch.breathe();
    if (!isPrimitive(next) || next === state) continue;
    if (typeof next === 'string' && next.length > MAX_STATE_LENGTH) {
      batch.fail(rule, incoming, `expected a state of at most ${MAX_STATE_LENGTH} characters`);
      continue;
    }
    transitions.push({ incoming, from: state, to: next });
    state = next;
  }
  return transitions.length === 0 || state === null ? [] : [{ stateKey, transitions, before, after: state }];
}

export const rowKey = (ruleId: string, digest: string): string => `${ruleId} ${digest}`;

/** The routed event (manual 15.4.2.3). */
function report(batch: Batch, { rule, key, tenantId }: StateKey, { incoming, from, to }: Transition): Promise<void> {
  const body = (): string => {
    const fields = JSON.stringify({
      type: 'stateChange',
      version: 1,
      tenantId,
      stateKey: key,
      previousState: from,
      newState: to,
      timestamp: batch.timestamp,
      stateProcessingRuleId: rule.id,
      stateProcessingRule: referenceTo(rule),
    });
    return `${fields.slice(0, -1)},"data":{"type":"dataMessage","version":1,${incoming.data}}}`;
  };
  return batch.emit(incoming, 'stateChange', { stateProcessingRule: rule.stored }, body);
}
