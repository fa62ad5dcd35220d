import { jest } from '@jest/globals';
import { Database, type Schema } from '../database/index.js';
import type { Service } from '../service/index.js';
import { metrics } from '../telemetry/index.js';
import { type Backend, eventually, startBackend } from '../testing/index.js';
import { type Bus, LeaseManager, PackingPublisher, PartitionReader } from './index.js';
import { leasesSubject } from './streams.js';

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

const reader = (bus: Bus, from: Database, read: string[], name = 'lost'): PartitionReader =>
  new PartitionReader(bus, {
    name,
    streams: ['READY'],
    database: from,
    async handle(items) {
      for (const { header } of items) read.push(header);
    },
  });

/** How often a lease of this name was lost. */
async function lostLeases(name: string): Promise<number | undefined> {
  const { values } = await metrics.leaseChanges.get();
  return values.find(({ labels }) => labels.leases === name && labels.change === 'lost')?.value;
}

/** Gives the lease to another instance, or to nobody, and lets those who share it look. */
async function giveLease(bus: Bus, name: string, to?: string): Promise<void> {
  if (to === undefined) await bus.leases.delete(`${name}.lease.0`);
  else await bus.leases.put(`${name}.lease.0`, to);
  bus.connection.publish(leasesSubject(name), 'another instance');
}

const epochOf = async (name: string): Promise<string | undefined> =>
  (await database.query<{ epoch: string }>('SELECT epoch FROM positions WHERE reader = $1', [name]))[0]?.epoch;

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
  await giveLease(bus, 'lost', 'another instance');
  await eventually(() => late.partitions.length === 0);
  answer();
  const publisher = new PackingPublisher(bus, 'READY');
  await publisher.publish(0, '"message"', '{}');
  // The lease of the other instance ends, and is won again.
  await giveLease(bus, 'lost');
  await eventually(() => late.partitions.length === 1);
  await eventually(() => read.length === 1);
  await late.stop();
  await publisher.close();
  expect(read).toEqual(['"message"']);
});

it('keeps a lease that was lost and won again while a batch waited for the database', async () => {
  const bus = await backend.bus();
  let waiting: 'no' | 'next' | 'now' = 'no';
  let answer!: () => void;
  const slowly = new Promise<void>((resolve) => (answer = resolve));
  const slow = Object.create(database, {
    transaction: {
      value: async (run: never) => {
        if (waiting === 'next') {
          waiting = 'now';
          await slowly;
        }
        return database.transaction(run);
      },
    },
  }) as Database;
  const read: string[] = [];
  const again = reader(bus, slow, read, 'again');
  await again.start();
  const publisher = new PackingPublisher(bus, 'READY');
  await publisher.publish(0, '"before"', '{}');
  await eventually(() => read.includes('"before"'));
  waiting = 'next';
  await publisher.publish(0, '"waits"', '{}');
  await eventually(() => waiting === 'now');
  const before = await epochOf('again');
  await giveLease(bus, 'again', 'another instance');
  await eventually(() => again.partitions.length === 0);
  await giveLease(bus, 'again');
  await eventually(async () => Number((await epochOf('again')) ?? 0) > Number(before));
  answer();
  await eventually(() => read.includes('"waits"'));
  await publisher.publish(0, '"after"', '{}');
  await eventually(() => read.includes('"after"'));
  await again.stop();
  await publisher.close();
  expect(read.slice(-3)).toEqual(['"before"', '"waits"', '"after"']);
  expect(await lostLeases('again')).toBe(1);
});

it('reads a stream once when the bus was away as reading began', async () => {
  const bus = await backend.bus();
  const read: string[] = [];
  let tries = 0;
  const consumers = {
    get: async (...parameters: Parameters<Bus['js']['consumers']['get']>) => {
      if (tries++ === 0) throw new Error('the bus is away');
      return bus.js.consumers.get(...parameters);
    },
  };
  // Should it ask again where to begin, it hears so only when it reads already.
  let fences = 0;
  const streams = {
    info: async (...parameters: Parameters<Bus['jsm']['streams']['info']>) => {
      if (parameters[0] === 'READY_0' && ++fences > 1) await eventually(() => read.includes('"first"'));
      return bus.jsm.streams.info(...parameters);
    },
  };
  const away = Object.create(bus, {
    js: { value: Object.create(bus.js, { consumers: { value: consumers } }) },
    jsm: { value: Object.create(bus.jsm, { streams: { value: streams } }) },
  }) as Bus;
  const publisher = new PackingPublisher(bus, 'READY');
  await publisher.publish(0, '"first"', '{}');
  const once = reader(away, database, read, 'once');
  await once.start();
  await eventually(() => read.includes('"first"'));
  await publisher.publish(0, '"second"', '{}');
  await eventually(() => read.includes('"second"'));
  const { state } = await bus.jsm.streams.info('READY_0');
  expect(state.consumer_count).toBe(1);
  expect(await lostLeases('once')).toBeUndefined();
  await once.stop();
  await publisher.close();
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
  await giveLease(bus, 'run-out');
  await eventually(() => told.length > 2);
  expect(told).toEqual(['acquired', 'lost', 'acquired']);
  expect(leases.epoch(0)).toBeDefined();
  await leases.stop();
});
