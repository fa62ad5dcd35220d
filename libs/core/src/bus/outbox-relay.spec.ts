import { Database, type Schema, writeOutbox } from '../database/index.js';
import { packItems } from '../messages/index.js';
import type { Service } from '../service/index.js';
import { type Backend, eventually, startBackend } from '../testing/index.js';
import { type Bus, OutboxRelay, PackingPublisher, PartitionReader } from './index.js';

const schema: Schema = { name: 'large', entities: [], migrations: [] };
const service: Service = {
  name: 'large',
  schema,
  restPaths: [],
  build: () => ({ controllers: [], providers: [], running: [] }),
};

let backend: Backend;
let database: Database;
let bus: Bus;
let read: Array<{ header: string; bytes: number }>;
let reader: PartitionReader;
beforeAll(async () => {
  backend = await startBackend([service], { ORRERY_PARTITIONS: '1' });
  database = await Database.connect({ url: backend.config.DATABASE_URL, schema });
  bus = await backend.bus();
  reader = new PartitionReader(bus, {
    name: 'large',
    streams: ['READY'],
    database,
    async handle(items) {
      for (const { header, body } of items) read.push({ header, bytes: body.length });
    },
  });
  await reader.start();
});
beforeEach(() => void (read = []));
afterAll(async () => {
  await reader.stop();
  await database.close();
  await backend.stop();
});

const range = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i));

async function relayed(count: number): Promise<void> {
  const relay = new OutboxRelay(bus, database);
  await relay.start();
  await eventually(() => read.length >= count);
  await eventually(async () => (await database.query<{ n: string }>('SELECT count(*) n FROM outbox'))[0]!.n === '0');
  await relay.stop();
}

describe('OutboxRelay and what is large', () => {
  it('publishes entries whole that an earlier relay has numbered, however many they are', async () => {
    // As a relay leaves them that ends after numbering, while a stream is full: the limit of a page cuts the 14th.
    await database.query(
      `INSERT INTO outbox (subject, header, body, entry)
       SELECT 'ready.0', n::text, '{}', 1000 + n / 150
       FROM generate_series(0, 2499) n`,
    );
    await database.query(`SELECT setval('outbox_entry', 2000)`);
    await relayed(2500);
    expect(read.map(({ header }) => header)).toEqual(range(2500));
  });

  it('publishes rows that are more than a page or an entry may hold', async () => {
    const body = JSON.stringify('x'.repeat(900_000));
    await database.transaction((manager) =>
      writeOutbox(
        manager,
        range(30).map((header) => ({ subject: 'ready.0', header, body })),
      ),
    );
    await relayed(30);
    expect(read).toEqual(range(30).map((header) => ({ header, bytes: body.length })));
  });

  it('publishes the items of a packed row as if each had a row', async () => {
    const packed = packItems(range(5).map((header) => ({ header, body: '{}' })));
    await database.transaction((manager) =>
      writeOutbox(manager, [
        { subject: 'ready.0', ...packed },
        { subject: 'ready.0', header: '5', body: '[]' },
      ]),
    );
    await relayed(6);
    expect(read.map(({ header }) => header)).toEqual(range(6));
  });
});

describe('A reader that hands on', () => {
  it('waits while what it has handed on before is not published', async () => {
    await database.query(
      `INSERT INTO outbox (subject, header, body) SELECT 'ready.0', n::text, '{}' FROM generate_series(1, 10000) n`,
    );
    const seen: string[] = [];
    const readers = [true, false].map(
      (handsOn) =>
        new PartitionReader(bus, {
          name: handsOn ? 'hands-on' : 'ends-here',
          streams: ['DECODE'],
          database,
          handsOn,
          handle: async () => void seen.push(handsOn ? 'hands on' : 'ends here'),
        }),
    );
    for (const each of readers) await each.start();
    const publisher = new PackingPublisher(bus, 'DECODE');
    await publisher.publish(0, '{}', '{}');
    await eventually(() => seen.length > 0);
    // Each message wakes both: the second one would have been seen too.
    await publisher.publish(0, '{}', '{}');
    await eventually(() => seen.length > 1);
    expect(seen).toEqual(['ends here', 'ends here']);
    await relayed(10_000);
    await eventually(() => seen.includes('hands on'));
    for (const each of readers) await each.stop();
    await publisher.close();
  });
});
