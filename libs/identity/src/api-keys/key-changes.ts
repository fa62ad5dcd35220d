import { randomBytes } from 'node:crypto';
import { API_KEY_CONTROL, type ApiKeyChange, hashApiKey } from '@orrery/core/auth';
import { controlSubject } from '@orrery/core/bus';
import { writeOutbox } from '@orrery/core/database';
import type { EntityManager } from 'typeorm';
import { ApiKey } from './api-key.entity.js';

export type NewKey = Pick<ApiKey, 'tenantId' | 'parentId' | 'label' | 'roles'> & Partial<Omit<ApiKey, 'id' | 'hash'>>;

/** Stores a new key. @returns its value, which is not kept. */
export async function insertKey(
  manager: EntityManager,
  key: NewKey,
  value = randomBytes(24).toString('base64url'),
): Promise<{ id: string; value: string }> {
  const id = randomBytes(12).toString('hex');
  const unrestricted = { fifos: [], active: true, caCertIds: [], clientCertRequired: false };
  await manager.insert(ApiKey, { ...unrestricted, ...key, id, hash: hashApiKey(value) });
  return { id, value };
}

/**
 * Tells every service, once the transaction is committed, to look the key up again, and its descendants, whose roles
 * and validity follow from it. To be called before a deletion.
 */
export async function announce(manager: EntityManager, tenantId: string, id: string): Promise<void> {
  const changed = (await manager.query(
    `WITH RECURSIVE changed AS (
       SELECT id, hash FROM api_keys WHERE tenant_id = $1 AND id = $2
       UNION ALL
       SELECT k.id, k.hash FROM changed JOIN api_keys k ON k.tenant_id = $1 AND k.parent_id = changed.id
     ) SELECT id, hash FROM changed`,
    [tenantId, id],
  )) as Array<{ id: string; hash: string }>;
  await announceKeys(manager, tenantId, changed);
}

/** The same for keys without descendants. */
export const announceKeys = (
  manager: EntityManager,
  tenantId: string,
  keys: ReadonlyArray<{ id: string; hash: string }>,
): Promise<void> =>
  writeOutbox(
    manager,
    keys.map(({ id: keyId, hash }) => ({
      subject: controlSubject(API_KEY_CONTROL),
      header: JSON.stringify({ tenantId, keyId, hash } satisfies ApiKeyChange),
      body: '{}',
    })),
  );

/** The same for all keys of the tenant. */
export async function announceAll(manager: EntityManager, tenantId: string): Promise<void> {
  const keys = await manager.query('SELECT id, hash FROM api_keys WHERE tenant_id = $1', [tenantId]);
  await announceKeys(manager, tenantId, keys as Array<{ id: string; hash: string }>);
}
