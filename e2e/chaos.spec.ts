import { accountOf, type Found, problemsOf, type StoredRow } from '../tools/chaos/account.mjs';
import { planOf } from '../tools/chaos/plan.mjs';

// What `npm run chaos` relies on: that it would see what must not be, and that a seed repeats a run.

const row = (n: number, more: Partial<StoredRow> = {}): StoredRow => ({
  n,
  source: 'device',
  ordered: true,
  pushed: false,
  decodable: false,
  decoded: false,
  indexed: true,
  events: 1,
  events_indexed: 1,
  ...more,
});
const entries = (...numbers: number[]): Found['fifo'] => numbers.map((n) => ({ n, source: 'device' }));
const problems = (found: Partial<Found> = {}): string[] =>
  problemsOf(
    accountOf({
      published: 3,
      refused: 0,
      acknowledged: new Set([1, 2, 3]),
      stored: [row(1), row(2), row(3)],
      fifo: entries(1, 2, 3),
      events: entries(1, 2, 3),
      pushes: new Map(),
      ...found,
    }),
  );
const stored = (last: Partial<StoredRow>): Partial<Found> => ({ stored: [row(1), row(2), row(3, last)] });

it('the account has nothing to say when everything has come once, in order', () => {
  expect(problems()).toEqual([]);
});

it('a message that was refused may be there or not', () => {
  expect(problems({ acknowledged: new Set([1, 2]) })).toEqual([]);
  expect(problems({ acknowledged: new Set([1, 2, 3]), stored: [row(1), row(2)] })[0]).toMatch(/^1 messages were ack/);
});

it.each<[string, Partial<Found>]>([
  ['stored more than once', { stored: [row(1), row(2), row(3), row(3)] }],
  ['stored and not indexed', stored({ indexed: false })],
  ['stored and not indexed', stored({ events_indexed: 0 })],
  ['stored and not evaluated', stored({ events: 0, events_indexed: 0 })],
  ['evaluated more than once', stored({ events: 2, events_indexed: 2 })],
  [
    'neither decoded nor transformed',
    { stored: [row(1, { decodable: true, decoded: true }), row(2), row(3, { decodable: true })] },
  ],
  ['neither decoded nor transformed', stored({ decodable: true, source: 'never decoded' })],
  ['not in their FIFO', { fifo: entries(1, 3) }],
  ['more than once in their FIFO', { fifo: entries(1, 2, 3, 3) }],
  ['in their FIFO after a later one', { fifo: entries(1, 3, 2) }],
  ['their event was not delivered', { events: entries(1, 2) }],
  ['their event delivered after', { events: entries(2, 1, 3) }],
  ['not pushed to the webhook', stored({ pushed: true })],
])('a message that is %s is told of', (what, found) => {
  expect(problems(found)).toEqual([expect.stringContaining(what)]);
});

it('events and pushes may come again, as their protocols say', () => {
  expect(problems({ events: entries(1, 2, 1, 2, 3), pushes: new Map([[1, 2]]) })).toEqual([]);
});

const names = Array.from({ length: 30 }, (_, i) => `fault-${i}`);

it('a seed repeats the same faults at the same times, and another one does not', () => {
  expect(planOf(7, names, 600)).toEqual(planOf(7, names, 600));
  expect(planOf(8, names, 600)).not.toEqual(planOf(7, names, 600));
});

it('ten minutes are enough for each fault, one after the other', () => {
  for (const seed of [0, 1, 2 ** 31 - 1]) {
    const plan = planOf(seed, names, 600);
    expect(new Set(plan.map(({ name }) => name)).size).toBe(names.length);
    const times = plan.map(({ at }) => at);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(times.at(-1)).toBeLessThan(600);
  }
});

it('a few faults come again until the time is over, and at least one comes', () => {
  const plan = planOf(1, ['a', 'b'], 120);
  expect(plan.filter(({ name }) => name === 'a').length).toBeGreaterThan(1);
  expect(planOf(1, ['a'], 6)).toHaveLength(1);
});
