import { type ApiKeyIdentity, PROFILES, type Role } from '@orrery/core/auth';
import type { Database } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import { limitOf } from '@orrery/core/limits';
import { type EntityManager, type FindOptionsWhere, In } from 'typeorm';
import { requireRoles, rolesNow } from '../api-keys/api-keys.service.js';
import type { LoginFailures } from '../sessions/login-failures.js';
import { endSessions, narrowSessions } from '../sessions/user-sessions.js';
import { changing } from '../tenants/changing.js';
import { insertUser, refusingTaken, requestActivation } from './new-user.js';
import { checkPassword, hashPassword, verifyPassword } from './passwords.js';
import type { GrantedRoles, PasswordChange, UserChanges, UserCreation, UserState } from './user.dto.js';
import { User } from './user.entity.js';

/** What a list is narrowed to; a user has all of it. */
export interface UserFilters {
  login?: string;
  email?: string;
  states?: UserState[];
}

/** The users of a tenant. Nobody can give, change or remove a user that may do more than themselves. */
export class UsersService {
  constructor(
    private readonly database: Database,
    private readonly failures: LoginFailures,
  ) {}

  list(
    tenantId: string,
    { login, email, states }: UserFilters,
    { size, page }: { size: number; page: number },
  ): Promise<[User[], number]> {
    const where: FindOptionsWhere<User> = {
      tenantId,
      ...(login === undefined ? {} : { login }),
      ...(email === undefined ? {} : { email }),
      ...(states === undefined ? {} : { enabled: In(states.map((state) => state === 'enabled')) }),
    };
    const order = { created: 'ASC', id: 'ASC' } as const;
    return this.database.manager.findAndCount(User, { where, order, take: size, skip: size * page });
  }

  /** @throws ApiError 404 */
  get(tenantId: string, id: string): Promise<User> {
    return find(this.database.manager, tenantId, id);
  }

  /** Creates the user, who chooses a password by the mail that is sent. @throws ApiError 400, 403 or 409 */
  create(caller: ApiKeyIdentity, creation: UserCreation): Promise<User> {
    const { tenantId } = caller;
    const { login, email } = creation;
    const roles = rolesOf(creation);
    if (!roles) throw invalidParameter('roles', 'at least one role, or a profile');
    return changing(this.database, tenantId, async (manager) => {
      requireRoles(await rolesNow(manager, caller, 'USER_W'), roles);
      if ((await manager.countBy(User, { tenantId })) >= limitOf(caller.limits, 'users'))
        throw new ApiError('GENERIC_QUOTA_EXCEEDED_ERROR');
      const user = await insertUser(manager, { tenantId, login, email, roles, mainUser: false });
      await requestActivation(manager, user);
      return user;
    });
  }

  /** @throws ApiError 400, 403, 404 or 409 */
  change(caller: ApiKeyIdentity, id: string, changes: UserChanges): Promise<User> {
    const { tenantId } = caller;
    const roles = rolesOf(changes);
    return changing(this.database, tenantId, async (manager) => {
      const held = await rolesNow(manager, caller, 'USER_W');
      const user = await find(manager, tenantId, id);
      requireRoles(held, [...user.roles, ...(roles ?? [])]);
      const update: Partial<User> = {};
      if (roles) update.roles = roles;
      if (typeof changes.login === 'string') update.login = changes.login;
      if (typeof changes.email === 'string') update.email = changes.email;
      if (changes.state) update.enabled = changes.state === 'enabled';
      if (changes.mainUser) update.mainUser = true;
      if (Object.keys(update).length === 0) return user;
      const changed: User = { ...user, ...update };
      // So that somebody who can write users is always left, whatever users do to each other.
      if (caller.session?.userId === id && !(changed.enabled && changed.roles.includes('USER_W')))
        throw forbidden('users can neither disable themselves nor give up USER_W; another user can do it');
      if (changed.mainUser && !changed.enabled)
        throw forbidden('the main user cannot be disabled; first make another user the main user');
      if (update.mainUser) await replaceMainUser(manager, tenantId, held);
      await refusingTaken(changed.login, manager.update(User, { tenantId, id }, update));
      if (roles) await narrowSessions(manager, tenantId, id, roles);
      if (update.enabled === true) await this.failures.forget(manager, changed.login);
      if (update.enabled === false) await endSessions(manager, tenantId, id);
      // Mails on their way to an address that is no longer the user's must not open the account.
      if (changed.email !== user.email)
        await manager.query('UPDATE user_tokens SET hash = NULL WHERE tenant_id = $1 AND user_id = $2', [tenantId, id]);
      if (!changed.enabled) await forgetTokens(manager, tenantId, id);
      return changed;
    });
  }

