import type { ApiKeyIdentity } from '@orrery/core/auth';
import { ApiError } from '@orrery/core/http';
import type { EntityManager, SelectQueryBuilder } from 'typeorm';
import { Tenant } from './tenant.entity.js';

type Caller = Pick<ApiKeyIdentity, 'tenantId' | 'accountType'>;

/**
 * Tenants that the caller manages (manual 21.1 and 21.2): a vendor its customers, and those of vendors that name it as
 * support vendor; the administrator all tenants but its own.
 */
export function managedTenants(manager: EntityManager, { tenantId, accountType }: Caller): SelectQueryBuilder<Tenant> {
  const query = manager.createQueryBuilder(Tenant, 't').setParameters({ caller: tenantId });
  if (accountType === 'ADMIN') return query.where('t.id <> :caller');
  return query.where(
    `t.account_type = 'CUSTOMER' AND t.parent_id IN (
       SELECT v.id FROM tenants v WHERE v.id = :caller OR :caller = ANY (v.support_vendor_ids))`,
  );
}

/** @param lock nobody else changes the tenant before the transaction ends. @throws ApiError NOT_FOUND */
export async function managedTenant(
  manager: EntityManager,
  caller: Caller,
  id: string,
  lock: 'lock' | 'read' = 'read',
): Promise<Tenant> {
  // What is no id is not asked of PostgreSQL, which refuses some characters.
  if (!/^[0-9a-f]{24}$/.test(id)) throw new ApiError('NOT_FOUND', 'no such customer');
  const query = managedTenants(manager, caller).andWhere('t.id = :id', { id });
  const tenant = await (lock === 'lock' ? query.setLock('pessimistic_write') : query).getOne();
  if (!tenant) throw new ApiError('NOT_FOUND', 'no such customer');
  return tenant;
}
