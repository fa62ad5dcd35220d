import type { EntityManager } from 'typeorm';

/**
 * Locks the tenant's rules, or its context, until the end of the transaction, and tells readers that they have changed.
 * @returns the new version.
 */
export async function touch(manager: EntityManager, tenantId: string, what: 'rules' | 'context'): Promise<string> {
  const [row] = (await manager.query(
    `INSERT INTO versions AS v (tenant_id, ${what}) VALUES ($1, 1)
     ON CONFLICT (tenant_id) DO UPDATE SET ${what} = v.${what} + 1 RETURNING ${what} AS version`,
    [tenantId],
  )) as [{ version: string }];
  return row.version;
}

/** Versions of the tenants that have rules. */
export async function versionsOf(
  manager: EntityManager,
  tenantIds: Iterable<string>,
): Promise<Array<{ tenantId: string; rules: string; context: string }>> {
  return (await manager.query(
    'SELECT tenant_id AS "tenantId", rules, context FROM versions WHERE tenant_id = ANY($1::text[]) AND rules > 0',
    [[...tenantIds]],
  )) as Array<{ tenantId: string; rules: string; context: string }>;
}
