import { headers as natsHeaders } from '@nats-io/transport-node';
import { Database, type Schema } from '../database/index.js';
import { writeOutbox } from '../database/index.js';
import { encodeEntry } from '../messages/index.js';
import { type Backend, eventually, startBackend } from '../testing/index.js';
import type { Service } from '../service/index.js';
import {
  type Bus,
  NO_EFFECT,
  NUMBER_HEADER,
  ORIGIN_HEADER,
  OutboxRelay,
  PackingPublisher,
  PartitionReader,
  type ReadItem,
  purgeRead,
} from './index.js';

class Effects1 {
  name = 'Effects1700000900000';
  async up(runner: { query(sql: string): Promise<unknown> }): Promise<void> {
    await runner.query('CREATE TABLE effects (id bigint GENERATED ALWAYS AS IDENTITY, reader text, n int NOT NULL)');
  }
  async down(): Promise<void> {}
}
const schema: Schema = { name: 'effects', entities: [], migrations: [Effects1 as never] };
const service: Service = {
  name: 'effects',
  schema,
  restPaths: [],
  build: () => ({ controllers: [], providers: [], running: [] }),
};

let backend: Backend;
let database: Database;
beforeAll(async () => {
  backend = await startBackend([service], { ORRERY_PARTITIONS: '4', ORRERY_STREAM_MAX_BYTES: String(1 << 20) });
  database = await Database.connect({ url: backend.config.DATABASE_URL, schema });
});
afterAll(async () => {
  await database.close();
  await backend.stop();
});

const effects = async (reader: string): Promise<number[]> =>
  (await database.query<{ n: number }>('SELECT n FROM effects WHERE reader = $1 ORDER BY id', [reader])).map(
    (row) => row.n,
  );
const number = (item: ReadItem): number => (JSON.parse(item.header) as { n: number }).n;

/** A reader that writes one row per message, from a given partition's stream only. */
function reader(
  bus: Bus,
  name: string,
  before: (n: number) => Promise<void> | void = () => undefined,
): PartitionReader {
  return new PartitionReader(bus, {
    name,
    streams: ['READY'],
    database,
    async handle(items, manager) {
      for (const item of items) {
        await before(number(item));
        await manager.query('INSERT INTO effects (reader, n) VALUES ($1, $2)', [name, number(item)]);
      }
    },
  });
}

const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);
const send = (publisher: PackingPublisher, partition: number, numbers: number[]) =>
  Promise.all(numbers.map((n) => publisher.publish(partition, JSON.stringify({ n }), '{}')));

