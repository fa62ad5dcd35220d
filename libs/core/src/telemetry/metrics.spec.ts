import { Database, type Schema } from '../database/index.js';
import {
  type Bus,
  LeaseManager,
  MessageTooLargeError,
  OutboxRelay,
  PackingPublisher,
  PartitionReader,
} from '../bus/index.js';
import type { Service } from '../service/index.js';
import { type Backend, eventually, sampled, samplesOf, startBackend, type TestPlatform } from '../testing/index.js';
import { onScrape, scrape } from './index.js';

const schema: Schema = { name: 'measured', entities: [], migrations: [] };
const service: Service = {
  name: 'measured',
  schema,
  restPaths: [],
  build: () => ({ controllers: [], providers: [], running: [] }),
};

let backend: Backend;
let platform: TestPlatform;
let database: Database;
let bus: Bus;
beforeAll(async () => {
  backend = await startBackend([service], { ORRERY_PARTITIONS: '2', ORRERY_STREAM_MAX_BYTES: String(1 << 20) });
  platform = await backend.boot([service]);
  database = await Database.connect({ url: backend.config.DATABASE_URL, schema });
  bus = await backend.bus();
});
afterAll(async () => {
  await database.close();
  await backend.stop();
});

/** @param labels as `name=value`, separated by commas. */
const value = async (name: string, labels = ''): Promise<number | undefined> =>
  sampled(
    await samplesOf(platform.url),
    name,
    Object.fromEntries(
      labels
        .split(',')
        .filter(Boolean)
        .map((each) => each.split('=') as [string, string]),
    ),
  );
function gated(): { opened: Promise<void>; open(): void } {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}
const message = JSON.stringify({ tenantId: 'acme' });

describe('metrics of a reader', () => {
  it('show how far it is behind in each partition, for how long, and nothing once it has caught up', async () => {
    const gate = gated();
    const reader = new PartitionReader(bus, {
      name: 'behind',
      streams: ['READY'],
      database,
      handle: () => gate.opened,
    });
    await reader.start();
    const publisher = new PackingPublisher(bus, 'READY');
    const at = (partition: number): string => `reader=behind,stream=READY,partition=${partition}`;
    await eventually(async () => (await value('orrery_reader_lag_entries', at(1))) === 0);
    expect(await value('orrery_reader_lag_seconds', at(1))).toBe(0);

    for (let i = 0; i < 5; i++) await publisher.publish(1, message, '{}');
    await eventually(async () => (await value('orrery_reader_lag_entries', at(1))) === 5);
    const before = await value('orrery_reader_lag_seconds', at(1));
    await eventually(async () => (await value('orrery_reader_lag_seconds', at(1)))! > before!);
    expect(await value('orrery_stream_oldest_seconds', 'stream=READY,partition=1')).toBeGreaterThan(before!);
    expect(await value('orrery_stream_fill_ratio', 'stream=READY,partition=1')).toBeGreaterThan(0);
    // The other partition is not behind.
    expect(await value('orrery_reader_lag_entries', at(0))).toBe(0);
    expect(await value('orrery_reader_lag_seconds', at(0))).toBe(0);

    gate.open();
    await eventually(async () => (await value('orrery_reader_lag_entries', at(1))) === 0);
    expect(await value('orrery_reader_lag_seconds', at(1))).toBe(0);
    expect(await value('orrery_reader_messages_total', 'reader=behind')).toBe(5);
    expect(await value('orrery_reader_batch_messages_sum', 'reader=behind')).toBe(5);
    expect(await value('orrery_bus_ack_seconds_count', 'stream=READY')).toBeGreaterThanOrEqual(5);

    // Another instance owns the partitions now: this one says nothing of them any more.
    await reader.stop();
    await eventually(async () => (await value('orrery_reader_lag_entries', at(1))) === undefined);
    await publisher.close();
  });

  it('count the batches that fail, and show what was not read when it comes back', async () => {
    const failing = new PartitionReader(bus, {
      name: 'failing',
      streams: ['EVENTS'],
      database,
      handle: () => Promise.reject(new Error('the disk is full')),
    });
    await failing.start();
    const publisher = new PackingPublisher(bus, 'EVENTS');
    await publisher.publish(0, message, '{}');
    await eventually(async () => ((await value('orrery_reader_failures_total', 'reader=failing')) ?? 0) > 1);
    await failing.stop();
    for (let i = 0; i < 3; i++) await publisher.publish(0, message, '{}');

    const gate = gated();
    const again = new PartitionReader(bus, {
      name: 'failing',
      streams: ['EVENTS'],
      database,
      handle: () => gate.opened,
    });
    await again.start();
    const labels = 'reader=failing,stream=EVENTS,partition=0';
    await eventually(async () => (await value('orrery_reader_lag_entries', labels)) === 4);
    gate.open();
    await eventually(async () => (await value('orrery_reader_lag_entries', labels)) === 0);
    await again.stop();
    await publisher.close();
  });
});

