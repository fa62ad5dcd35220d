import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  type KeyRing,
  keyRing,
  startBackend,
  type TestPlatform,
} from '@orrery/core/testing';
import { type Bus, callRpc } from '@orrery/core/bus';
import { store } from '@orrery/store';
import { countArrived, readArrived, type ArrivalCursor } from '@orrery/store/contract';
import { elasticsearchClient } from '../elasticsearch/client.js';
import { testedEngines } from '../testing/engines.js';
import { search } from '../index.js';
import type { ReindexingDto } from './reindexing.dto.js';

const REINDEXINGS = '/api/v1/data/search/reindexings';
const engines = await testedEngines();

describe.each(engines)('re-indexing ($name)', (engine) => {
  let backend: Backend;
  let bus: Bus;
  let keys: KeyRing;
  let platform: TestPlatform;

  beforeAll(async () => {
    backend = await startBackend([store, search], engine.env);
    bus = await backend.bus();
    keys = keyRing(bus);
    platform = await backend.boot([store, search]);
  });
  afterAll(async () => {
    await backend.stop();
    await engine.stop();
  });

  const clientOf = (tenantId: string): ApiClient => apiClient(platform.url, keys.grant(tenantId).value);
  async function fill(api: ApiClient, count: number): Promise<void> {
    const message = (i: number): object => ({ streamId: `s${i % 7}`, model: 'm', value: { n: i } });
    for (let i = 0; i < count; i += 1000) {
      const bulk = Array.from({ length: Math.min(1000, count - i) }, (_, n) => message(i + n));
      expect((await api.post('/api/v0/data/bulk', bulk)).status).toBe(202);
    }
    await eventually(async () => {
      const { body } = await api.get('/api/v1/data/search/counts');
      return JSON.stringify(body) === JSON.stringify({ stored: count, indexed: count });
    });
  }
  /** As if the index had been lost. */
  async function lose(): Promise<void> {
    const { ELASTICSEARCH_URL: url, ORRERY_SEARCH_INDEX: index } = engine.env;
    if (!url) {
      await backend.query('TRUNCATE search.documents');
      return;
    }
    const client = elasticsearchClient(url);
    await client.transport.request({
      method: 'POST',
      path: `/${index}-*/_delete_by_query`,
      querystring: { refresh: true, conflicts: 'proceed' },
      body: { query: { match_all: {} } },
    });
    await client.close();
  }
  const counts = async (api: ApiClient, query = ''): Promise<unknown> =>
    (await api.get(`/api/v1/data/search/counts${query}`)).body;
  const done = (api: ApiClient, id: string): Promise<ReindexingDto> =>
    eventually(async () => {
      const { body } = await api.get<ReindexingDto>(`${REINDEXINGS}/${id}`);
      return body.status === 'DONE' && body;
    });

  it('makes the index again from the store, for this account alone', async () => {
    const [mine, theirs] = [clientOf('mine'), clientOf('theirs')];
    await fill(mine, 2500);
    await fill(theirs, 5);
    await lose();
    expect(await counts(mine)).toEqual({ stored: 2500, indexed: 0 });
    const created = await mine.post<ReindexingDto>(REINDEXINGS, {});
    expect(created.status).toBe(201);
    const end = await done(mine, created.body.id);
    expect([end.read, end.indexed]).toEqual([2500, 2500]);
    await eventually(
      async () => JSON.stringify(await counts(mine)) === JSON.stringify({ stored: 2500, indexed: 2500 }),
    );
    expect(await counts(theirs)).toEqual({ stored: 5, indexed: 0 });
    const sum = { size: 0, aggs: { n: { sum: { field: '@m.value.n' } } } };
    const { body } = await mine.post<{ aggregations: { n: { value: number } } }>('/api/v1/data/search', sum);
    expect(body.aggregations.n.value).toBe((2499 * 2500) / 2);
    expect((await theirs.get(`${REINDEXINGS}/${created.body.id}`)).status).toBe(404);
    expect((await theirs.get<unknown[]>(REINDEXINGS)).body).toEqual([]);
    expect((await mine.get<ReindexingDto[]>(REINDEXINGS)).body.map(({ id }) => id)).toEqual([created.body.id]);
  });

  it('does what arrived in a time, and leaves out what does not fit its model', async () => {
    const api = clientOf('range');
    await fill(api, 3);
    const from = new Date(Date.now() + 1).toISOString();
    await eventually(() => new Date().toISOString() > from);
    await api.post('/api/v0/data/streams/s', { model: 'm', value: { n: 4 } });
    await api.post('/api/v0/data/streams/s', { model: 'm', value: { n: 'four' } });
    await eventually(async () => JSON.stringify(await counts(api)) === JSON.stringify({ stored: 5, indexed: 4 }));
    await lose();
    const { body } = await api.post<ReindexingDto>(REINDEXINGS, { from });
    const end = await done(api, body.id);
    expect([end.from, end.read, end.indexed]).toEqual([from, 2, 1]);
    await eventually(async () => JSON.stringify(await counts(api)) === JSON.stringify({ stored: 5, indexed: 1 }));
    expect(await counts(api, `?to=${from}`)).toEqual({ stored: 3, indexed: 0 });
  });

  it('goes on where it was when its instance is gone, and ends when it is cancelled', async () => {
    const api = clientOf('restart');
    await fill(api, 1500);
    await lose();
    // An instance that has done one page, and has not been heard of since.
    const { body } = await api.post<ReindexingDto>(REINDEXINGS, {
      to: new Date(0).toISOString(),
      from: new Date(0).toISOString(),
    });
    await done(api, body.id);
    const page = await callRpc(bus, readArrived, {
      tenantId: 'restart',
      from: new Date(0).toISOString(),
      to: new Date(Date.now() + 1000).toISOString(),
    });
    expect(page.messages).toHaveLength(1000);
    await backend.query(
      `UPDATE search.reindexings SET status = 'RUNNING', to_time = now() + interval '1 second', cursor = $2, read = 1000, indexed = 1000,
         holder = 'gone', leased_until = now() - interval '1 second' WHERE id = $1`,
      [body.id, JSON.stringify(page.next)],
    );
    const end = await done(api, body.id);
    expect([end.read, end.indexed]).toEqual([1500, 1500]);
    await eventually(async () => JSON.stringify(await counts(api)) === JSON.stringify({ stored: 1500, indexed: 500 }));

    // One that another instance works on is left to it; its cancelling counts at once.
    await backend.query(
      `UPDATE search.reindexings SET status = 'RUNNING', holder = 'other', leased_until = now() + interval '1 hour' WHERE id = $1`,
      [body.id],
    );
    expect((await api.delete(`${REINDEXINGS}/${body.id}`)).status).toBe(204);
    expect((await api.get<ReindexingDto>(`${REINDEXINGS}/${body.id}`)).body.status).toBe('CANCELLED');
    expect((await api.delete(`${REINDEXINGS}/nothing`)).status).toBe(404);
  });

  it('refuses a time that is none, and too many at once', async () => {
    const api = clientOf('bad');
    for (const body of [
      { from: 'yesterday' },
      { from: '2026-02-30' },
      { from: 5 },
      { from: '1969-12-31T23:59:59Z' },
      [],
      'x',
      { to: '2020-01-01', from: '2021-01-01' },
    ])
      expect({ body, status: (await api.post(REINDEXINGS, body)).status }).toEqual({ body, status: 400 });
    for (const query of ['from=x', 'from=2026-01-01&from=2026-01-02'])
      expect(await api.get(`/api/v1/data/search/counts?${query}`)).toMatchObject({
        status: 400,
        body: { details: [{ field: 'from', expected: 'an ISO 8601 date from 1970 on' }] },
      });
    // Without a zone, as with the timestamps of messages.
    const utc = { from: '2026-01-01T10:00', to: '2026-01-01T12:00+01:00' };
    expect((await api.post(REINDEXINGS, utc)).body).toMatchObject({
      from: '2026-01-01T10:00:00.000Z',
      to: '2026-01-01T11:00:00.000Z',
    });
    await backend.query(
      `INSERT INTO search.reindexings (tenant_id, id, status, from_time, to_time, holder, leased_until)
       SELECT 'bad', gen_random_uuid(), 'RUNNING', now(), now(), 'other', now() + interval '1 hour' FROM generate_series(1, 5)`,
    );
    expect((await api.post(REINDEXINGS, {})).status).toBe(409);
  });

  it('reads the store page by page, whoever else has messages there', async () => {
    const api = clientOf('pages');
    await fill(api, 20);
    const range = { tenantId: 'pages', from: new Date(0).toISOString(), to: '9999-01-01T00:00:00.000Z' };
    const found: string[] = [];
    let after: ArrivalCursor | undefined;
    do {
      const page = await callRpc(bus, readArrived, { ...range, ...(after ? { after } : {}) });
      for (const message of page.messages) found.push((JSON.parse(message) as { id: string }).id);
      after = page.next;
    } while (after);
    expect(found).toHaveLength(20);
    expect(found).toEqual([...new Set(found)].toSorted());
    expect(await callRpc(bus, countArrived, range)).toEqual({ count: 20 });
  });
});

it('begins no more re-indexings than an account may have, however many are asked for at once', async () => {
  const backend = await startBackend([search]);
  try {
    const keys = keyRing(await backend.bus());
    // Nobody works on them.
    const { url } = await backend.boot([search], { api: true, worker: false });
    const api = apiClient(url, keys.grant('eager').value);
    const statuses = await Promise.all(
      Array.from({ length: 20 }, async () => (await api.post(REINDEXINGS, {})).status),
    );
    expect(statuses.toSorted()).toEqual([...Array<number>(5).fill(201), ...Array<number>(15).fill(409)]);
  } finally {
    await backend.stop();
  }
});
