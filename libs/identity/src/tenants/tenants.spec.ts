import { callRpc, RpcError, type Bus } from '@orrery/core/bus';
import { findApiKey, hashApiKey } from '@orrery/core/auth';
import { limitOf } from '@orrery/core/limits';
import { type ApiClient, apiClient, type Backend, startBackend, type TestPlatform } from '@orrery/core/testing';
import { createTenant, longestKept } from '../contract.js';
import { identity } from '../index.js';

let backend: Backend;
let platform: TestPlatform;
let bus: Bus;
beforeAll(async () => {
  backend = await startBackend([identity]);
  platform = await backend.boot([identity]);
  bus = await backend.bus();
});
afterAll(() => backend.stop());

interface TenantBody {
  id: string;
  name: string;
}

describe('tenants', () => {
  it('ACC-001 tells the holders of any key the id and the name of their tenant', async () => {
    const [a, b] = await Promise.all(['A', 'B'].map((name) => callRpc(bus, createTenant, { name })));
    const master = apiClient(platform.url, a!.masterKey);
    const child = await master.post<{ value: string }>('/api/v0/apiKeys', { parentId: a!.masterKeyId, roles: [] });
    const answers = await Promise.all(
      [a!.masterKey, child.body.value, b!.masterKey].map((key) =>
        apiClient(platform.url, key).get<TenantBody>('/api/v0/tenants/me'),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(answers.map(({ body: { id, name } }) => ({ id, name }))).toEqual([
      { id: a!.tenantId, name: 'A' },
      { id: a!.tenantId, name: 'A' },
      { id: b!.tenantId, name: 'B' },
    ]);
    expect(a!.tenantId).not.toBe(b!.tenantId);
  });

  it('ACC-001 refuses a name that is taken, or none', async () => {
    await callRpc(bus, createTenant, { name: 'taken' });
    const refusal = async (name: string): Promise<string> =>
      callRpc(bus, createTenant, { name }).then(
        () => 'created',
        (error: RpcError) => error.code,
      );
    expect(await refusal('taken')).toBe('CONFLICT');
    expect(await refusal(' ')).toBe('GENERIC_INVALID_PARAMETER_ERROR');
  });

  it('gives a tenant that names no limits the defaults of chapter 23', async () => {
    const { masterKey } = await callRpc(bus, createTenant, { name: 'defaults' });
    const { key } = await callRpc(bus, findApiKey, { hash: hashApiKey(masterKey) });
    expect(limitOf(key!.limits, 'apiKeys')).toBe(5);
  });
});

it('says how long data is kept at most, for who keeps that of all tenants', async () => {
  const longest = async (): Promise<number | null> => (await callRpc(bus, longestKept, { limit: 'dataDays' })).days;
  const keeping = (storeRetentionDays: number | null): Promise<unknown> =>
    callRpc(bus, createTenant, {
      name: `keeps ${storeRetentionDays}`,
      settings: { dataManagement: { enabled: true, storeRetentionDays } },
    });
  await keeping(30);
  expect(await longest()).toBe(365);
  await keeping(800);
  expect(await longest()).toBe(800);
  await keeping(null);
  expect(await longest()).toBeNull();
  expect(await callRpc(bus, longestKept, { limit: 'searchDays' })).toEqual({ days: 365 });
});

describe('settings of a tenant', () => {
  const PATH = '/api/v0/tenants/me/settings';
  interface Section {
    content: unknown;
    revision: number;
    code: string;
    details: Array<{ field: string }>;
  }

  async function tenant(name: string): Promise<{ api: ApiClient; child(...roles: string[]): Promise<ApiClient> }> {
    const { masterKey, masterKeyId } = await callRpc(bus, createTenant, { name });
    const api = apiClient(platform.url, masterKey);
    return {
      api,
      async child(...roles) {
        const { body } = await api.post<{ value: string }>('/api/v0/apiKeys', { parentId: masterKeyId, roles });
        return apiClient(platform.url, body.value);
      },
    };
  }

  it('ACC-039 are read with SETTINGS_R and written with SETTINGS_W', async () => {
    const { child } = await tenant('settings and roles');
    const [reader, writer, none] = [await child('SETTINGS_R'), await child('SETTINGS_W'), await child('DEVICE_R')];
    for (const api of [reader, none]) {
      const refused = [await api.put<Section>(`${PATH}/portal`, {}), await api.delete<Section>(`${PATH}/portal`)];
      for (const { status, body } of refused)
        expect([status, body.code]).toEqual([403, 'GENERIC_ACTION_FORBIDDEN_ERROR']);
    }
    expect(await writer.put(`${PATH}/portal`, { dark: true })).toMatchObject({
      status: 200,
      body: { content: { dark: true }, revision: 1 },
    });
    for (const api of [writer, none]) {
      expect((await api.get(PATH)).status).toBe(403);
      const me = await api.get('/api/v0/tenants/me');
      expect(me.status).toBe(200);
      expect(me.body).not.toHaveProperty('userSettings');
    }
    const { status, body } = await reader.get(PATH);
    expect([status, body]).toEqual([200, { portal: { content: { dark: true }, revision: 1 } }]);
    expect((await writer.delete(`${PATH}/portal`)).status).toBe(204);
    expect((await writer.delete(`${PATH}/portal`)).status).toBe(404);
    expect((await reader.get(PATH)).body).toEqual({});
  });

  it('are the own of each tenant, and shown with it', async () => {
    const [a, b] = [await tenant('settings of a'), await tenant('settings of b')];
    await a.api.put(`${PATH}/map`, { zoom: 3 });
    await b.api.put(`${PATH}/map`, { zoom: 4 });
    const again = await a.api.put<Section>(`${PATH}/map`, { zoom: 3 });
    expect(again.body.revision).toBe(1);
    expect((await a.api.put<Section>(`${PATH}/map`, { zoom: 5, 'ä 🚀': [null] })).body.revision).toBe(2);
    const { body } = await a.api.get<Record<string, unknown>>('/api/v0/tenants/me');
    expect(body).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{24}$/),
      name: 'settings of a',
      accountType: 'CUSTOMER',
      status: 'ACTIVATED',
      offerSettings: {},
      userSettings: { map: { content: { zoom: 5, 'ä 🚀': [null] }, revision: 2 } },
      masterApiKeyId: expect.stringMatching(/^[0-9a-f]{24}$/),
      creationTs: expect.any(Number),
    });
    expect((await b.api.get(PATH)).body).toEqual({ map: { content: { zoom: 4 }, revision: 1 } });
  });

  it('refuse what is no object, what is too large, and bad names', async () => {
    const { api } = await tenant('bad settings');
    for (const content of [
      '[]',
      '"a"',
      'null',
      '',
      '{',
      '{"a":"\\u0000"}',
      '{"\\ud800":1}',
      '{"__proto__":{}}',
      '{"a":1e400}',
    ])
      expect((await api.put(`${PATH}/a`, content)).status).toBe(400);
    expect((await api.put(`${PATH}/a`, { a: 'x'.repeat(65_600) })).status).toBe(400);
    expect((await api.put(`${PATH}/a`, `${'{"a":'.repeat(9000)}1${'}'.repeat(9000)}`)).status).toBe(400);
    for (const section of ['1a', '__proto__', 'constructor', 'a.b', '%00', 'a%20b', 'a'.repeat(65)]) {
      const { status, body } = await api.put<Section>(`${PATH}/${section}`, {});
      expect([status, body.details?.[0]?.field]).toEqual([400, 'section']);
    }
    expect((await api.get(PATH)).body).toEqual({});
  });

  it('have at most 50 sections, however many are written at once', async () => {
    const { api } = await tenant('many settings');
    const answers = await Promise.all(Array.from({ length: 55 }, (_, i) => api.put(`${PATH}/s${i}`, { i })));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(50);
    expect(answers.filter(({ status }) => status === 403)).toHaveLength(5);
    const known = Object.keys((await api.get<Record<string, unknown>>(PATH)).body);
    expect(known).toHaveLength(50);
    expect((await api.put(`${PATH}/${known[0]}`, { changed: true })).status).toBe(200);
  });
});

