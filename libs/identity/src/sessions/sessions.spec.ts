import { type Bus } from '@orrery/core/bus';
import { Database } from '@orrery/core/database';
import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  startBackend,
  type TestPlatform,
} from '@orrery/core/testing';
import { identity } from '../index.js';
import { type Accounts, accounts, PASSWORD, type SessionBody } from '../testing/accounts.js';
import { type Mailbox, startMailbox } from '../testing/mailbox.js';
import { LoginFailures } from './login-failures.js';
import { SessionsService } from './sessions.service.js';

const ANY_KEY = '/api/v0/tenants/me';

let mailbox: Mailbox;
let backend: Backend;
let platform: TestPlatform;
let bus: Bus;
let on: Accounts;
beforeAll(async () => {
  mailbox = await startMailbox();
  backend = await startBackend([identity], { SMTP_URL: mailbox.url });
  platform = await backend.boot([identity]);
  bus = await backend.bus();
  on = accounts(platform.url, bus, mailbox);
});
afterAll(async () => {
  await backend.stop();
  await mailbox.close();
});

const statusOf = async (api: ApiClient, path = ANY_KEY): Promise<number> => (await api.get(path)).status;
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function failures(of: Accounts, login: string, count: number): Promise<number[]> {
  const statuses: number[] = [];
  for (let i = 0; i < count; i++) statuses.push((await of.logIn(login, `wrong ${i}`)).status);
  return statuses;
}

describe('logging in', () => {
  it('ACC-017 ACC-025 issues a key with the roles of the user, below the master key', async () => {
    const { user, tenantId, masterKeyId, api } = await on.open();
    const { id, login } = await user({ roles: ['DATA_R', 'USER_R', 'API_KEY_W'] });
    const { status, body } = await on.logIn(login);
    expect(status).toBe(200);
    expect(body.apiKey).toMatchObject({
      id: expect.stringMatching(/^[0-9a-f]{24}$/),
      parentId: masterKeyId,
      tenantId,
      userId: id,
      roles: ['DATA_R', 'USER_R', 'API_KEY_W'],
      sessionKey: true,
      sessionTTL: 1_800_000,
      masterKey: false,
      active: true,
    });
    expect(Buffer.from(body.apiKey.value, 'base64url').length).toBeGreaterThanOrEqual(20);
    const session = apiClient(platform.url, body.apiKey.value);
    expect(await statusOf(session, '/api/v0/users')).toBe(200);
    expect(await statusOf(session, '/api/v0/apiKeys')).toBe(403);
    const child = await session.post('/api/v0/apiKeys', { parentId: body.apiKey.parentId, roles: ['DATA_R'] });
    expect(child.status).toBe(200);
    expect((await api.get<{ totalCount: number }>('/api/v0/apiKeys')).body.totalCount).toBe(2);
    expect(JSON.stringify(await backend.query('SELECT * FROM identity.api_keys'))).not.toContain(body.apiKey.value);
  });

  it('ACC-019 says the same of a wrong password, an unknown login and a user without password', async () => {
    const { user, create } = await on.open();
    const { login } = await user();
    const waiting = (await create()).body.login;
    const answers = [
      await on.logIn(login, 'wrong'),
      await on.logIn(login, ''),
      await on.logIn(login, `${PASSWORD} `),
      await on.logIn(waiting, PASSWORD),
      await on.logIn(waiting, ''),
    ];
    for (const unknown of ['nobody', 'no.body@example.com', '', 'a\u0000b', `' OR true --`, '💥', '\ud800'])
      answers.push(await on.logIn(unknown));
    for (const { status, body } of answers) {
      expect([status, body.code, body.message]).toEqual([401, 'UNAUTHORIZED', 'Authentication failure.']);
      expect(body).not.toHaveProperty('details');
    }
  });

  it('takes as long for an unknown login as for a wrong password', async () => {
    const { user } = await on.open();
    const { login } = await user();
    // Time of computing, as others take the machine from one of them and not from the other.
    const fastest = async (of: (i: number) => string): Promise<number> => {
      const times: number[] = [];
      for (let i = 0; i < 4; i++) {
        const before = process.cpuUsage();
        await on.logIn(of(i), 'wrong');
        times.push(process.cpuUsage(before).user);
      }
      return Math.min(...times);
    };
    const known = await fastest(() => login);
    const unknown = await fastest((i) => `timing-${i}`);
    expect(unknown / known).toBeGreaterThan(0.5);
    expect(known / unknown).toBeGreaterThan(0.5);
  });

  it('refuses credentials that are no texts, or too long', async () => {
    const anybody = apiClient(platform.url);
    for (const body of [
      undefined,
      '{',
      '[]',
      {},
      { login: 'someone' },
      { password: PASSWORD },
      { login: 1, password: PASSWORD },
      { login: { $ne: '' }, password: PASSWORD },
      { login: ['someone'], password: [PASSWORD] },
      { login: 'x'.repeat(255), password: PASSWORD },
      { login: 'someone', password: 'x'.repeat(1025) },
    ]) {
      const answer = await anybody.post<SessionBody>('/api/v0/auth', body);
      expect([answer.status, answer.body.code]).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
    }
  });

  it('is refused while the tenant is not active, and possible afterwards', async () => {
    const { user, tenantId } = await on.open();
    const { login } = await user();
    await backend.query('UPDATE identity.tenants SET active = false WHERE id = $1', [tenantId]);
    expect((await on.logIn(login)).status).toBe(401);
    await backend.query('UPDATE identity.tenants SET active = true WHERE id = $1', [tenantId]);
    expect((await on.logIn(login)).status).toBe(200);
  });

  it('keeps keys of sessions out of the list of API keys', async () => {
    const { user, api, masterKeyId } = await on.open();
    const { id } = (await on.logIn((await user()).login)).body.apiKey;
    expect((await api.get<{ data: unknown[] }>('/api/v0/apiKeys')).body.data).toEqual([
      expect.objectContaining({ id: masterKeyId }),
    ]);
    expect(await statusOf(api, `/api/v0/apiKeys/${id}`)).toBe(404);
    expect((await api.delete(`/api/v0/apiKeys/${id}`)).status).toBe(404);
    expect((await api.post('/api/v0/apiKeys', { parentId: id, roles: [] })).status).toBe(404);
  });
});

