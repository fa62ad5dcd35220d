import { jest } from '@jest/globals';
import type { FifoWake } from '../fifos/queue.js';
import { Rows } from '../testing/rows.js';
import { ConsumedFifo } from './consumed-fifo.js';
import { FRESH_MS, MAX_AHEAD, ReadAheadBudget } from './read-ahead.js';

let rows: Rows;
let budget: ReadAheadBudget;
let fifo: ConsumedFifo;
let mayDeliver: boolean;
let delivered: Array<{ to: string; seq: number; body: string }>;
let failures: unknown[];
let onDelivery: (to: string, seq: number) => void;
const bodies = (): string[] => delivered.map(({ body }) => body);
const texts = (from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_, i) => String(from + i));

beforeEach(() => {
  jest.useFakeTimers();
  rows = new Rows();
  budget = new ReadAheadBudget();
  mayDeliver = true;
  delivered = [];
  failures = [];
  onDelivery = () => undefined;
  fifo = new ConsumedFifo(
    1,
    rows,
    budget,
    () => mayDeliver,
    (_, __, deliveries) => {
      for (const { subscription, seq, body } of deliveries) {
        onDelivery(subscription, seq);
        delivered.push({ to: subscription, seq, body });
      }
    },
    () => Promise.resolve(undefined),
    (_, error) => void failures.push(error),
  );
});
afterEach(() => {
  fifo.close();
  expect(failures).toEqual([]);
  // Nothing is kept for a FIFO that nobody consumes.
  expect(budget.left).toBe(new ReadAheadBudget().left);
  expect(jest.getTimerCount()).toBe(0);
  jest.useRealTimers();
});

function subscribe(id: string, window = 4, held: number[] = []): void {
  const request = { subscription: id, tenantId: 't', fifoName: 'f', instance: 'i', window, autoAck: false };
  const subscriber = fifo.subscribe(
    request,
    held.filter((seq) => rows.bodies.has(seq)).map((seq) => ({ seq, bytes: rows.bodies.get(seq)!.length })),
  );
  subscriber.active = true;
  fifo.wake();
}

const heldBy = (id: string): number[] => [...(fifo.subscriber(id)?.held.keys() ?? [])];

/** Acknowledges the oldest messages that a subscriber holds. */
function acknowledge(id: string, count = Number.POSITIVE_INFINITY): void {
  const seqs = heldBy(id).slice(0, count);
  for (const seq of seqs) rows.bodies.delete(seq);
  fifo.acknowledge(seqs);
}

/** A subscriber with a window of 4 that holds 5 to 8, and 9 to 16 that are in memory. */
async function readAhead(): Promise<void> {
  rows.add(...texts(1, 16));
  subscribe('a');
  await rows.answerAll();
  jest.advanceTimersByTime(20);
  acknowledge('a');
  await rows.answerAll();
  expect(bodies()).toEqual(texts(1, 8));
  expect(rows.asked.at(-1)!.limit).toBeGreaterThan(4);
}

