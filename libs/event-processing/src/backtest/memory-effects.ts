import { setImmediate } from 'node:timers/promises';
import type { Emitted } from '../processing/batch.js';
import type { Effects } from '../processing/effects.js';
import { type FiringContext, type Guard, guardKey, type TakenGuard } from '../processing/simple-events.js';
import { type Computed, rowKey, type State, type StateKey } from '../processing/state-changes.js';

/** Guards and states that begin empty and end with the backtest; nobody else changes them. */
export class MemoryEffects implements Effects {
  private readonly guards = new Map<string, Guard>();
  private readonly states = new Map<string, State>();

  constructor(private readonly take: (event: Emitted) => void) {}

  async readGuards(_contexts: readonly FiringContext[]): Promise<Map<string, Guard>> {
    return this.guards;
  }

  async writeGuards(guards: readonly TakenGuard[]): Promise<Set<string>> {
    for (const { context, id, expires } of guards)
      this.guards.set(guardKey(context.firing.id, context.digest), { id, expires });
    return new Set(guards.map(({ id }) => id));
  }

  async readStates(_keys: readonly StateKey[]): Promise<Map<string, State>> {
    return this.states;
  }

  async writeStates(computed: readonly Computed[]): Promise<Set<string>> {
    const keys = computed.map(({ stateKey }) => rowKey(stateKey.rule.id, stateKey.digest));
    computed.forEach(({ after }, i) => this.states.set(keys[i]!, after));
    return new Set(keys);
  }

  async publish(events: readonly Emitted[]): Promise<void> {
    events.forEach(this.take);
  }

  breathe(): Promise<void> {
    return setImmediate();
  }
}
