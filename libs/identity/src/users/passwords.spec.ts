import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  startBackend,
  type TestPlatform,
} from '@orrery/core/testing';
import { identity } from '../index.js';
import { type Accounts, accounts, PASSWORD } from '../testing/accounts.js';
import { type Mailbox, startMailbox } from '../testing/mailbox.js';
import { checkPassword, generatePassword, hashPassword, verifyPassword } from './passwords.js';

const OTHER_PASSWORD = 'Bb2?bbbb';
const PUBLIC_URL = 'https://orrery.example.com';

let mailbox: Mailbox;
let backend: Backend;
let platform: TestPlatform;
let on: Accounts;
beforeAll(async () => {
  mailbox = await startMailbox();
  backend = await startBackend([identity], { SMTP_URL: mailbox.url, ORRERY_PUBLIC_URL: PUBLIC_URL });
  platform = await backend.boot([identity]);
  on = accounts(platform.url, await backend.bus(), mailbox);
});
afterAll(async () => {
  await backend.stop();
  await mailbox.close();
});

const statusOf = async (api: ApiClient): Promise<number> => (await api.get('/api/v0/tenants/me')).status;
const reset = async (userLogin: string): Promise<number> =>
  (await apiClient(platform.url).post('/api/v0/resetpwd', { userLogin })).status;
const mailsTo = (address: string): number => mailbox.mails.filter(({ to }) => to.includes(address)).length;

/** Mails are sent one after the other: when a later one is there, an earlier one would be. */
async function mailsSent(): Promise<void> {
  const { body } = await (await on.open()).create();
  await mailbox.token(body.email);
}

const unusable = {
  code: 'GENERIC_INVALID_PARAMETER_ERROR',
  details: [{ field: 'tokenId', expected: expect.stringContaining('mail') }],
};

