import { randomBytes } from 'node:crypto';
import { ROLES } from '@orrery/core/auth';
import type { Database } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import { newSettings, UNLIMITED_CONTENTS } from '@orrery/core/limits';
import { type EntityManager, QueryFailedError } from 'typeorm';
import { announce, insertKey } from '../api-keys/key-changes.js';
import type { CreatedTenant, NewTenant } from '../contract.js';
import { Tenant } from './tenant.entity.js';

const UNIQUE_VIOLATION = '23505';

export class TenantsService {
  constructor(private readonly database: Database) {}

  /** @throws ApiError NOT_FOUND */
  async get(tenantId: string): Promise<Tenant> {
    const tenant = await this.database.manager.findOneBy(Tenant, { id: tenantId });
    if (!tenant) throw new ApiError('NOT_FOUND');
    return tenant;
  }

  /** Creates the tenant with its master key. @throws ApiError CONFLICT when the name is taken. */
  create(tenant: NewTenant): Promise<CreatedTenant> {
    if (typeof tenant.name !== 'string' || tenant.name.trim() === '')
      throw invalidParameter('name', 'a name that no other tenant has');
    return this.database.transaction((manager) => insertTenant(manager, tenant));
  }
}

async function insertTenant(
  manager: EntityManager,
  { name, accountType = 'CUSTOMER', parentId, settings = {}, masterKey }: NewTenant,
): Promise<CreatedTenant> {
  const tenantId = randomBytes(12).toString('hex');
  try {
    await manager.insert(Tenant, {
      id: tenantId,
      name,
      accountType,
      parentId: parentId ?? null,
      supportVendorIds: [],
      offerSettings: newSettings(settings) as object,
      userSettings: {},
      active: true,
    });
    const { id, value } = await insertKey(
      manager,
      { tenantId, parentId: null, label: 'master', roles: [...ROLES] },
      masterKey,
    );
    // A value that was chosen may have been tried, and be remembered as unknown.
    await announce(manager, tenantId, id);
    return { tenantId, masterKeyId: id, masterKey: value };
  } catch (error) {
    if (error instanceof QueryFailedError && (error.driverError as { code?: string }).code === UNIQUE_VIOLATION)
      throw new ApiError('CONFLICT', { name });
    throw error;
  }
}

/**
 * Creates the first tenant, with an offer without rate limits, when there is no tenant at all. Run by the migration job.
 * @param options.apiKey value of its master key; generated when absent.
 * @returns the value of the master key when the tenant was created: it cannot be read again.
 */
export function bootstrapTenant(
  database: Database,
  name: string,
  options: { apiKey?: string } = {},
): Promise<{ created: boolean; masterKey?: string }> {
  return database.transaction(async (manager) => {
    await manager.query(`SELECT pg_advisory_xact_lock(hashtext('orrery.bootstrap'))`);
    if (await manager.existsBy(Tenant, {})) return { created: false };
    const { masterKey } = await insertTenant(manager, {
      name,
      settings: UNLIMITED_CONTENTS,
      ...(options.apiKey === undefined ? {} : { masterKey: options.apiKey }),
    });
    return { created: true, masterKey };
  });
}
