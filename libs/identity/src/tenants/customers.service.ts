import { type ApiKeyIdentity, PROFILES } from '@orrery/core/auth';
import type { Database } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import { type EntityManager, In } from 'typeorm';
import { insertUser, requestActivation } from '../users/new-user.js';
import { managedTenant, managedTenants } from './managed-tenants.js';
import { insertTenant } from './new-tenant.js';
import type { CustomerCreation, VendorCreation } from './tenant.dto.js';
import { Tenant } from './tenant.entity.js';

type Page = { limit: number; offset: number };

/** Customers of vendors, and vendors of the administrator (manual 21). */
export class CustomersService {
  constructor(private readonly database: Database) {}

  /** The customer cannot be used before it has an offer (manual 21.4.1). @throws ApiError CONFLICT */
  createCustomer(caller: ApiKeyIdentity, { name, login, email }: CustomerCreation): Promise<Tenant> {
    return this.database.transaction(async (manager) => {
      const { tenantId } = await insertTenant(manager, { name, parentId: caller.tenantId, active: false });
      await insertMainUser(manager, { tenantId, login, email });
      return manager.findOneByOrFail(Tenant, { id: tenantId });
    });
  }

  /** The vendor can be used at once. @throws ApiError CONFLICT; 400 for unknown support vendors */
  createVendor(caller: ApiKeyIdentity, { name, login, email, supportVendorIds }: VendorCreation): Promise<Tenant> {
    return this.database.transaction(async (manager) => {
      await checkVendors(manager, supportVendorIds);
      const { tenantId } = await insertTenant(manager, {
        name,
        accountType: 'VENDOR',
        parentId: caller.tenantId,
        supportVendorIds,
      });
      await requestActivation(manager, await insertMainUser(manager, { tenantId, login, email }));
      return manager.findOneByOrFail(Tenant, { id: tenantId });
    });
  }

  /** Those that the caller manages, oldest first. */
  list(caller: ApiKeyIdentity, { limit, offset }: Page): Promise<[Tenant[], number]> {
    return managedTenants(this.database.manager, caller)
      .orderBy({ 't.created': 'ASC', 't.id': 'ASC' })
      .take(limit)
      .skip(offset)
      .getManyAndCount();
  }

  /** @throws ApiError NOT_FOUND */
  get(caller: ApiKeyIdentity, id: string): Promise<Tenant> {
    return managedTenant(this.database.manager, caller, id);
  }

  /** Orders the removal of a deactivated tenant (manual 21.6). @throws ApiError 403, 404 */
  orderRemoval(caller: ApiKeyIdentity, id: string): Promise<void> {
    return this.database.transaction(async (manager) => {
      const tenant = await managedTenant(manager, caller, id, 'lock');
      if (tenant.active)
        throw new ApiError(
          'GENERIC_ACTION_FORBIDDEN_ERROR',
          'the customer is active: subscribe it to "Disabled" first',
        );
      if (await manager.existsBy(Tenant, { parentId: id }))
        throw new ApiError('GENERIC_ACTION_FORBIDDEN_ERROR', 'the vendor has customers: remove them first');
      if (!tenant.deletionOrdered) await manager.update(Tenant, { id }, { deletionOrdered: new Date() });
    });
  }

  vendors({ limit, offset }: Page): Promise<[Tenant[], number]> {
    return this.database.manager.findAndCount(Tenant, {
      where: { accountType: 'VENDOR' },
      order: { created: 'ASC', id: 'ASC' },
      take: limit,
      skip: offset,
    });
  }

  /** @throws ApiError 400, 404 */
  setSupportVendors(caller: ApiKeyIdentity, id: string, supportVendorIds: string[]): Promise<Tenant> {
    return this.database.transaction(async (manager) => {
      const vendor = await managedTenant(manager, caller, id, 'lock');
      if (vendor.accountType !== 'VENDOR') throw new ApiError('NOT_FOUND', 'no such vendor');
      await checkVendors(manager, supportVendorIds);
      await manager.update(Tenant, { id }, { supportVendorIds });
      return { ...vendor, supportVendorIds };
    });
  }
}

const insertMainUser = (
  manager: EntityManager,
  user: { tenantId: string; login: string; email: string },
): ReturnType<typeof insertUser> => insertUser(manager, { ...user, roles: PROFILES.ADMIN, mainUser: true });

/** @throws ApiError 400 that names the ids that are no vendor's */
async function checkVendors(manager: EntityManager, ids: string[]): Promise<void> {
  const vendors = await manager.find(Tenant, { select: { id: true }, where: { id: In(ids), accountType: 'VENDOR' } });
  const unknown = ids.filter((id) => !vendors.some((vendor) => vendor.id === id));
  if (unknown.length > 0) throw invalidParameter('supportVendorIds', `ids of vendors, not ${unknown.join(', ')}`);
}
