import { once } from 'node:events';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import type { Client } from '@elastic/elasticsearch';
import { ApiKeys } from '@orrery/core/auth';
import type { Bus } from '@orrery/core/bus';
import { Database } from '@orrery/core/database';
import { createLogger } from '@orrery/core/telemetry';
import { type Backend, eventually, startBackend } from '@orrery/core/testing';
import { MESSAGE_FIELDS, parseSearch } from '../dsl/index.js';
import { EmbeddedEngine } from '../embedded/index.js';
import { FieldRegistry } from '../fields/index.js';
import { search } from '../index.js';
import type { IndexedDocument, SearchAnswer } from '../search-engine.js';
import { ask, CASES, checkAnswer, compareAnswers, contractDocuments, contractTypes } from '../testing/contract.js';
import { elasticsearchClient } from './client.js';
import { ElasticsearchEngine } from './elasticsearch-engine.js';
import { documentId, indexBody, indexedDocument } from './mapping.js';
import { testedElasticsearch } from '../testing/engines.js';

const elasticsearch = await testedElasticsearch();
const logger = createLogger('test', process.env['ORRERY_TEST_LOG'] ?? 'silent');

(elasticsearch ? describe : describe.skip)('Elasticsearch', () => {
  let backend: Backend;
  let bus: Bus;
  let database: Database;
  let client: Client;
  let registry: FieldRegistry;
  let engine: ElasticsearchEngine;
  let embedded: EmbeddedEngine;
  /** Than 8.9. */
  let older: boolean;
  const index = elasticsearch?.env['ORRERY_SEARCH_INDEX'] ?? '';

  beforeAll(async () => {
    backend = await startBackend([search]);
    bus = await backend.bus();
    database = await Database.connect({ url: backend.config.DATABASE_URL, schema: search.schema! });
    client = elasticsearchClient(elasticsearch!.env['ELASTICSEARCH_URL']!);
    registry = new FieldRegistry(bus, new ApiKeys(bus), database);
    engine = new ElasticsearchEngine({ client, index, shards: 2, registry, logger });
    embedded = new EmbeddedEngine(database);
    const { version } = await client.info();
    const [major, minor] = version.number.split('.').map(Number) as [number, number];
    older = major < 8 || (major === 8 && minor < 9);
    await fill(contractDocuments());
  });
  afterAll(async () => {
    await client?.close();
    await database?.close();
    await backend?.stop();
    await elasticsearch?.stop();
  });

  async function fill(documents: IndexedDocument[]): Promise<void> {
    for (let start = 0; start < documents.length; start += 1000) {
      const some = documents.slice(start, start + 1000);
      expect((await registry.learn(some)).filter((refusal) => refusal !== undefined)).toEqual([]);
      await engine.index(some);
      await embedded.index(some);
    }
    await refresh();
  }
  const refresh = (): Promise<unknown> => client.transport.request({ method: 'POST', path: `/${index}-*/_refresh` });
  const documentAt = (tenantId: string, created: string, n = 0): IndexedDocument => {
    const id = `${Date.parse(created).toString(16).padStart(12, '0')}${n.toString(16).padStart(12, '0')}`;
    const source = { id, streamId: 's', created, timestamp: created, tags: [], value: {}, model: null, metadata: null };
    return { tenantId, id, created, source };
  };

  it('knows the types of fields that the suite expects', async () => {
    const documents = contractDocuments();
    const types = contractTypes(documents);
    const learned = await registry.of(documents[0]!.tenantId);
    const fields = [learned.below('@climate.value'), learned.below('extra')].map((below) => [...below]);
    for (const group of fields) expect(group.length).toBeGreaterThan(0);
    for (const [name] of fields.flat()) expect([name, learned.typeOf(name)]).toEqual([name, types(name)]);
  });

  it.each(CASES.map((each) => [each.name, each] as const))(
    'answers as the embedded engine: %s',
    async (_name, { olderTolerance, ...newer }) => {
      const each = older && olderTolerance ? { ...newer, tolerance: olderTolerance } : newer;
      const answer = await ask(engine, each);
      checkAnswer(each, answer);
      compareAnswers(each, await ask(embedded, each), answer);
    },
  );

  it('tells answers apart whose names look like those of other places', async () => {
    const aggs = { a1: { min: { field: 'timestamp' } }, a0: { max: { field: 'timestamp' } } };
    await fill([documentAt('places', '2026-05-05T00:00:00.000Z'), documentAt('places', '2026-05-06T00:00:00.000Z', 1)]);
    const { aggregations } = await engine.search(
      'places',
      parseSearch({ size: 0, aggs }, 'v1', (name) => MESSAGE_FIELDS[name]),
    );
    expect(aggregations).toMatchObject({
      a1: { value_as_string: '2026-05-05T00:00:00.000Z' },
      a0: { value_as_string: '2026-05-06T00:00:00.000Z' },
    });
  });

  it('keeps a document once, however often it is indexed', async () => {
    const document = documentAt('twice', '2026-05-05T00:00:00.000Z');
    await fill([document, document]);
    await fill([document]);
    expect(await engine.count('twice')).toBe(1);
    expect(await engine.count('twice', '2026-05-05T00:00:00.000Z', '2026-05-05T00:00:00.001Z')).toBe(1);
    expect(await engine.count('twice', '2026-05-05T00:00:00.001Z')).toBe(0);
    expect(await engine.count('twice', undefined, '2026-05-05T00:00:00.000Z')).toBe(0);
  });

  it('drops the months that have expired', async () => {
    await fill([
      documentAt('months', '2001-01-31T23:59:59.999Z'),
      documentAt('months', '2001-02-01T00:00:00.000Z'),
      documentAt('months', '2001-03-01T00:00:00.000Z'),
    ]);
    await engine.expire('2001-02-28T00:00:00.000Z');
    expect(await engine.count('months')).toBe(2);
    await engine.expire('2001-03-01T00:00:00.000Z');
    expect(await engine.count('months')).toBe(1);
    // What is re-indexed into a month that was dropped makes it again.
    await fill([documentAt('months', '2001-01-31T23:59:59.999Z')]);
    expect(await engine.count('months')).toBe(2);
  });

  it('goes on when another instance, or somebody else, has dropped an index', async () => {
    await fill([documentAt('dropped', '2002-01-01T00:00:00.000Z')]);
    await client.transport.request({ method: 'DELETE', path: `/${index}-2002.01` });
    await eventually(async () => {
      await fill([documentAt('dropped', '2002-01-01T00:00:00.000Z')]);
      return (await engine.count('dropped')) === 1;
    });
  });

  it('removes the documents of a tenant, and of no other one', async () => {
    await fill([1, 2, 3].map((n) => documentAt('leaving', '2026-05-05T00:00:00.000Z', n)));
    await fill([documentAt('staying', '2026-05-05T00:00:00.000Z')]);
    await engine.removeTenant('leaving');
    // No search finds this one yet.
    await engine.index([documentAt('leaving', '2026-05-05T00:00:00.000Z', 4)]);
    await engine.removeTenant('leaving');
    await refresh();
    expect([await engine.count('leaving'), await engine.count('staying')]).toEqual([0, 1]);
  });

  it('refuses histograms whose empty buckets would take its memory, before it makes them', async () => {
    await fill([documentAt('far', '2026-05-05T00:00:00.000Z'), documentAt('far', '2026-05-06T00:00:00.000Z')]);
    const far = documentAt('far', '2026-05-06T00:00:00.000Z', 1);
    for (const [n, timestamp] of [
      [1e17, '0001-01-01T00:00:00.000Z'],
      [1e17 + 64, '9999-12-31T23:59:59.999Z'],
      [-1e300, '2026-01-01T00:00:00.000Z'],
    ] as const) {
      const id = `${far.id.slice(0, -3)}${timestamp.slice(0, 3)}`;
      const source = { ...far.source, id, timestamp, model: 'far', value: n < 0 ? { m: n } : { n, m: n } };
      await fill([{ ...far, id, model: 'far', source }]);
    }
    const fields = await registry.of('far');
    const ask = (aggregation: object): Promise<unknown> =>
      engine.search('far', parseSearch({ size: 0, aggs: { a: aggregation } }, 'v1', fields.typeOf)).then(
        (answer) => answer.aggregations!['a'],
        (error: unknown) => (error as { details: unknown }).details,
      );
    const refused = [expect.objectContaining({ field: 'aggs' })];
    const days = { date_histogram: { field: 'timestamp', calendar_interval: 'day' } };
    expect(await ask(days)).toEqual(refused);
    expect(await ask({ terms: { field: 'streamId' }, aggs: { days } })).toEqual(refused);
    expect(await ask({ histogram: { field: '@far.value.m', interval: 1 } })).toEqual(refused);
    // Where the next number is the same one, there is no end.
    expect(await ask({ histogram: { field: '@far.value.n', interval: 1 } })).toEqual(refused);
    expect(await ask({ histogram: { field: '@far.value.n', interval: 1, min_doc_count: 1 } })).toMatchObject({
      buckets: [{ doc_count: 1 }, { doc_count: 1 }],
    });
    expect(await ask({ histogram: { field: 'nosuch', interval: 1 } })).toEqual({ buckets: [] });
  });

  it('answers any number of different bucket_selectors', async () => {
    // Elasticsearch compiles 75 scripts in five minutes.
    const days = (script: string): Promise<SearchAnswer> => {
      const own = { bucket_selector: { buckets_path: { c0: '_count', steps: 'most' }, script } };
      const aggs = { most: { max: { field: 'timestamp' } }, own };
      const each = { date_histogram: { field: 'timestamp', calendar_interval: 'day' }, aggs };
      return engine.search(
        'scripts',
        parseSearch({ size: 0, aggs: { each } }, 'v1', (name) => MESSAGE_FIELDS[name]),
      );
    };
    await fill([
      documentAt('scripts', '2026-05-05T00:00:00.000Z'),
      documentAt('scripts', '2026-05-06T00:00:00.000Z'),
      documentAt('scripts', '2026-05-06T00:00:00.000Z', 1),
    ]);
    for (let n = 0; n < 120; n++) {
      const zeros = Array.from({ length: n % 10 }, () => ' + 0').join('');
      const script = `c0 * ${n} / 2 - ${n}.5 >= -0.5${zeros} && !(steps < 1) || c0 % 2 == 5`;
      const { aggregations } = await days(script);
      const found = (aggregations!['each'] as { buckets: unknown[] }).buckets;
      expect({ script, found }).toMatchObject({ script, found: n === 0 ? [{}, {}] : [{ doc_count: 2 }] });
    }
  });

  it('refuses an answer that is too large to hold, and answers one that is not', async () => {
    const small = new ElasticsearchEngine({ client, index, shards: 2, registry, logger, maxAnswer: 2000 });
    await fill(Array.from({ length: 30 }, (_, n) => documentAt('large', '2026-05-05T00:00:00.000Z', n)));
    const ask = (body: object): Promise<unknown> =>
      small.search(
        'large',
        parseSearch(body, 'v1', (name) => MESSAGE_FIELDS[name]),
      );
    const ids = { terms: { field: 'id', size: 30 }, aggs: { t: { extended_stats: { field: 'timestamp' } } } };
    for (const body of [{ size: 30 }, { size: 0, aggs: { ids } }])
      await expect(ask(body)).rejects.toMatchObject({
        code: 'GENERIC_INVALID_PARAMETER_ERROR',
        details: [{ field: 'body', expected: expect.stringContaining('2000 bytes') }],
      });
    expect(await ask({ size: 1 })).toMatchObject({ hits: { total: { value: 30 } } });
  });

  it('indexes all documents of a batch but those that Elasticsearch refuses, which it names', async () => {
    // As somebody may have made it.
    const body = indexBody(1);
    body.mappings['properties'] = { ...(body.mappings['properties'] as object), s0: { type: 'integer' } };
    await client.transport.request({ method: 'PUT', path: `/${index}-2003.01`, body });
    const documents = [1, 2, 3].map((n) => {
      const document = documentAt('refused', '2003-01-05T00:00:00.000Z', n);
      const metadata = { first: n === 2 ? 'no number' : String(n) };
      return { ...document, source: { ...document.source, metadata } };
    });
    const others = [4, 5].map((n) => documentAt('refused', '2003-02-05T00:00:00.000Z', n));
    await registry.learn(documents);
    const refused = await engine.index([...documents, ...others]);
    expect(refused).toEqual([{ document: documents[1], reason: expect.any(String) }]);
    await refresh();
    expect(await engine.count('refused')).toBe(4);
  });

  it('waits for an index that takes nothing at the moment, and sends no document a second time that was taken', async () => {
    const free = documentAt('blocked', '2003-03-05T00:00:00.000Z');
    const waiting = documentAt('blocked', '2003-04-05T00:00:00.000Z', 1);
    const counting = elasticsearchClient(elasticsearch!.env['ELASTICSEARCH_URL']!);
    const patient = new ElasticsearchEngine({ client: counting, index, shards: 2, registry, logger });
    await patient.index([free, waiting]);
    const block = (on: boolean): Promise<unknown> =>
      client.transport.request({
        method: 'PUT',
        path: `/${index}-2003.04/_settings`,
        body: { 'index.blocks.read_only_allow_delete': on || null },
      });
    // As Elasticsearch does when the disk is nearly full: 429.
    await block(true);
    await expect(patient.index([free, waiting])).rejects.toThrow('429');
    const bodies: string[] = [];
    counting.diagnostic.on('request', (_, event) => {
      const { path, body } = (event?.meta.request.params ?? {}) as { path?: string; body?: unknown };
      if (path === '/_bulk') bodies.push(String(body));
    });
    const writing = patient.index([free, waiting]);
    await eventually(() => bodies.length > 1);
    await block(false);
    expect(await writing).toEqual([]);
    expect(bodies.map((body) => body.includes(free.id))).toEqual(bodies.map((_, i) => i === 0));
    await counting.close();
  });

  it('speaks to Elasticsearch with the user and password of its address, and tells them to nobody', async () => {
    const target = new URL(elasticsearch!.env['ELASTICSEARCH_URL']!);
    const asked: Array<string | undefined> = [];
    const gate = createServer((request, response) => {
      asked.push(request.headers.authorization);
      if (request.headers.authorization !== `Basic ${Buffer.from('orrery:s:e@cret').toString('base64')}`)
        return void response.writeHead(401, { 'content-type': 'application/json' }).end('{"error":"who"}');
      const { method, headers } = request;
      const forward = httpRequest(
        { host: target.hostname, port: target.port, path: request.url, method, headers, agent: false },
        (answer) => {
          response.writeHead(answer.statusCode!, answer.headers);
          answer.pipe(response);
        },
      );
      request.pipe(forward);
    }).listen(0, '127.0.0.1');
    await once(gate, 'listening');
    const { port } = gate.address() as AddressInfo;
    const lines: string[] = [];
    const tell = (...words: unknown[]): void => void lines.push(inspect(words, { depth: 20 }));
    const told = Object.assign(createLogger('test', 'silent'), { warn: tell, error: tell });
    const through = (credentials: string): [Client, ElasticsearchEngine] => {
      const own = elasticsearchClient(`http://${credentials}@127.0.0.1:${port}`);
      return [own, new ElasticsearchEngine({ client: own, index, shards: 2, registry, logger: told })];
    };
    const [right, known] = through('orrery:s%3Ae%40cret');
    await known.index([documentAt('credentials', '2026-05-05T00:00:00.000Z')]);
    await refresh();
    expect(await known.count('credentials')).toBe(1);
    const [wrong, unknown] = through('orrery:s%3Ae%40creT');
    const failures = [
      await ask(unknown, CASES[0]!).catch((error: unknown) => error),
      await unknown.index([documentAt('credentials', '2026-05-05T00:00:00.000Z')]).catch((error: unknown) => error),
    ];
    gate.close();
    gate.closeAllConnections();
    await Promise.all([right.close(), wrong.close()]);
    failures.push(await ask(known, CASES[0]!).catch((error: unknown) => error));
    expect(asked.every((each) => each?.startsWith('Basic '))).toBe(true);
    expect(failures.every((error) => error instanceof Error)).toBe(true);
    expect(lines.length).toBeGreaterThan(0);
    const everything = `${lines.join('')}${inspect(failures, { depth: 20 })}`;
    for (const secret of ['cret', 'creT', ...asked.map((each) => each!.slice(6))])
      expect(everything.includes(secret)).toBe(false);
  });

  it('makes the index of the next month before it begins, and keeps what arrives late with what arrives now', async () => {
    const months = async (): Promise<string[]> =>
      Object.keys(
        (await client.transport.request({ method: 'GET', path: `/${index}-2004*,${index}-2005*` })) as object,
      );
    await engine.prepare(new Date('2004-12-31T23:59:59.999Z'));
    expect(await months()).toEqual([`${index}-2004.12`, `${index}-2005.01`]);
    // By another instance, and again after the turn of the year.
    const other = new ElasticsearchEngine({ client, index, shards: 2, registry, logger });
    await other.prepare(new Date('2004-12-31T23:59:59.999Z'));
    await other.prepare(new Date('2005-01-01T00:00:00.000Z'));
    expect(await months()).toEqual([`${index}-2004.12`, `${index}-2005.01`, `${index}-2005.02`]);

    const [before, after] = ['2004-12-31T23:59:59.999Z', '2005-01-01T00:00:00.000Z'];
    const late = documentAt('turn', after, 1);
    late.source['timestamp'] = '2004-11-05T00:00:00.000Z';
    await fill([documentAt('turn', before), documentAt('turn', after), late]);
    const found = async (query: object): Promise<unknown[]> => {
      const request = parseSearch({ query, sort: [{ timestamp: 'asc' }] }, 'v1', (name) => MESSAGE_FIELDS[name]);
      return (await engine.search('turn', request)).hits.hits.map(({ _source }) => _source!['timestamp']);
    };
    expect(await found({ match_all: {} })).toEqual([late.source['timestamp'], before, after]);
    expect(await found({ range: { timestamp: { lt: '2004-12-01' } } })).toEqual([late.source['timestamp']]);
    expect(await months()).toEqual([`${index}-2004.12`, `${index}-2005.01`, `${index}-2005.02`]);
    // Retention counts from arrival.
    await engine.expire('2005-01-01T00:00:00.000Z');
    expect(await found({ match_all: {} })).toEqual([late.source['timestamp'], after]);
    expect(await months()).toEqual([`${index}-2005.01`, `${index}-2005.02`]);
  });

  it('finds what earlier versions have written into the same index', async () => {
    const document = documentAt('earlier', '2026-05-05T00:00:00.000Z');
    const body = { ...indexedDocument(document, await registry.of('earlier')), source: document.source };
    await client.transport.request({
      method: 'PUT',
      path: `/${index}-2026.05/_doc/${encodeURIComponent(documentId(document))}`,
      body,
    });
    await fill([documentAt('earlier', '2026-05-05T00:00:00.000Z', 1)]);
    const found = await engine.search(
      'earlier',
      parseSearch({}, 'v1', (name) => MESSAGE_FIELDS[name]),
    );
    const sources = found.hits.hits.map(({ _source }) => _source);
    expect(sources).toEqual([
      expect.objectContaining({ streamId: 's' }),
      { extra: null, location: null, ...document.source },
    ]);
    // Members as they were sent, after those that a message may not have: an answer is the message.
    const { model, value, ...sent } = document.source;
    expect(Object.keys(sources[0]!)).toEqual(Object.keys({ extra: null, model, value, ...sent, location: null }));
  });

  it('drops no index of an installation whose names begin alike', async () => {
    const alike = `${index}-1`;
    const other = new ElasticsearchEngine({ client, index: alike, shards: 1, registry, logger });
    await other.index([documentAt('alike', '2006-01-01T00:00:00.000Z')]);
    await engine.expire('2007-01-01T00:00:00.000Z');
    await client.transport.request({ method: 'POST', path: `/${alike}-*/_refresh` });
    expect(await other.count('alike')).toBe(1);
  });

  it('lets Elasticsearch make no index by itself, and writes to those of earlier versions', async () => {
    const automatic = (on: boolean | null): Promise<unknown> =>
      client.transport.request({
        method: 'PUT',
        path: '/_cluster/settings',
        body: { transient: { 'action.auto_create_index': on } },
      });
    const document = documentAt('automatic', '2002-02-01T00:00:00.000Z');
    await fill([document]);
    await automatic(true);
    try {
      // A new cluster, or retention in another instance.
      await client.transport.request({ method: 'DELETE', path: `/${index}-2002.02` });
      await expect(engine.index([document])).rejects.toThrow('404');
      await fill([document]);
      expect(await engine.count('automatic')).toBe(1);
    } finally {
      await automatic(null);
    }
    const alias = { method: 'DELETE', path: `/${index}-2002.02/_alias/*` };
    await client.transport.request(alias);
    const later = new ElasticsearchEngine({ client, index, shards: 2, registry, logger });
    await later.index([documentAt('automatic', '2002-02-02T00:00:00.000Z', 1)]);
    await refresh();
    expect(await engine.count('automatic')).toBe(2);
  });

  it('lets the reader wait while it is away, and says so to those who search', async () => {
    const gone = elasticsearchClient('http://127.0.0.1:1');
    const away = new ElasticsearchEngine({ client: gone, index, shards: 1, registry, logger });
    await expect(away.index([documentAt('away', '2026-05-05T00:00:00.000Z')])).rejects.toThrow();
    await expect(ask(away, CASES[0]!)).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    await gone.close();
  });
});