describe('keys of requests', () => {
  const path = '/api/v0/tenants/me';

  it('API-005 reads the key from the header X-API-Key in any case, and from nowhere else', async () => {
    const { masterKey } = await callRpc(bus, createTenant, { name: 'headers' });
    for (const name of ['X-API-Key', 'X-API-KEY', 'x-api-key'])
      expect((await fetch(platform.url + path, { headers: { [name]: masterKey } })).status).toBe(200);
    expect((await fetch(`${platform.url}${path}?X-API-Key=${masterKey}`)).status).toBe(403);
  });

  it('API-006 API-007 refuses a request without key, and one with a key that was never issued', async () => {
    for (const key of [undefined, '', '0123456789abcdef0123456789abcdef']) {
      const { status, body } = await apiClient(platform.url, key).get(path);
      expect(status).toBe(403);
      expect(body).toMatchObject({ code: 'FORBIDDEN', message: 'Forbidden request' });
    }
  });

  it('API-008 answers 401 when the tenant of a key is deactivated', async () => {
    const { tenantId, masterKey } = await callRpc(bus, createTenant, { name: 'deactivated' });
    await backend.query('UPDATE identity.tenants SET active = false WHERE id = $1', [tenantId]);
    const { status, body } = await apiClient(platform.url, masterKey).get(path);
    expect(status).toBe(401);
    expect(body).toMatchObject({ code: 'UNAUTHORIZED', message: 'Authentication failure.' });
  });

  it('API-012 API-013 answers errors as objects with a code, a message and an id of their own', async () => {
    const { masterKey } = await callRpc(bus, createTenant, { name: 'errors' });
    const api = apiClient(platform.url, masterKey);
    const answers = [
      await api.get<Record<string, string>>('/api/v0/apiKeys/unknown'),
      await api.get<Record<string, string>>('/api/v1/nosuchpath'),
    ];
    for (const { status, body } of answers) {
      expect(status).toBe(404);
      expect(body).toMatchObject({ code: 'NOT_FOUND', message: expect.stringMatching(/./) });
    }
    expect(answers[0]!.body['id']).toEqual(expect.stringMatching(/./));
    expect(answers[0]!.body['id']).not.toBe(answers[1]!.body['id']);
  });
});

it('describes its operations, and the roles that they need', async () => {
  const PATH = '/api/v0/apiKeys';
  const answer = await fetch(`${platform.url}/swagger-ui-json`);
  const { paths, components } = (await answer.json()) as {
    paths: Record<string, Record<string, { 'x-roles': string[] }>>;
    components: { schemas: Record<string, { properties: Record<string, { type: string }> }> };
  };
  expect(Object.keys(paths)).toEqual(
    expect.arrayContaining([PATH, `${PATH}/{apiKeyId}`, `${PATH}/{apiKeyId}/debugMode`, '/api/v0/tenants/me']),
  );
  expect(paths[PATH]!['post']!['x-roles']).toEqual(['API_KEY_W']);
  const { label, active, from } = components.schemas['ApiKeyCreation']!.properties;
  expect([label!.type, active!.type, from!.type]).toEqual(['string', 'boolean', 'number']);
});
