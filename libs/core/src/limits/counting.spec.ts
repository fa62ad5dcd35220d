import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startServices } from '../../../../tools/services/index.mjs';
import { createLogger } from '../telemetry/index.js';
import { eventually } from '../testing/index.js';
import { HeldCounts, LimitStore, type Passage, type Rate, RateLimits, SharedCounters } from './index.js';

const HOUR = 3_600_000;
const TTL = 6000;
/** Of those who count exactly, however slow the machine is. */
const PATIENT = 20_000;
/** Of those who go on without Redis. */
const HASTY = 1000;

interface Instance {
  store: LimitStore;
  rates: RateLimits;
  counters: SharedCounters;
  held: HeldCounts;
}

let redis: Awaited<ReturnType<typeof startServices>>;
let dataDir: string;
let here: Instance;
let there: Instance;
let hastyHere: Instance;
let hastyThere: Instance;
const instances: Instance[] = [];

async function instance(waitMs = PATIENT): Promise<Instance> {
  const store = new LimitStore(redis.redisUrl, waitMs, createLogger('test', 'silent'));
  const held = new HeldCounts(store, TTL);
  const made = { store, held, rates: new RateLimits(store, held), counters: new SharedCounters(store) };
  instances.push(made);
  await eventually(() => !store.away);
  return made;
}

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'orrery-limits-'));
  const { REDIS_URL: _, ...env } = process.env;
  redis = await startServices({ dataDir, log: () => undefined, only: ['redis'], env });
  [here, there] = await Promise.all([instance(), instance()]);
  [hastyHere, hastyThere] = await Promise.all([instance(HASTY), instance(HASTY)]);
  // All windows of these tests are of an hour: none ends in between.
  const left = HOUR - (Date.now() % HOUR);
  if (left < 120_000) await delay(left);
}, 240_000);
afterAll(async () => {
  for (const { held, store } of instances) {
    await held.close();
    store.close();
  }
  await redis.stop();
  await rm(dataDir, { recursive: true, force: true });
});

let keys = 0;
const newKey = (): string => `tenant-${++keys}`;
const rate = (key: string, limit: number, more: Partial<Rate> = {}): Rate => ({
  name: 'test',
  key,
  limit,
  windowMs: HOUR,
  ...more,
});
const passed = (passages: Passage[]): number => passages.filter(({ refused }) => refused === undefined).length;
const pid = (): number => redis.pids.redis!;

/** What happens while Redis is there and does not answer. */
async function whilePaused(work: () => Promise<void>): Promise<void> {
  process.kill(pid(), 'SIGSTOP');
  try {
    await work();
  } finally {
    process.kill(pid(), 'SIGCONT');
  }
  await eventually(() => instances.every(({ store }) => store.redis.status === 'end' || !store.away));
}

