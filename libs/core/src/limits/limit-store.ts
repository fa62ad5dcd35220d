import { randomUUID } from 'node:crypto';
import { Redis, type Result } from 'ioredis';
import type { Logger } from '../telemetry/index.js';

/** How long Redis is not asked after it has let somebody wait in vain: not every request may wait. */
const SILENCE_MS = 1000;
/** A connection that brings no answer for so long is made anew: its server may be gone without a word. */
const SOCKET_MS = 5000;

export const NO_ANSWER = Symbol('Redis does not answer');

/** A window in Redis that may hold `limit` points; it passes while it holds fewer. */
export interface StoredWindow {
  id: string;
  limit: number;
  points: number;
  windowMs: number;
}

/** What all instances hold together: a hash with a field for each instance. */
export interface StoredHeld {
  id: string;
  limit: number;
  /** The hash ends so long after it was last written. */
  ttlMs: number;
}

/** -1 when all pass; else the place of the first that does not among the windows, or their number when nothing more may be held. */
export interface Taken {
  refused: number;
  /** Points of each window, with those just added. */
  counts: number[];
}

// All or nothing: what is refused is counted nowhere. An instance whose key `alive` has ended holds nothing.
const TAKE = `
local windows, instance, alive = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local counts, refused = {}, -1
for i = 1, windows do
  counts[i] = tonumber(redis.call('GET', KEYS[i]) or '0')
  local limit = tonumber(ARGV[1 + 3 * i])
  if refused < 0 and limit >= 0 and counts[i] >= limit then refused = i - 1 end
end
local held = KEYS[windows + 1]
if refused < 0 and held then
  local total = 0
  local fields = redis.call('HGETALL', held)
  for i = 1, #fields, 2 do
    if fields[i] == instance or redis.call('EXISTS', alive .. fields[i]) == 1 then
      total = total + tonumber(fields[i + 1])
    else
      redis.call('HDEL', held, fields[i])
    end
  end
  if total >= tonumber(ARGV[4 + 3 * windows]) then
    refused = windows
  else
    redis.call('HINCRBY', held, instance, 1)
    redis.call('PEXPIRE', held, ARGV[5 + 3 * windows])
  end
end
if refused < 0 then
  for i = 1, windows do
    local points = tonumber(ARGV[2 + 3 * i])
    if points > 0 then
      counts[i] = redis.call('INCRBY', KEYS[i], points)
      if counts[i] == points then redis.call('PEXPIRE', KEYS[i], ARGV[3 + 3 * i]) end
    end
  end
end
return {refused, counts}`;

const RELEASE = `
if redis.call('HINCRBY', KEYS[1], ARGV[1], -1) <= 0 then redis.call('HDEL', KEYS[1], ARGV[1]) end`;

declare module 'ioredis' {
  interface RedisCommander<Context> {
    takeLimits(keys: number, ...values: Array<string | number>): Result<[number, number[]], Context>;
    releaseHeld(id: string, instance: string): Result<null, Context>;
  }
}

/** The connection to Redis that limits are counted with. Nobody waits long for it, and nobody fails because of it. */
export class LimitStore {
  readonly redis: Redis;
  /** This process, among all instances. */
  readonly instance = randomUUID();
  private silentUntil = 0;
  private warnedAt = 0;

  constructor(
    url: string,
    /** Longest that anybody waits for Redis. */
    private readonly waitMs: number,
    private readonly logger: Logger,
  ) {
    this.redis = new Redis(url, {
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      socketTimeout: Math.max(SOCKET_MS, 2 * waitMs),
      retryStrategy: (times) => Math.min(50 * times, 1000),
    });
    this.redis.defineCommand('takeLimits', { lua: TAKE });
    this.redis.defineCommand('releaseHeld', { lua: RELEASE, numberOfKeys: 1 });
    this.redis.on('error', (error) => this.warn(error));
  }

  /** True while Redis is not asked. */
  get away(): boolean {
    return this.redis.status !== 'ready' || Date.now() < this.silentUntil;
  }

  static aliveKey(instance: string): string {
    return `limit:alive.${instance}`;
  }

  /** What Redis answers within `waitMs`, else NO_ANSWER; it may have done what it was asked all the same. */
  async ask<Answer>(question: (redis: Redis) => Promise<Answer>): Promise<Answer | typeof NO_ANSWER> {
    if (this.away) return NO_ANSWER;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<typeof NO_ANSWER>((resolve) => {
      // When this process was busy its timers run before it reads the answers that have come: those are read first.
      timer = setTimeout(() => setImmediate(resolve, NO_ANSWER), this.waitMs);
    });
    try {
      const answer = await Promise.race([question(this.redis), late]);
      if (answer === NO_ANSWER) {
        this.silentUntil = Date.now() + SILENCE_MS;
        this.warn(new Error(`no answer within ${this.waitMs} ms`));
      }
      return answer;
    } catch (error) {
      this.warn(error as Error);
      return NO_ANSWER;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Counts in all the windows and holds one more, or does nothing of it. `settled` is called when Redis is done, however late. */
  async take(
    windows: readonly StoredWindow[],
    held?: StoredHeld,
    settled?: () => void,
  ): Promise<Taken | typeof NO_ANSWER> {
    const ids = windows.map(({ id }) => id);
    const values: Array<string | number> = [windows.length, this.instance, LimitStore.aliveKey('')];
    for (const { limit, points, windowMs } of windows)
      values.push(Number.isFinite(limit) ? limit : -1, points, windowMs);
    if (held) {
      ids.push(held.id);
      values.push(held.limit, held.ttlMs);
    }
    let asked = false;
    const answer = await this.ask((redis) => {
      asked = true;
      const answered = redis.takeLimits(ids.length, ...ids, ...values);
      if (settled) answered.then(settled, settled);
      return answered;
    });
    if (!asked) settled?.();
    return answer === NO_ANSWER ? NO_ANSWER : { refused: answer[0], counts: answer[1] };
  }

  private warn(error: Error): void {
    if (Date.now() - this.warnedAt < 10_000) return;
    this.warnedAt = Date.now();
    this.logger.warn({ error: error.message }, 'limits are counted in this process alone: Redis does not answer');
  }

  close(): void {
    this.redis.disconnect();
  }
}
