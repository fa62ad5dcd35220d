import { LRUCache } from 'lru-cache';

/**
 * Answers look-ups of the hot path from memory. A load that began before an invalidation is not kept and not
 * returned: it is done again, so that nobody sees what was true before a change that has been announced.
 * A rejected load is not kept either.
 */
export class VersionedCache<Value extends {}> {
  private readonly values: LRUCache<string, Value>;
  private readonly loading = new Map<string, { stale: boolean; promise: Promise<Value> }>();

  constructor(
    private readonly load: (key: string) => Promise<Value>,
    max: number,
  ) {
    this.values = new LRUCache({ max });
  }

  /** The value when it is in memory. */
  peek(key: string): Value | undefined {
    return this.values.get(key);
  }

  /** @param load how this caller loads it, unless it is being loaded. */
  get(key: string, load = this.load): Promise<Value> {
    const value = this.values.get(key);
    if (value !== undefined) return Promise.resolve(value);
    // Also when it is stale: it loads again before it answers. Beside a second load, it would miss later invalidations.
    const running = this.loading.get(key);
    if (running) return running.promise;
    const current = { stale: false, promise: undefined as unknown as Promise<Value> };
    this.loading.set(key, current);
    current.promise = this.loadFresh(key, current, load);
    return current.promise;
  }

  private async loadFresh(
    key: string,
    current: { stale: boolean },
    load: (key: string) => Promise<Value>,
  ): Promise<Value> {
    try {
      for (;;) {
        current.stale = false;
        try {
          const value = await load(key);
          if (current.stale) continue;
          this.values.set(key, value);
          return value;
        } catch (error) {
          if (!current.stale) throw error;
        }
      }
    } finally {
      this.loading.delete(key);
    }
  }

  invalidate(key: string): void {
    this.values.delete(key);
    const running = this.loading.get(key);
    if (running) running.stale = true;
  }

  /** As `invalidate`, for a change that is announced once for many keys. */
  invalidateWhere(concerned: (key: string) => boolean): void {
    for (const key of [...this.values.keys(), ...this.loading.keys()].filter(concerned)) this.invalidate(key);
  }

  /** Forgets everything, after a time in which invalidations may have been missed. */
  clear(): void {
    this.values.clear();
    for (const running of this.loading.values()) running.stale = true;
  }

  /** Keys in memory, for invalidations that concern many. */
  keys(): IterableIterator<string> {
    return this.values.keys() as IterableIterator<string>;
  }
}