describe('RateLimits', () => {
  it('lets exactly as many pass as the window takes, whichever instance is asked', async () => {
    const key = newKey();
    const passages = await Promise.all(
      Array.from({ length: 200 }, (_, i) => (i % 2 ? here : there).rates.pass([rate(key, 50)])),
    );
    expect(passed(passages)).toBe(50);
    const [window] = (await here.rates.pass([rate(key, 50)])).windows;
    expect(window!.count).toBe(50);
    expect(window!.reset).toBe(Math.ceil(Date.now() / HOUR) * HOUR);
    expect((await there.rates.pass([rate(newKey(), 50)])).windows[0]!.count).toBe(1);
    expect(await here.store.redis.pttl(window!.id)).toBeGreaterThan(HOUR - 60_000);
  });

  it('counts what one window refuses in no other', async () => {
    const [narrow, wide] = [newKey(), newKey()];
    const both = [rate(narrow, 2), rate(wide, 10)];
    for (let i = 0; i < 5; i++) await (i % 2 ? here : there).rates.pass(both);
    const { windows, refused } = await there.rates.pass(both);
    expect([refused, windows.map(({ count }) => count)]).toEqual([0, [2, 2]]);
    const other = await here.rates.pass([rate(newKey(), 10), rate(wide, 2)]);
    expect([other.refused, other.windows.map(({ count }) => count)]).toEqual([1, [0, 2]]);
  });

  it('asks with no points, and adds many at once', async () => {
    const key = newKey();
    const read = (points: number, limit = 10): Promise<Passage> => here.rates.pass([rate(key, limit, { points })]);
    for (let i = 0; i < 3; i++) expect((await read(0)).refused).toBeUndefined();
    expect((await read(12)).windows[0]!.count).toBe(12);
    expect((await read(0)).refused).toBe(0);
    expect((await there.rates.pass([rate(key, 10, { points: 0 })])).refused).toBe(0);
    expect((await read(5, Number.POSITIVE_INFINITY)).windows[0]!.count).toBe(17);
  });

  it('takes a place together with the count, or neither', async () => {
    const key = newKey();
    const place = { name: 'places', key, limit: 3 };
    const passages = await Promise.all(
      Array.from({ length: 10 }, (_, i) => (i % 2 ? here : there).rates.pass([rate(key, 5)], place)),
    );
    expect(passed(passages)).toBe(3);
    expect(passages.filter(({ refused }) => refused === 'place')).toHaveLength(7);
    const holder = passages.findIndex(({ refused }) => refused === undefined) % 2 ? here : there;
    holder.rates.release(place);
    expect((await here.rates.pass([rate(key, 5)], place)).windows[0]!.count).toBe(4);
    expect((await there.rates.pass([rate(key, 4)])).refused).toBe(0);
  });

  it('goes on with what this process knows while Redis does not answer, and nobody waits long', async () => {
    const key = newKey();
    for (let i = 0; i < 5; i++) await there.rates.pass([rate(key, 6)]);
    const ask = (of: string, limit: number, points = 1): Promise<Passage> =>
      hastyHere.rates.pass([rate(of, limit, { points })]);
    await eventually(async () => (await ask(key, 6, 0)).windows[0]!.count === 5);
    await whilePaused(async () => {
      const began = Date.now();
      expect((await ask(key, 6)).refused).toBeUndefined();
      for (let i = 0; i < 20; i++) expect((await ask(key, 6)).refused).toBe(0);
      for (let i = 0; i < 20; i++) expect((await ask('x', 1e6)).refused).toBeUndefined();
      // Less than a wait for each of them.
      expect(Date.now() - began).toBeLessThan(15 * HASTY);
    });
    // What was asked in vain may have been counted late, by Redis alone: never less than what passed.
    expect((await here.rates.pass([rate(key, 6)])).refused).toBe(0);
  });
});

describe('SharedCounters', () => {
  it('counts at once, and soon what other instances counted', async () => {
    const key = newKey();
    const count = (at: Instance, points?: number): number => at.counters.count('hot', key, HOUR, points);
    for (let i = 1; i <= 1000; i++) expect(count(here)).toBeGreaterThanOrEqual(i);
    expect(count(there, 500)).toBe(500);
    await eventually(() => count(here, 0) === 1500 && count(there, 0) === 1500);
    expect(count(there)).toBe(1501);
    expect(there.counters.count('hot', newKey(), HOUR)).toBe(1);
  });

  it('starts anew with each window', async () => {
    const key = newKey();
    const second = 1000;
    await delay(second - (Date.now() % second));
    for (let i = 1; i <= 5; i++) here.counters.count('hot', key, second);
    await delay(second - (Date.now() % second) + 5);
    expect(here.counters.count('hot', key, second)).toBe(1);
  });

  it('asks Redis rarely, however much is counted', async () => {
    const key = newKey();
    const calls = async (): Promise<number> =>
      Number(/cmdstat_incrby:calls=(\d+)/.exec(await here.store.redis.info('commandstats'))?.[1] ?? 0);
    const before = await calls();
    let counted = 0;
    while (counted < 200_000) {
      for (let i = 0; i < 1000; i++) counted = here.counters.count('hot', key, HOUR);
      await delay(1);
    }
    await eventually(() => there.counters.count('hot', key, HOUR, 0) === counted);
    // 0 points are questions too: those of `eventually` come one per flush.
    expect((await calls()) - before).toBeLessThan(counted / 200);
  });

  it('tells one caller of all instances once in a window', async () => {
    const key = newKey();
    const ask = (): Promise<boolean[]> =>
      Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 ? here : there).counters.once('told', key, HOUR)));
    expect((await ask()).filter(Boolean)).toHaveLength(1);
    expect((await ask()).filter(Boolean)).toHaveLength(0);
    expect(await here.counters.once('told', newKey(), HOUR)).toBe(true);
  });

  it('lets one claim what nobody has claimed lately', async () => {
    const key = newKey();
    const claims = await Promise.all([here, there, here].map((at) => at.counters.claim('connect', key, 4000)));
    expect(claims.filter(Boolean)).toHaveLength(1);
    expect(await there.counters.claim('connect', newKey(), 4000)).toBe(true);
    // A refused attempt does not put the next one off.
    await eventually(() => here.counters.claim('connect', key, 4000));
  });

  it('counts for itself while Redis does not answer', async () => {
    const key = newKey();
    const [one, other] = [hastyHere.counters, hastyThere.counters];
    one.count('hot', key, HOUR, 10);
    await eventually(() => other.count('hot', key, HOUR, 0) === 10);
    await whilePaused(async () => {
      expect(one.count('hot', key, HOUR)).toBe(11);
      expect(await one.once('told', key, HOUR)).toBe(true);
      expect(await one.once('told', key, HOUR)).toBe(false);
      expect(await one.claim('connect', key, HOUR)).toBe(true);
      expect(one.count('hot', key, HOUR)).toBe(12);
      expect(other.count('hot', key, HOUR)).toBe(11);
    });
    // What was counted meanwhile is told as soon as Redis is back.
    await eventually(() => other.count('hot', key, HOUR, 0) >= 12);
    expect(one.count('hot', key, HOUR, 0)).toBeGreaterThanOrEqual(12);
  });
});

