import type { ApiKeyIdentity } from '@orrery/core/auth';
import { limitOf, type Rate, type RateLimits } from '@orrery/core/limits';
import type { FastifyReply } from 'fastify';

const WINDOW_MS = 10_000;

/**
 * The time that searches may take in a window of 10 s, of an account and of each of its keys (manual 23.2). It is known only
 * afterwards: a search is refused when the sum has already reached the quota.
 */
export class ComputeTime {
  constructor(private readonly rateLimits: RateLimits) {}

  /** Runs a search and sets the headers. @returns undefined when it has answered 429, with an empty body. */
  async measure<Result>(
    key: ApiKeyIdentity,
    reply: FastifyReply,
    search: () => Promise<Result>,
  ): Promise<Result | undefined> {
    const limit = limitOf(key.limits, 'searchMs');
    if (!Number.isFinite(limit)) return search();
    const { windows, refused } = await this.rateLimits.pass(this.rates(key, limit, 0));
    if (refused !== undefined) {
      const window = windows[refused === 'place' ? 0 : refused]!;
      this.setHeaders(reply, limit, window);
      await reply
        .status(429)
        .header('Retry-After', Math.max(1, Math.ceil((window.reset - Date.now()) / 1000)))
        .send();
      return undefined;
    }
    const began = performance.now();
    try {
      return await search();
    } finally {
      // A search that fails has taken its time too.
      const points = Math.max(1, Math.round(performance.now() - began));
      const passage = await this.rateLimits.pass(this.rates(key, Number.POSITIVE_INFINITY, points));
      this.setHeaders(reply, limit, passage.windows[0]!);
    }
  }

  /** That of the key first: it is the one that the headers tell about. */
  private rates({ tenantId, id }: ApiKeyIdentity, limit: number, points: number): Rate[] {
    const name = 'searchMs';
    return [
      { name, key: `${tenantId}:${id}`, windowMs: WINDOW_MS, limit, points },
      { name, key: tenantId, windowMs: WINDOW_MS, limit, points },
    ];
  }

  private setHeaders(reply: FastifyReply, limit: number, { count, reset }: { count: number; reset: number }): void {
    void reply
      .header('X-ResourceLimit-Limit', limit)
      .header('X-ResourceLimit-Remaining', Math.max(0, limit - count))
      .header('X-ResourceLimit-Reset', reset)
      .header('X-ResourceLimit-Resource', 'SEARCH_DSL_QUERY');
  }
}
