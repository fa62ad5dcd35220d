import type { Emitted } from './batch.js';
import type { FiringContext, Guard, TakenGuard } from './simple-events.js';
import type { Computed, State, StateKey } from './state-changes.js';

/** What rules know of earlier messages, and where their events go: the database, or the memory of a backtest. */
export interface Effects {
  /** Those that there are, by `guardKey`. */
  readGuards(contexts: readonly FiringContext[]): Promise<Map<string, Guard>>;
  /** @returns the ids of the guards that are in force now. */
  writeGuards(guards: readonly TakenGuard[]): Promise<Set<string>>;
  /** Those that there are, by `rowKey`. */
  readStates(keys: readonly StateKey[]): Promise<Map<string, State>>;
  /** @returns the keys whose state was still the one that theirs was computed from. */
  writeStates(computed: readonly Computed[]): Promise<Set<string>>;
  publish(events: readonly Emitted[]): Promise<void>;
  /** Between evaluations that take long. */
  breathe(): Promise<void>;
}
