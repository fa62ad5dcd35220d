import type { ApiKeyIdentity } from '@orrery/core/auth';
import { type HeldCounts, type LimitName, limitOf, type SharedCounters } from '@orrery/core/limits';
import type { Connection } from '../server/connection.js';
import { Reason } from '../server/return-codes.js';
import type { Mode } from '../sessions/admission.js';
import type { SessionAudit } from '../sessions/session-audit.js';
import { MINUTE_MS, SECOND_MS } from './mode-limits.js';
import { auditReached } from './traffic.js';

/** Decides whether an account may open one more connection (manual 23.1), counted across all instances. */
export class ConnectionLimits {
  constructor(
    private readonly counters: SharedCounters,
    private readonly held: HeldCounts,
  ) {}

  /** Counts the attempt and takes a place until the connection ends. @returns why not, for an MQTT 5 client; audited. */
  async take(
    connection: Connection,
    clientId: string,
    mode: Mode,
    { tenantId, limits }: ApiKeyIdentity,
    audit: SessionAudit,
  ): Promise<Reason | undefined> {
    const { connections, connects } = mode.limits;
    const tell = async (limit: LimitName, scope: string, windowMs: number, until?: number): Promise<void> => {
      if (await this.counters.once(limit, scope, windowMs))
        auditReached(audit, limit, limitOf(limits, limit), 'Connections are refused', until);
    };
    const limited = (limit: LimitName): boolean => limitOf(limits, limit) !== Number.POSITIVE_INFINITY;
    if (connects) {
      const { perDeviceSecond, perAccountSecond } = connects;
      const nextSecond = Date.now() + SECOND_MS;
      const device = `${tenantId}\n${clientId}`;
      if (limited(perDeviceSecond) && !(await this.counters.claim(perDeviceSecond, device, SECOND_MS))) {
        void tell(perDeviceSecond, device, SECOND_MS, nextSecond);
        return Reason.ConnectionRateExceeded;
      }
      if (
        limited(perAccountSecond) &&
        this.counters.count(perAccountSecond, tenantId, SECOND_MS) > limitOf(limits, perAccountSecond)
      ) {
        void tell(perAccountSecond, tenantId, SECOND_MS, nextSecond);
        return Reason.ConnectionRateExceeded;
      }
    }
    if (!limited(connections)) return undefined;
    // An older session of the client ends as soon as this one opens.
    const places = limitOf(limits, connections) + (mode.replaces?.(tenantId, clientId) ? 1 : 0);
    if (!(await this.held.take(connections, tenantId, places))) {
      void tell(connections, tenantId, MINUTE_MS);
      return Reason.QuotaExceeded;
    }
    connection.onEnd(() => this.held.release(connections, tenantId));
    return undefined;
  }
}