describe('PackingPublisher and PartitionReader', () => {
  it('keep the order of a partition, pack what waits, and apply each message once', async () => {
    const bus = await backend.bus();
    const publisher = new PackingPublisher(bus, 'READY');
    const receipts = await send(publisher, 3, range(0, 1000));
    expect(receipts.every((receipt, i) => i === 0 || receipt.order > receipts[i - 1]!.order)).toBe(true);
    const { state } = await bus.jsm.streams.info('READY_3');
    expect(state.messages).toBeLessThan(100);

    const once = reader(bus, 'once');
    await once.start();
    await eventually(async () => (await effects('once')).length === 1000);
    expect(await effects('once')).toEqual(range(0, 1000));
    await once.stop();

    // A later start continues after the stored position.
    await send(publisher, 3, [1000]);
    const again = reader(bus, 'once');
    await again.start();
    await eventually(async () => (await effects('once')).length === 1001);
    await again.stop();
    await publisher.close();
  });

  it('skip an entry that was published again, however late', async () => {
    const bus = await backend.bus();
    const entry = (n: number, numberInOrigin: number) => {
      const headers = natsHeaders();
      headers.set(ORIGIN_HEADER, 'elsewhere');
      headers.set(NUMBER_HEADER, String(numberInOrigin));
      return bus.js.publish('ready.0', encodeEntry([{ header: JSON.stringify({ n }), body: '{}' }]), { headers });
    };
    await entry(10_001, 1);
    await entry(10_001, 1);
    await entry(10_002, 2);
    const first = reader(bus, 'numbers');
    await first.start();
    await eventually(async () => (await effects('numbers')).includes(10_002));
    await first.stop();
    await entry(10_001, 1);
    await entry(10_002, 2);
    await entry(10_003, 3);
    const second = reader(bus, 'numbers');
    await second.start();
    await eventually(async () => (await effects('numbers')).includes(10_003));
    expect((await effects('numbers')).filter((n) => n > 10_000)).toEqual([10_001, 10_002, 10_003]);
    await second.stop();
  });

  it('set a message aside that cannot be handled, with its reason, and go on with its batch', async () => {
    const bus = await backend.bus();
    const publisher = new PackingPublisher(bus, 'READY');
    const dead = await bus.js.consumers.get('DEAD');
    await send(publisher, 1, range(0, 300));
    const picky = reader(bus, 'picky', async (n) => {
      if (n === 7) throw new TypeError('seven is not handled');
      // A mistake that only PostgreSQL sees.
      if (n === 250) await Promise.reject(Object.assign(new Error('invalid input syntax'), { code: '22P02' }));
    });
    await picky.start();
    await eventually(async () => (await effects('picky')).filter((n) => n < 300).length >= 298);
    const fromPartition = (await effects('picky')).filter((n) => n < 300);
    expect([...new Set(fromPartition)].sort((a, b) => a - b)).toEqual(
      range(0, 300).filter((n) => n !== 7 && n !== 250),
    );
    const letters = await eventually(async () => {
      const messages: Array<{ error: string; header: string; reader: string }> = [];
      for await (const message of await dead.fetch({ max_messages: 10, expires: 1000 })) messages.push(message.json());
      return messages.length > 0 && messages;
    });
    expect(letters.filter((letter) => letter.reader === 'picky').map(({ error, header }) => [error, header])).toEqual(
      expect.arrayContaining([
        ['seven is not handled', '{"n":7}'],
        ['invalid input syntax', '{"n":250}'],
      ]),
    );
    await picky.stop();
    await publisher.close();
  });

  it('split a batch that PostgreSQL has no time for', async () => {
    const bus = await backend.bus();
    const publisher = new PackingPublisher(bus, 'READY');
    for (let first = 15_000; first < 15_300; first += 30) await send(publisher, 2, range(first, 30));
    const hurried = new PartitionReader(bus, {
      name: 'hurried',
      streams: ['READY'],
      database,
      async handle(items, manager) {
        if (items.filter((item) => number(item) >= 15_000).length > 50) {
          await manager.query(`SET LOCAL statement_timeout = 50`);
          await manager.query('SELECT pg_sleep(60)');
        }
        for (const item of items)
          await manager.query('INSERT INTO effects (reader, n) VALUES ($1, $2)', ['hurried', number(item)]);
      },
    });
    await hurried.start();
    await eventually(async () => (await effects('hurried')).filter((n) => n >= 15_000).length === 300);
    expect((await effects('hurried')).filter((n) => n >= 15_000)).toEqual(range(15_000, 300));
    await hurried.stop();
    await publisher.close();
  });

  it('wait for a database that is away instead of blaming the message', async () => {
    const bus = await backend.bus();
    const publisher = new PackingPublisher(bus, 'READY');
    let failures = 3;
    const patient = reader(bus, 'patient', (n) => {
      if (n === 9001 && failures-- > 0) throw Object.assign(new Error('terminating connection'), { code: '57P01' });
    });
    await patient.start();
    await send(publisher, 2, [9001, 9002]);
    await eventually(async () => (await effects('patient')).includes(9002));
    expect((await effects('patient')).filter((n) => n > 9000 && n < 10_000)).toEqual([9001, 9002]);
    await patient.stop();
    await publisher.close();
  });

  it('let two instances share the partitions, and one take over what the other held', async () => {
    const [busA, busB] = [await backend.bus(), await backend.bus()];
    const publisher = new PackingPublisher(busA, 'READY');
    const [a, b] = [reader(busA, 'shared'), reader(busB, 'shared')];
    await a.start();
    expect(a.partitions).toHaveLength(4);
    await b.start();
    await eventually(() => a.partitions.length === 2 && b.partitions.length === 2);
    const all = range(20_000, 400);
    await Promise.all(all.map((n) => publisher.publish(n % 4, JSON.stringify({ n }), '{}')));
    await a.stop();
    await eventually(() => b.partitions.length === 4);
    const seen = async (): Promise<number[]> => (await effects('shared')).filter((n) => n >= 20_000);
    await eventually(async () => (await seen()).length >= 400);
    expect((await seen()).toSorted((x, y) => x - y)).toEqual(all);
    for (let partition = 0; partition < 4; partition++) {
      const ofPartition = (await seen()).filter((n) => n % 4 === partition);
      expect(ofPartition).toEqual(ofPartition.toSorted((x, y) => x - y));
    }
    await b.stop();
    await publisher.close();
  });

  it('fence an owner whose lease was taken while it worked: its effect is rolled back', async () => {
    const [busA, busB] = [await backend.bus(), await backend.bus()];
    const publisher = new PackingPublisher(busA, 'READY');
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    let entered = (): void => undefined;
    const working = new Promise<void>((resolve) => (entered = resolve));
    // The first owner moves no position before its handler is done with waiting, as a process that was paused would.
    const slow = new PartitionReader(busA, {
      name: 'fenced',
      streams: ['READY'],
      database: {
        ...database,
        options: database.options,
        query: database.query.bind(database),
        transaction: async <Result>(work: Parameters<Database['transaction']>[0]) => {
          entered();
          await held;
          return database.transaction(work) as Promise<Result>;
        },
      } as unknown as Database,
      handle: async (items, manager) => {
        for (const item of items)
          await manager.query(`INSERT INTO effects (reader, n) VALUES ('fenced', $1)`, [number(item)]);
      },
    });
    await slow.start();
    await send(publisher, 0, [30_001]);
    await working;
    for (let partition = 0; partition < 4; partition++) await busB.leases.delete(`fenced.lease.${partition}`);
    await busB.leases.delete(`fenced.member.${busA.instance}`);
    const quick = reader(busB, 'fenced');
    await quick.start();
    await eventually(async () => (await effects('fenced')).includes(30_001));
    release();
    await send(publisher, 0, [30_002]);
    await eventually(async () => (await effects('fenced')).includes(30_002));
    await slow.stop();
    await quick.stop();
    expect((await effects('fenced')).filter((n) => n >= 30_000)).toEqual([30_001, 30_002]);
    await publisher.close();
  });

  it('purge a stream up to the slowest of its registered readers', async () => {
    const bus = await backend.bus();
    const publisher = new PackingPublisher(bus, 'READY');
    const names = ['once', 'numbers', 'picky', 'hurried', 'patient', 'shared', 'fenced'];
    for (const name of names) {
      const each = reader(bus, name, () => undefined);
      await each.start();
      const { state } = await bus.jsm.streams.info('READY_1');
      await eventually(async () => {
        const [position] = await database.query<{ seq: string }>(
          `SELECT seq FROM positions WHERE reader = $1 AND stream = 'READY_1'`,
          [name],
        );
        return Number(position?.seq) === state.last_seq;
      });
      // A reader that stops reports how far it came.
      await each.stop();
    }
    await purgeRead(bus);
    expect((await bus.jsm.streams.info('READY_1')).state.messages).toBe(0);
    await publisher.close();
  });

  it('lose nothing when a reader falls behind again while it still waits to read on', async () => {
    const bus = await backend.bus();
    const publisher = new PackingPublisher(bus, 'READY');
    // The consumers of one partition are made late, as by a server that is busy.
    const late: Array<() => void> = [];
    /** How often the reader stopped reading the other partition. */
    let stops = 0;
    const consumers = {
      get: async (...asked: Parameters<Bus['js']['consumers']['get']>) => {
        if (asked[0] === 'READY_3') await new Promise<void>((resolve) => late.push(resolve));
        const consumer = await bus.js.consumers.get(...asked);
        const consume = consumer.consume.bind(consumer);
        consumer.consume = async (options) => {
          const messages = await consume(options);
          const close = messages.close.bind(messages);
          messages.close = () => {
            if (asked[0] === 'READY_0') stops++;
            return close();
          };
          return messages;
        };
        return consumer;
      },
    };
    const busy = Object.create(bus, {
      js: { value: Object.create(bus.js, { consumers: { value: consumers } }) },
    }) as Bus;
    const seen: number[] = [];
    let working = true;
    let work = (): void => undefined;
    const behind = new PartitionReader(busy, {
      name: 'behind',
      streams: ['READY'],
      database,
      handle: async (items) => {
        if (!working) await new Promise<void>((resolve) => (work = resolve));
        seen.push(...items.map(number).filter((n) => n < 0));
      },
    });
    /** Lets so much wait that the reader stops reading all partitions, until the work goes on. */
    const fallBehind = async (): Promise<void> => {
      const before = stops;
      working = false;
      await send(publisher, 0, range(1000, 24_000));
      await eventually(() => stops > before);
    };
    const catchUp = (): void => {
      working = true;
      work();
    };
    const consumersBefore = (await bus.jsm.streams.info('READY_3')).state.consumer_count;
    await behind.start();
    await eventually(() => late.length === 1);
    await fallBehind();
    catchUp();
    await eventually(() => late.length === 2);
    for (const make of late.splice(0)) make();
    await send(publisher, 3, [-1]);
    await eventually(() => seen.includes(-1));

    await fallBehind();
    await send(publisher, 3, [-2]);
    catchUp();
    await eventually(() => late.length === 1);
    await send(publisher, 3, [-3]);
    // It may fall behind and begin again more than once.
    await eventually(() => {
      for (const make of late.splice(0)) make();
      return seen.includes(-3);
    });
    expect(seen).toEqual([-1, -2, -3]);
    await behind.stop();
    // Nothing of it stays on the server.
    await eventually(async () => (await bus.jsm.streams.info('READY_3')).state.consumer_count <= consumersBefore);
    expect((await bus.jsm.streams.info('KV_orrery_leases')).state.consumer_count).toBe(0);
    await publisher.close();
  });

  it('move on past what has no effect', async () => {
    const bus = await backend.bus();
    const publisher = new PackingPublisher(bus, 'READY');
    const seen: number[] = [];
    const indifferent = (): PartitionReader =>
      new PartitionReader(bus, {
        name: 'indifferent',
        streams: ['READY'],
        database,
        handle: async (items) => {
          seen.push(...items.map(number));
          return NO_EFFECT;
        },
      });
    for (const n of [-11, -12]) {
      await send(publisher, 2, [n]);
      const each = indifferent();
      await each.start();
      await eventually(() => seen.includes(n));
      await each.stop();
    }
    expect(seen.filter((n) => n < -10)).toEqual([-11, -12]);
    await publisher.close();
  });
});