it('a reader that is new is not behind by what was freed before it came', async () => {
  const publisher = new PackingPublisher(bus, 'TRANSFORM');
  for (let i = 0; i < 3; i++) await publisher.publish(0, message, '{}');
  await bus.jsm.streams.purge('TRANSFORM_0');
  const gate = gated();
  const reader = new PartitionReader(bus, {
    name: 'new',
    streams: ['TRANSFORM'],
    database,
    handle: () => gate.opened,
  });
  await reader.start();
  const labels = 'reader=new,stream=TRANSFORM,partition=0';
  await eventually(async () => (await value('orrery_reader_lag_entries', labels)) === 0);
  expect(await value('orrery_reader_lag_seconds', labels)).toBe(0);
  expect(await value('orrery_stream_oldest_seconds', 'stream=TRANSFORM,partition=0')).toBe(0);
  await publisher.publish(0, message, '{}');
  await eventually(async () => (await value('orrery_reader_lag_entries', labels)) === 1);
  expect(await value('orrery_reader_lag_seconds', labels)).toBeLessThan(60);
  gate.open();
  await reader.stop();
  await publisher.close();
});

describe('metrics of the bus', () => {
  it('tell why messages are refused and entries are published again', async () => {
    const publisher = new PackingPublisher(bus, 'DECODE');
    await expect(publisher.publish(0, '{}', 'x'.repeat(8 << 20))).rejects.toThrow(MessageTooLargeError);
    // Nobody reads it, so it fills up.
    const large = 'x'.repeat(400_000);
    const published = [0, 1, 2, 3].map(() => publisher.publish(0, '{}', large, 3000).catch(() => 'refused'));
    expect(await Promise.all(published)).toContain('refused');
    expect(await value('orrery_bus_refused_total', 'stream=DECODE,reason=too_large')).toBe(1);
    expect(await value('orrery_bus_refused_total', 'stream=DECODE,reason=timeout')).toBeGreaterThan(0);
    expect(await value('orrery_bus_publish_retries_total', 'stream=DECODE,reason=full')).toBeGreaterThan(0);
    await publisher.close();
    await expect(publisher.publish(0, '{}', '{}')).rejects.toThrow(/shutting down/);
    expect(await value('orrery_bus_refused_total', 'stream=DECODE,reason=closing')).toBe(1);
  });

  it('count what an instance gets and gives back', async () => {
    const leases = new LeaseManager(bus, 'measured-leases', 2, { acquired: () => undefined, lost: () => undefined });
    await leases.start();
    expect(await value('orrery_lease_changes_total', 'leases=measured-leases,change=acquired')).toBe(2);
    leases.forget(0);
    leases.forget(0);
    expect(await value('orrery_lease_changes_total', 'leases=measured-leases,change=lost')).toBe(1);
    await leases.stop();
  });
});

describe('metrics of a schema', () => {
  it('show what waits in its outbox and who waits for a connection', async () => {
    const small = await Database.connect({ url: backend.config.DATABASE_URL, schema, poolSize: 2 });
    // Nobody takes this subject, so it stays.
    await backend.query(`INSERT INTO measured.outbox (subject, header, body) VALUES ('nowhere.0', '{}', '{}')`);
    const relay = new OutboxRelay(await backend.bus(), small);
    await relay.start();
    await eventually(async () => (await value('orrery_outbox_rows', 'schema=measured')) === 1);
    await eventually(async () => (await value('orrery_outbox_oldest_seconds', 'schema=measured'))! > 0);
    await backend.query('DELETE FROM measured.outbox');
    await eventually(async () => (await value('orrery_outbox_rows', 'schema=measured')) === 0);
    expect(await value('orrery_outbox_oldest_seconds', 'schema=measured')).toBe(0);
    await relay.stop();

    const gate = gated();
    let begun = 0;
    const hold = (): Promise<void> => {
      begun++;
      return gate.opened;
    };
    const held = [0, 1].map(() => small.transaction(hold));
    await eventually(() => begun === 2);
    const waiting = small.query('SELECT 1');
    await eventually(async () => (await value('orrery_database_waiting', 'schema=measured')) === 1);
    expect(await value('orrery_database_connections', 'schema=measured,state=used')).toBeGreaterThanOrEqual(2);
    gate.open();
    await Promise.all([...held, waiting]);
    await eventually(async () => (await value('orrery_database_waiting', 'schema=measured')) === 0);
    await small.close();
  });
});

describe('a scrape', () => {
  it('answers although a part of the process does not', async () => {
    const ends = [onScrape(() => new Promise(() => undefined)), onScrape(() => Promise.reject(new Error('down')))];
    await eventually(async () => (await value('orrery_bus_partitions')) === 2);
    for (const end of ends) end();
  });

  it('is measured once for all who ask at the same time', async () => {
    let measured = 0;
    const end = onScrape(() => {
      measured++;
      return () => undefined;
    });
    await eventually(async () => {
      await scrape();
      return measured > 0;
    });
    const before = measured;
    await Promise.all(Array.from({ length: 20 }, () => scrape()));
    expect(measured - before).toBeLessThan(2);
    end();
  });
});
