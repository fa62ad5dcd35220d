import { ROLES } from '@orrery/core/auth';
import { callRpc, type Bus } from '@orrery/core/bus';
import { type SectionContents, UNLIMITED_CONTENTS } from '@orrery/core/limits';
import {
  type ApiAnswer,
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  startBackend,
  type TestPlatform,
} from '@orrery/core/testing';
import { createTenant } from '../contract.js';
import { identity } from '../index.js';

const PATH = '/api/v0/apiKeys';
const HOUR = 3_600_000;

let backend: Backend;
let platform: TestPlatform;
let bus: Bus;
beforeAll(async () => {
  backend = await startBackend([identity]);
  platform = await backend.boot([identity]);
  bus = await backend.bus();
});
afterAll(() => backend.stop());

interface KeyBody {
  id: string;
  parentId?: string;
  value: string;
  label: string;
  roles: string[];
  active: boolean;
  masterKey: boolean;
  from?: number;
  to?: number;
  scope: { fifos: string[] };
  creationTs: number;
  debugModeEndTs?: number;
  code: string;
  details: unknown;
}

interface Account {
  masterId: string;
  api: ApiClient;
  /** Creates a child of the master key. */
  key(fields?: Record<string, unknown>): Promise<KeyBody>;
  create(fields: Record<string, unknown>): Promise<ApiAnswer<KeyBody>>;
}

let accounts = 0;
async function account(settings: SectionContents = UNLIMITED_CONTENTS): Promise<Account> {
  const { masterKey, masterKeyId } = await callRpc(bus, createTenant, { name: `account ${++accounts}`, settings });
  const api = apiClient(platform.url, masterKey);
  const create = (fields: Record<string, unknown>) => api.post<KeyBody>(PATH, { parentId: masterKeyId, ...fields });
  return {
    masterId: masterKeyId,
    api,
    create,
    async key(fields = {}) {
      const { status, body } = await create(fields);
      expect(status).toBe(200);
      return body;
    },
  };
}

const as = (key: { value: string }): ApiClient => apiClient(platform.url, key.value);
const statusOf = async (key: { value: string }, path = '/api/v0/tenants/me'): Promise<number> =>
  (await as(key).get(path)).status;
const becomes = (key: { value: string }, status: number): Promise<boolean> =>
  eventually(async () => (await statusOf(key)) === status);

