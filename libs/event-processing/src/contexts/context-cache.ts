import type { Database } from '@orrery/core/database';
import { LRUCache } from 'lru-cache';
import type { EntityManager } from 'typeorm';
import type { ContextEntry, ContextKind } from './context-entry.entity.js';

/** Deleted entries are kept this long, for caches to hear of them. */
const DELETED_KEPT_HOURS = 24;
/** A tenant that nobody asked about for longer is read anew. */
const MAX_IDLE_MS = (DELETED_KEPT_HOURS / 2) * 3600 * 1000;
const MAX_TENANTS = 1000;

/** What `ctx` finds of one tenant. */
export class TenantContext {
  private readonly values: Record<ContextKind, Map<string, { version: bigint; value: unknown }>> = {
    context: new Map(),
    geozone: new Map(),
  };
  version = 0n;
  asked = 0;

  /** A geozone is found by its id, unless there is a context of that key (manual 17.2.2.2). */
  get(key: string): unknown {
    return (this.values.context.get(key) ?? this.values.geozone.get(key))?.value;
  }

  // Loads of several versions may be under way at once.
  apply({ kind, key, document, version: text }: Pick<ContextEntry, 'kind' | 'key' | 'document' | 'version'>): void {
    const [version, values] = [BigInt(text), this.values[kind]];
    if (version > this.version) this.version = version;
    if ((values.get(key)?.version ?? 0n) > version) return;
    if (document === null) values.delete(key);
    else values.set(key, { version, value: kind === 'context' ? document['contextData'] : coordinatesOf(document) });
  }
}

const coordinatesOf = ({ geometry }: Record<string, unknown>): unknown =>
  (geometry as { coordinates: unknown }).coordinates;

/**
 * The contexts and geozones of the tenants in hand. The version is read in the transaction of each batch, and what has
 * changed since is read when there is a newer one: a change is in force for every message that comes after its answer.
 */
export class ContextCache {
  private readonly tenants = new LRUCache<string, TenantContext>({ max: MAX_TENANTS });

  async of(
    manager: EntityManager,
    versions: ReadonlyArray<{ tenantId: string; context: string }>,
  ): Promise<Map<string, TenantContext>> {
    const now = Date.now();
    const found = new Map<string, TenantContext>();
    const behind: Array<{ tenantId: string; version: bigint }> = [];
    for (const { tenantId, context } of versions) {
      let tenant = this.tenants.get(tenantId);
      if (!tenant || now - tenant.asked > MAX_IDLE_MS) this.tenants.set(tenantId, (tenant = new TenantContext()));
      tenant.asked = now;
      found.set(tenantId, tenant);
      if (tenant.version < BigInt(context)) behind.push({ tenantId, version: tenant.version });
    }
    if (behind.length === 0) return found;
    const changed = (await manager.query(
      `SELECT e.tenant_id AS "tenantId", e.kind, e.key, e.document, e.version FROM context_entries e
       JOIN unnest($1::text[], $2::bigint[]) AS v(tenant_id, version)
         ON e.tenant_id = v.tenant_id AND e.version > v.version`,
      [behind.map(({ tenantId }) => tenantId), behind.map(({ version }) => version.toString())],
    )) as ContextEntry[];
    for (const entry of changed) found.get(entry.tenantId)!.apply(entry);
    for (const { tenantId, context } of versions) {
      const tenant = found.get(tenantId)!;
      if (tenant.version < BigInt(context)) tenant.version = BigInt(context);
    }
    return found;
  }
}

/** The current context of a tenant, for tests of rules. */
export async function contextOf(database: Database, tenantId: string): Promise<TenantContext> {
  const found = await new ContextCache().of(database.manager, [{ tenantId, context: '1' }]);
  return found.get(tenantId)!;
}

/** Removes what every cache has heard of. */
export async function removeDeletedEntries(database: Database): Promise<void> {
  await database.query(
    `DELETE FROM context_entries WHERE document IS NULL AND updated < now() - make_interval(hours => $1)`,
    [DELETED_KEPT_HOURS],
  );
}