describe('OutboxRelay', () => {
  it('publishes what overlapping transactions wrote, all of it, once and nothing of a rolled back one', async () => {
    const bus = await backend.bus();
    const relay = new OutboxRelay(bus, database);
    await relay.start();
    const seen: number[] = [];
    bus.onControl('outbox-test', (item) => seen.push((JSON.parse(item.header) as { n: number }).n));
    await bus.connection.flush();
    const write = (n: number, fail = false): Promise<unknown> =>
      database
        .transaction(async (manager) => {
          await writeOutbox(manager, [{ subject: 'control.outbox-test', header: JSON.stringify({ n }), body: '{}' }]);
          // Transactions end in another order than they began.
          await manager.query('SELECT pg_sleep($1)', [((n * 7) % 5) / 200]);
          if (fail) throw new Error('rolled back');
        })
        .catch(() => undefined);
    await Promise.all(range(0, 60).map((n) => write(n, n % 10 === 0)));
    await eventually(() => seen.length === 54);
    await eventually(async () => (await database.query<{ n: string }>('SELECT count(*) n FROM outbox'))[0]!.n === '0');
    expect(seen.toSorted((a, b) => a - b)).toEqual(range(0, 60).filter((n) => n % 10 !== 0));
    await relay.stop();
  });

  it('publishes to other streams, and once, while one is full', async () => {
    const bus = await backend.bus();
    const publisher = new PackingPublisher(bus, 'EVENTS', { messages: 64, bytes: 64 << 20 });
    const filler = Array.from({ length: 60 }, () =>
      publisher.publish(1, '{}', JSON.stringify('x'.repeat(20_000)), 1500).catch(() => 'full'),
    );
    expect(await Promise.all(filler)).toContain('full');
    // What did not fit must not be tried again once there is room.
    await publisher.close();
    const relay = new OutboxRelay(bus, database);
    await relay.start();
    const before = (await bus.jsm.streams.info('EVENTS_2')).state.messages;
    const item = (partition: number) => ({
      subject: `events.${partition}`,
      header: '{}',
      body: '"' + 'y'.repeat(50_000) + '"',
    });
    await database.transaction((manager) => writeOutbox(manager, [item(1), item(2)]));
    await eventually(async () => (await database.query<{ n: string }>('SELECT count(*) n FROM outbox'))[0]!.n === '1');
    await bus.jsm.streams.purge('EVENTS_1');
    await eventually(async () => (await database.query<{ n: string }>('SELECT count(*) n FROM outbox'))[0]!.n === '0');
    expect((await bus.jsm.streams.info('EVENTS_2')).state.messages).toBe(before + 1);
    expect((await bus.jsm.streams.info('EVENTS_1')).state.messages).toBe(1);
    await relay.stop();
  });

  it('hands over to another instance when the first one stops', async () => {
    const [busA, busB] = [await backend.bus(), await backend.bus()];
    const [a, b] = [new OutboxRelay(busA, database), new OutboxRelay(busB, database)];
    await a.start();
    await b.start();
    const seen: string[] = [];
    busA.onControl('handover', (item) => seen.push(item.header));
    await busA.connection.flush();
    const write = (header: string): Promise<void> =>
      database.transaction((manager) => writeOutbox(manager, [{ subject: 'control.handover', header, body: '{}' }]));
    await write('"before"');
    await eventually(() => seen.length === 1);
    await a.stop();
    await write('"after"');
    await eventually(() => seen.length === 2);
    expect(seen).toEqual(['"before"', '"after"']);
    await b.stop();
  });
});
