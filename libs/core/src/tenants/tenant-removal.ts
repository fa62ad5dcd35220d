import type { Subscription } from '@nats-io/transport-node';
import {
  type Bus,
  callRpc,
  DEAD_STREAM,
  deadSubject,
  RpcUnavailableError,
  STAGES_STREAM,
  stagesSubject,
} from '../bus/index.js';
import type { Database } from '../database/index.js';
import { WokenWork } from '../jobs/index.js';
import { STAGES } from '../messages/index.js';
import type { Logger } from '../telemetry/index.js';
import { removedTenants, TENANT_CONTROL } from './removed-tenants.js';

const EVERY_MS = 600_000;
/** So long after its removal nothing of a tenant is on its way any more: it is looked for once again, then no more. */
const SETTLED_MS = 3_600_000;
/** Rows of one statement, so that none takes long. */
const CHUNK = 10_000;

interface Table {
  /** Quoted. */
  name: string;
  /** Which rows are those of tenant $1. */
  rows: string;
  /** Rows refer to others of the table: only all of them can go together. */
  selfReferring: boolean;
  /** Tables that refer to this one. */
  referringTables: string[];
}

/**
 * Removes from a service's schema what it has of tenants that have been removed (manual 21.6): the rows of every table
 * with a column `tenant_id`, and of those that the schema declares as owned. Remembers how far it is in the schema.
 */
export class TenantRemoval {
  private readonly work: WokenWork;
  private subscription?: Subscription;

  constructor(
    private readonly bus: Bus,
    private readonly database: Database,
    logger: Logger,
    /** Removes what the service keeps of a tenant elsewhere. It may be called again for the same tenant. */
    private readonly removeElsewhere?: (tenantId: string) => Promise<void>,
  ) {
    this.work = new WokenWork({
      name: `removal of tenants from ${database.options.schema.name}`,
      everyMs: EVERY_MS,
      run: (stopped) => this.run(stopped),
      logger,
    });
  }

  async start(): Promise<void> {
    this.subscription = this.bus.onControl(TENANT_CONTROL, () => this.work.wake());
    this.work.wake();
  }

  async stop(): Promise<void> {
    await this.subscription?.drain();
    await this.work.stop();
  }

  private async run(stopped: () => boolean): Promise<void> {
    const [position] = await this.database.query<{ seq: string }>('SELECT seq FROM tenant_removal');
    let after = Number(position!.seq);
    let settled = true;
    while (!stopped()) {
      const tenants = await callRpc(this.bus, removedTenants, { after }).catch((error: unknown) => {
        // Nothing is lost: identity is asked again at the next time.
        if (error instanceof RpcUnavailableError) return [];
        throw error;
      });
      if (tenants.length === 0) return;
      for (const { seq, tenantId, removed } of tenants) {
        if (stopped()) return;
        await this.remove(tenantId, stopped);
        await this.bus.jsm.streams.purge(DEAD_STREAM, { filter: deadSubject(tenantId) });
        for (const stage of STAGES)
          await this.bus.jsm.streams.purge(STAGES_STREAM, { filter: stagesSubject(stage, tenantId) });
        settled &&= Date.now() - removed > SETTLED_MS;
        if (settled && !stopped())
          await this.database.query('UPDATE tenant_removal SET seq = greatest(seq, $1)', [seq]);
        after = seq;
      }
    }
  }

  private async remove(tenantId: string, stopped: () => boolean): Promise<void> {
    await this.removeElsewhere?.(tenantId);
    for (const table of await this.tables()) while (!stopped() && (await this.removeChunk(table, tenantId)));
  }

  /** @returns whether there may be more. */
  private removeChunk({ name, rows, selfReferring }: Table, tenantId: string): Promise<boolean> {
    const limit = selfReferring ? '' : `LIMIT ${CHUNK}`;
    return this.database.transaction(async (manager) => {
      // Several processes do this at once: they take turns, and find nothing left to do.
      await manager.query('SELECT pg_advisory_xact_lock(hashtext($1))', [
        `orrery.tenants.${this.database.options.schema.name}`,
      ]);
      // Rows are named by their place, which is theirs as long as the statement sees them.
      const [, count] = (await manager.query(
        `DELETE FROM ${name} WHERE ${rows} AND ctid = ANY (ARRAY(SELECT ctid FROM ${name} WHERE ${rows} ${limit}))`,
        [tenantId],
      )) as [unknown, number];
      return !selfReferring && count === CHUNK;
    });
  }

  /** Tables that hold rows of tenants, those that refer to others first. Of a partitioned table, its partitions. */
  private async tables(): Promise<Table[]> {
    const found = await this.database.query<Table>(
      `SELECT format('%I', c.relname) AS name, 'tenant_id = $1' AS rows,
         EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.conrelid = c.oid AND f.confrelid = c.oid)
           AS "selfReferring",
         ARRAY(
           SELECT format('%I', r.relname) FROM pg_constraint f JOIN pg_class r ON r.oid = f.conrelid
           WHERE f.contype = 'f' AND f.confrelid = c.oid AND f.conrelid <> c.oid
         ) AS "referringTables"
       FROM pg_class c
       WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND EXISTS (
         SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
       ORDER BY c.relname`,
    );
    const owned = Object.entries(this.database.options.schema.owned ?? {}).map(([name, rows]) => ({
      name,
      rows,
      selfReferring: false,
      referringTables: [],
    }));
    return [...owned, ...referringFirst(found)];
  }
}

function referringFirst(tables: Table[]): Table[] {
  const ordered: Table[] = [];
  let left = tables;
  while (left.length > 0) {
    const names = new Set(left.map(({ name }) => name));
    const free = left.filter(({ referringTables }) => !referringTables.some((name) => names.has(name)));
    // Tables that refer to each other in a circle have no order.
    const next = free.length > 0 ? free : left;
    ordered.push(...next);
    left = left.filter((table) => !next.includes(table));
  }
  return ordered;
}
