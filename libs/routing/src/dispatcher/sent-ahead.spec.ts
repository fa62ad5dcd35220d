import { jest } from '@jest/globals';
import type { FifoDeliveryHeader } from '../contract.js';
import { Rows } from '../testing/rows.js';
import { ConsumedFifo, UNTAKEN_MS } from './consumed-fifo.js';
import { ReadAheadBudget } from './read-ahead.js';

/** A subscription as its connector sees it: what the client has, and what waits until there is room in its window. */
class Client {
  readonly passedOn: number[] = [];
  ahead: number[] = [];
  /** Acknowledged, and not told to the dispatcher. */
  acknowledged: number[] = [];
  private last?: number;

  constructor(
    readonly window: number,
    private readonly onMessage: (seq: number) => void,
  ) {}

  /** A connector would take a gap for a delivery that was lost. */
  deliver(seq: number, header: string): void {
    const { after } = JSON.parse(header) as FifoDeliveryHeader;
    if (after !== this.last) throw new Error(`${seq} comes after ${after}, which is not ${this.last}`);
    this.last = seq;
    this.take(seq);
  }

  take(seq: number): void {
    this.ahead.push(seq);
    this.passOn();
  }

  acknowledge(count: number): void {
    this.acknowledged.push(...this.passedOn.splice(0, count));
    this.passOn();
  }

  giveBack(): Set<number> {
    this.ahead = [];
    return new Set([...this.passedOn, ...this.acknowledged]);
  }

  private passOn(): void {
    while (this.ahead.length > 0 && this.passedOn.length < this.window) {
      const seq = this.ahead.shift()!;
      this.passedOn.push(seq);
      this.onMessage(seq);
    }
  }
}

let rows: Rows;
let fifo: ConsumedFifo;
let budget: ReadAheadBudget;
let clients: Map<string, Client>;
/** Recalls that their connector has not got yet. */
let recalls: Array<() => void>;
let received: Array<{ by: string; seq: number }>;
let onMessage: (by: string, seq: number) => void;
const seqs = (by?: string): number[] => received.filter((each) => !by || each.by === by).map(({ seq }) => seq);
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => 1000 + from + i);
const fill = (count: number, bytes = 1): void =>
  void fifo.arrived(rows.add(...Array.from({ length: count }, () => 'x'.repeat(bytes))));

beforeEach(() => {
  jest.useFakeTimers();
  rows = new Rows();
  clients = new Map();
  recalls = [];
  received = [];
  onMessage = () => undefined;
  budget = new ReadAheadBudget();
  fifo = new ConsumedFifo(
    1,
    rows,
    budget,
    () => true,
    (_, __, deliveries) => {
      for (const { subscription, seq, header } of deliveries) clients.get(subscription)?.deliver(seq, header);
    },
    ({ id }) => new Promise((resolve) => recalls.push(() => resolve(clients.get(id)?.giveBack()))),
    (_, error) => {
      throw error;
    },
  );
});
afterEach(() => {
  fifo.close();
  expect(jest.getTimerCount()).toBe(0);
  jest.useRealTimers();
});

function subscribe(id: string, window = 10, ahead = 1000): Client {
  const client = new Client(window, (seq) => {
    received.push({ by: id, seq });
    onMessage(id, seq);
  });
  clients.set(id, client);
  const request = { subscription: id, tenantId: 't', fifoName: 'f', instance: id, window, ahead, autoAck: false };
  fifo.subscribe({ ...request, windowBytes: 4 << 20 }, []).active = true;
  fifo.wake();
  return client;
}

function unsubscribe(id: string): void {
  clients.delete(id);
  fifo.unsubscribe(id);
}

async function tell(client: Client): Promise<void> {
  const acknowledged = client.acknowledged.splice(0);
  for (const seq of acknowledged) rows.bodies.delete(seq);
  fifo.acknowledge(acknowledged);
  await rows.answerAll();
}

async function recalled(): Promise<void> {
  for (const recall of recalls.splice(0)) recall();
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  await rows.answerAll();
}

/** A subscriber that acknowledges everything for a while. */
async function fast(id: string): Promise<Client> {
  const client = subscribe(id);
  await rows.answerAll();
  for (let round = 0; round < 10; round++) {
    jest.advanceTimersByTime(5);
    client.acknowledge(Number.POSITIVE_INFINITY);
    await tell(client);
  }
  jest.advanceTimersByTime(5);
  await rows.answerAll();
  return client;
}