describe('activation', () => {
  it('ACC-014 lets a new user choose a password by the mailed token, once', async () => {
    const { create } = await on.open();
    const { login, email } = (await create()).body;
    expect((await on.logIn(login)).status).toBe(401);
    const token = await mailbox.token(email);
    expect((await on.setPassword(token, PASSWORD)).status).toBe(200);
    expect((await on.logIn(login)).status).toBe(200);
    const again = await on.setPassword(token, OTHER_PASSWORD);
    expect(again.status).toBe(400);
    expect(again.body).toMatchObject(unusable);
    expect((await on.logIn(login, OTHER_PASSWORD)).status).toBe(401);
  });

  it('tells in the mail what to do', async () => {
    const { create } = await on.open();
    const { login, email } = (await create()).body;
    await mailbox.token(email);
    const { source } = mailbox.mails.find(({ to }) => to.includes(email))!;
    expect(source).toContain(login);
    expect(source).toContain(`POST ${PUBLIC_URL}/api/v0/setpwd`);
    expect(source).toContain('one special character');
    expect(source).toContain('7 days');
  });

  it('ACC-015 ACC-016 refuses passwords that break the rule, and keeps the token for a better one', async () => {
    const { create } = await on.open();
    const { login, email } = (await create()).body;
    const token = await mailbox.token(email);
    for (const bad of [
      'Aa1!aaa',
      'aa1!aaaa',
      'AA1!AAAA',
      'Aab!aaaa',
      'Aa1aaaaa',
      'Aa1 aaaa',
      '',
      `Aa1!${'a'.repeat(253)}`,
    ]) {
      const { status, body } = await on.setPassword(token, bad);
      expect([bad, status, body.code]).toEqual([bad, 400, 'GENERIC_INVALID_PARAMETER_ERROR']);
      expect(body.details).toEqual([{ field: 'password', expected: expect.stringContaining('special character') }]);
    }
    expect((await on.logIn(login, 'Aa1!aaa')).status).toBe(401);
    expect((await on.setPassword(token, 'Aa1!aaaa')).status).toBe(200);
    const other = (await create()).body;
    expect((await on.setPassword(await mailbox.token(other.email), 'Aa1_aaaa')).status).toBe(200);
    expect((await on.logIn(other.login, 'Aa1_aaaa')).status).toBe(200);
  });

  it('refuses tokens that are unknown, expired or no texts', async () => {
    const { create } = await on.open();
    const { id, email } = (await create()).body;
    const token = await mailbox.token(email);
    await backend.query(`UPDATE identity.user_tokens SET expires = now() - interval '1 ms' WHERE user_id = $1`, [id]);
    for (const bad of [token, 'unknown', '', 'a\u0000b', 'x'.repeat(10_000)]) {
      const { status, body } = await on.setPassword(bad, PASSWORD);
      expect(status).toBe(400);
      expect(body).toMatchObject(unusable);
    }
    for (const body of [
      undefined,
      {},
      { tokenId: 7, password: PASSWORD },
      { tokenId: token },
      { tokenId: null, password: {} },
    ])
      expect((await apiClient(platform.url).post('/api/v0/setpwd', body)).status).toBe(400);
  });

  it('lets one of several requests with the same token choose', async () => {
    const { create } = await on.open();
    const { login, email } = (await create()).body;
    const token = await mailbox.token(email);
    const passwords = ['Aa1!aaa0', 'Aa1!aaa1', 'Aa1!aaa2', 'Aa1!aaa3'];
    const answers = await Promise.all(passwords.map((password) => on.setPassword(token, password)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 400, 400, 400]);
    const chosen = passwords[answers.findIndex(({ status }) => status === 200)]!;
    expect((await on.logIn(login, chosen)).status).toBe(200);
  });

  it('sends the mail again on demand, whose token replaces the first', async () => {
    const { api, create } = await on.open();
    const { id, email } = (await create()).body;
    const first = await mailbox.token(email);
    const activate = (userId: unknown) => api.post<{ code: string }>('/api/v0/users/activateUser', { userId });
    expect((await activate(id)).status).toBe(200);
    const second = await mailbox.token(email, 2);
    expect((await on.setPassword(first, PASSWORD)).status).toBe(400);
    expect((await on.setPassword(second, PASSWORD)).status).toBe(200);
    expect([(await activate(id)).status, (await activate('unknown')).status, (await activate(7)).status]).toEqual([
      409, 404, 400,
    ]);
  });

  it('does not open an account by a mail to an address that it no longer has', async () => {
    const { api, create } = await on.open();
    const { id, email, login } = (await create()).body;
    const token = await mailbox.token(email);
    await api.post(`/api/v0/users/${id}`, { email: `new-${email}` });
    expect((await on.setPassword(token, PASSWORD)).status).toBe(400);
    await api.post('/api/v0/users/activateUser', { userId: id });
    expect((await on.setPassword(await mailbox.token(`new-${email}`), PASSWORD)).status).toBe(200);
    expect((await on.logIn(login)).status).toBe(200);
  });

  it('waits for a mail server that is away', async () => {
    const { create } = await on.open();
    mailbox.refusing = true;
    const before = mailbox.refused;
    try {
      const { email } = (await create()).body;
      await eventually(() => mailbox.refused >= before + 2);
      expect(mailsTo(email)).toBe(0);
      mailbox.refusing = false;
      expect((await on.setPassword(await mailbox.token(email), PASSWORD)).status).toBe(200);
      expect(mailsTo(email)).toBe(1);
    } finally {
      mailbox.refusing = false;
    }
  });

  it('sends one mail for each user, however many instances there are', async () => {
    const second = await backend.boot([identity]);
    const { create } = await on.open();
    const made = await Promise.all(Array.from({ length: 12 }, () => create()));
    await Promise.all(made.map(({ body }) => mailbox.token(body.email)));
    await eventually(async () => {
      const [row] = await backend.query<{ count: string }>(
        'SELECT count(*) FROM identity.user_tokens WHERE due IS NOT NULL',
      );
      return row!.count === '0';
    });
    expect(made.map(({ body }) => mailsTo(body.email))).toEqual(made.map(() => 1));
    await second.close();
  });

  it('keeps neither passwords nor tokens readable', async () => {
    const { create } = await on.open();
    const secret = 'Very-secret-1';
    const [used, open] = [(await create()).body, (await create()).body];
    await on.setPassword(await mailbox.token(used.email), secret);
    const token = await mailbox.token(open.email);
    const rows = JSON.stringify([
      await backend.query('SELECT * FROM identity.users'),
      await backend.query('SELECT * FROM identity.user_tokens'),
      await backend.query('SELECT * FROM identity.outbox'),
    ]);
    expect(rows).toContain(used.login);
    for (const hidden of [secret, token]) expect(rows).not.toContain(hidden);
  });
});

