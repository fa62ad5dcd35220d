import { LRUCache } from 'lru-cache';

/** Milliseconds of a run from which a script is slow: usual ones take a hundredth of it. */
const SLOW = 5;
/** Milliseconds that slow runs of a tenant may take in one go, and per second on average. */
const BURST = 500;
const PER_SECOND = 100;
/**
 * How much more a tenant must have left, in milliseconds, for a script to run. Where slow ones have taken everything, new
 * ones still begin and fast ones go on, as they may be good ones; but neither without end, as every new revision of a script
 * is a new one, and a fast one may be slow the next time.
 */
const NEEDED = { slow: 0, unknown: -BURST, fast: -10 * BURST };
/** Milliseconds that a script counts for that has not run before: it needs a sandbox. */
const BEGINNING = 5;
const MAX_ENTRIES = 10_000;

interface Account {
  left: number;
  /** When it was computed, in milliseconds. */
  at: number;
}

/**
 * What scripts may compute beyond what usual ones need, so that a tenant's endless loops do not take the time of all others'
 * decoders. Scripts that are not slow are free, but for their beginning.
 */
export class ComputingBudget {
  private readonly accounts = new LRUCache<string, Account>({ max: MAX_ENTRIES });
  /** What the last run of a script was. */
  private readonly known = new LRUCache<string, 'slow' | 'fast'>({ max: MAX_ENTRIES });

  constructor(private readonly clock: () => number = () => performance.now()) {}

  /** Whether a script may run now. @param script none for one that is only looked at. */
  allows(tenantId: string, script?: string): boolean {
    return this.left(tenantId) > NEEDED[(script === undefined ? undefined : this.known.get(script)) ?? 'unknown'];
  }

  /** @param cost milliseconds of a run. */
  charge(tenantId: string, script: string | undefined, cost: number): void {
    let charged = cost < SLOW ? 0 : cost;
    if (script !== undefined) {
      if (!this.known.has(script)) charged += BEGINNING;
      this.known.set(script, cost < SLOW ? 'fast' : 'slow');
    }
    if (charged > 0) this.accounts.set(tenantId, { left: this.left(tenantId) - charged, at: this.clock() });
  }

  private left(tenantId: string): number {
    const account = this.accounts.get(tenantId);
    if (!account) return BURST;
    return Math.min(BURST, account.left + ((this.clock() - account.at) / 1000) * PER_SECOND);
  }
}
