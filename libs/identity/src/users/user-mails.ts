import type { Bus } from '@orrery/core/bus';
import type { Config } from '@orrery/core/config';
import type { Database } from '@orrery/core/database';
import { WokenWork } from '@orrery/core/jobs';
import type { Mail, Mailer } from '@orrery/core/mail';
import type { Running } from '@orrery/core/service';
import { USER_MAIL_CONTROL } from './new-user.js';
import { PASSWORD_RULE } from './passwords.js';
import { hashToken, newToken, TOKEN_LIFETIME_MS, type TokenPurpose } from './user-tokens.js';

/** Longer than a mail server may take: by then the instance that claimed the mail has failed. */
const CLAIM_MS = 120_000;
/** A wake that was lost costs this time. */
const IDLE_MS = 30_000;
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 3_600_000;
const GIVE_UP_MS = 24 * 3_600_000;

interface Claimed {
  tenant_id: string;
  user_id: string;
  purpose: TokenPurpose;
  requested: Date;
  attempts: number;
  login: string;
  email: string;
}

/** Sends the mails by which users choose a password: each by one instance, again and again while the server is away. */
export class UserMails implements Running {
  private readonly work: WokenWork;
  private unsubscribe = (): void => undefined;

  constructor(
    private readonly bus: Bus,
    private readonly database: Database,
    private readonly mailer: Mailer,
    private readonly config: Pick<Config, 'ORRERY_PUBLIC_URL'>,
  ) {
    this.work = new WokenWork({
      name: 'mails to users',
      everyMs: IDLE_MS,
      run: async (stopped) => {
        while (!stopped() && (await this.sendNext())) continue;
        return this.untilNext();
      },
      logger: bus.logger,
    });
  }

  async start(): Promise<void> {
    const subscription = this.bus.onControl(USER_MAIL_CONTROL, () => this.work.wake());
    this.unsubscribe = () => subscription.unsubscribe();
    this.work.wake();
  }

  stop(): Promise<void> {
    this.unsubscribe();
    return this.work.stop();
  }

  /** @returns false when no mail is due. */
  private async sendNext(): Promise<boolean> {
    const token = newToken();
    const hash = hashToken(token);
    const claimed = await this.claim(hash);
    if (!claimed) return false;
    try {
      await this.mailer.send(this.compose(claimed, token));
      await this.settle(hash, null);
    } catch (error) {
      const { tenant_id: tenantId, user_id: userId, purpose, requested, attempts } = claimed;
      const givenUp = Date.now() - requested.getTime() > GIVE_UP_MS;
      this.bus.logger.warn(
        { tenantId, userId, purpose, attempts, givenUp, error: String(error) },
        'could not send a mail to a user',
      );
      await this.settle(hash, givenUp ? null : Math.min(FIRST_PAUSE_MS * 2 ** (attempts - 1), LONGEST_PAUSE_MS));
    }
    return true;
  }

  // The token is made here, so that it is known to the mail alone; it replaces that of an earlier mail.
  private async claim(hash: string): Promise<Claimed | undefined> {
    const [rows] = (await this.database.query(
      `UPDATE user_tokens t
       SET hash = $1, due = now() + $2 * interval '1 ms', attempts = attempts + 1,
         expires = now() + CASE purpose WHEN 'reset' THEN $3::float8 ELSE $4::float8 END * interval '1 ms'
       FROM users u
       WHERE u.tenant_id = t.tenant_id AND u.id = t.user_id AND (t.tenant_id, t.user_id, t.purpose) = (
         SELECT tenant_id, user_id, purpose FROM user_tokens
         WHERE due <= now() ORDER BY due LIMIT 1 FOR UPDATE SKIP LOCKED)
       RETURNING t.tenant_id, t.user_id, t.purpose, t.requested, t.attempts, u.login, u.email`,
      [hash, CLAIM_MS, TOKEN_LIFETIME_MS.reset, TOKEN_LIFETIME_MS.activation],
    )) as unknown as [Claimed[]];
    return rows[0];
  }

  // A mail that was asked for again meanwhile has no attempts; one whose user changed has another hash, or none.
  private async settle(hash: string, pauseMs: number | null): Promise<void> {
    await this.database.query(
      `UPDATE user_tokens SET due = now() + $2 * interval '1 ms' WHERE hash = $1 AND attempts > 0`,
      [hash, pauseMs],
    );
  }

  /** Milliseconds to the next mail. */
  private async untilNext(): Promise<number> {
    const [next] = await this.database.query<{ ms: string | null }>(
      'SELECT extract(epoch FROM min(due) - now()) * 1000 AS ms FROM user_tokens WHERE due IS NOT NULL',
    );
    return next?.ms == null ? IDLE_MS : Math.min(Math.max(Number(next.ms), 0) + 1, IDLE_MS);
  }

  private compose({ purpose, login, email }: Claimed, token: string): Mail {
    const url = `${this.config.ORRERY_PUBLIC_URL.replace(/\/+$/, '')}/api/v0/setpwd`;
    const [subject, reason, lifetime] =
      purpose === 'activation'
        ? ['Activate your account', `The account ${login} has been created for you.`, '7 days']
        : ['Choose a new password', `Somebody, probably you, forgot the password of the account ${login}.`, '1 hour'];
    // Lines short enough to travel as they are: whoever reads the mail as a file finds the token in one piece.
    const text = `${reason}
To choose ${purpose === 'activation' ? 'its' : 'a new'} password, send

POST ${url}
Content-Type: application/json

{"tokenId": "${token}", "password": "..."}

A password has
${PASSWORD_RULE.replace(' with ', '\nwith ').replace(', one digit', ',\none digit')}.
The token can be used once, within ${lifetime}.
If you did not expect this mail, ignore it: nothing has changed.
`;
    return { to: email, subject, text };
  }
}
