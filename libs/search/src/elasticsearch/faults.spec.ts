import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AuditEntry } from '@orrery/core/audit';
import { AUDIT_SUBJECT, callRpc, type Bus } from '@orrery/core/bus';
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
import { store } from '@orrery/store';
import { countArrived } from '@orrery/store/contract';
import { startElasticsearch } from '../../../../tools/services/elasticsearch.mjs';
import { SEARCH_READER } from '../contract.js';
import { search } from '../index.js';
import { elasticsearchClient } from './client.js';

const INDEX = 'faults';
const dataDir = await mkdtemp(join(tmpdir(), 'orrery-elasticsearch-'));
// Its own, that nobody else needs: one that was given cannot be stopped.
const { ELASTICSEARCH_URL: _given, ...env } = process.env;
const log = (line: string): void => void process.stderr.write(`${line}\n`);
const start = (options: { port?: number; settings?: string[] } = {}): ReturnType<typeof startElasticsearch> =>
  startElasticsearch({ dataDir, env, log, brief: true, ...options });
let elasticsearch = await start();

(elasticsearch ? describe : describe.skip)('an Elasticsearch that fails', () => {
  let backend: Backend;
  let bus: Bus;
  let keys: KeyRing;
  let platform: TestPlatform;
  const audits: AuditEntry[] = [];
  const address = elasticsearch?.url ?? '';

  beforeAll(async () => {
    backend = await startBackend([store, search], {
      ELASTICSEARCH_URL: address,
      ORRERY_SEARCH_INDEX: INDEX,
      ORRERY_SEARCH_SHARDS: '8',
    });
    bus = await backend.bus();
    bus.connection.subscribe(AUDIT_SUBJECT, { callback: (_, message) => void audits.push(message.json()) });
    keys = keyRing(bus);
    platform = await backend.boot([store, search]);
  });
  afterAll(async () => {
    await backend?.stop();
    await elasticsearch?.stop();
  });

  const clientOf = (tenantId: string): ApiClient => apiClient(platform.url, keys.grant(tenantId).value);
  async function send(api: ApiClient, from: number, to: number): Promise<void> {
    const message = (n: number): object => ({ streamId: `s${n % 20}`, model: 'm', value: { n } });
    const bulk = Array.from({ length: to - from }, (_, i) => message(from + i));
    expect((await api.post('/api/v0/data/bulk', bulk)).status).toBe(202);
  }
  const stored = async (tenantId: string): Promise<number> => {
    const range = { tenantId, from: new Date(0).toISOString(), to: '9999-01-01T00:00:00.000Z' };
    return (await callRpc(bus, countArrived, range)).count;
  };
  const counted = (api: ApiClient, count: number): Promise<unknown> =>
    eventually(async () => {
      const { body } = await api.get('/api/v1/data/search/counts');
      return JSON.stringify(body) === JSON.stringify({ stored: count, indexed: count });
    });
  const positions = async (): Promise<string> =>
    JSON.stringify(
      await backend.query('SELECT stream, seq FROM search.positions WHERE reader = $1 ORDER BY stream', [
        SEARCH_READER,
      ]),
    );
  /** Batches that were tried in vain. */
  async function failures(): Promise<number> {
    const text = await (await fetch(`${platform.url}/metrics`)).text();
    return Number(
      new RegExp(`orrery_reader_failures_total\\{reader="${SEARCH_READER}"\\} (\\d+)`).exec(text)?.[1] ?? 0,
    );
  }

  /** Messages 0 to count - 1. */
  async function expectEachOnce(api: ApiClient, count: number): Promise<void> {
    const aggs = { n: { terms: { field: '@m.value.n', size: count, order: { _key: 'asc' } } } };
    const { body } = await api.post<{
      hits: { total: { value: number } };
      aggregations: { n: { buckets: Array<{ key: number; doc_count: number }> } };
    }>('/api/v1/data/search?trackTotalHits=true', { size: 0, aggs });
    expect(body.hits.total.value).toBe(count);
    expect(body.aggregations.n.buckets.filter(({ key, doc_count }, i) => key !== i || doc_count !== 1)).toEqual([]);
    expect(body.aggregations.n.buckets).toHaveLength(count);
  }

  /** Messages before, while Elasticsearch is away, and after. */
  async function survives(tenantId: string, goes: () => Promise<void>, comes: () => Promise<void>): Promise<void> {
    const api = clientOf(tenantId);
    await send(api, 0, 300);
    await counted(api, 300);
    await goes();
    const [before, failed] = [await positions(), await failures()];
    for (let n = 300; n < 900; n += 200) await send(api, n, n + 200);
    await eventually(async () => (await stored(tenantId)) === 900);
    const refused = await api.post<{ code: string; details: { reason: string } }>('/api/v1/data/search', { size: 1 });
    expect({ status: refused.status, reason: refused.body.details.reason }).toEqual({
      status: 503,
      reason: expect.stringContaining('the index'),
    });
    expect((await api.get('/api/v1/data/search/counts')).status).toBe(503);
    await eventually(async () => (await failures()) > failed);
    expect(await positions()).toBe(before);
    expect((await api.get(`/api/v0/data/streams/s1`)).status).toBe(200);
    await comes();
    await counted(api, 900);
    expect(await positions()).not.toBe(before);
    await expectEachOnce(api, 900);
  }

  it('stores messages while Elasticsearch is stopped, and indexes each once when it is back', async () => {
    await survives(
      'stopped',
      async () => elasticsearch!.stop(),
      async () => {
        elasticsearch = await start({ port: Number(new URL(address).port) });
      },
    );
  });

  it('stores messages while Elasticsearch is frozen, and indexes each once when it goes on', async () => {
    await survives(
      'frozen',
      () => elasticsearch!.freeze!(),
      () => elasticsearch!.thaw!(),
    );
  });

  it('goes on after a message that Elasticsearch refuses, and says so to its account', async () => {
    const api = clientOf('refused');
    const client = elasticsearchClient(address);
    const month = `${INDEX}-${new Date().toISOString().slice(0, 7).replace('-', '.')}`;
    // As somebody may have changed it: the 20th string of an account has to be a number.
    const body = { properties: { s19: { type: 'integer' } } };
    await client.transport.request({ method: 'PUT', path: `/${month}/_mapping`, body });
    await client.close();
    const bulk = Array.from({ length: 20 }, (_, n) => ({
      streamId: 's',
      model: 'm',
      value: Object.fromEntries(Array.from({ length: n === 7 ? 20 : 5 }, (_unused, i) => [`f${i}`, `text ${n}`])),
    }));
    expect((await api.post('/api/v0/data/bulk', bulk)).status).toBe(202);
    await eventually(async () => {
      const counts = await api.get('/api/v1/data/search/counts');
      return JSON.stringify(counts.body) === JSON.stringify({ stored: 20, indexed: 19 });
    });
    const entries = await eventually(() => {
      const found = audits.filter(({ tenantId }) => tenantId === 'refused');
      return found.length > 0 && found;
    });
    expect(entries).toMatchObject([{ category: 'data', subcategory: 'storage', type: 'not_indexed' }]);
    expect(entries[0]!.description).toContain('the index refused it');
    const { body: hits } = await api.post<Array<{ id: string }>>('/api/v1/data/search/hits', { size: 30 });
    const messages = (await api.get<Array<{ id: string }>>('/api/v0/data/streams/s?limit=30')).body;
    const found = hits.map(({ id }) => id);
    expect(messages.filter(({ id }) => !found.includes(id)).map(({ id }) => id)).toEqual([
      (entries[0]!.content as { messageId: string }).messageId,
    ]);
  });

  it('sends again what Elasticsearch has no room for, and that alone', async () => {
    await elasticsearch!.stop();
    // A request has something for each shard at once: there is room for two.
    const settings = ['thread_pool.write.size=1', 'thread_pool.write.queue_size=1'];
    elasticsearch = await start({ port: Number(new URL(address).port), settings });
    const client = elasticsearchClient(address);
    const api = clientOf('crowded');
    const rejected = async (): Promise<number> => {
      const { nodes } = await client.nodes.stats({ metric: 'thread_pool' });
      return Object.values(nodes)[0]!.thread_pool!['write']!.rejected!;
    };
    // Whoever searches knows that it is back.
    await eventually(async () => (await api.get('/api/v1/data/search/counts')).status === 200);
    const failed = await failures();
    let sent = 0;
    await eventually(async () => {
      await send(api, sent, (sent += 1000));
      await counted(api, sent);
      return (await rejected()) > 0;
    });
    await expectEachOnce(api, sent);
    // Only a batch that was given up, after several attempts, is written whole again.
    const query = { term: { tenant: 'crowded' } };
    const { hits } = await client.search({ index: `${INDEX}-*`, size: 10_000, version: true, _source: false, query });
    expect(hits.hits).toHaveLength(sent);
    expect(Math.max(...hits.hits.map(({ _version }) => _version!))).toBeLessThanOrEqual(
      1 + (await failures()) - failed,
    );
    await client.close();
  });
});

afterAll(() => rm(dataDir, { recursive: true, force: true }));