describe('creating keys', () => {
  it('ACC-023 API-024 API-027 creates a child whose value authenticates', async () => {
    const { api, masterId } = await account();
    const before = Date.now();
    const { status, body } = await api.post<KeyBody>(PATH, {
      active: true,
      parentId: masterId,
      label: 'myMqttDeviceKey',
      roles: ['DEVICE_ACCESS'],
    });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      id: expect.stringMatching(/^[0-9a-f]{24}$/),
      parentId: masterId,
      tenantId: expect.stringMatching(/^[0-9a-f]{24}$/),
      label: 'myMqttDeviceKey',
      roles: ['DEVICE_ACCESS'],
      active: true,
      masterKey: false,
    });
    expect(Number.isInteger(body.creationTs)).toBe(true);
    expect(Math.abs(body.creationTs - before)).toBeLessThan(60_000);
    expect(Buffer.from(body.value, 'base64url').length * 8).toBeGreaterThanOrEqual(160);
    expect(await statusOf(body)).toBe(200);
  });

  it('ACC-024 shows the value of a key in the answer to its creation alone', async () => {
    const { api, key } = await account();
    const { id, value } = await key({ label: 'secret' });
    const list = await api.get<{ data: KeyBody[] }>(PATH);
    const one = await api.get<KeyBody>(`${PATH}/${id}`);
    const changed = await api.post<KeyBody>(`${PATH}/${id}`, { label: 'still secret' });
    for (const answer of [...list.body.data, one.body, changed.body]) {
      expect(answer).not.toHaveProperty('value');
      expect(answer).not.toHaveProperty('hash');
      expect(JSON.stringify(answer)).not.toContain(value);
    }
  });

  it('ACC-025 needs a parent: none is 400, an unknown one is 404', async () => {
    const { api } = await account();
    const none = await api.post<KeyBody>(PATH, { roles: [] });
    expect([none.status, none.body.code]).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
    expect(none.body.details).toEqual([{ field: 'parentId', expected: 'the id of the parent key' }]);
    for (const parentId of ['0123456789abcdef01234567', 'x', 'a\u0000b']) {
      const unknown = await api.post<KeyBody>(PATH, { parentId, roles: [] });
      expect([unknown.status, unknown.body.code]).toEqual([404, 'NOT_FOUND']);
    }
  });

  it('ACC-026 refuses a role that the parent or the caller lacks', async () => {
    const { api, key, create, masterId } = await account();
    const parent = await key({ roles: ['DATA_R'] });
    expect((await create({ parentId: parent.id, roles: ['DATA_R'] })).status).toBe(200);
    const before = (await api.get<{ totalCount: number }>(PATH)).body.totalCount;
    const wider = await create({ parentId: parent.id, roles: ['DATA_R', 'DATA_W'] });
    expect([wider.status, wider.body.code]).toEqual([403, 'GENERIC_ACTION_FORBIDDEN_ERROR']);
    const writer = await key({ roles: ['API_KEY_W'] });
    const beyondCaller = await as(writer).post<KeyBody>(PATH, { parentId: masterId, roles: ['DATA_W'] });
    expect([beyondCaller.status, beyondCaller.body.code]).toEqual([403, 'GENERIC_ACTION_FORBIDDEN_ERROR']);
    expect((await api.get<{ totalCount: number }>(PATH)).body.totalCount).toBe(before + 1);
  });

  it('ACC-032 allows a key without roles, which passes no operation that needs one', async () => {
    const key = await (await account()).key({ roles: [] });
    expect(key.roles).toEqual([]);
    expect(await statusOf(key)).toBe(200);
    const list = await as(key).get<KeyBody>(PATH);
    expect([list.status, list.body.code]).toEqual([403, 'GENERIC_ACTION_FORBIDDEN_ERROR']);
  });

  it('ACC-033 API-011 refuses what is no role, and names every bad field', async () => {
    const { create, api } = await account();
    const { status, body } = await create({ roles: ['SUPER_USER'] });
    expect(status).toBe(400);
    expect(body).toMatchObject({
      code: 'GENERIC_INVALID_PARAMETER_ERROR',
      message: 'The submitted parameter is invalid.',
    });
    const bad = { label: 1, roles: 'DATA_R', active: 'yes', from: 'today', to: 1.5, scope: { fifos: [''] } };
    const all = await create(bad);
    expect(all.status).toBe(400);
    expect([...new Set((all.body.details as Array<{ field: string }>).map(({ field }) => field))].sort()).toEqual(
      ['active', 'from', 'label', 'roles', 'scope.fifos', 'to'].sort(),
    );
    for (const body of ['[]', '"text"', '5', 'null', '{"parentId":', '{"scope":[]}', '{"label":"a\\u0000b"}'])
      expect([body, (await api.post(PATH, body)).status]).toEqual([body, 400]);
  });

  it('ACC-034 grants all 21 roles', async () => {
    const key = await (await account()).key({ roles: ROLES });
    expect(key.roles).toHaveLength(21);
    expect(key.roles.toSorted()).toEqual([...ROLES].sort());
  });

  it('LIM-018 refuses the sixth key, the master key not counted', async () => {
    const { create, key, api } = await account({});
    for (let i = 0; i < 4; i++) await key();
    // Two at the same time share the last place.
    const last = await Promise.all([create({}), create({})]);
    expect(last.map(({ status }) => status).sort()).toEqual([200, 403]);
    const sixth = await create({});
    expect([sixth.status, sixth.body.code]).toEqual([403, 'GENERIC_QUOTA_EXCEEDED_ERROR']);
    const kept = last.find(({ status }) => status === 200)!.body;
    await api.delete(`${PATH}/${kept.id}`);
    expect((await create({})).status).toBe(200);
  });
});