describe('sessions', () => {
  it('ACC-018 end some time after the last call, wherever that was', async () => {
    const TTL_MS = 5000;
    const changes = { ORRERY_SESSION_TTL_MS: TTL_MS };
    const [a, b] = [
      await backend.boot([identity], undefined, changes),
      await backend.boot([identity], undefined, changes),
    ];
    const { user } = await on.open();
    const { login } = await user();
    /** Calls one instance as late as it may be; undefined when the machine was later than that. */
    const kept = async (): Promise<ApiClient[] | undefined> => {
      let called = Date.now();
      const { sessionTTL: ttl, value } = (await accounts(a.url, bus, mailbox).logIn(login)).body.apiKey;
      expect(ttl).toBe(TTL_MS);
      const [onA, onB] = [a, b].map(({ url }) => apiClient(url, value)) as [ApiClient, ApiClient];
      // The end moves for the instance that hears nothing of the calls, too.
      for (const [waitMs, api] of [
        [0, onB],
        [0.6 * TTL_MS, onA],
        [0.6 * TTL_MS, onA],
        [0.6 * TTL_MS, onA],
        [0, onB],
      ] as const) {
        await sleep(waitMs);
        const asked = Date.now();
        const status = await statusOf(api);
        if (Date.now() - called >= TTL_MS) return undefined;
        expect(status).toBe(200);
        called = asked;
      }
      return [onA, onB];
    };
    let apis: ApiClient[] | undefined;
    do apis = await kept();
    while (!apis);
    await sleep(1.2 * TTL_MS);
    for (const api of apis) {
      const { status, body } = await api.get<SessionBody>(ANY_KEY);
      expect([status, body.code]).toEqual([401, 'UNAUTHORIZED']);
    }
    await Promise.all([a.close(), b.close()]);
  });

  it('end when their user logs out; others of the user go on', async () => {
    const { user, api } = await on.open();
    const { login } = await user();
    const [one, two] = [await on.session(login), await on.session(login)];
    const answer = await one.post('/api/v0/logout');
    expect([answer.status, answer.body]).toEqual([204, undefined]);
    await eventually(async () => (await statusOf(one)) === 401);
    expect(await statusOf(two)).toBe(200);
    expect((await api.post('/api/v0/logout')).status).toBe(403);
    expect(await statusOf(api)).toBe(200);
  });

  it('are deleted a day after their end, and failed logins when they are old', async () => {
    const { user } = await on.open();
    const { login } = await user();
    const [old, recent] = [(await on.logIn(login)).body.apiKey, (await on.logIn(login)).body.apiKey];
    const end = (id: string, ago: string) =>
      backend.query(`UPDATE identity.api_keys SET valid_to = now() - $2::interval WHERE id = $1`, [id, ago]);
    await end(old.id, '25 hours');
    await end(recent.id, '23 hours');
    await failures(on, 'forgotten-login', 1);
    const count = async () =>
      (await backend.query<{ count: string }>('SELECT count(*) FROM identity.login_failures'))[0]!.count;
    const database = await Database.connect({ url: backend.config.DATABASE_URL, schema: identity.schema! });
    try {
      const counters = new LoginFailures(database, { failures: 5, lockMs: 1000 });
      await new SessionsService(database, counters, 1000).removeEnded();
      const left = await backend.query<{ id: string }>('SELECT id FROM identity.api_keys WHERE id = ANY ($1)', [
        [old.id, recent.id],
      ]);
      expect(left).toEqual([{ id: recent.id }]);
      await counters.forgetOld();
      expect(await count()).not.toBe('0');
      await backend.query(`UPDATE identity.login_failures SET last = now() - interval '61 minutes'`);
      await counters.forgetOld();
      expect(await count()).toBe('0');
    } finally {
      await database.close();
    }
  });
});

