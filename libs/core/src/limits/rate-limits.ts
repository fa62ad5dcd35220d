import type { HeldCounts, Place } from './held-counts.js';
import { type LimitStore, NO_ANSWER } from './limit-store.js';
import { type Window, Windows } from './windows.js';

/** What one tenant, or one key of it, may do in a fixed window. */
export interface Rate {
  name: string;
  /** Carries the tenant. */
  key: string;
  windowMs: number;
  /** Passes while the window holds fewer points; Infinity always passes. */
  limit: number;
  /** Points to add, 1 unless told otherwise; with 0 it is only asked. */
  points?: number;
}

export interface Passage {
  /** The windows of the rates, in their order. */
  windows: Window[];
  /** What refused: a rate by its place, or the place that is not free. */
  refused?: number | 'place';
}

/**
 * Counts what tenants do per fixed window, exactly across all instances, in one question to Redis per request, never per
 * message. What is known to be exhausted is refused without a question. While Redis is away each instance counts for itself.
 */
export class RateLimits {
  private readonly windows = new Windows();

  constructor(
    private readonly store: LimitStore,
    private readonly held: HeldCounts,
  ) {}

  /**
   * Counts in all the windows and takes the place, or does nothing of it when one of them refuses. The place is held
   * until its `release`.
   */
  async pass(rates: readonly Rate[], place?: Place): Promise<Passage> {
    const windows = rates.map(({ name, key, windowMs }) => this.windows.at(name, key, windowMs));
    const exhausted = windows.findIndex(({ count }, i) => count >= rates[i]!.limit);
    if (exhausted >= 0) return { windows, refused: exhausted };

    const points = rates.map((rate) => rate.points ?? 1);
    const asked = rates.map(({ limit, windowMs }, i) => ({
      id: windows[i]!.id,
      limit,
      points: points[i]!,
      windowMs,
    }));
    const { refused, counts } = place ? await this.held.takeWith(asked, place) : await this.take(asked);
    for (const [i, window] of windows.entries()) {
      if (refused < 0) window.count += points[i]!;
      // A Redis that comes back empty knows less than this process.
      window.count = Math.max(window.count, counts?.[i] ?? 0);
    }
    if (refused < 0) return { windows };
    return { windows, refused: refused < rates.length ? refused : 'place' };
  }

  /** Gives a place back. */
  release({ name, key }: Place): void {
    this.held.release(name, key);
  }

  private async take(asked: Parameters<LimitStore['take']>[0]): Promise<{ refused: number; counts?: number[] }> {
    const answer = await this.store.take(asked);
    return answer === NO_ANSWER ? { refused: -1 } : answer;
  }
}
