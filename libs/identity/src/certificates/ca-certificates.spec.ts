import { ROLES } from '@orrery/core/auth';
import { type Bus, callRpc } from '@orrery/core/bus';
import { type SectionContents, UNLIMITED_CONTENTS } from '@orrery/core/limits';
import { type ApiClient, apiClient, type Backend, startBackend, type TestPlatform } from '@orrery/core/testing';
import { type CertificateAuthority, certificateAuthority, KeyUsageFlags } from '@orrery/core/testing/certificates';
import { createTenant, findCaCertificate } from '../contract.js';
import { identity } from '../index.js';

const PATH = '/api/v0/certificates/ca';
const KEYS = '/api/v0/apiKeys';
const HOUR = 3_600_000;
const UNKNOWN = 'f'.repeat(24);

interface Answer {
  id: string;
  certificate: string;
  comment?: string;
  expires: string;
  clientCert?: { caCertIds: string[]; required: boolean };
  value: string;
  code: string;
  details: Array<{ field: string; expected: string }>;
}

let backend: Backend;
let platform: TestPlatform;
let bus: Bus;
let authority: CertificateAuthority;
beforeAll(async () => {
  backend = await startBackend([identity]);
  platform = await backend.boot([identity]);
  bus = await backend.bus();
  authority = await certificateAuthority('CN=Acme intermediate CA, O=Acme');
});
afterAll(() => backend.stop());

interface Account {
  tenantId: string;
  masterKeyId: string;
  api: ApiClient;
}
let accounts = 0;
async function account(settings: SectionContents = UNLIMITED_CONTENTS): Promise<Account> {
  const { tenantId, masterKey, masterKeyId } = await callRpc(bus, createTenant, {
    name: `certificates ${++accounts}`,
    settings,
  });
  return { tenantId, masterKeyId, api: apiClient(platform.url, masterKey) };
}
async function register(api: ApiClient, certificate = authority.pem): Promise<string> {
  const { status, body } = await api.post<Answer>(PATH, { certificate, comment: 'a comment' });
  expect(status).toBe(200);
  return body.id;
}
async function refusal(api: ApiClient, certificate: unknown): Promise<string> {
  const { status, body } = await api.post<Answer>(PATH, { certificate });
  expect([status, body.code]).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
  expect(body.details.map(({ field }) => field)).toEqual(['certificate']);
  return body.details[0]!.expected;
}