describe('HeldCounts', () => {
  const NAME = 'connections';
  const take = (at: Instance, key: string, limit: number): Promise<boolean> => at.held.take(NAME, key, limit);
  /** What Redis counts, whoever is alive. */
  const field = (at: Instance, key: string): Promise<string | null> =>
    here.store.redis.hget(`limit:held.${NAME}:${key}`, at.store.instance);

  it('holds exactly as many as allowed, in all instances together', async () => {
    const key = newKey();
    const taken = await Promise.all(Array.from({ length: 100 }, (_, i) => take(i % 2 ? here : there, key, 30)));
    expect(taken.filter(Boolean)).toHaveLength(30);
    const ofHere = taken.filter((each, i) => each && i % 2).length;
    for (let i = 0; i < ofHere; i++) here.held.release(NAME, key);
    // Releasing what nobody holds frees nothing.
    here.held.release(NAME, key);
    const again = await Promise.all(Array.from({ length: 100 }, () => take(here, key, 30)));
    expect(again.filter(Boolean)).toHaveLength(ofHere);
    expect(await take(there, newKey(), 1)).toBe(true);
  });

  it('frees what an instance held that is gone', async () => {
    const key = newKey();
    const [crashed, ended] = await Promise.all([instance(), instance()]);
    expect([await take(crashed, key, 2), await take(ended, key, 2), await take(here, key, 2)]).toEqual([
      true,
      true,
      false,
    ]);
    await ended.held.close();
    expect([await take(here, key, 2), await take(here, key, 2)]).toEqual([true, false]);
    crashed.store.redis.disconnect();
    await eventually(() => take(here, key, 2));
    expect(await field(crashed, key)).toBeNull();
  });

  it('is right again soon after Redis was emptied', async () => {
    const key = newKey();
    for (let i = 0; i < 3; i++) await take(here, key, 4);
    await take(there, key, 4);
    await here.store.redis.flushall();
    await eventually(async () => (await field(here, key)) === '3' && (await field(there, key)) === '1');
    expect(await take(there, key, 4)).toBe(false);
    here.held.release(NAME, key);
    expect(await take(there, key, 4)).toBe(true);
  });

  it('counts what this process holds while Redis does not answer, and tells afterwards', async () => {
    const key = newKey();
    const [one, other] = [hastyHere, hastyThere];
    expect(await take(other, key, 2)).toBe(true);
    await whilePaused(async () => {
      expect([await take(one, key, 2), await take(one, key, 2), await take(one, key, 2)]).toEqual([true, true, false]);
      other.held.release(NAME, key);
    });
    await eventually(async () => (await field(one, key)) === '2' && (await field(other, key)) === null);
    expect(await take(there, key, 2)).toBe(false);
    for (let i = 0; i < 2; i++) one.held.release(NAME, key);
    await eventually(async () => (await field(one, key)) === null);
    expect(await take(there, key, 1)).toBe(true);
  });
});
