import type { Bus } from '../bus/index.js';
import { AUDIT_SUBJECT } from '../bus/streams.js';
import { newMessageId } from '../messages/index.js';

/** An entry of the audit log (manual 19). */
export interface AuditEntry {
  tenantId: string;
  level: 'info' | 'error';
  category: 'connectivity' | 'notification' | 'data' | 'device_management';
  subcategory: string;
  /** Stable name of what happened, such as `bad_topic`. */
  type: string;
  description: string;
  detailedDescription?: string;
  source?: {
    deviceId?: string;
    nodeId?: string;
    connector?: string;
    actionPolicyId?: string;
    pipelineId?: string;
    fifoName?: string;
    apiKeyId?: string;
  };
  content?: Record<string, unknown>;
}

export type StoredAuditEntry = AuditEntry & { id: string; timestamp: string };

/**
 * The one way to write into the audit log. It never waits and never fails its caller: entries are for debugging,
 * travel by a stream that drops its oldest, and are capped per tenant, category, subcategory and minute. One says
 * so (manual 19.2). The audit log caps what all processes write together; here the bus is spared what it would leave out.
 */
export class Audit {
  private counts = new Map<string, number>();
  private minute = 0;

  constructor(
    private readonly bus: Bus,
    private readonly perMinute = 100,
  ) {}

  write(entry: AuditEntry): void {
    const now = Date.now();
    const minute = Math.floor(now / 60_000);
    if (minute !== this.minute) {
      this.minute = minute;
      this.counts = new Map();
    }
    const key = `${entry.tenantId}\n${entry.category}\n${entry.subcategory}`;
    const count = (this.counts.get(key) ?? 0) + 1;
    this.counts.set(key, count);
    if (count <= this.perMinute) this.publish(entry, now);
    else if (count === this.perMinute + 1)
      this.publish(
        {
          tenantId: entry.tenantId,
          level: 'error',
          category: entry.category,
          subcategory: entry.subcategory,
          type: 'limit_reached',
          description: `More than ${this.perMinute} audit log messages of this kind in a minute: the others of this minute are left out`,
        },
        now,
      );
  }

  private publish(entry: AuditEntry, now: number): void {
    const stored: StoredAuditEntry = { ...entry, id: newMessageId(now), timestamp: new Date(now).toISOString() };
    // Without reply: an entry that the bus does not take is lost, which the log is allowed to.
    try {
      this.bus.connection.publish(AUDIT_SUBJECT, JSON.stringify(stored));
    } catch (error) {
      // Larger than the server takes, or the connection is ending.
      this.bus.logger.debug({ type: entry.type, error: String(error) }, 'an entry of the audit log was left out');
    }
  }
}