describe('CA certificates', () => {
  it('MQT-038 are registered, listed, read and deleted', async () => {
    const { api, tenantId } = await account();
    const { status, body } = await api.post<Answer>(PATH, { certificate: authority.pem, comment: 'línea 1\nline 2' });
    expect(status).toBe(200);
    expect(body).toEqual({ id: expect.stringMatching(/^[0-9a-f]{24}$/) });
    const { body: one } = await api.get<Answer>(`${PATH}/${body.id}`);
    expect(one).toEqual({
      id: body.id,
      certificate: authority.pem,
      comment: 'línea 1\nline 2',
      expires: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$/),
    });
    expect(Math.abs(Date.parse(one.expires) - Date.now() - HOUR)).toBeLessThan(120_000);
    const second = (await api.post<Answer>(PATH, { certificate: `\n${authority.pem}\r\n` })).body.id;
    const { body: list } = await api.get<Answer[]>(PATH);
    expect(list.map(({ id }) => id)).toEqual([body.id, second]);
    expect(list[1]).not.toHaveProperty('comment');
    expect(await callRpc(bus, findCaCertificate, { tenantId, id: body.id })).toEqual({ certificate: authority.pem });

    const deletion = await api.delete(`${PATH}/${body.id}`);
    expect([deletion.status, deletion.body]).toEqual([204, undefined]);
    for (const id of [body.id, UNKNOWN, 'no%00id']) {
      expect((await api.delete(`${PATH}/${id}`)).status).toBe(404);
      expect((await api.get(`${PATH}/${id}`)).status).toBe(404);
    }
    await expect(callRpc(bus, findCaCertificate, { tenantId, id: body.id })).rejects.toThrow('Not found');
    expect((await api.get<Answer[]>(PATH)).body.map(({ id }) => id)).toEqual([second]);
  });

  it('MQT-039 must be allowed to sign: CA:TRUE, and keyCertSign when there is a key usage', async () => {
    const { api } = await account();
    const make = async (options: Parameters<typeof certificateAuthority>[1]): Promise<string> =>
      (await certificateAuthority('CN=x', options)).pem;
    expect(await refusal(api, await make({ ca: false }))).toContain('CA:TRUE');
    expect(await refusal(api, await make({ ca: null }))).toContain('CA:TRUE');
    expect(await refusal(api, await make({ keyUsage: KeyUsageFlags.cRLSign }))).toContain('keyCertSign');
    await register(api, await make({}));
    await register(api, await make({ keyUsage: KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign }));
  });

  it('refuses what is no certificate, several of them, and one that has expired', async () => {
    const { api } = await account();
    const { cert, key } = await authority.issue('CN=device');
    const expired = await certificateAuthority('CN=x', { notAfter: new Date(Date.now() - 60_000) });
    expect(await refusal(api, expired.pem)).toContain('not expired');
    expect(await refusal(api, cert)).toContain('CA:TRUE');
    for (const several of [`${authority.pem}\n${authority.pem}`, `${authority.pem}\n${key}`, key, '', 'é\u0000'])
      expect(await refusal(api, several)).toContain('exactly one');
    for (const broken of ['AAAA', '='.repeat(40), authority.pem.split('\n').slice(1, 4).join('\n')])
      expect(await refusal(api, `-----BEGIN CERTIFICATE-----\n${broken}\n-----END CERTIFICATE-----`)).toContain(
        'cannot be read',
      );
    expect(await refusal(api, authority.pem + ' '.repeat(16 << 10))).toContain('16384 bytes');
    for (const other of [undefined, null, 1, [authority.pem], {}]) await refusal(api, other);
    const comment = await api.post<Answer>(PATH, { certificate: authority.pem, comment: '\u0000' });
    expect([comment.status, comment.body.details[0]!.field]).toEqual([400, 'comment']);
    expect((await api.get(PATH)).body).toEqual([]);
  });

  it('LIM-105 MQT-040 are at most ten by default, also when they come at once', async () => {
    const { api } = await account({});
    const statuses = await Promise.all(
      Array.from({ length: 12 }, async () => (await api.post(PATH, { certificate: authority.pem })).status),
    );
    expect(statuses.sort()).toEqual([...Array<number>(10).fill(200), 403, 403]);
    const eleventh = await api.post<Answer>(PATH, { certificate: authority.pem });
    expect([eleventh.status, eleventh.body.code]).toEqual([403, 'GENERIC_QUOTA_EXCEEDED_ERROR']);
    const { body: list } = await api.get<Answer[]>(PATH);
    expect(list).toHaveLength(10);
    await api.delete(`${PATH}/${list[0]!.id}`);
    await register(api);
  });

  it('need API_KEY_R to be read and API_KEY_W to be changed', async () => {
    const { api, masterKeyId } = await account();
    const id = await register(api);
    const withRoles = async (roles: string[]): Promise<ApiClient> =>
      apiClient(platform.url, (await api.post<Answer>(KEYS, { parentId: masterKeyId, roles })).body.value);
    const reader = await withRoles(ROLES.filter((role) => role !== 'API_KEY_W'));
    const writer = await withRoles(ROLES.filter((role) => role !== 'API_KEY_R'));
    expect((await reader.post(PATH, { certificate: authority.pem })).status).toBe(403);
    expect((await reader.delete(`${PATH}/${id}`)).status).toBe(403);
    expect((await writer.get(PATH)).status).toBe(403);
    expect((await writer.get(`${PATH}/${id}`)).status).toBe(403);
    expect((await reader.get(`${PATH}/${id}`)).status).toBe(200);
    expect((await writer.delete(`${PATH}/${id}`)).status).toBe(204);
  });

  it("are no other tenant's", async () => {
    const [own, other] = [await account(), await account()];
    const id = await register(own.api);
    expect((await other.api.get(PATH)).body).toEqual([]);
    expect((await other.api.get(`${PATH}/${id}`)).status).toBe(404);
    expect((await other.api.delete(`${PATH}/${id}`)).status).toBe(404);
    const request = { tenantId: other.tenantId, id };
    await expect(callRpc(bus, findCaCertificate, request)).rejects.toThrow('Not found');
    const key = { parentId: other.masterKeyId, clientCert: { caCertIds: [id], required: true } };
    expect((await other.api.post(KEYS, key)).status).toBe(400);
    expect((await own.api.get(`${PATH}/${id}`)).status).toBe(200);
  });
});