describe('the only subscriber', () => {
  it('gets ahead what it will soon have room for, without its dispatcher', async () => {
    fill(5000);
    const client = await fast('a');
    expect(client.passedOn).toHaveLength(10);
    expect(client.ahead.length).toBeGreaterThan(100);
    const before = received.length;
    for (let round = 0; round < 10; round++) client.acknowledge(10);
    expect(received.length).toBe(before + 100);
    expect(seqs()).toEqual(range(1, received.length));
  });

  it('gets nothing ahead when it asks for nothing, or acknowledges nothing', async () => {
    fill(1000);
    const silent = subscribe('a');
    await rows.answerAll();
    jest.advanceTimersByTime(1000);
    await rows.answerAll();
    expect([silent.passedOn.length, silent.ahead.length]).toEqual([10, 0]);
    unsubscribe('a');
    const old = subscribe('b', 10, 0);
    await rows.answerAll();
    for (let round = 0; round < 10; round++) {
      jest.advanceTimersByTime(5);
      old.acknowledge(10);
      await tell(old);
      expect(old.ahead).toEqual([]);
    }
  });

  it('has no more ahead than the bytes for it', async () => {
    fill(300, 100_000);
    const client = await fast('a');
    const held = client.passedOn.length + client.ahead.length;
    expect(held).toBeGreaterThanOrEqual(10);
    expect(held).toBeLessThanOrEqual(11);
  });

  it('leaves no more in the memory of its dispatcher than is read ahead', async () => {
    const all = budget.left;
    fill(5000, 4000);
    const client = subscribe('a', 100);
    await rows.answerAll();
    let most = 0;
    for (let round = 0; round < 40; round++) {
      jest.advanceTimersByTime(5);
      client.acknowledge(Number.POSITIVE_INFINITY);
      await tell(client);
      most = Math.max(most, all - budget.left);
    }
    expect(client.ahead.length).toBeGreaterThan(0);
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual((1 << 20) + 4000);
  });

  it('gives back what it has ahead when it stops acknowledging, and gets it again when it goes on', async () => {
    fill(5000);
    const client = await fast('a');
    jest.advanceTimersByTime(2 * UNTAKEN_MS);
    expect(recalls).toHaveLength(1);
    await recalled();
    expect(client.ahead).toEqual([]);
    jest.advanceTimersByTime(10 * UNTAKEN_MS);
    await rows.answerAll();
    expect([client.ahead.length, recalls.length]).toEqual([0, 0]);
    for (let round = 0; round < 20; round++) {
      jest.advanceTimersByTime(5);
      client.acknowledge(10);
      await tell(client);
    }
    expect(client.ahead.length).toBeGreaterThan(100);
    expect(seqs()).toEqual(range(1, received.length));
  });

  it('is asked for nothing back while it goes on', async () => {
    fill(5000);
    const client = await fast('a');
    for (let round = 0; round < 400; round++) {
      jest.advanceTimersByTime(5);
      client.acknowledge(10);
      await tell(client);
    }
    expect(recalls).toEqual([]);
    expect(client.ahead.length).toBeGreaterThan(0);
  });
});

