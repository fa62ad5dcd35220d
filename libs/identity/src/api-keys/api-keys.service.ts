import { type ApiKeyIdentity, type Role } from '@orrery/core/auth';
import type { Database } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import { disabledSections, limitOf, limitsOf, smsNumbersOf } from '@orrery/core/limits';
import { type EntityManager, IsNull, Not } from 'typeorm';
import { requireCaCertificates } from '../certificates/ca-certificates.service.js';
import { changing } from '../tenants/changing.js';
import type { ApiKeyChanges, ApiKeyCreation, ClientCertificates, DebugMode } from './api-key.dto.js';
import { ApiKey, ApiKeyInForce } from './api-key.entity.js';
import { announce, insertKey } from './key-changes.js';

/** The keys of a tenant. What is changed is announced to every service when it is committed. */
export class ApiKeysService {
  constructor(private readonly database: Database) {}

  /** Answers the guard of every service: undefined when no key has this hash. */
  async identify(hash: string): Promise<ApiKeyIdentity | undefined> {
    const key = await this.database.manager.findOneBy(ApiKeyInForce, { hash });
    if (!key) return undefined;
    return {
      id: key.id,
      tenantId: key.tenantId,
      accountType: key.accountType,
      roles: key.roles,
      fifos: key.fifos,
      active: key.inForce,
      limits: limitsOf(key.offerSettings),
      disabledSections: disabledSections(key.offerSettings),
      smsNumbers: smsNumbersOf(key.offerSettings),
      ...(key.from ? { from: key.from.getTime() } : {}),
      ...(key.to ? { to: key.to.getTime() } : {}),
      ...(key.debugUntil ? { debugUntil: key.debugUntil.getTime() } : {}),
      ...(key.userId !== null && key.sessionTtlMs !== null
        ? { session: { userId: key.userId, ttlMs: key.sessionTtlMs } }
        : {}),
      ...(key.caCertIds.length > 0 || key.clientCertRequired
        ? { clientCert: { caCertIds: key.caCertIds, required: key.clientCertRequired } }
        : {}),
    };
  }

  async list(tenantId: string, { size, page }: { size: number; page: number }): Promise<[ApiKeyInForce[], number]> {
    const { manager } = this.database;
    return Promise.all([
      manager.find(ApiKeyInForce, {
        where: { tenantId, userId: IsNull() },
        order: { created: 'ASC', id: 'ASC' },
        take: size,
        skip: size * page,
      }),
      manager.countBy(ApiKey, { tenantId, userId: IsNull() }),
    ]);
  }

  get(tenantId: string, id: string): Promise<ApiKeyInForce> {
    return find(this.database.manager, tenantId, id);
  }

  /** @throws ApiError 400, 401, 403 or 404 */
  create(caller: ApiKeyIdentity, creation: ApiKeyCreation): Promise<{ key: ApiKeyInForce; value: string }> {
    const { tenantId } = caller;
    const roles = [...new Set(creation.roles ?? [])];
    return changing(this.database, tenantId, async (manager) => {
      requireRoles(await rolesNow(manager, caller, 'API_KEY_W'), roles);
      const parent = await find(manager, tenantId, creation.parentId);
      requireRoles(parent.roles, roles);
      checkValidity(creation, parent);
      const certificates = await clientCertificates(manager, tenantId, creation.clientCert);
      const keys = await manager.countBy(ApiKey, { tenantId, parentId: Not(IsNull()), userId: IsNull() });
      if (keys >= limitOf(caller.limits, 'apiKeys')) throw new ApiError('GENERIC_QUOTA_EXCEEDED_ERROR');
      const { id, value } = await insertKey(manager, {
        tenantId,
        parentId: parent.id,
        label: creation.label ?? '',
        roles,
        fifos: creation.scope?.fifos ?? [],
        active: creation.active ?? true,
        from: toDate(creation.from),
        to: toDate(creation.to),
        ...certificates,
      });
      return { key: await find(manager, tenantId, id), value };
    });
  }

  /** @throws ApiError 400, 401, 403 or 404 */
  change(caller: ApiKeyIdentity, id: string, changes: ApiKeyChanges): Promise<ApiKeyInForce> {
    const { tenantId } = caller;
    return changing(this.database, tenantId, async (manager) => {
      const held = await rolesNow(manager, caller, 'API_KEY_W');
      const key = await find(manager, tenantId, id);
      const update: Partial<ApiKey> = {};
      if (typeof changes.label === 'string') update.label = changes.label;
      if (typeof changes.active === 'boolean') update.active = changes.active;
      if (changes.roles) update.roles = [...new Set(changes.roles)];
      if (changes.scope !== undefined) update.fifos = changes.scope?.fifos ?? [];
      if (changes.from !== undefined) update.from = toDate(changes.from);
      if (changes.to !== undefined) update.to = toDate(changes.to);
      if (changes.clientCert !== undefined)
        Object.assign(update, await clientCertificates(manager, tenantId, changes.clientCert));
      const changed = Object.keys(update);
      if (changed.length === 0) return key;
      if (key.parentId === null) {
        // Every other key descends from the master key: nothing could undo its restriction.
        if (changed.some((field) => field !== 'label'))
          throw new ApiError('GENERIC_ACTION_FORBIDDEN_ERROR', 'only the label of the master key can be changed');
      } else {
        const parent = await find(manager, tenantId, key.parentId);
        const added = (update.roles ?? []).filter((role) => !key.roles.includes(role));
        requireRoles(held, added);
        requireRoles(parent.roles, added);
        if ('from' in update || 'to' in update) {
          const own = await manager.findOneByOrFail(ApiKey, { tenantId, id });
          const { from, to } = { ...own, ...update };
          checkValidity({ from: from?.getTime(), to: to?.getTime() }, parent);
        }
      }
      await manager.update(ApiKey, { tenantId, id }, update);
      await announce(manager, tenantId, id);
      return find(manager, tenantId, id);
    });
  }

