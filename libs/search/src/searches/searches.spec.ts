import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  type KeyRing,
  keyRing,
  startBackend,
} from '@orrery/core/testing';
import type { DataMessage } from '@orrery/core/messages';
import { store } from '@orrery/store';
import { testedEngines } from '../testing/engines.js';
import { search } from '../index.js';

type Json = Record<string, unknown>;
/** Of both versions. */
interface Answer {
  took: number;
  hits: { total: { value: number; relation: string }; hits: Array<{ _source: DataMessage; sort?: unknown[] }> };
  aggregations: Record<string, { value: number }>;
}
const engines = await testedEngines();

const temperature = (streamId: string, temp: number, rest: object = {}): object => ({
  streamId,
  model: 'temperature_v0',
  value: { temp },
  ...rest,
});

describe.each(engines)('searches ($name)', (engine) => {
  let backend: Backend;
  let keys: KeyRing;
  let url: string;

  beforeAll(async () => {
    backend = await startBackend([store, search], engine.env);
    keys = keyRing(await backend.bus());
    url = (await backend.boot([store, search])).url;
  });
  afterAll(async () => {
    await backend.stop();
    await engine.stop();
  });

  /** A tenant of its own with these messages, found by searches. */
  async function tenant(name: string, messages: object[]): Promise<ApiClient> {
    const api = apiClient(url, keys.grant(name).value);
    for (let i = 0; i < messages.length; i += 1000) {
      const sent = await api.post('/api/v0/data/bulk', messages.slice(i, i + 1000));
      expect(sent.status).toBe(202);
    }
    await indexed(api, messages.length);
    return api;
  }
  const indexed = (api: ApiClient, count: number): Promise<unknown> =>
    eventually(async () => {
      const { body } = await api.post<{ hits: { total: number } }>('/api/v0/data/search', { size: 0 });
      return body.hits.total === count;
    });
  const ask = async <Body = Answer>(api: ApiClient, body: object, path = '/api/v1/data/search'): Promise<Body> => {
    const answer = await api.post<Body>(path, body);
    expect({ status: answer.status, error: answer.status === 200 ? undefined : answer.body }).toEqual({ status: 200 });
    return answer.body;
  };

  it('SRC-001 SRC-005 answers took, total and aggregations, and hits when asked', async () => {
    const api = await tenant('stats', [
      temperature('myDeviceTemperature', 24.1),
      temperature('myDeviceTemperature', 25.9),
      temperature('other', 1),
    ]);
    const request = {
      size: 0,
      query: { term: { streamId: 'myDeviceTemperature' } },
      aggs: { stats_temperature: { stats: { field: '@temperature_v0.value.temp' } } },
    };
    expect(await ask(api, request)).toEqual({
      took: expect.any(Number),
      hits: { total: { value: 2, relation: 'eq' } },
      aggregations: { stats_temperature: { count: 2, min: 24.1, max: 25.9, avg: 25, sum: 50 } },
    });
    const listed = await ask(api, { ...request, size: 10, sort: [{ '@temperature_v0.value.temp': 'asc' }] });
    const stream = await api.get<DataMessage[]>('/api/v0/data/streams/myDeviceTemperature');
    const first = stream.body.find(({ value }) => value!['temp'] === 24.1)!;
    expect(listed.hits.hits).toHaveLength(2);
    expect(listed.hits.hits[0]!._source).toMatchObject(first);
  });

  it('SRC-006 MSG-008 hits are messages without null fields; _source shows them', async () => {
    const api = await tenant('hits', [temperature('a', 24.1), temperature('a', 25.9), { streamId: 'a', value: {} }]);
    const request = {
      size: 10,
      query: { term: { model: 'temperature_v0' } },
      sort: [{ '@temperature_v0.value.temp': 'asc' }],
    };
    const message = {
      id: expect.stringMatching(/^[0-9a-f]{24}$/),
      streamId: 'a',
      timestamp: expect.any(String),
      model: 'temperature_v0',
      value: { temp: 24.1 },
      created: expect.any(String),
      tags: [],
      metadata: { connector: 'http' },
    };
    for (const version of ['v0', 'v1']) {
      const hits = await ask<DataMessage[]>(api, request, `/api/${version}/data/search/hits`);
      expect(hits.map(({ value }) => value!['temp'])).toEqual([24.1, 25.9]);
      expect(hits[0]).toEqual(message);
    }
    const { hits } = await ask(api, request);
    expect(hits.hits[0]!._source).toEqual({ ...message, extra: null, location: null });
  });

  it('SRC-002 SRC-003 SRC-004 v1 counts up to 10,000 unless told otherwise, v0 all', async () => {
    const api = await tenant(
      'many',
      Array.from({ length: 10_123 }, (_, n) => ({ streamId: n < 1000 ? 'thousand' : 'rest', value: {} })),
    );
    const total = async (path: string, query: object): Promise<unknown> =>
      (await ask(api, { size: 0, query }, path)).hits.total;
    const all = { match_all: {} };
    const thousand = { term: { streamId: 'thousand' } };
    expect(await total('/api/v1/data/search', thousand)).toEqual({ value: 1000, relation: 'eq' });
    expect(await total('/api/v1/data/search', all)).toEqual({ value: 10_000, relation: 'gte' });
    expect(await total('/api/v1/data/search?trackTotalHits=true', all)).toEqual({ value: 10_123, relation: 'eq' });
    expect(await total('/api/v0/data/search', all)).toBe(10_123);
    expect((await api.post('/api/v1/data/search?trackTotalHits=maybe', {})).status).toBe(400);
  });

  it('SRC-009 refuses what is no DSL and returns 10 hits by default', async () => {
    const api = await tenant(
      'ten',
      Array.from({ length: 30 }, () => ({ streamId: 'ten', value: {} })),
    );
    const refused = await api.post<Json>('/api/v1/data/search', { query: { nosuch: {} } });
    expect(refused.status).toBe(400);
    expect(JSON.stringify(refused.body)).toContain('nosuch');
    expect((await ask(api, { query: { match_all: {} } })).hits.hits).toHaveLength(10);
    for (const body of ['[]', '"text"', '{', '{"size":-1}', '{"size":1000000}'])
      expect((await api.post('/api/v1/data/search', body)).status).toBe(400);
  });

  it('SRC-012 finds all messages of the tenant and of no other one', async () => {
    const mine = await tenant(
      'mine',
      [1, 2, 3].map((n) => temperature('s', n)),
    );
    const theirs = await tenant(
      'theirs',
      [4, 5].map((n) => temperature('s', n)),
    );
    const everything = { query: { match_all: {} }, aggs: { sum: { sum: { field: '@temperature_v0.value.temp' } } } };
    const [here, there] = [await ask(mine, everything), await ask(theirs, everything)];
    expect([here.hits.total.value, here.aggregations['sum']!.value]).toEqual([3, 6]);
    expect([there.hits.total.value, there.aggregations['sum']!.value]).toEqual([2, 9]);
    const ids = there.hits.hits.map(({ _source }) => _source.id);
    expect((await ask(mine, { query: { ids: { values: ids } } })).hits.hits).toEqual([]);
    for (const escape of [
      { aggs: { all: { global: {} } } },
      { query: { bool: { should: [{ term: { tenant: 'theirs' } }], minimum_should_match: 0, nosuch: 1 } } },
      { query: { indices: { index: '_all', query: { match_all: {} } } } },
      { query: { script: { script: 'true' } } },
      { runtime_mappings: { x: { type: 'keyword' } } },
      { script_fields: { x: { script: 'doc' } } },
      { query: { terms: { streamId: { index: 'x', id: '1', path: 'y' } } } },
      { aggs: { x: { scripted_metric: { map_script: '1' } } } },
      { indices_boost: [{ '*': 2 }] },
      { post_filter: { match_all: {} } },
    ])
      expect({ escape, status: (await mine.post('/api/v1/data/search', escape)).status }).toEqual({
        escape,
        status: 400,
      });
    // What is allowed sees nothing of others, however it asks.
    for (const query of [
      { term: { tenant: 'theirs' } },
      { term: { tenant_id: 'theirs' } },
      { term: { _index: 'theirs' } },
      { term: { _id: ids[0] } },
      { bool: { must_not: [{ term: { streamId: 'nothing' } }], filter: [{ ids: { values: ids } }] } },
      { query_string: { query: `id:${ids[0]} OR _id:${ids[0]}` } },
    ]) {
      const answer = await mine.post<Answer>('/api/v1/data/search', { query });
      expect([200, 400]).toContain(answer.status);
      if (answer.status === 200) expect(answer.body.hits.total.value).toBe(0);
    }
  });

  it('SRC-007 refuses what Elasticsearch 7 has removed, and answers what replaces it', async () => {
    const recent = new Date().toISOString();
    const api = await tenant('removed', [{ streamId: 'd1', tags: ['a'], timestamp: recent, value: {} }]);
    const status = async (query: unknown): Promise<number> => (await api.post('/api/v1/data/search', { query })).status;
    for (const query of [
      { in: { tags: ['a'] } },
      {},
      {
        geo_distance_range: {
          from: '1km',
          to: '2km',
          'location.@geopoint': { lat: 1, lon: 1 },
        },
      },
      { query_string: { query: 'd1', all_fields: true } },
      { simple_query_string: { query: 'd1', all_fields: true } },
      { prefix: { streamId: { prefix: 'd' } } },
      { range: { timestamp: { ge: 'now-1d' } } },
      { range: { timestamp: { le: 'now' } } },
    ])
      expect({ query, status: await status(query) }).toEqual({ query, status: 400 });
    for (const query of [
      { terms: { tags: ['a'] } },
      { query_string: { query: 'd1', default_field: '*' } },
      { prefix: { streamId: { value: 'd' } } },
      { range: { timestamp: { gte: 'now-1d' } } },
      { range: { timestamp: { lte: 'now+1d' } } },
    ])
      expect({ query, hits: (await ask(api, { query })).hits.total.value }).toEqual({ query, hits: 1 });
  });

  it('SRC-013 lists all known tags, also of some streams only', async () => {
    const api = await tenant('tags', [
      ...Array.from({ length: 53 }, (_, i) => ({
        streamId: i < 50 ? `device_${i % 5}` : 's',
        tags: ['tag_1'],
        value: {},
      })),
      ...Array.from({ length: 13 }, () => ({ streamId: 'other', tags: ['tag_2'], value: {} })),
    ]);
    const body = { size: 0, aggs: { grouped_by_tags: { terms: { field: 'tags' } } } };
    const answer = await ask(api, body);
    expect(answer.hits.total.value).toBe(66);
    expect(answer.aggregations).toEqual({
      grouped_by_tags: {
        doc_count_error_upper_bound: 0,
        sum_other_doc_count: 0,
        buckets: [
          { key: 'tag_1', doc_count: 53 },
          { key: 'tag_2', doc_count: 13 },
        ],
      },
    });
    const some = await ask(api, { ...body, query: { wildcard: { streamId: 'device_*' } } });
    expect(some.aggregations).toMatchObject({ grouped_by_tags: { buckets: [{ key: 'tag_1', doc_count: 50 }] } });
  });

  it('SRC-014 SRC-015 tells the last value of each stream, and which have been silent since a date', async () => {
    const at = (day: number): string => `2017-03-${String(day).padStart(2, '0')}T15:08:25.020Z`;
    const api = await tenant('last', [
      ...[1, 2, 3, 4, 5, 6, 27].map((day) => temperature('device_1', day, { timestamp: at(day) })),
      ...[13, 14].map((day) => temperature('device_12', day, { timestamp: at(day) })),
    ]);
    const last = await ask<{ aggregations: unknown }>(api, {
      size: 0,
      aggs: {
        tags: {
          terms: { field: 'streamId' },
          aggs: { last_value: { top_hits: { size: 1, sort: [{ timestamp: { order: 'desc' } }] } } },
        },
      },
    });
    const hits = (total: number, temp: number): object => ({
      hits: {
        total,
        max_score: null,
        hits: [expect.objectContaining({ _source: expect.objectContaining({ value: { temp } }) })],
      },
    });
    expect(last.aggregations).toEqual({
      tags: {
        doc_count_error_upper_bound: 0,
        sum_other_doc_count: 0,
        buckets: [
          { key: 'device_1', doc_count: 7, last_value: hits(7, 27) },
          { key: 'device_12', doc_count: 2, last_value: hits(2, 14) },
        ],
      },
    });
    const silent = await ask<{ aggregations: unknown }>(api, {
      size: 0,
      aggs: {
        tags: {
          terms: { field: 'streamId' },
          aggs: {
            last_date: { max: { field: 'timestamp' } },
            filter_no_info_since: {
              bucket_selector: {
                buckets_path: { lastdate: 'last_date' },
                script: { inline: 'lastdate<1490263200000', lang: 'expression' },
              },
            },
          },
        },
      },
    });
    expect(silent.aggregations).toMatchObject({
      tags: {
        buckets: [
          {
            key: 'device_12',
            doc_count: 2,
            last_date: { value: 1_489_504_105_020, value_as_string: '2017-03-14T15:08:25.020Z' },
          },
        ],
      },
    });
  });

  it('SRC-016 finds the last known location of a device', async () => {
    const source = 'urn:lo:nsid:mqtt:1234';
    const metadata = { source };
    const location = { lat: 48.8, lon: 2.3 };
    const at = (second: number): string => new Date(Date.UTC(2024, 1, 1, 0, 0, second)).toISOString();
    const api = await tenant('located', [
      { streamId: 'd', metadata, timestamp: at(1), location, value: { n: 1 } },
      { streamId: 'd', metadata, timestamp: at(2), location, value: { n: 2 } },
      { streamId: 'd', metadata, timestamp: at(3), value: { n: 3 } },
      { streamId: 'event:d', metadata, timestamp: at(4), location, model: 'event:DeviceActivity', value: { n: 4 } },
      { streamId: 'x', metadata: { source: 'urn:lo:nsid:mqtt:other' }, timestamp: at(5), location, value: { n: 5 } },
    ]);
    const found = await ask<DataMessage[]>(
      api,
      {
        size: 1,
        sort: [{ timestamp: 'desc' }],
        query: {
          bool: {
            must: [{ range: { timestamp: { lt: 'now' } } }, { exists: { field: 'location' } }],
            filter: { term: { 'metadata.source': source } },
            must_not: { term: { model: 'event:DeviceActivity' } },
          },
        },
      },
      '/api/v1/data/search/hits',
    );
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({ value: { n: 2 }, location });
  });

  it('SRC-017 translates filtered queries of v0, which v1 refuses', async () => {
    const api = await tenant('paris', [
      {
        streamId: 'paris-centre-hourly',
        timestamp: '2017-07-27T10:00:00Z',
        model: 'model_hourly',
        value: { NO2: 450, PM10: 41 },
      },
      {
        streamId: 'paris-centre-hourly',
        timestamp: '2017-07-28T00:00:00Z',
        model: 'model_hourly',
        value: { NO2: 1, PM10: 1 },
      },
    ]);
    const body = {
      size: 0,
      query: {
        filtered: {
          filter: {
            bool: {
              must: [
                { term: { streamId: 'paris-centre-hourly' } },
                { range: { timestamp: { gte: '2017-07-27', lt: '2017-07-28' } } },
              ],
            },
          },
        },
      },
      aggs: {
        'avg-NO2': { avg: { field: '@model_hourly.value.NO2' } },
        'avg-PM10': { avg: { field: '@model_hourly.value.PM10' } },
      },
    };
    const answer = await ask(api, body, '/api/v0/data/search');
    expect(answer.hits.total).toBe(1);
    expect(answer.aggregations).toEqual({ 'avg-NO2': { value: 450 }, 'avg-PM10': { value: 41 } });
    expect((await api.post('/api/v1/data/search', body)).status).toBe(400);
  });

  it('needs DATA_R', async () => {
    const stranger = apiClient(url, keys.grant('mine', { roles: ['DEVICE_R', 'DATA_W'] }).value);
    const reader = apiClient(url, keys.grant('mine', { roles: ['DATA_R'] }).value);
    for (const version of ['v0', 'v1'])
      for (const path of ['search', 'search/hits']) {
        expect((await stranger.post(`/api/${version}/data/${path}`, {})).status).toBe(403);
        expect((await reader.post(`/api/${version}/data/${path}`, {})).status).toBe(200);
      }
  });
});
