import type { Bus } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import type { Running } from '@orrery/core/service';
import type { Logger } from '@orrery/core/telemetry';
import { connectorLeaseKey } from '../contract.js';
import { SESSION_COLUMNS, type SessionRow, sessionState, statusChange, writeSessions } from './session-rows.js';
import { offline } from './session-state.js';

const BATCH = 500;

interface Instance {
  connector: string;
  session_instance: string;
}

/**
 * Ends the sessions of connector instances whose lease is gone. Every worker looks; rows are locked, so that each
 * session ends once. An instance must be missing twice in a row: after a time without bus all leases have expired,
 * and their holders need a moment to renew them.
 */
export class SessionExpiry implements Running {
  private missing = new Set<string>();
  private timer?: NodeJS.Timeout;
  private running = Promise.resolve();
  private stopped = false;
  private unsubscribe?: () => void;

  constructor(
    private readonly bus: Bus,
    private readonly database: Database,
    private readonly logger: Logger,
  ) {}

  async start(): Promise<void> {
    this.unsubscribe = this.bus.onReconnect(() => this.missing.clear());
    this.schedule();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    this.unsubscribe?.();
    await this.running;
  }

  private schedule(): void {
    if (this.stopped) return;
    this.timer = setTimeout(() => {
      this.running = this.check()
        .catch((error: unknown) => {
          // Whoever cannot look ends nothing.
          this.missing.clear();
          this.logger.warn({ error: String(error) }, 'could not check the sessions of connector instances');
        })
        .then(() => this.schedule());
    }, this.bus.options.leaseTtlMs / 2);
  }

  private async check(): Promise<void> {
    // First the sessions, then the leases: an instance writes its lease before it accepts a session.
    const missing: Instance[] = [];
    for (const instance of await this.instances()) {
      const lease = await this.bus.leases.get(connectorLeaseKey(instance.connector, instance.session_instance));
      if (lease?.operation !== 'PUT') missing.push(instance);
    }
    const known = this.missing;
    this.missing = new Set(missing.map(keyOf));
    for (const instance of missing) if (known.has(keyOf(instance))) await this.end(instance);
  }

  /** Instances that hold sessions, each found by one step through the index. */
  private instances(): Promise<Instance[]> {
    return this.database.query<Instance>(
      `WITH RECURSIVE holders AS (
         (SELECT connector, session_instance FROM interfaces WHERE session_instance IS NOT NULL
          ORDER BY connector, session_instance LIMIT 1)
         UNION ALL
         SELECT n.connector, n.session_instance FROM holders h, LATERAL (
           SELECT connector, session_instance FROM interfaces
           WHERE session_instance IS NOT NULL AND (connector, session_instance) > (h.connector, h.session_instance)
           ORDER BY connector, session_instance LIMIT 1) n
       ) SELECT connector, session_instance FROM holders`,
    );
  }

  private async end({ connector, session_instance: instance }: Instance): Promise<void> {
    let ended = 0;
    for (let count = BATCH; count === BATCH && !this.stopped; ended += count)
      count = await this.database.transaction(async (manager) => {
        const rows = (await manager.query(
          `SELECT ${SESSION_COLUMNS} FROM interfaces i WHERE i.connector = $1 AND i.session_instance = $2
           ORDER BY i.tenant_id, i.node_id LIMIT ${BATCH} FOR UPDATE SKIP LOCKED`,
          [connector, instance],
        )) as SessionRow[];
        const now = new Date().toISOString();
        const sessions = rows.map((row) => {
          const before = sessionState(row);
          const state = offline({ ...before, activity: { ...before.activity, lastSessionEndTime: now } });
          return { row, state, changes: statusChange(row, before, state, now) };
        });
        await writeSessions(manager, this.bus.partitions, sessions);
        return rows.length;
      });
    if (ended > 0) this.logger.warn({ connector, instance, sessions: ended }, 'ended sessions of a silent instance');
  }
}

const keyOf = (instance: Instance): string => connectorLeaseKey(instance.connector, instance.session_instance);
