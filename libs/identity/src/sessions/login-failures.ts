import { createHash } from 'node:crypto';
import type { Database } from '@orrery/core/database';
import { ApiError } from '@orrery/core/http';
import type { EntityManager } from 'typeorm';
import { Slots } from '../users/slots.js';

/** Of one login, in one process. */
const MOST_WAITING = 64;

/** Failures this old, in milliseconds, are forgotten: anybody can add logins, as fast as passwords are checked. */
const REMEMBERED_MS = 3_600_000;

/** Logins are compared as digests, so that what was typed into the wrong field is not kept. */
const digest = (login: string): string => createHash('sha256').update(login).digest('hex');

/**
 * Wrong passwords in a row lock a login for a while, whether a user has it or not (manual 4.2). Kept in PostgreSQL: a
 * cache that is emptied must not give everybody more tries.
 */
export class LoginFailures {
  private readonly turns = new Map<string, Slots>();

  constructor(
    private readonly database: Database,
    private readonly options: { failures: number; lockMs: number },
  ) {}

  /**
   * Has the password checked, unless the login is locked.
   * @param check answers undefined when the password is wrong.
   * @throws ApiError FORBIDDEN while it is; SERVICE_UNAVAILABLE when too many ask about the same login.
   */
  async attempt<Result>(login: string, check: () => Promise<Result | undefined>): Promise<Result | undefined> {
    const hash = digest(login);
    let turn = this.turns.get(hash);
    if (!turn) this.turns.set(hash, (turn = new Slots(1, MOST_WAITING)));
    // One after the other: an attempt counts before its outcome is known, and right ones at once must not lock.
    try {
      return await turn.run(() => this.count(hash, check));
    } finally {
      if (turn.idle) this.turns.delete(hash);
    }
  }

  /** Ends the lock. */
  async forget(manager: EntityManager, login: string): Promise<void> {
    await manager.query('DELETE FROM login_failures WHERE login_hash = $1', [digest(login)]);
  }

  async forgetOld(): Promise<void> {
    const { lockMs } = this.options;
    await this.database.query(`DELETE FROM login_failures WHERE last < now() - $1 * interval '1 ms'`, [
      Math.max(REMEMBERED_MS, lockMs),
    ]);
  }

  // Counted before the password is checked: attempts at once on several instances get no more tries than one by one.
  private async count<Result>(hash: string, check: () => Promise<Result | undefined>): Promise<Result | undefined> {
    const { failures, lockMs } = this.options;
    const counted = await this.database.query(
      `INSERT INTO login_failures AS f (login_hash, failures) VALUES ($1, 1)
       ON CONFLICT (login_hash) DO UPDATE
         SET failures = CASE WHEN f.failures >= $2 THEN 1 ELSE f.failures + 1 END, last = now()
         WHERE f.failures < $2 OR f.last <= now() - $3 * interval '1 ms'
       RETURNING failures`,
      [hash, failures, lockMs],
    );
    if (counted.length === 0)
      throw new ApiError('FORBIDDEN', 'too many wrong passwords: the login is locked for a while');
    let result: Result | undefined;
    try {
      result = await check();
    } catch (error) {
      // Nothing is left of what was not checked: it can be tried much faster.
      await this.database.query(
        `WITH none_left AS (DELETE FROM login_failures WHERE login_hash = $1 AND failures <= 1)
         UPDATE login_failures SET failures = failures - 1 WHERE login_hash = $1 AND failures > 1`,
        [hash],
      );
      throw error;
    }
    if (result !== undefined) await this.database.query('DELETE FROM login_failures WHERE login_hash = $1', [hash]);
    return result;
  }
}