describe('client certificates of API keys', () => {
  it('are tied to CA certificates, which cannot be deleted meanwhile', async () => {
    const { api, masterKeyId } = await account();
    const [first, second] = [await register(api), await register(api)];
    const { body: key } = await api.post<Answer>(KEYS, { parentId: masterKeyId, roles: ['DEVICE_ACCESS'] });
    expect(key).not.toHaveProperty('clientCert');
    const change = async (clientCert: unknown): Promise<unknown> => {
      const { status, body } = await api.post<Answer>(`${KEYS}/${key.id}`, { clientCert });
      expect(status).toBe(200);
      expect((await api.get<Answer>(`${KEYS}/${key.id}`)).body.clientCert).toEqual(body.clientCert);
      return body.clientCert;
    };
    const both = { caCertIds: [first, second], required: true };
    expect(await change({ caCertIds: [first, second, first], required: true })).toEqual(both);
    expect((await api.post<Answer>(`${KEYS}/${key.id}`, { label: 'x' })).body.clientCert).toEqual(both);
    const refused = await api.delete<Answer>(`${PATH}/${first}`);
    expect([refused.status, refused.body.code]).toEqual([409, 'CONFLICT']);
    expect(refused.body.details).toEqual({ apiKeyIds: [key.id] });

    expect(await change({ caCertIds: [second] })).toEqual({ caCertIds: [second], required: false });
    expect((await api.delete(`${PATH}/${first}`)).status).toBe(204);
    expect(await change(null)).toBeUndefined();
    expect((await api.delete(`${PATH}/${second}`)).status).toBe(204);

    const third = await register(api);
    const clientCert = { caCertIds: [third], required: true };
    const { body: created } = await api.post<Answer>(KEYS, { parentId: masterKeyId, clientCert });
    expect(created.clientCert).toEqual(clientCert);
    expect((await api.delete(`${KEYS}/${created.id}`)).status).toBe(200);
    expect((await api.delete(`${PATH}/${third}`)).status).toBe(204);
  });

  it.each([
    [{ caCertIds: [UNKNOWN], required: true }, 'clientCert.caCertIds'],
    [{ caCertIds: ['\u0000'] }, 'clientCert.caCertIds'],
    [{ caCertIds: [], required: true }, 'clientCert.caCertIds'],
    [{ caCertIds: [1] }, 'clientCert.caCertIds'],
    [{ caCertIds: Array<string>(101).fill(UNKNOWN) }, 'clientCert.caCertIds'],
    [{ required: true }, 'clientCert.caCertIds'],
    [{ caCertIds: [UNKNOWN], required: 'yes' }, 'clientCert.required'],
    [[], 'clientCert'],
    ['x', 'clientCert'],
  ])('are refused when they are %j', async (clientCert, field) => {
    const { api, masterKeyId } = await account();
    const { body: key } = await api.post<Answer>(KEYS, { parentId: masterKeyId });
    for (const [path, body] of [
      [KEYS, { parentId: masterKeyId, clientCert }],
      [`${KEYS}/${key.id}`, { clientCert }],
    ] as const) {
      const answer = await api.post<Answer>(path, body);
      expect([answer.status, answer.body.code]).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
      expect(answer.body.details.map((each) => each.field)).toContain(field);
    }
  });
});
