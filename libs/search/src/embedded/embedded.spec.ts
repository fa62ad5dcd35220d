import { Database } from '@orrery/core/database';
import { type Backend, startBackend } from '@orrery/core/testing';
import { ApiError } from '@orrery/core/http';
import { type FieldTypes, MESSAGE_FIELDS, parseSearch } from '../dsl/index.js';
import type { IndexedDocument, SearchAnswer } from '../search-engine.js';
import { ask, CASES, checkAnswer, contractDocuments, CROWD } from '../testing/contract.js';
import { Gathering } from './buckets.js';
import { condition } from './conditions.js';
import { hitsStatement } from './hits.js';
import { EmbeddedEngine, embeddedMigrations } from './index.js';
import { passStatement, plan } from './passes.js';
import { Sql } from './sql.js';

const schema = { name: 'search', entities: [], migrations: embeddedMigrations };

describe('the embedded engine', () => {
  let backend: Backend;
  let database: Database;
  let engine: EmbeddedEngine;

  beforeAll(async () => {
    const service = {
      name: 'search',
      schema,
      restPaths: [],
      build: () => ({ controllers: [], providers: [], running: [] }),
    };
    backend = await startBackend([service]);
    database = await Database.connect({ url: backend.config.DATABASE_URL, schema });
    engine = new EmbeddedEngine(database);
    const documents = contractDocuments();
    for (let start = 0; start < documents.length; start += 1000)
      await engine.index(documents.slice(start, start + 1000));
  });

  afterAll(async () => {
    await database?.close();
    await backend?.stop();
  });

  const find = (tenantId: string, body: unknown, types?: FieldTypes): Promise<SearchAnswer> =>
    engine.search(tenantId, parseSearch(body, 'v1', types ?? ((field) => MESSAGE_FIELDS[field])));
  const message = (tenantId: string, id: string, more: Record<string, unknown> = {}): IndexedDocument => ({
    tenantId,
    id,
    created: '2026-01-01T00:00:00.000Z',
    model: 'm',
    source: {
      id,
      streamId: 's',
      timestamp: '2026-01-01T00:00:00.000Z',
      created: '2026-01-01T00:00:00.000Z',
      model: 'm',
      tags: [],
      metadata: { connector: 'http' },
      ...more,
    },
  });
  const failureOf = (search: Promise<unknown>): Promise<unknown> =>
    search.then(
      () => undefined,
      (error: unknown) => error,
    );

  it('keeps a document once, and the last of its versions', async () => {
    await engine.index([message('twice', '1', { streamId: 'old' }), message('twice', '1', { streamId: 'new' })]);
    await Promise.all([
      engine.index([message('twice', '1', { streamId: 'new' })]),
      engine.index([message('twice', '1', { streamId: 'new' }), message('twice', '2')]),
    ]);
    const { hits } = await find('twice', { query: { term: { streamId: 'new' } } });
    expect(hits.total.value).toBe(1);
    expect((await find('twice', { query: { term: { streamId: 'old' } } })).hits.total.value).toBe(0);
    expect(await engine.count('twice')).toBe(2);
  });

  it('gives no search more than the documents of its account', async () => {
    await engine.index([message('mine', '1', { tags: ['mine'] }), message('theirs', '1', { tags: ['theirs'] })]);
    for (const query of [
      { match_all: {} },
      { bool: { must_not: [{ term: { tags: 'mine' } }] } },
      { bool: { should: [{ match_all: {} }, { term: { tags: 'theirs' } }] } },
      { query_string: { query: '* OR tags:theirs OR NOT tags:mine' } },
      { ids: { values: ['1'] } },
      { wildcard: { streamId: "*' OR '1'='1" } },
      { term: { "x'); DROP TABLE documents; --": 'a' } },
    ]) {
      const { hits, aggregations } = await find('mine', {
        query,
        aggs: {
          t: { terms: { field: 'tags' } },
          m: { missing: { field: 'nosuch' } },
          o: { filters: { other_bucket: true, filters: [{ term: { tags: 'x' } }] } },
        },
      });
      expect(hits.total.value).toBeLessThanOrEqual(1);
      expect(JSON.stringify({ hits, aggregations })).not.toContain('theirs');
      expect(JSON.stringify(aggregations)).not.toMatch(/"doc_count":[2-9]/);
    }
    expect(await engine.count('theirs')).toBe(1);
  });

  it('keeps any text as it came, and finds what can be found of it', async () => {
    const source = {
      value: {
        text: 'a\u0000b \ud800 \\ \t \n %_ 𝒳 ≠',
        long: 'x'.repeat(100_000),
        deep: [[['inner']]],
        nothing: null,
        'odd"key\\': 1,
      },
    };
    await engine.index([message('odd', '1', source)]);
    const types: FieldTypes = (field) =>
      field.startsWith('@m.') ? (field.endsWith('key\\') ? 'number' : 'string') : MESSAGE_FIELDS[field];
    const [hit] = (await find('odd', {}, types)).hits.hits;
    expect(hit!._source!['value']).toEqual(source.value);
    for (const query of [
      { term: { '@m.value.deep': 'inner' } },
      { match: { '@m.value.text': 'b' } },
      { term: { '@m.value.odd"key\\': 1 } },
      { range: { '@m.value.odd"key\\': { gt: -1e300, lte: 1 } } },
    ])
      expect((await find('odd', { query }, types)).hits.total.value).toBe(1);
    expect((await find('odd', { query: { exists: { field: '@m.value.nothing' } } }, types)).hits.total.value).toBe(0);
  });

  it('counts by arrival, and removes what is old and who is gone', async () => {
    const at = (tenantId: string, id: string, created: string): IndexedDocument => ({
      ...message(tenantId, id),
      created,
    });
    await engine.index([
      at('aged', '1', '2020-01-01T00:00:00.000Z'),
      at('aged', '2', '2020-01-02T00:00:00.000Z'),
      at('aged', '3', '2026-01-01T00:00:00.000Z'),
      at('gone', '1', '2026-01-01T00:00:00.000Z'),
    ]);
    expect(await engine.count('aged', '2020-01-01T00:00:00.000Z', '2020-01-02T00:00:00.000Z')).toBe(1);
    await engine.expire('2020-01-02T00:00:00.000Z');
    expect(await engine.count('aged')).toBe(2);
    await engine.removeTenant('gone');
    expect(await engine.count('gone')).toBe(0);
    expect(await engine.count('aged')).toBe(2);
  });

  it('answers 400 when a search takes too long, or has too many buckets, and goes on', async () => {
    const hasty = new EmbeddedEngine(database, { timeoutMs: 0.001 });
    const late = await failureOf(
      hasty.search(
        CROWD,
        parseSearch({}, 'v1', (field) => MESSAGE_FIELDS[field]),
      ),
    );
    expect(late).toBeInstanceOf(ApiError);
    const minutes = { date_histogram: { field: 'timestamp', calendar_interval: 'second' } };
    const wide = await failureOf(find(CROWD, { size: 0, aggs: { a: minutes } }));
    expect((wide as ApiError).status).toBe(400);
    expect((await find(CROWD, { size: 0 })).hits.total.value).toBe(10_000);
  });

  it('reads newest first along an index, from where search_after is', async () => {
    const request = parseSearch(
      { sort: [{ timestamp: 'desc' }], search_after: [Date.parse('2026-01-01')] },
      'v1',
      (field) => MESSAGE_FIELDS[field],
    );
    const sql = new Sql();
    const statement = hitsStatement(sql, `tenant_id = ${sql.value(CROWD, 'text')}`, request);
    const explained = await database.transaction(async (manager) => {
      // As if there were many.
      for (const setting of ['enable_seqscan', 'enable_bitmapscan']) await manager.query(`SET LOCAL ${setting} = off`);
      return (await manager.query(`EXPLAIN ${statement}`, sql.parameters)) as unknown[];
    });
    expect(JSON.stringify(explained)).toMatch(
      /Incremental Sort.*Scan Backward using documents_by_time.*Index Cond: [^}]*timestamp\W+ <= /,
    );
  });

  it('adds up documents in parallel where there are enough', async () => {
    const types: FieldTypes = (field) => (field === '@crowd.value.n' ? 'number' : MESSAGE_FIELDS[field]);
    const { query, aggregations } = parseSearch(
      {
        query: { range: { '@crowd.value.n': { gte: 5 } } },
        aggs: {
          days: {
            date_histogram: { field: 'timestamp', calendar_interval: 'day', time_zone: 'Europe/Paris' },
            aggs: { n: { extended_stats: { field: '@crowd.value.n' } } },
          },
        },
      },
      'v1',
      types,
    );
    const sql = new Sql();
    const where = `tenant_id = ${sql.value(CROWD, 'text')} AND ${condition(sql, query)}`;
    const statement = passStatement(sql, where, plan(aggregations)[0]!, 1000);
    await database.query('ANALYZE documents');
    const explained = await database.transaction(async (manager) => {
      // As if there were many.
      for (const setting of ['parallel_setup_cost', 'parallel_tuple_cost', 'min_parallel_table_scan_size'])
        await manager.query(`SET LOCAL ${setting} = 0`);
      await manager.query('SET LOCAL enable_indexscan = off');
      return (await manager.query(`EXPLAIN ${statement}`, sql.parameters)) as unknown[];
    });
    expect(JSON.stringify(explained)).toMatch(/Gather.*Partial \w*Aggregate/);
  });

  it('answers 400 when numbers leave what a double holds, and counts great ones', async () => {
    const types: FieldTypes = (field) => (field === '@m.value.n' ? 'number' : MESSAGE_FIELDS[field]);
    await engine.index([message('great', '1', { value: { n: 1e200 } }), message('great', '2', { value: { n: 1e18 } })]);
    for (const a of [
      { extended_stats: { field: '@m.value.n' } },
      { histogram: { field: '@m.value.n', interval: 1e-300 } },
    ])
      expect(((await failureOf(find('great', { aggs: { a } }, types))) as ApiError).status).toBe(400);
    const query = { range: { '@m.value.n': { lt: 1e19 } } };
    const { aggregations } = await find(
      'great',
      { query, aggs: { a: { histogram: { field: '@m.value.n', interval: 1 } } } },
      types,
    );
    expect(aggregations).toEqual({ a: { buckets: [{ key: 1e18, doc_count: 1 }] } });
  });

  it('answers 400 when the hits of buckets are more than can be held', async () => {
    await engine.index([message('heavy', '1', { value: { text: 'x'.repeat(1_000_000) } })]);
    const filters = Array.from({ length: 70 }, () => ({ match_all: {} }));
    const top = (some: object[]): object => ({
      size: 0,
      aggs: { a: { filters: { filters: some }, aggs: { b: { top_hits: { size: 1 } } } } },
    });
    expect(((await failureOf(find('heavy', top(filters)))) as ApiError).status).toBe(400);
    const { aggregations } = await find('heavy', top(filters.slice(0, 2)));
    const { buckets } = aggregations!['a'] as { buckets: Array<{ b: { hits: { hits: unknown[] } } }> };
    expect(buckets.map(({ b }) => b.hits.hits.length)).toEqual([1, 1]);
  });

  it('holds no more text of buckets than an answer may have', () => {
    const types: FieldTypes = (field) => (field === '@m.value.text' ? 'string' : MESSAGE_FIELDS[field]);
    const { aggregations } = parseSearch({ aggs: { a: { terms: { field: '@m.value.text' } } } }, 'v1', types);
    const [pass] = plan(aggregations);
    const gathering = new Gathering();
    const text = 'x'.repeat(8000);
    for (let i = 0; i < 1000; i++) gathering.add(pass!, [`${text}${i}`, 1]);
    expect(() => {
      for (let i = 1000; i < 10_000; i++) gathering.add(pass!, [`${text}${i}`, 1]);
    }).toThrow(ApiError);
  });

  it('stands patterns that are made to take long', async () => {
    const types: FieldTypes = (field) => (field === '@m.value.text' ? 'string' : MESSAGE_FIELDS[field]);
    await engine.index([message('slow', '1', { value: { text: 'a'.repeat(8000) } })]);
    const started = performance.now();
    for (const query of [
      { wildcard: { '@m.value.text': `${'*a'.repeat(20)}b` } },
      { wildcard: { '@m.value.text': `${'a?*'.repeat(20)}b` } },
      {
        match: {
          '@m.value.text': {
            query: Array.from({ length: 300 }, (_, i) => `a${i}`)
              .join(' ')
              .slice(0, 1000),
          },
        },
      },
      { query_string: { query: `"${'a '.repeat(400)}b"`, default_field: '@m.value.text' } },
    ])
      expect((await find('slow', { query }, types)).hits.total.value).toBe(0);
    expect(performance.now() - started).toBeLessThan(10_000);
  });

  it('refuses answers that would take long to write, however small the request is', async () => {
    const many = (number: number, of: unknown): unknown =>
      Object.fromEntries(Array.from({ length: number }, (_, i) => [`a${i}`, of]));
    const seconds = (buckets: number, aggs: unknown): unknown => ({
      size: 0,
      aggs: {
        times: {
          date_histogram: {
            field: 'timestamp',
            fixed_interval: '1s',
            extended_bounds: { min: 0, max: buckets * 1000 },
          },
          aggs,
        },
      },
    });
    const days = (zones: number, number: number): unknown => ({
      size: 0,
      aggs: many(zones, {
        date_histogram: {
          field: 'timestamp',
          calendar_interval: 'day',
          time_zone: 'Europe/Paris',
          extended_bounds: { min: 0, max: number * 24 * 3_600_000 },
        },
      }),
    });
    const script = `count${' + 1'.repeat(200)} > 0`;
    const selector = { bucket_selector: { buckets_path: { count: '_count' }, script } };
    for (const body of [
      seconds(60_000, many(90, { min: { field: 'timestamp' } })),
      seconds(60_000, many(20, { extended_stats: { field: 'timestamp' } })),
      seconds(60_000, many(90, selector)),
      seconds(60_000, many(90, { top_hits: {} })),
      days(100, 600),
      days(1, 60_000),
    ]) {
      const failure = await failureOf(find('nobody', body));
      expect(failure).toMatchObject({ status: 400, details: [{ field: 'aggs' }] });
    }
    const { aggregations } = await find('nobody', days(1, 3650));
    expect((aggregations as { a0: { buckets: unknown[] } }).a0.buckets).toHaveLength(3651);
  });

  it('refuses hits that are too large together', async () => {
    const text = 'x'.repeat(1_000_000);
    for (let i = 0; i < 70; i++) await engine.index([message('large', String(i), { value: { text } })]);
    const failure = await failureOf(find('large', { size: 100 }));
    expect(failure).toMatchObject({ status: 400, details: [{ field: 'size' }] });
    expect((await find('large', { size: 10 })).hits.hits).toHaveLength(10);
  });

  it('answers many searches at once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 30 }, () => find(CROWD, { size: 1, aggs: { s: { terms: { field: 'streamId' } } } })),
    );
    for (const { hits, aggregations } of answers) {
      expect(hits.hits).toHaveLength(1);
      expect(aggregations).toMatchObject({ s: { buckets: Array.from({ length: 10 }, () => ({})) } });
    }
  });

  it.each(CASES.map((each) => [each.name, each] as const))('answers: %s', async (_name, each) => {
    checkAnswer(each, await ask(engine, each));
  });
});