describe('a forgotten password', () => {
  it('is replaced by the mailed token, which ends the lock and the sessions', async () => {
    const { user } = await on.open();
    const { login, email } = await user();
    const session = await on.session(login);
    for (let i = 0; i < 5; i++) await on.logIn(login, 'wrong');
    expect((await on.logIn(login)).status).toBe(403);
    expect(await reset(login)).toBe(200);
    const token = await mailbox.token(email, 2);
    expect(mailbox.mails.at(-1)!.source).toContain('1 hour');
    expect((await on.setPassword(token, OTHER_PASSWORD)).status).toBe(200);
    expect((await on.logIn(login)).status).toBe(401);
    expect((await on.logIn(login, OTHER_PASSWORD)).status).toBe(200);
    await eventually(async () => (await statusOf(session)) === 401);
  });

  it('is asked for without telling who exists, and sends one mail for many requests', async () => {
    const { user, create, api } = await on.open();
    const known = await user();
    const waiting = (await create()).body;
    const disabled = await user();
    await mailbox.token(waiting.email);
    await api.post(`/api/v0/users/${disabled.id}`, { state: 'disabled' });
    for (const login of ['nobody', 'nobody@example.com', '', 'a\u0000b', 'x'.repeat(10_000), disabled.login])
      expect(await reset(login)).toBe(200);
    const many = await Promise.all(Array.from({ length: 5 }, () => reset(known.login)));
    expect(many).toEqual([200, 200, 200, 200, 200]);
    await mailbox.token(known.email, 2);
    expect(await reset(known.login)).toBe(200);
    expect(await reset(waiting.login)).toBe(200);
    await mailsSent();
    expect([known, waiting, disabled].map(({ email }) => mailsTo(email))).toEqual([2, 1, 1]);
    for (const body of [undefined, {}, { userLogin: 7 }, { userLogin: ['nobody'] }])
      expect((await apiClient(platform.url).post('/api/v0/resetpwd', body)).status).toBe(400);
    // The password is unchanged until the token is used.
    expect((await on.logIn(known.login)).status).toBe(200);
  });

  it('can be asked for again after a while', async () => {
    const { user } = await on.open();
    const { id, login, email } = await user();
    await reset(login);
    const first = await mailbox.token(email, 2);
    await backend.query(`UPDATE identity.user_tokens SET requested = now() - interval '61 s' WHERE user_id = $1`, [id]);
    await reset(login);
    const second = await mailbox.token(email, 3);
    expect((await on.setPassword(first, OTHER_PASSWORD)).status).toBe(400);
    expect((await on.setPassword(second, OTHER_PASSWORD)).status).toBe(200);
  });
});