describe('messages in memory', () => {
  it('are handed out without a query', async () => {
    await readAhead();
    const pages = rows.asked.length;
    acknowledge('a');
    expect(bodies()).toEqual(texts(1, 12));
    expect(rows.asked).toHaveLength(pages);
  });

  it('are as many as the acknowledgements want soon, and none for a slow subscriber', async () => {
    rows.add(...texts(1, 5000));
    subscribe('a', 100);
    await rows.answerAll();
    for (let round = 0; round < 20; round++) {
      jest.advanceTimersByTime(10_000);
      acknowledge('a', 1);
      jest.advanceTimersByTime(10);
      await rows.answerAll();
      expect(rows.asked.at(-1)!.limit).toBe(1);
    }
    for (let round = 0; round < 20; round++) {
      jest.advanceTimersByTime(1);
      acknowledge('a');
      await rows.answerAll();
    }
    expect(Math.max(...rows.asked.map(({ limit }) => limit))).toBeGreaterThan(500);
    expect(Math.max(...rows.asked.map(({ limit }) => limit))).toBeLessThanOrEqual(MAX_AHEAD);
    expect(bodies()).toEqual(texts(1, delivered.length));
    expect(delivered.length).toBeGreaterThan(2000);
  });

  it('are bounded in bytes, of a FIFO and of all FIFOs together', async () => {
    const free = budget.left;
    rows.add(...Array.from({ length: 300 }, () => 'x'.repeat(100_000)));
    subscribe('a', 10);
    await rows.answerAll();
    const round = async (): Promise<void> => {
      jest.advanceTimersByTime(10);
      acknowledge('a');
      await rows.answerAll();
    };
    for (let i = 0; i < 5; i++) await round();
    expect(free - budget.left).toBeGreaterThan(200_000);
    expect(free - budget.left).toBeLessThan(1_300_000);
    // Other FIFOs have taken the rest.
    const taken = budget.left;
    budget.take(taken);
    const before = delivered.length;
    for (let i = 0; i < 5; i++) await round();
    expect(delivered.length).toBe(before + 50);
    expect(budget.left).toBeGreaterThanOrEqual(0);
    budget.take(-taken);
  });

  it('are not handed out when they have been dropped', async () => {
    await readAhead();
    fifo.arrived(rows.dropOldest(6));
    acknowledge('a');
    await rows.answerAll();
    expect(bodies().slice(8)).toEqual(texts(11, 14));
  });

  it('are not handed out when they have been dropped while they were read', async () => {
    rows.add(...texts(1, 8));
    subscribe('a');
    fifo.arrived(rows.dropOldest(2));
    await rows.answerAll();
    expect(bodies()).toEqual(texts(3, 6));
  });

  it('are not handed out when the FIFO has been deleted', async () => {
    await readAhead();
    fifo.arrived({ id: 1, droppedTo: Number.MAX_SAFE_INTEGER });
    rows.bodies.clear();
    acknowledge('a');
    await rows.answerAll();
    expect(delivered).toHaveLength(8);
  });

  it('are looked for again when they are no longer fresh: they may have expired', async () => {
    const free = budget.left;
    await readAhead();
    for (const seq of [...rows.bodies.keys()].slice(4, 6)) rows.bodies.delete(seq);
    jest.advanceTimersByTime(2 * FRESH_MS);
    expect(budget.left).toBe(free);
    acknowledge('a');
    await rows.answerAll();
    expect(bodies().slice(8)).toEqual(texts(11, 14));
  });

  it('are not handed out by a dispatcher that may no longer deliver', async () => {
    await readAhead();
    mayDeliver = false;
    acknowledge('a');
    await rows.answerAll();
    expect(delivered).toHaveLength(8);
    // What waits is found by who looks for it, given back or not.
    expect(fifo.lastHanded).toBe(1008);
    subscribe('b');
    mayDeliver = true;
    fifo.wake();
    await rows.answerAll();
    mayDeliver = false;
    const [oldest] = heldBy('a');
    fifo.unsubscribe('a');
    expect(fifo.lastHanded).toBe(oldest! - 1);
  });

  it('come after what a subscriber held that has left', async () => {
    await readAhead();
    subscribe('b', 8);
    await rows.answerAll();
    expect(delivered.slice(8).map(({ to, body }) => to + body)).toEqual(texts(9, 16).map((text) => `b${text}`));
    acknowledge('b', 6);
    fifo.unsubscribe('a');
    await rows.answerAll();
    expect(bodies().slice(16)).toEqual(texts(5, 8));
  });

  it('come after what a subscriber held that left while they were read', async () => {
    rows.add(...texts(1, 4));
    subscribe('a');
    await rows.answerAll();
    rows.add(...texts(5, 8));
    subscribe('b');
    expect(rows.reading).toBe(1);
    fifo.unsubscribe('a');
    await rows.answerAll();
    expect(bodies().slice(4)).toEqual(texts(1, 4));
    acknowledge('b');
    await rows.answerAll();
    expect(bodies().slice(8)).toEqual(texts(5, 8));
  });

  it('are left to the subscriber that comes back and holds them already', async () => {
    rows.add(...texts(1, 8));
    subscribe('a', 2);
    await rows.answerAll();
    expect(bodies()).toEqual(['1', '2']);
    const third = [...rows.bodies.keys()][2]!;
    fifo.arrived(rows.add('9'));
    subscribe('b', 2, [third]);
    await rows.answerAll();
    expect(bodies()).toEqual(['1', '2', '4']);
    // It leaves: its message is the oldest that nobody holds.
    fifo.unsubscribe('b');
    acknowledge('a', 1);
    await rows.answerAll();
    expect(bodies()).toEqual(['1', '2', '4', '3']);
  });

  it('are not handed out when a former subscriber acknowledges them', async () => {
    await readAhead();
    const next = [...rows.bodies.keys()].slice(4, 6);
    for (const seq of next) rows.bodies.delete(seq);
    fifo.acknowledge(next);
    acknowledge('a');
    await rows.answerAll();
    expect(bodies().slice(8)).toEqual(texts(11, 14));
  });

  it('are not handed out when a former subscriber acknowledges them while they are read', async () => {
    rows.add(...texts(1, 8));
    const [first, second] = [...rows.bodies.keys()];
    // Of the first, the row still exists.
    rows.pending.add(first!);
    subscribe('a');
    rows.pending.clear();
    fifo.acknowledge([second!]);
    await rows.answerAll();
    expect(bodies()).toEqual(texts(3, 6));
  });
});