describe('wrong passwords', () => {
  it('ACC-020 lock a login after the fifth in a row, even for the right one', async () => {
    const { user } = await on.open();
    const { login } = await user();
    for (const each of [login, 'unknown-and-locked', 'unknown@example.com', 'not a login']) {
      expect(await failures(on, each, 5)).toEqual([401, 401, 401, 401, 401]);
      const { status, body } = await on.logIn(each);
      expect([status, body.code]).toEqual([403, 'FORBIDDEN']);
    }
  });

  it('ACC-020 get no more tries when they come at once, through several instances', async () => {
    const { user } = await on.open();
    const { login } = await user();
    const second = accounts((await backend.boot([identity])).url, bus, mailbox);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => (i % 2 ? on : second).logIn(login, `wrong ${i}`)),
    );
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 401)).toHaveLength(5);
    expect(statuses.filter((status) => status === 403)).toHaveLength(15);
    expect((await on.logIn(login)).status).toBe(403);
  });

  it('do not come from right ones at once', async () => {
    const { user } = await on.open();
    const { login } = await user();
    const answers = await Promise.all(Array.from({ length: 8 }, () => on.logIn(login)));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 200));
  });

  it('are not counted of those that were not checked because too many came at once', async () => {
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => on.logIn(`nobody-${i}`)));
    const checked = answers.filter(({ status }) => status === 401).length;
    const unchecked = answers.filter(({ status }) => status === 503).length;
    expect([checked + unchecked, unchecked > 0]).toEqual([100, true]);
    const [kept] = await backend.query<{ count: number }>(
      `SELECT count(*)::int FROM identity.login_failures WHERE login_hash = ANY (
         SELECT encode(sha256(convert_to('nobody-' || i, 'UTF8')), 'hex') FROM generate_series(0, 99) i)`,
    );
    expect(kept!.count).toBe(checked);
  });

  it('ACC-021 lock for a while alone, and count from the last right one', async () => {
    const { user } = await on.open();
    const { login } = await user();
    const pass = (ms: number) =>
      backend.query(`UPDATE identity.login_failures SET last = last - $1 * interval '1 ms'`, [ms]);
    await failures(on, login, 5);
    await pass(backend.config.ORRERY_LOCK_MS - 300_000);
    expect((await on.logIn(login)).status).toBe(403);
    await pass(300_000);
    expect((await on.logIn(login)).status).toBe(200);
    for (let round = 0; round < 2; round++) {
      expect(await failures(on, login, 4)).toEqual([401, 401, 401, 401]);
      expect((await on.logIn(login)).status).toBe(200);
    }
    // After a lock the counter begins again: four more do not lock.
    await failures(on, login, 5);
    await pass(backend.config.ORRERY_LOCK_MS);
    expect(await failures(on, login, 4)).toEqual([401, 401, 401, 401]);
    expect((await on.logIn(login)).status).toBe(200);
  });

  it('ACC-022 stop neither sessions nor API keys', async () => {
    const { user, api } = await on.open();
    const { login } = await user();
    const session = await on.session(login);
    await failures(on, login, 5);
    expect((await on.logIn(login)).status).toBe(403);
    expect([await statusOf(session), await statusOf(api)]).toEqual([200, 200]);
  });

  it('are forgotten when the user is enabled', async () => {
    const { user, api } = await on.open();
    const { id, login } = await user();
    await failures(on, login, 5);
    expect((await on.logIn(login)).status).toBe(403);
    await api.post(`/api/v0/users/${id}`, { state: 'enabled' });
    expect((await on.logIn(login)).status).toBe(200);
  });
});
