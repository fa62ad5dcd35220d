import { LimitStore, NO_ANSWER, type StoredWindow } from './limit-store.js';

interface Held {
  count: number;
  /** Questions to Redis about it that are not done: until then Redis's count cannot be compared with this one. */
  pending: number;
}

/** Something that may be held so many times at once by all instances together. The key carries the tenant. */
export interface Place {
  name: string;
  key: string;
  limit: number;
}

/**
 * Counts what is held across instances, such as connections. Redis has what each instance holds and counts those alive;
 * each writes its own counts again three times per `ttlMs`, so that a Redis that was emptied or missed something is soon
 * right. While Redis is away each instance counts for itself.
 */
export class HeldCounts {
  private readonly held = new Map<string, Held>();
  private readonly timer: NodeJS.Timeout;

  /** `ttlMs` after its last sign an instance counts as gone, with all that it held. */
  constructor(
    private readonly store: LimitStore,
    private readonly ttlMs: number,
  ) {
    const write = (): void => void this.writeAll();
    this.timer = setInterval(write, ttlMs / 3);
    this.timer.unref();
    store.redis.on('ready', write);
  }

  /** True when one more is held from now on, until `release`; false when all instances hold `limit` already. */
  async take(name: string, key: string, limit: number): Promise<boolean> {
    return (await this.takeWith([], { name, key, limit })).refused < 0;
  }

  /** The same in one question with windows. Without an answer no window is refused, and there are no counts. */
  async takeWith(
    windows: readonly StoredWindow[],
    { name, key, limit }: Place,
  ): Promise<{ refused: number; counts?: number[] }> {
    const id = idOf(name, key);
    const own = this.held.get(id) ?? { count: 0, pending: 0 };
    // What this instance holds alone is enough to know, whatever Redis has missed.
    if (own.count >= limit) return { refused: windows.length };
    this.held.set(id, own);
    // Two are pending: Redis, and what is made of its answer below.
    own.pending += 2;
    const answer = await this.store.take(windows, { id, limit, ttlMs: 2 * this.ttlMs }, () => own.pending--);
    const taken = answer === NO_ANSWER ? { refused: own.count < limit ? -1 : windows.length } : answer;
    if (taken.refused < 0) own.count++;
    own.pending--;
    return taken;
  }

  /** Gives back what one `take` took. */
  release(name: string, key: string): void {
    const id = idOf(name, key);
    const held = this.held.get(id);
    if (!held || held.count === 0) return;
    held.count--;
    if (this.store.away) return;
    held.pending++;
    const settled = (): number => held.pending--;
    this.store.redis.releaseHeld(id, this.store.instance).then(settled, settled);
  }

  private async writeAll(): Promise<void> {
    const written = [...this.held].filter(([, { pending }]) => pending === 0);
    const answers = await this.store.ask((redis) => {
      const pipeline = redis.pipeline();
      pipeline.set(LimitStore.aliveKey(this.store.instance), 1, 'PX', this.ttlMs);
      for (const [id, { count }] of written)
        if (count === 0) pipeline.hdel(id, this.store.instance);
        else pipeline.hset(id, this.store.instance, count).pexpire(id, 2 * this.ttlMs);
      return pipeline.exec();
    });
    if (answers === NO_ANSWER) return;
    // What was taken meanwhile stays.
    for (const [id, held] of written) if (held.count === 0 && held.pending === 0) this.held.delete(id);
  }

  /** All that this process held is free from now on. */
  async close(): Promise<void> {
    clearInterval(this.timer);
    await this.store.ask((redis) => redis.del(LimitStore.aliveKey(this.store.instance)));
  }
}

const idOf = (name: string, key: string): string => `limit:held.${name}:${key}`;
