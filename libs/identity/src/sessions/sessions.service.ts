import type { ApiKeyIdentity } from '@orrery/core/auth';
import type { Database } from '@orrery/core/database';
import { ApiError } from '@orrery/core/http';
import { IsNull } from 'typeorm';
import { ApiKey, ApiKeyInForce } from '../api-keys/api-key.entity.js';
import { announce, announceKeys, insertKey } from '../api-keys/key-changes.js';
import { changing } from '../tenants/changing.js';
import { verifyPassword } from '../users/passwords.js';
import { isLogin } from '../users/user.dto.js';
import { User } from '../users/user.entity.js';
import type { LoginFailures } from './login-failures.js';

/** Logins: each issues a key of its own, which ends some time after its last use (manual 4.2). */
export class SessionsService {
  constructor(
    private readonly database: Database,
    private readonly failures: LoginFailures,
    private readonly ttlMs: number,
  ) {}

  /**
   * @returns the key of the session, and its value, which is not kept.
   * @throws ApiError UNAUTHORIZED, the same for whatever is wrong; FORBIDDEN while the login is locked.
   */
  async login(login: string, password: string): Promise<{ key: ApiKeyInForce; value: string }> {
    const user = await this.failures.attempt(login, async () => {
      // What cannot be a login is not asked of PostgreSQL, which refuses some characters.
      const found = isLogin(login) ? await this.database.manager.findOneBy(User, { login }) : null;
      // Without a user it is checked all the same: it takes as long.
      const right = await verifyPassword(password, found?.passwordHash);
      return found && right && found.enabled ? found : undefined;
    });
    if (!user) throw new ApiError('UNAUTHORIZED');
    return this.open(user);
  }

  /** Ends the session of the caller. @throws ApiError 403 when the key is not of a login. */
  logout({ tenantId, id, session }: ApiKeyIdentity): Promise<void> {
    if (!session) throw new ApiError('GENERIC_ACTION_FORBIDDEN_ERROR', 'only the key of a login can be logged out');
    return changing(this.database, tenantId, async (manager) => {
      await manager.update(ApiKey, { tenantId, id }, { active: false });
      await announce(manager, tenantId, id);
    });
  }

  /** The key was used: moves its end. What has ended stays so. */
  extend(hash: string): Promise<void> {
    return this.database.transaction(async (manager) => {
      // A tenth is added because nobody asks again before it has passed; see ApiKeys.extend.
      const [keys] = (await manager.query(
        `UPDATE api_keys k SET valid_to = now() + k.session_ttl_ms * interval '1.1 ms'
         FROM users u, tenants t
         WHERE k.hash = $1 AND k.active AND k.valid_to > now()
           AND k.valid_to < now() + k.session_ttl_ms * interval '1 ms'
           AND u.tenant_id = k.tenant_id AND u.id = k.user_id AND u.enabled
           AND t.id = k.tenant_id AND t.active
         RETURNING k.tenant_id, k.id, k.hash`,
        [hash],
      )) as [Array<{ tenant_id: string; id: string; hash: string }>];
      for (const key of keys) await announceKeys(manager, key.tenant_id, [key]);
    });
  }

  /** Deletes sessions that ended a day ago: until then their keys are known as ended. */
  async removeEnded(): Promise<void> {
    await this.database.query(`DELETE FROM api_keys WHERE user_id IS NOT NULL AND valid_to < now() - interval '1 day'`);
  }

  private open({ tenantId, id: userId, login, passwordHash }: User): Promise<{ key: ApiKeyInForce; value: string }> {
    return changing(this.database, tenantId, async (manager, tenant) => {
      // Read again: whoever disables the user or changes its password meanwhile ends the sessions that are there.
      const user = await manager.findOneBy(User, { tenantId, id: userId });
      if (!tenant.active || !user?.enabled || user.passwordHash !== passwordHash) throw new ApiError('UNAUTHORIZED');
      const master = await manager.findOneByOrFail(ApiKey, { tenantId, parentId: IsNull() });
      const now = Date.now();
      const { id, value } = await insertKey(manager, {
        tenantId,
        parentId: master.id,
        label: login,
        roles: user.roles,
        userId,
        sessionTtlMs: this.ttlMs,
        to: new Date(now + 1.1 * this.ttlMs),
      });
      await manager.update(User, { tenantId, id: userId }, { lastAuthentication: new Date(now) });
      return { key: await manager.findOneByOrFail(ApiKeyInForce, { tenantId, id }), value };
    });
  }
}
