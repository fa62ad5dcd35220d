import type { EntityManager } from 'typeorm';

/** Those of the tenants that have had activity rules. */
export async function tenantsWithRules(manager: EntityManager, tenantIds: Iterable<string>): Promise<Set<string>> {
  const rows = (await manager.query('SELECT tenant_id FROM activity_tenants WHERE tenant_id = ANY($1::text[])', [
    [...tenantIds],
  ])) as Array<{ tenant_id: string }>;
  return new Set(rows.map((row) => row.tenant_id));
}

/**
 * Locks the rules and targets of a tenant until the end of the transaction. To be taken before rows of states are locked,
 * by whoever does not lock all of those in the order of tenant, device and rule.
 * @returns the revision of its targets; undefined when there is no such tenant, or not any more.
 */
export async function lockTenant(manager: EntityManager, tenantId: string): Promise<string | undefined> {
  const [row] = (await manager.query('SELECT revision FROM activity_tenants WHERE tenant_id = $1 FOR NO KEY UPDATE', [
    tenantId,
  ])) as Array<{ revision: string }>;
  return row?.revision;
}