describe("changing one's own password", () => {
  it('needs the current one, and ends the other sessions', async () => {
    const { user } = await on.open();
    const { id, login } = await user();
    const [own, other] = [await on.session(login), await on.session(login)];
    const change = (oldPassword: unknown, newPassword: unknown) =>
      own.post<{ details: unknown }>(`/api/v0/users/${id}/password`, { oldPassword, newPassword });
    const wrong = await change('wrong', OTHER_PASSWORD);
    expect([wrong.status, wrong.body.details]).toEqual([
      400,
      [{ field: 'oldPassword', expected: 'the current password' }],
    ]);
    const weak = await change(PASSWORD, 'weak');
    expect([weak.status, weak.body.details]).toEqual([400, [{ field: 'newPassword', expected: expect.any(String) }]]);
    expect((await change(PASSWORD, OTHER_PASSWORD)).status).toBe(200);
    expect((await on.logIn(login)).status).toBe(401);
    expect((await on.logIn(login, OTHER_PASSWORD)).status).toBe(200);
    await eventually(async () => (await statusOf(other)) === 401);
    expect(await statusOf(own)).toBe(200);
  });

  it('is for the user alone', async () => {
    const { api, user } = await on.open();
    const [victim, admin] = [await user(), await user({ profile: 'ADMIN', roles: undefined })];
    const body = { oldPassword: PASSWORD, newPassword: OTHER_PASSWORD };
    for (const caller of [api, await on.session(admin.login)])
      expect((await caller.post(`/api/v0/users/${victim.id}/password`, body)).status).toBe(403);
    expect((await on.logIn(victim.login)).status).toBe(200);
  });

  it('gives a stolen session no more tries than a login', async () => {
    const { user } = await on.open();
    const { id, login } = await user();
    const session = await on.session(login);
    const guess = async () =>
      (await session.post(`/api/v0/users/${id}/password`, { oldPassword: 'wrong', newPassword: OTHER_PASSWORD }))
        .status;
    const statuses = await Promise.all(Array.from({ length: 8 }, guess));
    expect(statuses.sort()).toEqual([400, 400, 400, 400, 400, 403, 403, 403]);
  });
});

describe('those who have no key', () => {
  it('are refused a body larger than any login, wherever they send it; others are not', async () => {
    const anybody = apiClient(platform.url);
    const text = 'x'.repeat(100_000);
    const large = { login: text, password: text, tokenId: text, userLogin: text };
    for (const path of ['/api/v0/auth', '/api/v0/setpwd', '/api/v0/resetpwd', '/nowhere']) {
      const { status, body } = await anybody.post<{ code: string }>(path, large);
      expect([path, status, body.code]).toEqual([path, 413, 'PAYLOAD_TOO_LARGE']);
    }
    const { api, tenantId } = await on.open();
    expect((await api.post('/api/v0/users', { login: 'x', email: text.repeat(10) })).status).toBe(400);
    expect((await api.get<{ id: string }>('/api/v0/tenants/me')).body.id).toBe(tenantId);
  });
});

describe('hashing', () => {
  it('knows a password again, however its letters are composed', async () => {
    const hash = await hashPassword('Zoë-12345');
    expect(hash).toMatch(/^scrypt\$/);
    expect(await hashPassword('Zoë-12345')).not.toBe(hash);
    expect(await verifyPassword('Zoe\u0308-12345', hash)).toBe(true);
    for (const [password, known] of [
      ['Zoe-12345', hash],
      ['', hash],
      ['', null],
      ['x', undefined],
    ] as const)
      expect(await verifyPassword(password, known)).toBe(false);
  });

  it('refuses more than a bounded number at once, and does the others', async () => {
    const results = await Promise.allSettled(Array.from({ length: 80 }, () => hashPassword('x')));
    const refused = results.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[];
    expect(refused).toHaveLength(14);
    for (const { reason } of refused) expect(reason).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    expect(await verifyPassword('x', await hashPassword('x'))).toBe(true);
  });

  it('generates passwords that follow the rule', () => {
    const passwords = Array.from({ length: 200 }, generatePassword);
    for (const password of passwords) checkPassword(password);
    expect(new Set(passwords).size).toBe(200);
    for (const accepted of ['Пароль1!', 'Aa1£aaaa', `Aa1!${'🚀'.repeat(252)}`]) checkPassword(accepted);
    expect(() => checkPassword('Aa1!🚀🚀')).toThrow();
  });
});
