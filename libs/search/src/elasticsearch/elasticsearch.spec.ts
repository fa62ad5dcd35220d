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
import type { IndexedDocument } from '../search-engine.js';
import { ask, CASES, checkAnswer, compareAnswers, contractDocuments, contractTypes } from '../testing/contract.js';
import { elasticsearchClient } from './client.js';
import { ElasticsearchEngine } from './elasticsearch-engine.js';
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
  const index = elasticsearch?.env['ORRERY_SEARCH_INDEX'] ?? '';

  beforeAll(async () => {
    backend = await startBackend([search]);
    bus = await backend.bus();
    database = await Database.connect({ url: backend.config.DATABASE_URL, schema: search.schema! });
    client = elasticsearchClient(elasticsearch!.env['ELASTICSEARCH_URL']!);
    registry = new FieldRegistry(bus, new ApiKeys(bus), database);
    engine = new ElasticsearchEngine({ client, index, shards: 2, registry, logger });
    embedded = new EmbeddedEngine(database);
    await fill(contractDocuments());
  }, 120_000);
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
    async (_name, each) => {
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
    await engine.removeTenant('leaving');
    await refresh();
    expect([await engine.count('leaving'), await engine.count('staying')]).toEqual([0, 1]);
  });

  it('lets the reader wait while it is away, and says so to those who search', async () => {
    const gone = elasticsearchClient('http://127.0.0.1:1');
    const away = new ElasticsearchEngine({ client: gone, index, shards: 1, registry, logger });
    await expect(away.index([documentAt('away', '2026-05-05T00:00:00.000Z')])).rejects.toThrow();
    await expect(ask(away, CASES[0]!)).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    await gone.close();
  });
});
