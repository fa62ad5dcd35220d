import { Redis } from 'ioredis';
import type { Logger } from '../telemetry/index.js';

/** State of a fixed window after something was counted. */
export interface Window {
  count: number;
  /** End of the window, epoch milliseconds. */
  reset: number;
}

/**
 * Counts what tenants do per fixed window, across all instances. Redis is asked once per request or bulk, never per
 * message; when it does not answer nothing is refused, because a limit must not stop what it only measures.
 */
export class RateLimits {
  private readonly redis: Redis;
  private warnedAt = 0;

  constructor(
    url: string,
    private readonly logger: Logger,
  ) {
    this.redis = new Redis(url, { maxRetriesPerRequest: 0, commandTimeout: 500, enableOfflineQueue: false });
    this.redis.on('error', (error) => this.warn(error));
  }

  /** Adds `points` to the window of this name and key; 0 only reads it. */
  async count(name: string, key: string, points: number, windowMs: number): Promise<Window> {
    const start = Math.floor(Date.now() / windowMs);
    const reset = (start + 1) * windowMs;
    const id = `limit:${name}:${key}:${start}`;
    try {
      const results = await this.redis.multi().incrby(id, points).pexpire(id, windowMs).exec();
      return { count: Number(results?.[0]?.[1] ?? 0), reset };
    } catch (error) {
      this.warn(error as Error);
      return { count: 0, reset };
    }
  }

  private warn(error: Error): void {
    if (Date.now() - this.warnedAt < 10_000) return;
    this.warnedAt = Date.now();
    this.logger.warn({ error: error.message }, 'rate limits cannot be counted: Redis does not answer');
  }

  close(): void {
    this.redis.disconnect();
  }
}
