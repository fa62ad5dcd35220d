import { type ApiClient, apiClient, type Backend, type KeyRing, keyRing, startBackend } from '@orrery/core/testing';
import { routing } from '../index.js';
import type { FifoDto, FifoPageDto } from './fifo.dto.js';

const PATH = '/api/v0/topics/fifo';

let backend: Backend;
let keys: KeyRing;
let url: string;
let tenants = 0;

/** A client of a tenant that has no FIFO yet. */
function newTenant(limits = {}): ApiClient {
  return apiClient(url, keys.grant(`tenant${++tenants}`, { limits }).value);
}

beforeAll(async () => {
  backend = await startBackend([routing]);
  keys = keyRing(await backend.bus());
  ({ url } = await backend.boot([routing]));
});
afterAll(() => backend.stop());

describe('FIFO REST API', () => {
  it('FIF-001 creates a FIFO and returns it, with BUS_CONFIG_W only', async () => {
    const api = newTenant();
    const fifo = { name: 'MyFIFOName', maxLengthBytes: 524_288, messageTtl: 604_800 };
    const created = await api.post<FifoDto>(PATH, fifo);
    expect(created).toMatchObject({ status: 200, body: { ...fifo, messages: 0, messageBytes: 0, consumers: 0 } });
    const reader = apiClient(url, keys.grant('readers', { roles: ['BUS_CONFIG_R'] }).value);
    expect(await reader.post(PATH, fifo)).toMatchObject({
      status: 403,
      body: { code: 'GENERIC_ACTION_FORBIDDEN_ERROR' },
    });
    expect((await reader.get(PATH)).status).toBe(200);
    const writer = apiClient(url, keys.grant('readers', { roles: ['BUS_CONFIG_W'] }).value);
    expect((await writer.get(PATH)).status).toBe(403);
  });

  it('FIF-002 refuses bad names and names that are taken', async () => {
    const api = newTenant();
    for (const name of ['a/b', '', 'a b', 'é', 'x'.repeat(129), 5, null])
      expect(await api.post(PATH, { name })).toMatchObject({
        status: 400,
        body: {
          code: 'GENERIC_INVALID_PARAMETER_ERROR',
          details: expect.arrayContaining([expect.objectContaining({ field: 'name' })]),
        },
      });
    expect((await api.post(PATH, { name: 'Az0_-.' })).status).toBe(200);
    expect((await api.post(PATH, { name: 'x'.repeat(128) })).status).toBe(200);
    expect(await api.post(PATH, { name: 'Az0_-.' })).toMatchObject({ status: 409, body: { code: 'CONFLICT' } });
  });

  it('answers 400 to bodies that are no object', async () => {
    const api = newTenant();
    for (const body of ['[]', '[{"name":"a"}]', '"text"', '1', 'null', '{'])
      expect(await api.post(PATH, body)).toMatchObject({ status: 400 });
    expect((await api.post(PATH)).status).toBe(400);
  });

  it('FIF-003 reads, changes and deletes FIFOs by name', async () => {
    const api = newTenant();
    await api.post(PATH, { name: 'f' });
    await api.put(`${PATH}/f`, { messageTtl: 60 });
    expect((await api.get<FifoDto>(`${PATH}/f`)).body).toMatchObject({ messageTtl: 60, maxLengthBytes: 1_048_576 });
    await api.put(`${PATH}/f`, { maxLengthBytes: 2_000 });
    expect((await api.get<FifoDto>(`${PATH}/f`)).body).toMatchObject({ messageTtl: 60, maxLengthBytes: 2_000 });
    expect((await api.delete(`${PATH}/f`)).status).toBe(200);
    for (const answer of [await api.get(`${PATH}/f`), await api.put(`${PATH}/f`, {}), await api.delete(`${PATH}/f`)])
      expect(answer).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } });
    expect((await api.get(`${PATH}/a%2Fb`)).status).toBe(400);
  });

  it('FIF-004 FIF-005 applies defaults and refuses sizes and times that are out of range', async () => {
    const api = newTenant();
    expect((await api.post<FifoDto>(PATH, { name: 'defaults' })).body).toMatchObject({
      messageTtl: 604_800,
      maxLengthBytes: 1_048_576,
    });
    expect((await api.post<FifoDto>(PATH, { name: 'zero', messageTtl: 0 })).body.messageTtl).toBe(0);
    for (const bad of [
      { messageTtl: 604_801 },
      { messageTtl: -1 },
      { messageTtl: '60' },
      { messageTtl: 1.5 },
      { maxLengthBytes: 0 },
      { maxLengthBytes: -1 },
      { maxLengthBytes: 1e300 },
    ]) {
      const details = [expect.objectContaining({ field: Object.keys(bad)[0] })];
      expect(await api.post(PATH, { name: 'bad', ...bad })).toMatchObject({
        status: 400,
        body: { details: expect.arrayContaining(details) },
      });
      expect((await api.put(`${PATH}/zero`, bad)).status).toBe(400);
    }
  });

  it('FIF-006 LIM-041 refuses the eleventh FIFO of a tenant', async () => {
    const api = newTenant();
    for (let i = 0; i < 10; i++) expect((await api.post(PATH, { name: `f${i}`, maxLengthBytes: 1 })).status).toBe(200);
    expect(await api.post(PATH, { name: 'f10', maxLengthBytes: 1 })).toMatchObject({
      status: 403,
      body: { code: 'GENERIC_QUOTA_EXCEEDED_ERROR' },
    });
    expect((await api.get<FifoPageDto>(PATH)).body.totalCount).toBe(10);
  });

  it('FIF-006 holds its limit against requests at the same time', async () => {
    const api = newTenant();
    const answers = await Promise.all(
      Array.from({ length: 15 }, (_, i) => api.post(PATH, { name: `f${i}`, maxLengthBytes: 1 })),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(10);
    expect(answers.filter(({ status }) => status === 403)).toHaveLength(5);
  });

  it('FIF-007 LIM-042 limits the sum of the sizes, on creation and on enlarging', async () => {
    const api = newTenant();
    expect((await api.post(PATH, { name: 'all', maxLengthBytes: 20_971_520 })).status).toBe(200);
    expect(await api.post(PATH, { name: 'more', maxLengthBytes: 1 })).toMatchObject({
      status: 403,
      body: { code: 'GENERIC_QUOTA_EXCEEDED_ERROR' },
    });
    expect((await api.put(`${PATH}/all`, { maxLengthBytes: 20_971_521 })).status).toBe(403);
    expect((await api.put(`${PATH}/all`, { maxLengthBytes: 20_971_519 })).status).toBe(200);
    expect((await api.post(PATH, { name: 'more', maxLengthBytes: 1 })).status).toBe(200);
    const large = newTenant({ fifoBytes: 100 });
    expect((await large.post(PATH, { name: 'f', maxLengthBytes: 101 })).status).toBe(403);
  });

  it('API-015 API-016 API-017 API-018 pages its list by size and page', async () => {
    const api = newTenant({ fifos: 25, fifoBytes: null });
    for (let i = 0; i < 25; i++) await api.post(PATH, { name: `f${i}` });
    const page = async (query: string): Promise<FifoPageDto> => (await api.get<FifoPageDto>(PATH + query)).body;
    const first = await page('');
    expect(first).toMatchObject({ totalCount: 25, size: 20, page: 0 });
    expect(first.data).toHaveLength(20);
    const pages = [await page('?size=10&page=0'), await page('?size=10&page=1'), await page('?size=10&page=2')];
    expect(pages.map(({ data }) => data.length)).toEqual([10, 10, 5]);
    expect(new Set(pages.flatMap(({ data }) => data.map(({ name }) => name))).size).toBe(25);
    expect((await page('?size=20&page=1')).data).toHaveLength(5);
    expect(await page('?page=100&size=20')).toEqual({ totalCount: 25, size: 20, page: 100, data: [] });
    expect(await page('?size=-1&page=x')).toMatchObject({ size: 20, page: 0 });
    expect(await page('?size=5000')).toMatchObject({ size: 1000 });
  });

  it('shows and changes the FIFOs of the own tenant only', async () => {
    const [mine, other] = [newTenant(), newTenant()];
    await mine.post(PATH, { name: 'mine' });
    expect((await other.get<FifoPageDto>(PATH)).body.totalCount).toBe(0);
    expect((await other.get(`${PATH}/mine`)).status).toBe(404);
    expect((await other.put(`${PATH}/mine`, { messageTtl: 1 })).status).toBe(404);
    expect((await other.delete(`${PATH}/mine`)).status).toBe(404);
    expect((await other.post(PATH, { name: 'mine' })).status).toBe(200);
    await other.delete(`${PATH}/mine`);
    expect((await mine.get(`${PATH}/mine`)).status).toBe(200);
  });

  it('refuses keys that are restricted to FIFOs', async () => {
    const api = apiClient(url, keys.grant('restricted', { fifos: ['f'] }).value);
    expect((await api.get(PATH)).status).toBe(403);
  });
});
