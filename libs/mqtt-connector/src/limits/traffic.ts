import type { ApiKeyIdentity } from '@orrery/core/auth';
import { limitOf, LIMITS, type LimitName, type SharedCounters } from '@orrery/core/limits';
import { mqttMetrics } from '../metrics.js';
import { Reason } from '../server/return-codes.js';
import type { Ending } from '../server/session.js';
import type { Credentials } from '../sessions/admission.js';
import type { SessionAudit } from '../sessions/session-audit.js';
import { HOUR_MS, type LimitedTraffic, type ModeLimits, type Rate } from './mode-limits.js';

/** A rate that is exceeded. */
export interface ReachedLimit {
  readonly rate: Rate;
  readonly allowed: number;
}

/** How a session ends that has published beyond the limit, in the modes where it does. */
export const limitEnding = ({ rate, allowed }: ReachedLimit): Ending => ({
  description: `limit reached: ${allowed} ${LIMITS[rate.limit].about}`,
  reason: rate.windowMs === HOUR_MS ? Reason.QuotaExceeded : Reason.MessageRateTooHigh,
});

/** Writes what is written once for all that a limit refuses. @param until end of the refusals, epoch milliseconds. */
export function auditReached(
  audit: SessionAudit,
  limit: LimitName,
  allowed: number,
  effect: string,
  until?: number,
): void {
  const reset = until === undefined ? undefined : new Date(until).toISOString();
  const end = reset === undefined ? '' : ` until ${reset}`;
  audit.error('rate_limit_reached', `Limit reached: ${allowed} ${LIMITS[limit].about}. ${effect}${end}`, {
    limit,
    allowed,
    ...(reset === undefined ? {} : { reset }),
  });
}

/** Name under which the counters keep what belongs to a key or its account. */
const scopeOf = ({ scope }: Rate, { tenantId, id }: ApiKeyIdentity): string =>
  scope === 'key' ? `${tenantId}\n${id}` : tenantId;

/** One rate of one session. */
class Meter implements ReachedLimit {
  allowed = Number.POSITIVE_INFINITY;
  /** Window whose audit entry is settled. */
  audited = 0;
  private window = 0;
  private own = 0;

  constructor(readonly rate: Rate) {}

  /** Counts one more. @returns the count of the window. */
  count(key: ApiKeyIdentity, counters: SharedCounters): number {
    const { limit, windowMs, scope } = this.rate;
    if (scope !== 'connection') return counters.count(limit, scopeOf(this.rate, key), windowMs);
    const window = Math.floor(Date.now() / windowMs);
    if (window !== this.window) {
      this.window = window;
      this.own = 0;
    }
    return ++this.own;
  }
}

/** What a session publishes and subscribes in the current windows (manual 23.1). */
export class Traffic {
  private readonly publications: readonly Meter[];
  private readonly subscribes: readonly Meter[];
  /** Whose limits are in force. */
  private key: ApiKeyIdentity | undefined;

  constructor(
    private readonly limits: ModeLimits,
    private readonly counters: SharedCounters,
    private readonly credentials: Credentials,
    private readonly audit: SessionAudit,
  ) {
    const meters = (traffic?: LimitedTraffic): Meter[] => (traffic?.rates ?? []).map((rate) => new Meter(rate));
    this.publications = meters(limits.publications);
    this.subscribes = meters(limits.subscribes);
  }

  /** Counts a publication. @returns the limit that it is over. */
  publication(): ReachedLimit | undefined {
    return this.count(this.publications, this.limits.publications);
  }

  /** Counts a SUBSCRIBE. @returns the limit that it is over. */
  subscribe(): ReachedLimit | undefined {
    return this.limits.subscribes && this.count(this.subscribes, this.limits.subscribes);
  }

  // For each message: an account without limits costs two comparisons.
  private count(meters: readonly Meter[], { effect }: LimitedTraffic): ReachedLimit | undefined {
    const { key } = this.credentials;
    if (key !== this.key) this.adopt(key);
    for (const meter of meters) {
      if (meter.allowed === Number.POSITIVE_INFINITY || meter.count(key, this.counters) <= meter.allowed) continue;
      mqttMetrics.limited.inc({ limit: meter.rate.limit });
      const window = Math.floor(Date.now() / meter.rate.windowMs);
      if (meter.audited !== window) {
        meter.audited = window;
        void this.tell(meter, key, effect, (window + 1) * meter.rate.windowMs);
      }
      return meter;
    }
    return undefined;
  }

  // Of all that share the count, whoever notices first.
  private async tell({ rate, allowed }: Meter, key: ApiKeyIdentity, effect: string, until: number): Promise<void> {
    const { limit, windowMs, scope } = rate;
    if (scope === 'connection' || (await this.counters.once(limit, scopeOf(rate, key), windowMs)))
      auditReached(this.audit, limit, allowed, effect, until);
  }

  // The key is another object after each change, such as one of the offer.
  private adopt(key: ApiKeyIdentity): void {
    this.key = key;
    for (const meter of [...this.publications, ...this.subscribes])
      meter.allowed = limitOf(key.limits, meter.rate.limit);
  }
}