describe('new messages', () => {
  it('go to who has read all before them, without a query', async () => {
    rows.add('1');
    subscribe('a');
    await rows.answerAll();
    const pages = rows.asked.length;
    fifo.arrived(rows.add('2', '3'));
    fifo.arrived(rows.add('4'));
    fifo.arrived(rows.add('5', '6'));
    expect(bodies()).toEqual(texts(1, 4));
    acknowledge('a');
    expect(bodies()).toEqual(texts(1, 6));
    expect(rows.asked).toHaveLength(pages);
  });

  it('are read when others come before them', async () => {
    rows.add('1');
    subscribe('a', 8);
    await rows.answerAll();
    const first = rows.add('2');
    const second = rows.add('3');
    rows.add('4');
    const fourth = rows.add('5');
    fifo.arrived(second);
    fifo.arrived(first);
    fifo.arrived(fourth);
    await rows.answerAll();
    expect(bodies()).toEqual(texts(1, 5));
  });

  it('are handed out once when they come while they are read', async () => {
    rows.add('1');
    subscribe('a', 8);
    await rows.answerAll();
    const second = rows.add('2');
    fifo.wake();
    fifo.arrived(second);
    fifo.arrived(rows.add('3'));
    expect(bodies()).toEqual(texts(1, 3));
    await rows.answerAll();
    expect(bodies()).toEqual(texts(1, 3));
  });
});

/** A sequence that is the same in every run. */
function numbers(seed: number): (most: number) => number {
  let state = seed;
  return (most) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * most);
  };
}

it.each([1, 2, 3, 4, 5, 6])(
  'hands out each message in order, to one subscriber, and none that has gone, whatever happens (%i)',
  async (seed) => {
    const next = numbers(seed);
    const subscribers = new Set<string>();
    const acknowledged = new Set<number>();
    let made = 0;
    let dropped = 0;
    let told: FifoWake[] = [];
    onDelivery = (to, seq) => {
      if (acknowledged.has(seq) || !rows.bodies.has(seq)) throw new Error(`${seq} has left the queue`);
      const held = new Set([...subscribers].flatMap((id) => (id === to ? [] : heldBy(id))));
      if (held.has(seq)) throw new Error(`another one holds ${seq}`);
      for (const each of heldBy(to)) held.add(each);
      for (const each of rows.bodies.keys())
        if (each < seq && !held.has(each)) throw new Error(`${each} is older than ${seq}, and nobody holds it`);
    };
    const acknowledgeSome = (id: string): void => {
      const seqs = heldBy(id).slice(0, 1 + next(8));
      for (const seq of seqs) acknowledged.add(seq);
      for (const seq of seqs) rows.bodies.delete(seq);
      fifo.acknowledge(seqs);
    };
    const one = (): string => [...subscribers][next(subscribers.size)]!;
    for (let step = 0; step < 3000; step++) {
      const what = next(100);
      if (what < 30) told.push(rows.add(...texts(1, 1 + next(6))));
      else if (what < 45) {
        // In the order of the commits, in another, as another process does, or not at all.
        const how = next(10);
        if (how === 0) told = told.toReversed();
        if (how === 1) fifo.wake();
        else if (how > 2) for (const wake of told) fifo.arrived(wake);
        told = [];
      } else if (what < 75 && subscribers.size > 0) acknowledgeSome(one());
      else if (what < 85) await rows.answer();
      else if (what < 92) jest.advanceTimersByTime(1 + next(FRESH_MS));
      else if (what < 94) {
        const gone = rows.dropOldest(next(5));
        dropped = Math.max(dropped, gone.droppedTo!);
        fifo.arrived(gone);
      } else if (what < 97 && subscribers.size < 4) {
        const id = `s${++made}`;
        subscribers.add(id);
        subscribe(id, 1 + next(12));
      } else if (subscribers.size > 0) {
        const id = one();
        subscribers.delete(id);
        fifo.unsubscribe(id);
      }
    }
    subscribers.add('last');
    subscribe('last', 50);
    for (let rest = 0; rows.bodies.size > 0 && rest < 10_000; rest++) {
      await rows.answerAll();
      jest.advanceTimersByTime(10);
      for (const id of subscribers) acknowledgeSome(id);
    }
    expect(rows.bodies.size).toBe(0);
    for (let seq = 1001; seq <= rows.last; seq++) if (!acknowledged.has(seq)) expect(seq).toBeLessThanOrEqual(dropped);
    expect(acknowledged.size).toBeGreaterThan(1000);
  },
);