describe('what the only subscriber has ahead', () => {
  it('goes to another one that comes, oldest first, and no more comes ahead', async () => {
    fill(200);
    const slow = await fast('a');
    const [passedOn, ahead] = [[...slow.passedOn], [...slow.ahead]];
    expect(ahead.length).toBeGreaterThan(20);
    subscribe('b', 1000);
    void fifo.recall();
    await recalled();
    expect(slow.ahead).toEqual([]);
    expect(seqs('b').toSorted((x, y) => x - y)).toEqual(
      [...rows.bodies.keys()].filter((seq) => !passedOn.includes(seq)),
    );
    expect(seqs('b').filter((seq) => ahead.includes(seq))).toEqual(ahead);
    slow.acknowledge(10);
    await tell(slow);
    expect(slow.ahead).toEqual([]);
  });

  it('goes to the next one in its order when it is lost', async () => {
    fill(200);
    const lost = await fast('a');
    const held = [...lost.passedOn, ...lost.ahead];
    expect(lost.ahead.length).toBeGreaterThan(20);
    unsubscribe('a');
    subscribe('b', 1000);
    await rows.answerAll();
    expect(seqs('b')).toEqual([...rows.bodies.keys()]);
    expect(seqs('b').slice(0, held.length)).toEqual(held);
  });

  it('goes back when the subscriber brings it along to another dispatcher and acknowledges nothing there', async () => {
    rows.add(...Array.from({ length: 200 }, () => 'x'));
    const brought = range(1, 50);
    const client = new Client(10, () => undefined);
    for (const seq of brought) client.take(seq);
    clients.set('a', client);
    const request = { subscription: 'a', tenantId: 't', fifoName: 'f', instance: 'a', window: 10, ahead: 1000 };
    const held = brought.map((seq) => ({ seq, bytes: 1 }));
    fifo.subscribe({ ...request, autoAck: false }, held).active = true;
    fifo.wake();
    await rows.answerAll();
    jest.advanceTimersByTime(2 * UNTAKEN_MS);
    await recalled();
    expect(client.ahead).toEqual([]);
    subscribe('b', 1000);
    await rows.answerAll();
    expect(seqs('b')).toEqual(range(11, 200));
  });

  it('is passed on once when it is acknowledged while it is recalled', async () => {
    fill(200);
    const client = await fast('a');
    expect(client.ahead.length).toBeGreaterThan(20);
    subscribe('b', 1000);
    void fifo.recall();
    // On their way to the dispatcher when the recall comes, which then knows of them first, or last.
    client.acknowledge(5);
    const first = client.acknowledged.splice(0, 2);
    for (const seq of first) rows.bodies.delete(seq);
    fifo.acknowledge(first);
    await recalled();
    await tell(client);
    clients.get('b')!.acknowledge(1000);
    await tell(clients.get('b')!);
    expect(new Set(seqs()).size).toBe(received.length);
    expect([...rows.bodies.keys()]).toEqual(client.passedOn);
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

it.each([1, 2, 3, 4, 5, 6])('each message has one receiver, whoever comes, stops and leaves (%i)', async (seed) => {
  const next = numbers(seed);
  const acknowledged = new Set<number>();
  let made = 0;
  let mostAhead = 0;
  let recalling = 0;
  const waiting: string[] = [];
  onMessage = (by, seq) => {
    if (acknowledged.has(seq)) throw new Error(`${seq} has left the queue`);
    for (const [id, { passedOn, ahead }] of clients)
      if (id !== by && (passedOn.includes(seq) || ahead.includes(seq))) throw new Error(`${id} has ${seq} too`);
  };
  const tellSome = async (client: Client): Promise<void> => {
    for (const seq of client.acknowledged) acknowledged.add(seq);
    await tell(client);
  };
  const one = (): string => [...clients.keys()][next(clients.size)]!;
  for (let step = 0; step < 4000; step++) {
    const what = next(100);
    if (what < 20) fill(1 + next(20));
    else if (what < 60 && clients.size > 0) {
      const client = clients.get(one())!;
      const count = next(12);
      for (const seq of client.passedOn.slice(0, count)) acknowledged.add(seq);
      client.acknowledge(count);
      if (next(3) > 0) await tellSome(client);
    } else if (what < 80) {
      jest.advanceTimersByTime(1 + next(what < 62 ? 2 * UNTAKEN_MS : 10));
      await rows.answerAll();
    } else if (what < 90) {
      recalling += recalls.length;
      await recalled();
    } else if (what < 94 && clients.size < 3) {
      const id = `s${++made}`;
      subscribe(id, 1 + next(12));
      waiting.push(id);
      void fifo.recall();
    } else if (what > 96 && clients.size > 0) {
      const id = one();
      await tellSome(clients.get(id)!);
      unsubscribe(id);
    }
    for (const { ahead } of clients.values()) mostAhead = Math.max(mostAhead, ahead.length);
  }
  subscribe('last', 50);
  for (let round = 0; rows.bodies.size > 0 && round < 10_000; round++) {
    await recalled();
    jest.advanceTimersByTime(10);
    await rows.answerAll();
    for (const client of clients.values()) {
      for (const seq of client.passedOn) acknowledged.add(seq);
      client.acknowledge(Number.POSITIVE_INFINITY);
      await tellSome(client);
    }
  }
  expect(rows.bodies.size).toBe(0);
  expect(acknowledged.size).toBe(rows.last - 1000);
  expect([mostAhead > 20, recalling > 10]).toEqual([true, true]);
});