describe('validity', () => {
  it('ACC-027 API-008 limits a key in time', async () => {
    const { key, create } = await account();
    const brief = await key({ to: Date.now() + 2000 });
    expect(await statusOf(brief)).toBe(200);
    const later = await as(await key({ from: Date.now() + HOUR })).get<KeyBody>('/api/v0/tenants/me');
    expect(later.status).toBe(401);
    expect(later.body).toMatchObject({ code: 'UNAUTHORIZED', message: 'Authentication failure.' });
    const now = Date.now();
    const reversed = await create({ from: now + 2, to: now + 1 });
    expect([reversed.status, reversed.body.code]).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
    await becomes(brief, 401);
    expect(Date.now()).toBeGreaterThanOrEqual(brief.to!);
  });

  it("ACC-028 keeps a child within its parent's validity", async () => {
    const { key, create, api } = await account();
    const from = Date.now() - HOUR;
    const to = Date.now() + HOUR;
    const parent = await key({ from, to });
    const child = await key({ parentId: parent.id });
    expect([child.from, child.to]).toEqual([from, to]);
    for (const window of [{ to: to + 1 }, { from: from - 1 }, { from: to + 1 }, { to: from - 1 }]) {
      const wider = await create({ parentId: parent.id, ...window });
      expect([wider.status, wider.body.code]).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
      expect((await api.post(`${PATH}/${child.id}`, window)).status).toBe(400);
    }
    expect((await api.post<KeyBody>(`${PATH}/${child.id}`, { to: to - 1 })).body.to).toBe(to - 1);
    expect((await api.post<KeyBody>(`${PATH}/${child.id}`, { to: null })).body.to).toBe(to);
    await api.post(`${PATH}/${parent.id}`, { to: to - 5 });
    expect((await api.get<KeyBody>(`${PATH}/${child.id}`)).body.to).toBe(to - 5);
  });

  it('ACC-029 disables, expires and deletes descendants with their ancestor', async () => {
    const { api, key } = await account();
    const parent = await key();
    const child = await key({ parentId: parent.id });
    const grandchild = await key({ parentId: child.id });
    expect(await statusOf(grandchild)).toBe(200);
    await api.post(`${PATH}/${parent.id}`, { active: false });
    await Promise.all([child, grandchild].map((each) => becomes(each, 401)));
    await api.post(`${PATH}/${parent.id}`, { active: true });
    await Promise.all([child, grandchild].map((each) => becomes(each, 200)));
    await api.post(`${PATH}/${parent.id}`, { to: Date.now() - 1 });
    await becomes(grandchild, 401);
    await api.delete(`${PATH}/${parent.id}`);
    await Promise.all([parent, child, grandchild].map((each) => becomes(each, 403)));
    expect((await api.get(`${PATH}/${grandchild.id}`)).status).toBe(404);
  });

  it('takes from descendants the roles that an ancestor loses', async () => {
    const { api, key } = await account();
    const parent = await key({ roles: ['API_KEY_R', 'DATA_R'] });
    const child = await key({ parentId: parent.id, roles: ['API_KEY_R', 'DATA_R'] });
    expect(await statusOf(child, PATH)).toBe(200);
    await api.post(`${PATH}/${parent.id}`, { roles: ['DATA_R'] });
    await eventually(async () => (await statusOf(child, PATH)) === 403);
    expect((await api.get<KeyBody>(`${PATH}/${child.id}`)).body.roles).toEqual(['DATA_R']);
  });
});

