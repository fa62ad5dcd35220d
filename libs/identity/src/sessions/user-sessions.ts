import type { Role } from '@orrery/core/auth';
import type { EntityManager } from 'typeorm';
import { announceKeys } from '../api-keys/key-changes.js';

type Keys = Array<{ id: string; hash: string }>;

/** Ends the sessions of a user for good. @param except id of the key that stays. */
export async function endSessions(
  manager: EntityManager,
  tenantId: string,
  userId: string,
  except?: string,
): Promise<void> {
  const [keys] = (await manager.query(
    `UPDATE api_keys SET active = false
     WHERE tenant_id = $1 AND user_id = $2 AND active AND id IS DISTINCT FROM $3 RETURNING id, hash`,
    [tenantId, userId, except ?? null],
  )) as [Keys];
  await announceKeys(manager, tenantId, keys);
}

/** Takes from the sessions of a user what is not among the roles; what is added is for the next login. */
export async function narrowSessions(
  manager: EntityManager,
  tenantId: string,
  userId: string,
  roles: readonly Role[],
): Promise<void> {
  const [keys] = (await manager.query(
    `UPDATE api_keys
     SET roles = ARRAY(
       SELECT role FROM unnest(roles) WITH ORDINALITY AS own (role, place) WHERE role = ANY ($3::text[]) ORDER BY place)
     WHERE tenant_id = $1 AND user_id = $2 AND active AND NOT roles <@ $3::text[] RETURNING id, hash`,
    [tenantId, userId, roles],
  )) as [Keys];
  await announceKeys(manager, tenantId, keys);
}
