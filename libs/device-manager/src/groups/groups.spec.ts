import { type ApiClient, apiClient, type Backend, keyRing, type KeyRing, startBackend } from '@orrery/core/testing';
import { deviceManager } from '../index.js';
import type { GroupView } from './group.dto.js';

const GROUPS = '/api/v1/deviceMgt/groups';
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

let backend: Backend;
let keys: KeyRing;
let url: string;
let api: ApiClient;
let france: GroupView;
let lyon: GroupView;

const codeOf = (answer: { status: number; body: unknown }): [number, string] => [
  answer.status,
  (answer.body as { code: string }).code,
];
const paths = async (query: string): Promise<string[]> => {
  const { status, body } = await api.get<GroupView[]>(`${GROUPS}?limit=100&${query}`);
  expect([query, status]).toEqual([query, 200]);
  return body.map((group) => group.path);
};

beforeAll(async () => {
  backend = await startBackend([deviceManager]);
  keys = keyRing(await backend.bus());
  ({ url } = await backend.boot([deviceManager]));
  api = apiClient(url, keys.grant('tenantA').value);
  const create = async (body: Record<string, unknown>): Promise<GroupView> =>
    (await api.post<GroupView>(GROUPS, body)).body;
  france = await create({ pathNode: 'france' });
  lyon = await create({ pathNode: 'lyon', parentId: france.id, description: 'City of Lyon', path: '/zzz' });
  await create({ pathNode: 'paris', parentId: france.id });
  await create({ pathNode: 'italia' });
});
afterAll(() => backend.stop());