  /** @throws ApiError 403 or 404 */
  remove(caller: ApiKeyIdentity, id: string): Promise<void> {
    const { tenantId } = caller;
    return changing(this.database, tenantId, async (manager) => {
      const held = await rolesNow(manager, caller, 'USER_W');
      const user = await find(manager, tenantId, id);
      requireRoles(held, user.roles);
      if (caller.session?.userId === id) throw forbidden('users cannot delete themselves; another user can do it');
      if (user.mainUser) throw forbidden('the main user cannot be deleted; first make another user the main user');
      await endSessions(manager, tenantId, id);
      await manager.delete(User, { tenantId, id });
    });
  }

  /** Sends the activation mail again. @throws ApiError 403, 404; 409 when there is nothing to activate. */
  activate(caller: ApiKeyIdentity, id: string): Promise<void> {
    const { tenantId } = caller;
    return changing(this.database, tenantId, async (manager) => {
      const held = await rolesNow(manager, caller, 'USER_W');
      const user = await find(manager, tenantId, id);
      requireRoles(held, user.roles);
      if (!user.enabled) throw new ApiError('CONFLICT', 'the user is disabled');
      if (user.passwordHash !== null) throw new ApiError('CONFLICT', 'the user has chosen a password already');
      await requestActivation(manager, user);
    });
  }

  /** Changes the caller's own password and ends its other sessions. @throws ApiError 400 or 403 */
  async changePassword(
    { id: keyId, tenantId, session }: ApiKeyIdentity,
    id: string,
    { oldPassword, newPassword }: PasswordChange,
  ): Promise<void> {
    if (session?.userId !== id) throw forbidden('only the user, after a login, can change its password');
    checkPassword(newPassword, 'newPassword');
    const { login, passwordHash } = await this.get(tenantId, id);
    const right = await this.failures.attempt(
      login,
      async () => (await verifyPassword(oldPassword, passwordHash)) || undefined,
    );
    if (!right) throw invalidParameter('oldPassword', 'the current password');
    const hash = await hashPassword(newPassword);
    await changing(this.database, tenantId, async (manager) => {
      const user = await find(manager, tenantId, id);
      if (user.passwordHash !== passwordHash) throw invalidParameter('oldPassword', 'the current password');
      await setPassword(manager, user, hash);
      await endSessions(manager, tenantId, id, keyId);
    });
  }
}

/** Sets the password that the user has chosen; mails by which one could be chosen lose their effect. */
export async function setPassword(
  manager: EntityManager,
  { tenantId, id }: Pick<User, 'tenantId' | 'id'>,
  passwordHash: string,
): Promise<void> {
  await manager.update(User, { tenantId, id }, { passwordHash, lastResetPassword: new Date() });
  await forgetTokens(manager, tenantId, id);
}

async function forgetTokens(manager: EntityManager, tenantId: string, id: string): Promise<void> {
  await manager.query('DELETE FROM user_tokens WHERE tenant_id = $1 AND user_id = $2', [tenantId, id]);
}

async function replaceMainUser(manager: EntityManager, tenantId: string, held: readonly Role[]): Promise<void> {
  const main = await manager.findOneBy(User, { tenantId, mainUser: true });
  if (!main) return;
  requireRoles(held, main.roles);
  await manager.update(User, { tenantId, id: main.id }, { mainUser: false });
}

async function find(manager: EntityManager, tenantId: string, id: string): Promise<User> {
  // What is no id is not asked of PostgreSQL, which refuses some characters.
  const user = /^[0-9a-f]{24}$/.test(id) ? await manager.findOneBy(User, { tenantId, id }) : null;
  if (!user) throw new ApiError('NOT_FOUND');
  return user;
}

const forbidden = (why: string): ApiError => new ApiError('GENERIC_ACTION_FORBIDDEN_ERROR', why);

function rolesOf({ roles, profile }: GrantedRoles): Role[] | undefined {
  if (roles && profile) throw invalidParameter('profile', 'either roles or a profile');
  if (roles) return [...new Set(roles)];
  return profile ? [...PROFILES[profile]] : undefined;
}
