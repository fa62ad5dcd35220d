import { PROFILES, ROLES } from '@orrery/core/auth';
import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  startBackend,
  type TestPlatform,
} from '@orrery/core/testing';
import { identity } from '../index.js';
import { type Accounts, accounts, PASSWORD, type UserBody } from '../testing/accounts.js';
import { type Mailbox, startMailbox } from '../testing/mailbox.js';

const PATH = '/api/v0/users';

let mailbox: Mailbox;
let backend: Backend;
let platform: TestPlatform;
let on: Accounts;
beforeAll(async () => {
  mailbox = await startMailbox();
  backend = await startBackend([identity], { SMTP_URL: mailbox.url });
  platform = await backend.boot([identity]);
  on = accounts(platform.url, await backend.bus(), mailbox);
});
afterAll(async () => {
  await backend.stop();
  await mailbox.close();
});

interface Page {
  totalCount: number;
  size: number;
  page: number;
  data: UserBody[];
}

const statusOf = async (api: ApiClient, path = '/api/v0/tenants/me'): Promise<number> => (await api.get(path)).status;

describe('creating users', () => {
  it('ACC-007 answers the new user, and never a password', async () => {
    const { create, tenantId } = await on.open();
    const { status, body } = await create({ login: 'op1', email: 'op1@x.io', password: PASSWORD });
    expect(status).toBe(200);
    expect(body).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{24}$/),
      tenantId,
      login: 'op1',
      email: 'op1@x.io',
      roles: ['DEVICE_R'],
      state: 'enabled',
      mainUser: false,
    });
    expect((await on.logIn('op1')).status).toBe(401);
  });

  it('ACC-008 refuses a user without role, and one of a role that does not exist', async () => {
    const { api, create } = await on.open();
    for (const fields of [
      { roles: [] },
      { roles: undefined },
      { roles: null },
      { roles: 'DEVICE_R' },
      { roles: ['SUPER_USER'] },
      { roles: undefined, profile: 'ROOT' },
      { roles: ['DEVICE_R'], profile: 'USER' },
    ]) {
      const { status, body } = await create(fields);
      expect([status, body.code]).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
    }
    expect((await api.get<Page>(PATH)).body.totalCount).toBe(0);
  });

  it('ACC-009 refuses a login that any tenant has, of any number of requests at once', async () => {
    const [a, b] = [await on.open(), await on.open()];
    const answers = await Promise.all(
      [a, b, a, b].map(({ create }) => create({ login: 'wanted', email: 'wanted@example.com' })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409, 409]);
    expect(answers.find(({ status }) => status === 409)!.body).toMatchObject({ code: 'CONFLICT' });
    const lists = await Promise.all([a, b].map(({ api }) => api.get<Page>(`${PATH}?login=wanted`)));
    expect(lists.flatMap(({ body }) => body.data)).toHaveLength(1);
  });

  it('refuses logins and addresses of another form, and names the field', async () => {
    const { create } = await on.open();
    const bad: Array<[string, unknown]> = [
      ...['', 'ab', 'a b c', 'ünï', 'a\u0000bc', 'x'.repeat(255), 7, null, 'a@b', 'abc\n'].map(
        (login): [string, unknown] => ['login', login],
      ),
      ...[
        '',
        'nobody',
        'a@x.io, b@x.io',
        'a@x.io\r\nBcc: b@x.io',
        '"a\r\nb"@x.io',
        '"a b"@x.io',
        'A <a@x.io>',
        `${'x'.repeat(64)}@${'x.'.repeat(100)}io`,
        { address: 'a@x.io' },
        null,
      ].map((email): [string, unknown] => ['email', email]),
    ];
    for (const [field, value] of bad) {
      const { status, body } = await create({ [field]: value });
      expect([value, status, body.code]).toEqual([value, 400, 'GENERIC_INVALID_PARAMETER_ERROR']);
      expect(body.details).toEqual([{ field, expected: expect.stringContaining('e-mail address') }]);
    }
    expect((await create({ login: 'someone.else+1@example.com' })).status).toBe(200);
  });

  it('LIM-019 refuses the sixth user, until one is deleted', async () => {
    const { api, create } = await on.open({});
    const made = [];
    for (let i = 0; i < 5; i++) made.push(await create());
    expect(made.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    const sixths = await Promise.all([create(), create()]);
    for (const { status, body } of sixths) expect([status, body.code]).toEqual([403, 'GENERIC_QUOTA_EXCEEDED_ERROR']);
    expect((await api.get<Page>(PATH)).body.totalCount).toBe(5);
    expect((await api.delete(`${PATH}/${made[0]!.body.id}`)).status).toBe(200);
    const again = await Promise.all([create(), create()]);
    expect(again.map(({ status }) => status).sort()).toEqual([200, 403]);
  });

  it('ACC-035 gives the roles of a profile', async () => {
    const { user } = await on.open();
    for (const [profile, roles] of [
      ['ADMIN', [...ROLES]],
      ['USER', [...PROFILES.USER]],
    ] as const) {
      const { login } = await user({ roles: undefined, profile });
      expect((await on.logIn(login)).body.apiKey.roles).toEqual(roles);
    }
    expect(ROLES).toHaveLength(21);
    expect(PROFILES.USER).toHaveLength(15);
  });

  it('lets nobody give a role that they lack', async () => {
    const { user } = await on.open();
    const writer = await on.session((await user({ roles: ['USER_W', 'DEVICE_R'] })).login);
    const create = (roles: string[]) =>
      writer.post<UserBody>(PATH, { login: `by-writer-${roles.length}`, email: 'a@example.com', roles });
    const wider = await create(['DEVICE_R', 'DATA_R']);
    expect([wider.status, wider.body.code]).toEqual([403, 'GENERIC_ACTION_FORBIDDEN_ERROR']);
    expect(wider.body.details).toEqual({ missing: ['DATA_R'] });
    expect((await create(['DEVICE_R'])).status).toBe(200);
  });
});