describe('groups', () => {
  it('GRP-001 every tenant has a root group', async () => {
    const fresh = apiClient(url, keys.grant('fresh').value);
    const { status, body } = await fresh.get<GroupView>(`${GROUPS}/root`);
    expect([status, body]).toEqual([
      200,
      { id: 'root', path: '/', created: expect.stringMatching(ISO), updated: expect.stringMatching(ISO) },
    ]);
    expect((await fresh.get<GroupView[]>(GROUPS)).body).toEqual([body]);
  });

  it('GRP-002 GRP-003 GRP-006 GRP-007 GRP-030 are created below their parent', async () => {
    expect(lyon).toEqual({
      id: expect.stringMatching(/^\w{6}$/),
      pathNode: 'lyon',
      path: '/france/lyon',
      parentId: france.id,
      description: 'City of Lyon',
      created: expect.stringMatching(ISO),
      updated: lyon.created,
    });
    expect(france).toMatchObject({ parentId: 'root', path: '/france' });
    const read = await api.get(`${GROUPS}/${lyon.id}`);
    expect([read.status, read.body]).toEqual([200, lyon]);
    expect((await api.post(GROUPS, { pathNode: 'spain' })).status).toBe(201);
    for (const id of ['nope00', 'a%00b', '..%2f'])
      expect(codeOf(await api.get(`${GROUPS}/${id}`))).toEqual([404, 'DM_GROUP_NOT_FOUND']);
  });

  it('GRP-004 GRP-010 have unique paths within a tenant', async () => {
    expect(codeOf(await api.post(GROUPS, { pathNode: 'lyon', parentId: france.id }))).toEqual([
      409,
      'DM_GROUP_DUPLICATE',
    ]);
    const below = await api.post<GroupView>(GROUPS, { pathNode: 'lyon', parentId: 'root' });
    expect([below.status, below.body.path]).toEqual([201, '/lyon']);
    expect(below.body.id).not.toBe(lyon.id);
    const other = apiClient(url, keys.grant('tenantB').value);
    expect((await other.post(GROUPS, { pathNode: 'france' })).status).toBe(201);
    const race = await Promise.all(Array.from({ length: 10 }, () => other.post(GROUPS, { pathNode: 'race' })));
    expect(race.map((answer) => answer.status).sort()).toEqual([201, ...Array.from({ length: 9 }, () => 409)]);
  });

  it('GRP-008 refuse a path node that would break paths', async () => {
    for (const body of [
      { description: 'x' },
      { pathNode: '' },
      { pathNode: 'a/b' },
      { pathNode: '*' },
      { pathNode: 1 },
      { pathNode: 'a\u0000' },
    ])
      expect([body, codeOf(await api.post(GROUPS, body))]).toEqual([body, [400, 'GENERIC_INVALID_PARAMETER_ERROR']]);
  });

  it('GRP-009 ACC-002 refuse a parent that the tenant does not have', async () => {
    expect(codeOf(await api.post(GROUPS, { pathNode: 'x', parentId: 'nope00' }))).toEqual([404, 'DM_GROUP_NOT_FOUND']);
    const other = apiClient(url, keys.grant('tenantC').value);
    expect(codeOf(await other.post(GROUPS, { pathNode: 'x', parentId: france.id }))).toEqual([
      404,
      'DM_GROUP_NOT_FOUND',
    ]);
    expect(codeOf(await other.get(`${GROUPS}/${france.id}`))).toEqual([404, 'DM_GROUP_NOT_FOUND']);
    expect((await other.get<GroupView[]>(GROUPS)).body.map((group) => group.id)).toEqual(['root']);
  });

  it('GRP-011 tells an expired key from a missing one', async () => {
    const expired = apiClient(url, keys.grant('tenantA', { to: 1 }).value);
    expect(codeOf(await expired.post(GROUPS, { pathNode: 'e' }))).toEqual([401, 'UNAUTHORIZED']);
    expect((await apiClient(url).post(GROUPS, { pathNode: 'e' })).status).toBe(403);
  });

  it('GRP-020 GRP-021 GRP-022 are listed by pages, the root among them', async () => {
    const tenant = apiClient(url, keys.grant('thirty').value);
    for (let i = 0; i < 30; i++) await tenant.post(GROUPS, { pathNode: `g${i}` });
    expect((await tenant.get<GroupView[]>(GROUPS)).body).toHaveLength(20);
    const all = await tenant.get<GroupView[]>(`${GROUPS}?limit=50`);
    expect(all.body).toHaveLength(31);
    expect(all.body.map((group) => group.id)).toContain('root');
    const tail = await tenant.get<GroupView[]>(`${GROUPS}?limit=10&offset=25`);
    expect(tail.body).toEqual(all.body.slice(25));
    const counted = await tenant.get(`${GROUPS}?limit=2`, { 'x-total-count': 'true' });
    expect(['count', 'limit'].map((name) => counted.headers.get(`x-result-${name}`))).toEqual(['2', '2']);
    expect(counted.headers.get('x-total-count')).toBe('31');
    expect(all.headers.get('x-total-count')).toBeNull();
  });

  it('GRP-023 GRP-024 GRP-025 GRP-026 GRP-027 GRP-028 GRP-029 are found by parent and path', async () => {
    await api.post(GROUPS, { pathNode: 'est', parentId: lyon.id });
    const top = ['/france', '/italia', '/lyon', '/spain'];
    const french = ['/france', '/france/lyon', '/france/lyon/est', '/france/paris'];
    expect(await paths('parentId=root')).toEqual(top);
    expect(await paths('groupPath=/france')).toEqual(['/france']);
    expect(await paths('groupPath=/france/*')).toEqual(french);
    expect(await paths('groupPath=/*')).toEqual([...french, ...top.slice(1)]);
    expect(await paths('groupPath=/france/*/')).toEqual(['/france/lyon', '/france/paris']);
    expect(await paths('groupPath=/*/')).toEqual(top);
    for (const groupPath of ['/*', '/france/*'])
      expect(await paths(`parentId=${france.id}&groupPath=${groupPath}`)).toEqual(['/france/lyon', '/france/paris']);
    expect(await paths('parentId=root&groupPath=/france/*')).toEqual([]);
  });

  it('GRP-036 are limited in number and levels', async () => {
    const tenant = apiClient(url, keys.grant('limited').value);
    let parentId = 'root';
    for (let level = 1; level <= 7; level++) {
      const { status, body } = await tenant.post<GroupView>(GROUPS, { pathNode: String(level), parentId });
      expect(status).toBe(201);
      parentId = body.id;
    }
    expect(codeOf(await tenant.post(GROUPS, { pathNode: '8', parentId }))).toEqual([
      403,
      'GENERIC_QUOTA_EXCEEDED_ERROR',
    ]);
    await backend.query(
      `INSERT INTO device_manager.groups SELECT 'limited', 'fill' || n, 'root', 'fill' || n, '/fill' || n, '', now(), now()
       FROM generate_series(1, 1492) n`,
    );
    expect((await tenant.post(GROUPS, { pathNode: 'last' })).status).toBe(201);
    expect(codeOf(await tenant.post(GROUPS, { pathNode: 'more' }))).toEqual([403, 'GENERIC_QUOTA_EXCEEDED_ERROR']);
  });
});
