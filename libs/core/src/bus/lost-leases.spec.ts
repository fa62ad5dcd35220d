import { jest } from '@jest/globals';
import { Database, type Schema } from '../database/index.js';
import type { Service } from '../service/index.js';
import { type Backend, eventually, startBackend } from '../testing/index.js';
import { type Bus, LeaseManager, PackingPublisher, PartitionReader } from './index.js';

const schema: Schema = { name: 'lost', entities: [], migrations: [] };
const service: Service = {
  name: 'lost',
  schema,
  restPaths: [],
  build: () => ({ controllers: [], providers: [], running: [] }),
};

let backend: Backend;
let database: Database;
beforeAll(async () => {
  backend = await startBackend([service], { ORRERY_PARTITIONS: '1' });
  database = await Database.connect({ url: backend.config.DATABASE_URL, schema });
});
afterAll(async () => {
  await database.close();
  await backend.stop();
});

const reader = (bus: Bus, from: Database, read: string[]): PartitionReader =>
  new PartitionReader(bus, {
    name: 'lost',
    streams: ['READY'],
    database: from,
    async handle(items) {
      for (const { header } of items) read.push(header);
    },
  });

it('goes on when a lease is lost while the database is slow to say where to begin', async () => {
  const bus = await backend.bus();
  let answer!: () => void;
  const slowly = new Promise<void>((resolve) => (answer = resolve));
  const slow = Object.create(database, {
    transaction: {
      value: async (run: never) => {
        await slowly;
        return database.transaction(run);
      },
    },
  }) as Database;
  const read: string[] = [];
  const late = reader(bus, slow, read);
  await late.start();
  expect(late.partitions).toEqual([0]);
  await bus.leases.put('lost.lease.0', 'another instance');
  await eventually(() => late.partitions.length === 0);
  answer();
  const publisher = new PackingPublisher(bus, 'READY');
  await publisher.publish(0, '"message"', '{}');
  // The lease of the other instance runs out, and is won again.
  await eventually(() => late.partitions.length === 1);
  await eventually(() => read.length === 1);
  await late.stop();
  await publisher.close();
  expect(read).toEqual(['"message"']);
});

it('tells who asks that a lease has run out, and those who work by it, before a late renewal keeps it', async () => {
  const bus = await backend.bus();
  const told: string[] = [];
  const leases = new LeaseManager(bus, 'run-out', 1, {
    acquired: () => told.push('acquired'),
    lost: () => told.push('lost'),
  });
  await leases.start();
  expect(leases.epoch(0)).toBeDefined();
  const clock = jest.spyOn(Date, 'now').mockReturnValue(Date.now() + bus.options.leaseTtlMs);
  try {
    expect(leases.epoch(0)).toBeUndefined();
  } finally {
    clock.mockRestore();
  }
  expect(told).toEqual(['acquired', 'lost']);
  await eventually(() => told.length > 2);
  expect(told).toEqual(['acquired', 'lost', 'acquired']);
  expect(leases.epoch(0)).toBeDefined();
  await leases.stop();
});
