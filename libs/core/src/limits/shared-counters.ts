import { type LimitStore, NO_ANSWER } from './limit-store.js';
import { type Window, Windows } from './windows.js';

const FLUSH_MS = 20;
/** Until the next attempt while Redis is away. */
const AWAY_MS = 500;

/**
 * Counts for hot paths: never a wait, and one question to Redis at a time however much is counted. What other instances
 * have counted is known some 20 ms later, so that a limit may be passed by as much as arrives meanwhile.
 * Keys carry the tenant. While Redis is away each instance counts for itself.
 */
export class SharedCounters {
  private readonly windows = new Windows();
  private readonly onces = new Windows();
  private unsent = new Map<Window, number>();
  private timer?: NodeJS.Timeout;
  private flushing = false;

  constructor(private readonly store: LimitStore) {}

  /** Adds points and returns the best known count of the window across instances, these points included. */
  count(name: string, key: string, windowMs: number, points = 1): number {
    const window = this.windows.at(name, key, windowMs);
    window.count += points;
    this.unsent.set(window, (this.unsent.get(window) ?? 0) + points);
    if (!this.timer && !this.flushing) this.flushIn(FLUSH_MS);
    return window.count;
  }

  /** True for one caller of all instances in the window; while Redis is away, for one of this process. */
  async once(name: string, key: string, windowMs: number): Promise<boolean> {
    const window = this.onces.at(`once.${name}`, key, windowMs);
    if (window.count++ > 0) return false;
    return (await this.store.ask((redis) => redis.set(window.id, 1, 'PX', windowMs, 'NX'))) !== null;
  }

  /** True when no instance has claimed it within the last `ms`, and while Redis is away. What is refused claims nothing. */
  async claim(name: string, key: string, ms: number): Promise<boolean> {
    return (await this.store.ask((redis) => redis.set(`limit:claim.${name}:${key}`, 1, 'PX', ms, 'NX'))) !== null;
  }

  private flushIn(ms: number): void {
    this.timer = setTimeout(() => void this.flush(), ms);
    this.timer.unref();
  }

  private async flush(): Promise<void> {
    this.flushing = true;
    delete this.timer;
    const now = Date.now();
    for (const window of this.unsent.keys()) if (window.reset <= now) this.unsent.delete(window);
    if (!this.store.away && this.unsent.size > 0) await this.send(now);
    this.flushing = false;
    if (this.unsent.size > 0) this.flushIn(this.store.away ? AWAY_MS : FLUSH_MS);
  }

  private async send(now: number): Promise<void> {
    const sent = [...this.unsent];
    this.unsent = new Map();
    // Without an answer it is not known whether Redis has counted: nothing is sent twice, as that could refuse too much.
    const answers = await this.store.ask((redis) => {
      const pipeline = redis.pipeline();
      for (const [{ id, reset }, points] of sent) pipeline.incrby(id, points).pexpire(id, reset - now + FLUSH_MS);
      return pipeline.exec();
    });
    if (answers === NO_ANSWER) return;
    for (const [i, [window]] of sent.entries()) {
      const count = answers?.[2 * i]?.[1];
      // Never less than before: a Redis that comes back empty knows less than this process.
      if (typeof count === 'number') window.count = Math.max(window.count, count + (this.unsent.get(window) ?? 0));
    }
  }
}
