import { randomBytes } from 'node:crypto';
import { ROLES } from '@orrery/core/auth';
import { ApiError } from '@orrery/core/http';
import { newSettings } from '@orrery/core/limits';
import { type EntityManager, QueryFailedError } from 'typeorm';
import { announce, insertKey } from '../api-keys/key-changes.js';
import type { CreatedTenant, NewTenant } from '../contract.js';
import { Tenant } from './tenant.entity.js';

/** Stores a tenant with its master key. @throws ApiError CONFLICT when the name is taken; the transaction is over then. */
export async function insertTenant(
  manager: EntityManager,
  {
    name,
    accountType = 'CUSTOMER',
    parentId,
    supportVendorIds = [],
    settings = {},
    active = true,
    masterKey,
  }: NewTenant & {
    supportVendorIds?: string[];
    active?: boolean;
  },
): Promise<CreatedTenant> {
  const tenantId = randomBytes(12).toString('hex');
  try {
    await manager.insert(Tenant, {
      id: tenantId,
      name,
      accountType,
      parentId: parentId ?? null,
      supportVendorIds,
      offerSettings: newSettings(settings) as object,
      active,
    });
  } catch (error) {
    // Only the constraint knows: two requests at once pass every check made before.
    const { code, constraint } = (error instanceof QueryFailedError ? error.driverError : {}) as Record<
      string,
      unknown
    >;
    if (code === '23505' && constraint === 'tenants_name_key') throw new ApiError('CONFLICT', { name });
    throw error;
  }
  const { id, value } = await insertKey(
    manager,
    { tenantId, parentId: null, label: 'master', roles: [...ROLES] },
    masterKey,
  );
  // A value that was chosen may have been tried, and be remembered as unknown.
  await announce(manager, tenantId, id);
  return { tenantId, masterKeyId: id, masterKey: value };
}
