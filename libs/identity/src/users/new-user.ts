import { randomBytes } from 'node:crypto';
import type { Role } from '@orrery/core/auth';
import { controlSubject } from '@orrery/core/bus';
import { writeOutbox } from '@orrery/core/database';
import { ApiError } from '@orrery/core/http';
import { type EntityManager, QueryFailedError } from 'typeorm';
import { User } from './user.entity.js';

const UNIQUE_VIOLATION = '23505';

export interface NewUser {
  tenantId: string;
  login: string;
  email: string;
  roles: readonly Role[];
  mainUser: boolean;
  /** Of `hashPassword`; without it the user chooses a password when activated. */
  passwordHash?: string;
}

/** @throws ApiError CONFLICT when any tenant has a user of this login; the transaction cannot go on then. */
export async function insertUser(manager: EntityManager, user: NewUser): Promise<User> {
  const { tenantId, login, roles, passwordHash = null } = user;
  const id = randomBytes(12).toString('hex');
  await refusingTaken(
    login,
    manager.insert(User, { ...user, id, roles: [...new Set(roles)], enabled: true, passwordHash }),
  );
  return manager.findOneByOrFail(User, { tenantId, id });
}

/** Only the constraint knows whether a login is taken: two requests at once pass every check made before. */
export async function refusingTaken<Result>(login: string, work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof QueryFailedError && (error.driverError as { code?: string }).code === UNIQUE_VIOLATION)
      throw new ApiError('CONFLICT', { login });
    throw error;
  }
}

/** Kind of control event: mails to users wait. */
export const USER_MAIL_CONTROL = 'userMail';

/** Has a mail with a token sent by which the user chooses the first password (manual 3.1). Replaces an earlier one. */
export async function requestActivation(manager: EntityManager, user: Pick<User, 'tenantId' | 'id'>): Promise<void> {
  await manager.query(
    `INSERT INTO user_tokens (tenant_id, user_id, purpose) VALUES ($1, $2, 'activation')
     ON CONFLICT (tenant_id, user_id, purpose) DO UPDATE SET requested = now(), due = now(), attempts = 0`,
    [user.tenantId, user.id],
  );
  await wakeMails(manager);
}

/** Wakes whoever sends mails to users, once the transaction is committed. */
export const wakeMails = (manager: EntityManager): Promise<void> =>
  writeOutbox(manager, [{ subject: controlSubject(USER_MAIL_CONTROL), header: '{}', body: '{}' }]);
