import type { Database } from '@orrery/core/database';
import { type ApiError, invalidParameter } from '@orrery/core/http';
import type { LoginFailures } from '../sessions/login-failures.js';
import { endSessions } from '../sessions/user-sessions.js';
import { changing } from '../tenants/changing.js';
import { wakeMails } from './new-user.js';
import { checkPassword, hashPassword } from './passwords.js';
import { isLogin } from './user.dto.js';
import { User } from './user.entity.js';
import { hashToken, type TokenPurpose } from './user-tokens.js';
import { setPassword } from './users.service.js';

/** A login gets one mail in this time, in milliseconds, however often it is asked for. */
const MAIL_PAUSE_MS = 60_000;

interface Token {
  tenant_id: string;
  user_id: string;
  purpose: TokenPurpose;
}

/** Passwords of those who cannot log in yet, or no longer: by tokens that are sent to their mail addresses. */
export class PasswordsService {
  constructor(
    private readonly database: Database,
    private readonly failures: LoginFailures,
  ) {}

  /** Has a mail sent when there is such a user. Whether there is one shows neither in the answer nor in its time. */
  async requestReset(login: string): Promise<void> {
    if (!isLogin(login)) return;
    await this.database.transaction(async (manager) => {
      const asked = (await manager.query(
        `INSERT INTO user_tokens (tenant_id, user_id, purpose)
           SELECT u.tenant_id, u.id, CASE WHEN u.password_hash IS NULL THEN 'activation' ELSE 'reset' END
           FROM users u JOIN tenants t ON t.id = u.tenant_id
           WHERE u.login = $1 AND u.enabled AND t.active
         ON CONFLICT (tenant_id, user_id, purpose) DO UPDATE SET requested = now(), due = now(), attempts = 0
           WHERE user_tokens.requested < now() - $2 * interval '1 ms'
         RETURNING user_id`,
        [login, MAIL_PAUSE_MS],
      )) as unknown[];
      // At most once a minute for a login: too rarely to be measured from outside.
      if (asked.length > 0) await wakeMails(manager);
    });
  }

  /** Ends the lock of the login; after a reset also the user's sessions. @throws ApiError 400 */
  async setByToken(tokenId: string, password: string): Promise<void> {
    checkPassword(password);
    const hash = hashToken(tokenId);
    const [token] = await this.database.query<Token>(
      'SELECT tenant_id, user_id, purpose FROM user_tokens WHERE hash = $1 AND expires > now()',
      [hash],
    );
    if (!token) throw unusable();
    const passwordHash = await hashPassword(password);
    const { tenant_id: tenantId, user_id: id, purpose } = token;
    await changing(this.database, tenantId, async (manager) => {
      const [used] = (await manager.query(
        'DELETE FROM user_tokens WHERE tenant_id = $1 AND hash = $2 AND expires > now() RETURNING user_id',
        [tenantId, hash],
      )) as [unknown[]];
      const user = used.length > 0 ? await manager.findOneBy(User, { tenantId, id }) : null;
      if (!user) throw unusable();
      await setPassword(manager, user, passwordHash);
      await this.failures.forget(manager, user.login);
      if (purpose === 'reset') await endSessions(manager, tenantId, id);
    });
  }

  /** Forgets tokens that nobody used. */
  async forgetExpired(): Promise<void> {
    await this.database.query('DELETE FROM user_tokens WHERE due IS NULL AND (expires IS NULL OR expires < now())');
  }
}

const unusable = (): ApiError =>
  invalidParameter('tokenId', 'the token of the last mail that was sent, once, before it expires');