describe('changing keys', () => {
  it('ACC-030 changes a key; a disabled one is refused until it is enabled', async () => {
    const { api, key } = await account();
    const { id, value } = await key({ label: 'old', roles: ['DATA_R'] });
    expect(await statusOf({ value })).toBe(200);
    const changes = { label: 'new', roles: ['DATA_W'], active: false, scope: { fifos: ['f1'] } };
    const changed = await api.post<KeyBody>(`${PATH}/${id}`, changes);
    expect(changed.status).toBe(200);
    expect(changed.body).toMatchObject({ id, ...changes });
    await becomes({ value }, 401);
    expect((await as({ value }).get<KeyBody>('/api/v0/tenants/me')).body.code).toBe('UNAUTHORIZED');
    await api.post(`${PATH}/${id}`, { active: true, scope: null });
    await becomes({ value }, 200);
    expect((await api.get<KeyBody>(`${PATH}/${id}`)).body).toMatchObject({ label: 'new', roles: ['DATA_W'] });
  });

  it('ACC-026 refuses a change that adds a role which the caller or the parent lacks', async () => {
    const { api, key } = await account();
    const writer = await key({ roles: ['API_KEY_W'] });
    const own = await as(writer).post(`${PATH}/${writer.id}`, { roles: ['API_KEY_W', 'DATA_W'] });
    expect(own.status).toBe(403);
    const child = await key({ parentId: writer.id });
    expect((await api.post(`${PATH}/${child.id}`, { roles: ['DATA_W'] })).status).toBe(403);
    expect((await api.post(`${PATH}/${child.id}`, { roles: ['API_KEY_W'] })).status).toBe(200);
  });

  it('ACC-031 deletes a key', async () => {
    const { api, key } = await account();
    const doomed = await key();
    expect(await statusOf(doomed)).toBe(200);
    const answer = await api.delete(`${PATH}/${doomed.id}`);
    expect([answer.status, answer.body]).toEqual([200, undefined]);
    await becomes(doomed, 403);
    expect((await api.delete(`${PATH}/${doomed.id}`)).status).toBe(404);
  });

  it('ACC-005 ACC-006 keeps the master key whatever happens', async () => {
    const { api, masterId, key } = await account();
    await key();
    const { body } = await api.get<{ data: KeyBody[] }>(PATH);
    expect(body.data.filter((each) => each.masterKey).map(({ id, parentId }) => [id, parentId])).toEqual([
      [masterId, undefined],
    ]);
    const deletion = await api.delete<KeyBody>(`${PATH}/${masterId}`);
    expect([deletion.status, deletion.body.code]).toEqual([403, 'GENERIC_ACTION_FORBIDDEN_ERROR']);
    for (const change of [{ active: false }, { roles: [] }, { to: 1 }, { scope: { fifos: ['f1'] } }])
      expect((await api.post(`${PATH}/${masterId}`, change)).status).toBe(403);
    expect((await api.post<KeyBody>(`${PATH}/${masterId}`, { label: 'root' })).body.label).toBe('root');
    expect((await api.get<{ data: KeyBody[] }>(PATH)).body.data.map(({ id }) => id)).toContain(masterId);
  });

  it('API-009 needs API_KEY_R to read and API_KEY_W to write', async () => {
    const { key, masterId } = await account();
    const reader = await key({ roles: ['API_KEY_R'] });
    const writer = await key({ roles: ['API_KEY_W'] });
    const other = await key();
    expect(await statusOf(reader, PATH)).toBe(200);
    expect(await statusOf(reader, `${PATH}/${other.id}`)).toBe(200);
    const refused = [
      await as(writer).get<KeyBody>(PATH),
      await as(writer).get<KeyBody>(`${PATH}/${other.id}`),
      await as(reader).post<KeyBody>(PATH, { parentId: masterId }),
      await as(reader).post<KeyBody>(`${PATH}/${other.id}`, { active: false }),
      await as(reader).put<KeyBody>(`${PATH}/${other.id}/debugMode`, { activated: true }),
      await as(reader).delete<KeyBody>(`${PATH}/${other.id}`),
    ];
    for (const { status, body } of refused) {
      expect(status).toBe(403);
      expect(body).toMatchObject({
        code: 'GENERIC_ACTION_FORBIDDEN_ERROR',
        message: 'You do not have the required permissions to execute this action.',
      });
    }
  });

  it('AUD-014 sets debug mode for some time', async () => {
    const { api, key } = await account();
    const { id } = await key();
    const debug = (mode: object): Promise<ApiAnswer<KeyBody>> => api.put<KeyBody>(`${PATH}/${id}/debugMode`, mode);
    const on = await debug({ activated: true });
    expect(on.status).toBe(200);
    expect(Math.abs(on.body.debugModeEndTs! - (Date.now() + 900_000))).toBeLessThan(30_000);
    await debug({ activated: true, durationSeconds: 1 });
    await eventually(async () => {
      const { body } = await api.get<KeyBody>(`${PATH}/${id}`);
      return body.debugModeEndTs === undefined;
    });
    await debug({ activated: true });
    expect((await debug({ activated: false })).body.debugModeEndTs).toBeUndefined();
    for (const mode of [{}, { activated: 'yes' }, { activated: true, durationSeconds: 0 }])
      expect((await debug(mode)).status).toBe(400);
    expect((await api.put(`${PATH}/unknown/debugMode`, { activated: true })).status).toBe(404);
  });
});

