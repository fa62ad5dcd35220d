import { type Backend, eventually, startBackend } from '../testing/index.js';
import { Database, migrate } from '../database/index.js';
import { createLogger } from '../telemetry/index.js';
import { type Bus, PackingPublisher, PartitionReader } from './index.js';

const schema = { name: 'lingering', entities: [], migrations: [] };

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

/** Sizes of the batches that a reader gets of messages which come one by one. */
async function batches(name: string, lingerMs: number, maxItems: number): Promise<number[]> {
  const sizes: number[] = [];
  const reader = new PartitionReader(bus, {
    name,
    streams: ['EVENTS'],
    database,
    lingerMs,
    maxItems,
    handle: async (items) => void sizes.push(items.length),
  });
  const publisher = new PackingPublisher(bus, 'EVENTS');
  await reader.start();
  await eventually(() => reader.partitions.length === bus.partitions);
  const before = sizes.reduce((sum, size) => sum + size, 0);
  for (let n = 0; n < 60; n++) await publisher.publish(n % bus.partitions, `{"n":${n}}`, '{}');
  await eventually(() => sizes.reduce((sum, size) => sum + size, 0) >= before + 60);
  await reader.stop();
  await publisher.close();
  return sizes;
}

describe('a reader that is in no hurry', () => {
  it('takes together what comes within its time', async () => {
    const began = Date.now();
    const sizes = await batches('patient', 2000, 1000);
    // Two, as one may end while they come; and one for each time that a slow machine needs.
    expect(sizes.length).toBeLessThanOrEqual(2 + Math.floor((Date.now() - began) / 2000));
  });

  it('does not wait once a batch is full', async () => {
    const began = Date.now();
    const sizes = await batches('full', 60_000, 20);
    expect(Math.max(...sizes)).toBe(20);
    expect(Date.now() - began).toBeLessThan(60_000);
  });
});
