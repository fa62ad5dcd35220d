import { Database, migrate } from '../database/index.js';
import { createLogger, parseTraceparent, startTracing } from '../telemetry/index.js';
import { type Backend, eventually, startBackend, startTraceCollector } from '../testing/index.js';
import { Bus, PackingPublisher, PartitionReader, type ReadItem, streamName } from './index.js';

const schema = { name: 'sharing', entities: [], migrations: [] };

let backend: Backend;
let bus: Bus;
let database: Database;

beforeAll(async () => {
  backend = await startBackend([]);
  bus = await backend.bus();
  await migrate(backend.config.DATABASE_URL, schema, createLogger('test', 'silent'));
  database = await Database.connect({ url: backend.config.DATABASE_URL, schema });
});
afterAll(async () => {
  await database.close();
  await backend.stop();
});

describe('the readers of a process', () => {
  it('share what they read, and never take an entry of another stream of the same name for it', async () => {
    const read: ReadItem[][] = [[], []];
    const readers = read.map(
      (items, i) =>
        new PartitionReader(bus, {
          name: `sharing-${i}`,
          streams: ['EVENTS'],
          database,
          handle: async (batch) => void items.push(...batch),
        }),
    );
    for (const reader of readers) await reader.start();
    await eventually(() => readers.every((reader) => reader.partitions.length === bus.partitions));
    const publisher = new PackingPublisher(bus, 'EVENTS');
    await publisher.publish(0, '{"n":1}', '{"first":"é"}');
    await eventually(() => read.every((items) => items.length === 1));
    expect(read[0]![0]).toBe(read[1]![0]);
    expect(read[0]![0]!.headerAs()).toEqual({ n: 1 });
    await publisher.close();
    for (const reader of readers) await reader.stop();

    // The same number in a stream that is made anew.
    const { config } = await bus.jsm.streams.info(streamName('EVENTS', 0));
    await bus.jsm.streams.delete(config.name);
    await bus.jsm.streams.add(config);
    const anew: ReadItem[] = [];
    const reader = new PartitionReader(bus, {
      name: 'sharing-anew',
      streams: ['EVENTS'],
      database,
      handle: async (batch) => void anew.push(...batch),
    });
    const other = new PackingPublisher(bus, 'EVENTS');
    await other.publish(0, '{"n":2}', '{}');
    await reader.start();
    await eventually(() => anew.length === 1);
    expect(anew[0]).toMatchObject({ seq: read[0]![0]!.seq, header: '{"n":2}', body: '{}' });
    await other.close();
    await reader.stop();
  });

  it('get a header of their own for what is traced', async () => {
    const collector = await startTraceCollector();
    const logger = createLogger('test', 'silent');
    const tracing = await startTracing(
      { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_TRACES_SAMPLER_ARG: 1 },
      'test',
      logger,
    );
    const { options } = bus;
    const traced = await Bus.connect({ ...options, name: 'traced', tracing });
    const headers: Array<{ n: number; traceparent: string }> = [];
    const readers = [0, 1].map(
      (i) =>
        new PartitionReader(traced, {
          name: `traced-${i}`,
          streams: ['READY'],
          database,
          handle: async (items) => {
            for (const item of items) {
              expect(item.headerAs()).toEqual(JSON.parse(item.header));
              headers.push({ ...item.headerAs<{ n: number; traceparent: string }>() });
            }
          },
        }),
    );
    for (const reader of readers) await reader.start();
    const context = `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`;
    const publisher = new PackingPublisher(traced, 'READY');
    await publisher.publish(1, JSON.stringify({ n: 1, traceparent: context }), '{}');
    await eventually(() => headers.length === 2);
    for (const reader of readers) await reader.stop();
    await publisher.close();
    await traced.close();
    await tracing.close();
    await collector.close();
    const contexts = headers.map(({ traceparent }) => parseTraceparent(traceparent)!);
    expect(contexts.map(({ traceId }) => traceId)).toEqual(['ab'.repeat(16), 'ab'.repeat(16)]);
    expect(new Set([...contexts.map(({ spanId }) => spanId), 'cd'.repeat(8)]).size).toBe(3);
  });
});