describe('reading users', () => {
  it('ACC-010 lists users by pages, and reads one', async () => {
    const { api, create } = await on.open();
    const made = [await create(), await create(), await create()].map(({ body }) => body);
    const { status, body } = await api.get<Page>(`${PATH}?size=2&page=1`);
    expect(status).toBe(200);
    expect(body).toEqual({ totalCount: 3, size: 2, page: 1, data: [made[2]] });
    expect((await api.get(`${PATH}/${made[1]!.id}`)).body).toEqual(made[1]);
    for (const id of ['unknown', '0123456789abcdef01234567', '%00'])
      expect((await api.get(`${PATH}/${id}`)).status).toBe(404);
  });

  it('narrows the list to a login, an address or a state', async () => {
    const { api, create } = await on.open();
    const [a, b] = [(await create()).body, (await create({ email: 'b@example.com' })).body];
    await api.post(`${PATH}/${b.id}`, { state: 'disabled' });
    const ids = async (query: string) => (await api.get<Page>(`${PATH}?${query}`)).body.data.map(({ id }) => id);
    expect(await ids(`login=${a.login}`)).toEqual([a.id]);
    expect(await ids('email=b@example.com')).toEqual([b.id]);
    expect(await ids('userState=enabled')).toEqual([a.id]);
    expect(await ids('userState=disabled&userState=enabled')).toEqual([a.id, b.id]);
    expect(await ids(`login=${a.login}&userState=disabled`)).toEqual([]);
    for (const query of ['userState=sleepy', 'login=%00', 'email=a&email=b'])
      expect((await api.get(`${PATH}?${query}`)).status).toBe(400);
  });

  it('needs USER_R to read and USER_W to write', async () => {
    const { api, masterKeyId, create } = await on.open();
    const { id } = (await create()).body;
    const key = async (...roles: string[]) => {
      const { body } = await api.post<{ value: string }>('/api/v0/apiKeys', { parentId: masterKeyId, roles });
      return apiClient(platform.url, body.value);
    };
    const [reader, writer] = [await key('USER_R'), await key('USER_W', 'DEVICE_R')];
    expect([await statusOf(reader, PATH), await statusOf(reader, `${PATH}/${id}`)]).toEqual([200, 200]);
    expect([await statusOf(writer, PATH), await statusOf(writer, `${PATH}/${id}`)]).toEqual([403, 403]);
    const change = { email: 'changed@example.com' };
    expect((await reader.post(`${PATH}/${id}`, change)).status).toBe(403);
    expect((await writer.post(`${PATH}/${id}`, change)).status).toBe(200);
    for (const path of [PATH, `${PATH}/activateUser`]) expect((await reader.post(path, {})).status).toBe(403);
    expect((await reader.delete(`${PATH}/${id}`)).status).toBe(403);
  });

  it('tells those who logged in who they are, whatever their roles', async () => {
    const { api, user } = await on.open();
    const { id, login } = await user();
    const before = Date.now();
    const { status, body } = await (await on.session(login)).get<UserBody>(`${PATH}/me`);
    expect([status, body.id]).toEqual([200, id]);
    expect(body.lastAuthentication).toBeGreaterThan(before - 60_000);
    expect((await api.get(`${PATH}/me`)).status).toBe(404);
  });

  it('shows no user of another tenant, and changes none', async () => {
    const [a, b] = [await on.open(), await on.open()];
    const { id } = (await a.create()).body;
    expect((await b.api.get(`${PATH}/${id}`)).status).toBe(404);
    expect((await b.api.post(`${PATH}/${id}`, { state: 'disabled' })).status).toBe(404);
    expect((await b.api.delete(`${PATH}/${id}`)).status).toBe(404);
    expect((await b.api.post(`${PATH}/activateUser`, { userId: id, tenantId: a.tenantId })).status).toBe(404);
    expect((await b.api.get<Page>(PATH)).body.totalCount).toBe(0);
    expect((await a.api.get<UserBody>(`${PATH}/${id}`)).body.state).toBe('enabled');
  });
});