  /** Deletes the key and its descendants. @throws ApiError 403 for the master key, 404 */
  remove(tenantId: string, id: string): Promise<void> {
    return changing(this.database, tenantId, async (manager) => {
      const key = await find(manager, tenantId, id);
      if (key.parentId === null)
        throw new ApiError('GENERIC_ACTION_FORBIDDEN_ERROR', 'the master key cannot be deleted');
      await announce(manager, tenantId, id);
      await manager.delete(ApiKey, { tenantId, id });
    });
  }

  /** Logs the connections of a key for some time (manual 19.2). @throws ApiError 404 */
  setDebugMode(tenantId: string, id: string, { activated, durationSeconds }: DebugMode): Promise<ApiKeyInForce> {
    return changing(this.database, tenantId, async (manager) => {
      await find(manager, tenantId, id);
      const debugUntil = activated ? new Date(Date.now() + durationSeconds * 1000) : null;
      await manager.update(ApiKey, { tenantId, id }, { debugUntil });
      await announce(manager, tenantId, id);
      return find(manager, tenantId, id);
    });
  }
}

const toDate = (milliseconds: number | null | undefined): Date | null =>
  typeof milliseconds === 'number' ? new Date(milliseconds) : null;

async function clientCertificates(
  manager: EntityManager,
  tenantId: string,
  asked: ClientCertificates | null | undefined,
): Promise<Pick<ApiKey, 'caCertIds' | 'clientCertRequired'>> {
  const caCertIds = [...new Set(asked?.caCertIds ?? [])];
  const clientCertRequired = asked?.required ?? false;
  if (clientCertRequired && caCertIds.length === 0)
    throw invalidParameter('clientCert.caCertIds', 'at least one id, because a client certificate is required');
  await requireCaCertificates(manager, tenantId, caCertIds);
  return { caCertIds, clientCertRequired };
}

async function find(manager: EntityManager, tenantId: string, id: string): Promise<ApiKeyInForce> {
  // What is no id is not asked of PostgreSQL, which refuses some characters.
  // Keys of logins are managed by logging in and out.
  const key = /^[0-9a-f]{24}$/.test(id)
    ? await manager.findOneBy(ApiKeyInForce, { tenantId, id, userId: IsNull() })
    : null;
  if (!key) throw new ApiError('NOT_FOUND');
  return key;
}

/** @throws ApiError 403 that names the roles which are not held. */
export function requireRoles(held: readonly Role[], asked: readonly Role[]): void {
  const missing = asked.filter((role) => !held.includes(role));
  if (missing.length > 0) throw new ApiError('GENERIC_ACTION_FORBIDDEN_ERROR', { missing });
}

/**
 * Roles of the caller under the lock of `changing`: what was taken from it meanwhile it cannot pass on any more.
 * @throws ApiError 401 when it may do nothing now; 403 when it lacks the role that it was let in with.
 */
export async function rolesNow(
  manager: EntityManager,
  { tenantId, id }: ApiKeyIdentity,
  needed: Role,
): Promise<Role[]> {
  const key = await manager.findOneBy(ApiKeyInForce, { tenantId, id });
  if (!key?.inForce) throw new ApiError('UNAUTHORIZED');
  requireRoles(key.roles, [needed]);
  return key.roles;
}

/** A key lives within its parent's validity; bounds that are not given are the parent's. */
function checkValidity(asked: { from?: number | null; to?: number | null }, parent: ApiKeyInForce): void {
  const earliest = parent.from?.getTime() ?? Number.NEGATIVE_INFINITY;
  const latest = parent.to?.getTime() ?? Number.POSITIVE_INFINITY;
  const from = asked.from ?? earliest;
  const to = asked.to ?? latest;
  if (from < earliest) throw invalidParameter('from', `at or after ${earliest}, from when the parent is valid`);
  if (to > latest) throw invalidParameter('to', `at or before ${latest}, until when the parent is valid`);
  if (from > to) throw invalidParameter('from', `at or before ${to}, until when the key is valid`);
}
