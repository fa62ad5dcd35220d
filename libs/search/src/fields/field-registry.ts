import type { ApiKeys } from '@orrery/core/auth';
import { type Bus, callRpc, RpcUnavailableError, VersionedCache } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import { limitOf, type LimitValues } from '@orrery/core/limits';
import { findMasterKey } from '@orrery/identity/contract';
import { LRUCache } from 'lru-cache';
import type { EntityManager } from 'typeorm';
import { leavesOf, type Looked, MAX_FIELDS, type Refusal } from './leaves.js';
import { type FieldRow, TenantFields } from './tenant-fields.js';

/** A message on its way into the index. */
export interface Candidate extends Looked {
  tenantId: string;
}

const CACHED_TENANTS = 10_000;
/** Fields of all cached tenants together. */
const CACHED_FIELDS = 1_000_000;

/**
 * The one place that knows which fields each tenant has and of which type (manual 13.3.2): learned from the first message
 * that has them, never changed. What it lets pass conflicts in no engine.
 */
export class FieldRegistry {
  private readonly tenants = new LRUCache<string, TenantFields>({
    max: CACHED_TENANTS,
    maxSize: CACHED_FIELDS,
    sizeCalculation: ({ size }) => size + 1,
  });
  private readonly masterKeys: VersionedCache<{ hash: string }>;

  constructor(
    bus: Bus,
    private readonly apiKeys: ApiKeys,
    private readonly database: Database,
  ) {
    this.masterKeys = new VersionedCache((tenantId) => callRpc(bus, findMasterKey, { tenantId }), CACHED_TENANTS);
  }

  /** The fields of a tenant at this moment, whichever instance has learned them. */
  async of(tenantId: string): Promise<TenantFields> {
    const known = this.tenants.get(tenantId);
    if (known && known.size === (await this.sizeOf(this.database.manager, tenantId))) return known;
    return this.loadAndKeep(tenantId);
  }

  /** What this instance knows. After `learn` it has all fields of the messages that passed. */
  async known(tenantId: string): Promise<TenantFields> {
    return this.tenants.get(tenantId) ?? (await this.loadAndKeep(tenantId));
  }

  /**
   * Learns the fields of messages, in their order. In a transaction of its own: what is learned stays, whatever becomes of
   * the messages, so that their next attempt is judged alike; and no lock is held while an engine writes.
   * @returns for each message undefined, or why it can't be indexed.
   */
  async learn(candidates: readonly Candidate[]): Promise<Array<Refusal | undefined>> {
    const verdicts: Array<Refusal | undefined> = [];
    const open = new Map<string, number[]>();
    for (const [i, candidate] of candidates.entries()) {
      const { tenantId } = candidate;
      const leaves = leavesOf(candidate);
      verdicts[i] = leaves.refusal;
      if (leaves.refusal || this.tenants.get(tenantId)?.covers(leaves)) continue;
      const waiting = open.get(tenantId);
      if (waiting) waiting.push(i);
      else open.set(tenantId, [i]);
    }
    for (const [tenantId, waiting] of open) {
      const limit = await this.limitOf(tenantId);
      await this.learnOf(tenantId, (fields) => {
        const rows: FieldRow[] = [];
        for (const i of waiting) {
          const learned = fields.learn(leavesOf(candidates[i]!), limit);
          if (!Array.isArray(learned)) verdicts[i] = learned;
          else for (const row of learned) rows.push(row);
        }
        return rows;
      });
    }
    return verdicts;
  }

  private async learnOf(tenantId: string, learn: (fields: TenantFields) => FieldRow[]): Promise<void> {
    const fields = await this.database.transaction(async (manager) => {
      // The lock under which the fields of a tenant become more.
      await manager.query(
        `INSERT INTO field_counts (tenant_id, fields) VALUES ($1, 0)
           ON CONFLICT (tenant_id) DO UPDATE SET fields = field_counts.fields`,
        [tenantId],
      );
      const current = await this.load(manager, tenantId);
      const rows = learn(current);
      if (rows.length === 0) return current;
      await manager.query(
        `INSERT INTO fields (tenant_id, name, type, slot)
           SELECT $1, * FROM unnest($2::text[], $3::text[], $4::int[])`,
        [tenantId, rows.map(({ name }) => name), rows.map(({ type }) => type), rows.map(({ slot }) => slot)],
      );
      await manager.query('UPDATE field_counts SET fields = $2 WHERE tenant_id = $1', [tenantId, current.size]);
      return current;
    });
    // Not before the commit: others would index by what may never have been.
    this.keep(tenantId, fields);
  }

  /** Fields only become more: a reading that began before others were learned must not hide them from the engines. */
  private keep(tenantId: string, fields: TenantFields): void {
    if ((this.tenants.get(tenantId)?.size ?? 0) <= fields.size) this.tenants.set(tenantId, fields);
  }

  private async loadAndKeep(tenantId: string): Promise<TenantFields> {
    const fields = await this.load(this.database.manager, tenantId);
    this.keep(tenantId, fields);
    return fields;
  }

  private async sizeOf(manager: EntityManager, tenantId: string): Promise<number> {
    const rows = (await manager.query('SELECT fields FROM field_counts WHERE tenant_id = $1', [tenantId])) as Array<{
      fields: number;
    }>;
    return rows[0]?.fields ?? 0;
  }

  private async load(manager: EntityManager, tenantId: string): Promise<TenantFields> {
    const rows = (await manager.query('SELECT name, type, slot FROM fields WHERE tenant_id = $1', [
      tenantId,
    ])) as FieldRow[];
    const fields = new TenantFields();
    for (const row of rows) fields.add(row);
    return fields;
  }

  /** Of the offer that is in force; the default while identity can't be asked, as messages must not wait for it. */
  private async limitOf(tenantId: string): Promise<number> {
    let limits: LimitValues | undefined;
    try {
      const { hash } = await this.masterKeys.get(tenantId);
      limits = (await this.apiKeys.findByHash(hash)).key?.limits;
    } catch (error) {
      if (!(error instanceof RpcUnavailableError) && !isUnknownTenant(error)) throw error;
    }
    return Math.min(limitOf(limits, 'indexedFields'), MAX_FIELDS);
  }
}

const isUnknownTenant = (error: unknown): boolean => (error as { code?: unknown }).code === 'NOT_FOUND';
