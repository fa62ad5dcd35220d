import { type Backend, eventually, startBackend } from '../testing/index.js';
import { type Bus, LeaseManager } from './index.js';

// Leases that would not be looked at for minutes change hands because instances tell each other.

const KEYS = 8;
let backend: Backend;
const started: LeaseManager[] = [];
/** Keys that somebody got while another one still had them. */
const sharedTwice: number[] = [];
beforeAll(async () => {
  backend = await startBackend([], { ORRERY_LEASE_TTL_MS: '600000' });
});
afterEach(async () => {
  await Promise.all(started.splice(0).map((manager) => manager.stop()));
  expect(sharedTwice).toEqual([]);
});
afterAll(() => backend.stop());

interface Holder {
  manager: LeaseManager;
  bus: Bus;
}
async function join(name: string, owners: Map<number, number>): Promise<Holder> {
  const bus = await backend.bus();
  const count = (key: number, more: number): void => void owners.set(key, (owners.get(key) ?? 0) + more);
  const manager = new LeaseManager(bus, name, KEYS, {
    acquired: (key) => {
      count(key, 1);
      if (owners.get(key) !== 1) sharedTwice.push(key);
    },
    lost: (key) => count(key, -1),
  });
  await manager.start();
  started.push(manager);
  return { manager, bus };
}
async function leave({ manager }: Holder, owners: Map<number, number>): Promise<void> {
  started.splice(started.indexOf(manager), 1);
  for (const key of manager.keys) owners.set(key, 0);
  await manager.stop();
}
const shared = (holders: Holder[], ...counts: number[]): Promise<boolean> =>
  eventually(() => {
    const held = holders.map(({ manager }) => manager.keys);
    return (
      new Set(held.flat()).size === KEYS &&
      held
        .map(({ length }) => length)
        .toSorted()
        .join() === counts.toSorted().join()
    );
  });

it('instances that come and go share at once what is there', async () => {
  const owners = new Map<number, number>();
  const a = await join('come-and-go', owners);
  await shared([a], 8);
  const b = await join('come-and-go', owners);
  await shared([a, b], 4, 4);
  const c = await join('come-and-go', owners);
  await shared([a, b, c], 3, 3, 2);
  await leave(a, owners);
  await shared([b, c], 4, 4);
  await leave(b, owners);
  await shared([c], 8);
});

it('instances that start together, and end while others start, share what is there', async () => {
  const owners = new Map<number, number>();
  const [a, b, c, d] = await Promise.all([1, 2, 3, 4].map(() => join('together', owners)));
  await shared([a!, b!, c!, d!], 2, 2, 2, 2);
  const [e] = await Promise.all([join('together', owners), leave(a!, owners), leave(b!, owners)]);
  await shared([c!, d!, e], 3, 3, 2);
});

it('who stops while it is given a lease gives it back', async () => {
  const bus = await backend.bus();
  let created!: () => void;
  const late = new Promise<void>((resolve) => (created = resolve));
  let asked = false;
  const create = async (key: string, value: string): Promise<number> => {
    asked = true;
    await late;
    return bus.leases.create(key, value);
  };
  const leases = Object.create(bus.leases, { create: { value: create } }) as Bus['leases'];
  const slow = Object.create(bus, { leases: { value: leases } }) as Bus;
  const stopping = new LeaseManager(slow, 'stopping', KEYS, { acquired: () => undefined, lost: () => undefined });
  void stopping.start();
  await eventually(() => asked);
  const stopped = stopping.stop();
  created();
  await stopped;
  await shared([await join('stopping', new Map())], KEYS);
});

it('news of other names, and an instance of which nobody knows, change nothing', async () => {
  const owners = new Map<number, number>();
  const a = await join('calm', owners);
  const { bus } = await join('calmer', new Map());
  for (let i = 0; i < 100; i++) bus.connection.publish('leases.calm', i % 2 ? 'nobody' : Buffer.from([0xff, 0]));
  await bus.connection.flush();
  await shared([a], 8);
  expect(a.manager.keys).toHaveLength(8);
});