describe('scope', () => {
  it('ACC-044 stores the FIFOs that a key is restrained to', async () => {
    const { api, key } = await account();
    const restrained = await key({ roles: ['BUS_R'], scope: { fifos: ['f1'] } });
    expect((await api.get<KeyBody>(`${PATH}/${restrained.id}`)).body.scope).toEqual({ fifos: ['f1'] });
    expect((await key({ roles: ['BUS_R'] })).scope).toEqual({ fifos: [] });
  });

  it('ACC-046 refuses a restrained key over REST whatever its roles', async () => {
    const { key } = await account();
    const restrained = await key({ roles: ROLES, scope: { fifos: ['f1'] } });
    const { status, body } = await as(restrained).get<KeyBody>(PATH);
    expect([status, body.code]).toEqual([403, 'FORBIDDEN']);
  });
});

describe('reading keys', () => {
  it('ACC-002 neither shows nor changes a key of another tenant', async () => {
    const [a, b] = await Promise.all([account(), account()]);
    const foreign = await a.key({ label: 'of A' });
    const answers = [
      await b.api.get<KeyBody>(`${PATH}/${foreign.id}`),
      await b.api.post<KeyBody>(`${PATH}/${foreign.id}`, { active: false }),
      await b.api.put<KeyBody>(`${PATH}/${foreign.id}/debugMode`, { activated: true }),
      await b.api.delete<KeyBody>(`${PATH}/${foreign.id}`),
      await b.api.post<KeyBody>(PATH, { parentId: foreign.id }),
    ];
    for (const { status, body } of answers) expect([status, body.code]).toEqual([404, 'NOT_FOUND']);
    const list = await b.api.get<{ totalCount: number; data: KeyBody[] }>(PATH);
    expect(list.body.totalCount).toBe(1);
    expect(list.body.data.map(({ id }) => id)).toEqual([b.masterId]);
    expect((await a.api.get<KeyBody>(`${PATH}/${foreign.id}`)).body).toMatchObject({ label: 'of A', active: true });
  });

  it('API-015 API-016 API-017 API-018 lists keys by pages', async () => {
    const { api, key } = await account();
    for (let i = 0; i < 24; i++) await key();
    const page = async (query: string) =>
      (await api.get<{ totalCount: number; size: number; page: number; data: KeyBody[] }>(`${PATH}${query}`)).body;
    const first = await page('');
    expect([first.totalCount, first.size, first.page, first.data.length]).toEqual([25, 20, 0, 20]);
    const tens = [await page('?size=10&page=0'), await page('?size=10&page=1'), await page('?size=10&page=2')];
    expect(tens.map(({ data }) => data.length)).toEqual([10, 10, 5]);
    expect(new Set(tens.flatMap(({ data }) => data.map(({ id }) => id))).size).toBe(25);
    expect((await page('?size=20&page=1')).data).toHaveLength(5);
    expect(await page('?page=100&size=20')).toEqual({ totalCount: 25, size: 20, page: 100, data: [] });
    expect(await page('?size=-1&page=x')).toMatchObject({ size: 20, page: 0 });
    expect((await page('?size=5000')).size).toBe(1000);
    expect(await page('?size=1000&page=999999999')).toMatchObject({ data: [] });
  });
});