describe('changing users', () => {
  it('ACC-011 gives the next login the new roles, and takes lost ones from sessions at once', async () => {
    const { api, user } = await on.open();
    const { id, login } = await user({ roles: ['DEVICE_R', 'USER_R', 'API_KEY_R'] });
    const session = await on.session(login);
    expect(await statusOf(session, PATH)).toBe(200);
    const { status, body } = await api.post<UserBody>(`${PATH}/${id}`, { roles: ['DEVICE_R', 'DATA_R', 'API_KEY_R'] });
    expect([status, body.roles]).toEqual([200, ['DEVICE_R', 'DATA_R', 'API_KEY_R']]);
    await eventually(async () => (await statusOf(session, PATH)) === 403);
    expect(await statusOf(session, '/api/v0/apiKeys')).toBe(200);
    expect((await on.logIn(login)).body.apiKey.roles).toEqual(['DEVICE_R', 'DATA_R', 'API_KEY_R']);
  });

  it('ACC-012 a disabled user can neither log in nor go on', async () => {
    const { api, user } = await on.open();
    const { id, login } = await user();
    const session = await on.session(login);
    expect((await api.post<UserBody>(`${PATH}/${id}`, { state: 'disabled' })).body.state).toBe('disabled');
    expect((await on.logIn(login)).status).toBe(401);
    await eventually(async () => (await statusOf(session)) === 401);
    expect((await api.post<UserBody>(`${PATH}/${id}`, { state: 'enabled' })).body.state).toBe('enabled');
    expect((await on.logIn(login)).status).toBe(200);
    expect(await statusOf(session)).toBe(401);
  });

  it('ACC-013 deletes a user with its sessions', async () => {
    const { api, user } = await on.open();
    const { id, login } = await user();
    const session = await on.session(login);
    const answer = await api.delete(`${PATH}/${id}`);
    expect([answer.status, answer.body]).toEqual([200, undefined]);
    expect((await api.get(`${PATH}/${id}`)).status).toBe(404);
    expect((await on.logIn(login)).status).toBe(401);
    await eventually(async () => [401, 403].includes(await statusOf(session)));
    expect((await api.delete(`${PATH}/${id}`)).status).toBe(404);
  });

  it('changes login and address, and refuses a login that is taken', async () => {
    const { api, user, create } = await on.open();
    const { id, login } = await user();
    const other = (await create()).body;
    expect((await api.post(`${PATH}/${id}`, { login: other.login })).status).toBe(409);
    const fields = { login: `${login}-renamed`, email: 'renamed@example.com' };
    expect((await api.post(`${PATH}/${id}`, fields)).body).toMatchObject(fields);
    expect((await on.logIn(login)).status).toBe(401);
    expect((await on.logIn(fields.login)).status).toBe(200);
    for (const bad of [{ login: 'x' }, { email: 'x' }, { state: 'suspended' }, { roles: [] }, { mainUser: 'yes' }])
      expect((await api.post(`${PATH}/${id}`, bad)).status).toBe(400);
    expect((await api.get(`${PATH}/${id}`)).body).toMatchObject(fields);
  });

  it('lets nobody change a user who may do more than themselves', async () => {
    const { user } = await on.open();
    const admin = await user({ roles: undefined, profile: 'ADMIN' });
    const writer = await on.session((await user({ roles: ['USER_W'] })).login);
    for (const refused of [
      await writer.post<UserBody>(`${PATH}/${admin.id}`, { email: 'mine@example.com' }),
      await writer.delete<UserBody>(`${PATH}/${admin.id}`),
      await writer.post<UserBody>(`${PATH}/activateUser`, { userId: admin.id }),
    ])
      expect([refused.status, refused.body.code]).toEqual([403, 'GENERIC_ACTION_FORBIDDEN_ERROR']);
  });

  it('lets users neither delete nor disable themselves, so that one who can write users is left', async () => {
    const { user } = await on.open();
    const [a, b] = [
      await user({ profile: 'ADMIN', roles: undefined }),
      await user({ profile: 'ADMIN', roles: undefined }),
    ];
    const [asA, asB] = [await on.session(a.login), await on.session(b.login)];
    const refusals = [
      await asA.delete(`${PATH}/${a.id}`),
      await asA.post(`${PATH}/${a.id}`, { state: 'disabled' }),
      await asA.post(`${PATH}/${a.id}`, { roles: ['USER_R'] }),
    ];
    expect(refusals.map(({ status }) => status)).toEqual([403, 403, 403]);
    expect((await asA.post(`${PATH}/${a.id}`, { roles: ['USER_R', 'USER_W'] })).status).toBe(200);
    // At the same moment each of them deletes the other.
    const [c, d] = [
      await user({ profile: 'ADMIN', roles: undefined }),
      await user({ profile: 'ADMIN', roles: undefined }),
    ];
    const [asC, asD] = [await on.session(c.login), await on.session(d.login)];
    const both = await Promise.all([asC.delete(`${PATH}/${d.id}`), asD.delete(`${PATH}/${c.id}`)]);
    expect(both.filter(({ status }) => status === 200)).toHaveLength(1);
    expect((await asB.get<Page>(PATH)).body.data.filter(({ id }) => [c.id, d.id].includes(id))).toHaveLength(1);
  });

  it('keeps the main user until another one has taken over', async () => {
    const { api, create } = await on.open();
    const [first, second] = [(await create()).body, (await create()).body];
    expect((await api.post<UserBody>(`${PATH}/${first.id}`, { mainUser: true })).body.mainUser).toBe(true);
    expect((await api.delete(`${PATH}/${first.id}`)).status).toBe(403);
    expect((await api.post(`${PATH}/${first.id}`, { state: 'disabled' })).status).toBe(403);
    expect((await api.post<UserBody>(`${PATH}/${second.id}`, { mainUser: true })).status).toBe(200);
    expect((await api.get<Page>(PATH)).body.data.map(({ mainUser }) => mainUser)).toEqual([false, true]);
    expect((await api.delete(`${PATH}/${first.id}`)).status).toBe(200);
  });
});
