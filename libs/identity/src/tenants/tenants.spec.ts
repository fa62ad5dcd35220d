import { callRpc, RpcError, type Bus } from '@orrery/core/bus';
import { findApiKey, hashApiKey, ROLES } from '@orrery/core/auth';
import { Database } from '@orrery/core/database';
import { limitOf } from '@orrery/core/limits';
import { apiClient, type Backend, startBackend, type TestPlatform } from '@orrery/core/testing';
import { createTenant } from '../contract.js';
import { bootstrapTenant, identity } from '../index.js';

let backend: Backend;
let platform: TestPlatform;
let bus: Bus;
let database: Database;
beforeAll(async () => {
  backend = await startBackend([identity]);
  database = await Database.connect({ url: backend.config.DATABASE_URL, schema: identity.schema! });
  platform = await backend.boot([identity]);
  bus = await backend.bus();
});
afterAll(async () => {
  await database.close();
  await backend.stop();
});

interface TenantBody {
  id: string;
  name: string;
}

describe('the first tenant', () => {
  it('is created once, with the given master key and an offer without rate limits', async () => {
    const apiKey = 'a-key-that-the-operator-chose';
    const runs = await Promise.all(['one', 'two'].map((name) => bootstrapTenant(database, name, { apiKey })));
    expect(runs.filter((run) => run.created)).toEqual([{ created: true, masterKey: apiKey }]);
    expect((await apiClient(platform.url, apiKey).get('/api/v0/tenants/me')).status).toBe(200);
    const { key } = await callRpc(bus, findApiKey, { hash: hashApiKey(apiKey) });
    expect(key!.roles).toEqual(ROLES);
    expect(limitOf(key!.limits, 'httpPerKeyMinute')).toBe(Number.POSITIVE_INFINITY);
    expect(await bootstrapTenant(database, 'three')).toEqual({ created: false });
  });
});

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
    expect(answers.map(({ body }) => body)).toEqual([
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
