import type { Database } from '@orrery/core/database';
import { ApiError } from '@orrery/core/http';
import type { EntityManager } from 'typeorm';
import { Tenant } from './tenant.entity.js';

/**
 * One change of a tenant's keys, users and certificates at a time: what is checked of one, or counted, still holds when
 * it is written. @throws ApiError UNAUTHORIZED when the tenant, and with it whoever asks, is there no more.
 */
export const changing = <Result>(
  database: Database,
  tenantId: string,
  work: (manager: EntityManager, tenant: Tenant) => Promise<Result>,
): Promise<Result> =>
  database.transaction(async (manager) => {
    const lock = { mode: 'pessimistic_write' } as const;
    const tenant = await manager.findOne(Tenant, { where: { id: tenantId }, lock });
    if (!tenant) throw new ApiError('UNAUTHORIZED');
    return work(manager, tenant);
  });
