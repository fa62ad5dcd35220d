import { LRUCache } from 'lru-cache';

/** Milliseconds of a run from which it is charged: usual scripts take a hundredth of it. */
const SLOW = 5;
/** Milliseconds that slow runs of a tenant may take in one go, and per second on average. */
const BURST = 500;
const PER_SECOND = 100;
const MAX_ENTRIES = 10_000;

interface Account {
  left: number;
  /** When it was computed, in milliseconds. */
  at: number;
}

/**
 * What slow scripts may compute, so that a tenant's endless loops do not take the time of all others' decoders. Scripts that
 * are not slow are free.
 */
export class ComputingBudget {
  private readonly accounts = new LRUCache<string, Account>({ max: MAX_ENTRIES });
  /** Scripts whose last run was slow. */
  private readonly slow = new LRUCache<string, true>({ max: MAX_ENTRIES });

  constructor(private readonly clock: () => number = () => performance.now()) {}

  /** Whether a script may run now. */
  allows(tenantId: string, script: string): boolean {
    return !this.slow.has(script) || this.left(tenantId) > 0;
  }

  /** @param cost milliseconds of a run. */
  charge(tenantId: string, script: string, cost: number): void {
    if (cost < SLOW) {
      this.slow.delete(script);
      return;
    }
    this.slow.set(script, true);
    this.accounts.set(tenantId, { left: this.left(tenantId) - cost, at: this.clock() });
  }

  private left(tenantId: string): number {
    const account = this.accounts.get(tenantId);
    if (!account) return BURST;
    return Math.min(BURST, account.left + ((this.clock() - account.at) / 1000) * PER_SECOND);
  }
}
