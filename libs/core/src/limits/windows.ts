const SWEEP_MS = 60_000;

/** A fixed window, aligned to the clock. */
export interface Window {
  /** Of the window in Redis. */
  id: string;
  /** The most that is known to have been counted by all instances, in points. */
  count: number;
  /** End of the window, epoch milliseconds. */
  reset: number;
}

/** What this process knows of the present windows. */
export class Windows {
  private readonly windows = new Map<string, Window>();
  private sweepAt = 0;

  /** The present window of this name and key; the key carries the tenant. */
  at(name: string, key: string, windowMs: number): Window {
    const now = Date.now();
    if (now >= this.sweepAt) this.sweep(now);
    const which = `${name}:${key}`;
    const known = this.windows.get(which);
    if (known && now < known.reset) return known;
    const start = Math.floor(now / windowMs);
    const window = { id: `limit:${which}:${start}`, count: 0, reset: (start + 1) * windowMs };
    this.windows.set(which, window);
    return window;
  }

  private sweep(now: number): void {
    this.sweepAt = now + SWEEP_MS;
    for (const [which, { reset }] of this.windows) if (reset <= now) this.windows.delete(which);
  }
}
