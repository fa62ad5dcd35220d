import { randomUUID } from 'node:crypto';
import type { Bus } from '@orrery/core/bus';
import { apiClient, type Backend, eventually, type KeyRing, keyRing, startBackend } from '@orrery/core/testing';
import { store } from '@orrery/store';
import type { MatchingFiredEvent, StateChangeEvent } from '../contract.js';
import { eventProcessing } from '../index.js';
import { RuleProbe } from '../testing/events.js';
import { HOT, RuleTenant } from '../testing/rule-backend.js';

/** Of every partition. */
const DEVICES = Array.from({ length: 30 }, (_, i) => `device${i}`);
const COUNT = 900;
/** Each message makes a state of its own: one that is lost or applied twice would be seen. */
const COUNTER = { '+': [{ currentstate: [] }, 1] };

let backend: Backend;
let bus: Bus;
let keys: KeyRing;
let probe: RuleProbe;
let tenant: RuleTenant;

beforeEach(async () => {
  backend = await startBackend([store, eventProcessing]);
  bus = await backend.bus();
  keys = keyRing(bus);
  probe = new RuleProbe(bus, backend);
  const { url } = await backend.boot([store]);
  // What stays when the instances with the rules come and go.
  const rules = await backend.boot([eventProcessing], { api: true, worker: false });
  const id = randomUUID();
  const key = keys.grant(id).value;
  const api = apiClient(rules.url, key);
  const streams = apiClient(url, key);
  tenant = new RuleTenant(id, { ...api, get: (path) => (path.includes('/data/') ? streams : api).get(path) }, probe);
});
afterEach(async () => {
  await probe.close();
  await backend.stop();
});

const owners = async (): Promise<number> => {
  const instances = new Set<string>();
  for await (const name of await bus.leases.keys('event-processing.lease.*'))
    instances.add((await bus.leases.get(name))?.string() ?? '');
  return instances.size;
};

/** Sends messages of all devices into one stream; each device's are numbered. */
async function send(from: number, to: number): Promise<void> {
  await Promise.all(
    Array.from({ length: to - from }, (_, i) =>
      tenant.temp(100, DEVICES[(from + i) % DEVICES.length]!, {
        streamId: 'shared',
        value: { temp: 100, n: from + i },
      }),
    ),
  );
}

/** What has been stored of the events of the stream, once nothing more can come. */
async function events<Event>(field: string, count: number): Promise<Event[]> {
  await probe.settled();
  return eventually(async () => {
    const values = (await tenant.stored('event:shared?limit=1000')).map(
      ({ value }) => value as Record<string, unknown>,
    );
    const found = values.filter((value) => field in value);
    return found.length >= count && (found as Event[]);
  });
}

async function expectEachOnce(): Promise<void> {
  const changes = (await events<StateChangeEvent>('newState', COUNT)).toSorted(
    (a, b) => Number(a.newState) - Number(b.newState),
  );
  expect(changes.map(({ newState }) => newState)).toEqual(Array.from({ length: COUNT }, (_, i) => i + 1));
  expect(changes.map(({ previousState }) => previousState ?? 0)).toEqual(Array.from({ length: COUNT }, (_, i) => i));
  // Each device's messages in their order.
  const last = new Map<unknown, number>();
  for (const { data } of changes) {
    const source = (data['metadata'] as { source: string }).source;
    const { n } = data['value'] as { n: number };
    expect(n).toBeGreaterThan(last.get(source) ?? -1);
    last.set(source, n);
  }
}

describe('instances that share the work', () => {
  it('lose no transition of a state key that they share, and fire once', async () => {
    await backend.boot([eventProcessing], { api: false, worker: true });
    await backend.boot([eventProcessing], { api: false, worker: true });
    await eventually(async () => (await owners()) === 2);
    await tenant.state(COUNTER);
    for (let from = 0; from < COUNT; from += 100) await send(from, from + 100);
    await expectEachOnce();

    await tenant.fires([await tenant.match(HOT)], { firingType: 'ONCE' });
    await tenant.fires([await tenant.match(HOT)], { firingType: 'SLEEP', sleepDuration: 'PT1H' });
    await send(COUNT, COUNT + 90);
    await probe.settled();
    const fired = await events<MatchingFiredEvent>('matchingContext', 2);
    expect(new Set(fired.map(({ firingRule }) => firingRule.id)).size).toBe(2);
    expect(fired).toHaveLength(2);
  });

  it('repeat and lose nothing when their transactions are ended and one of them stops', async () => {
    const first = await backend.boot([eventProcessing], { api: false, worker: true });
    await tenant.state(COUNTER);
    let sent = 0;
    for (; sent < 3 * 50; sent += 50) {
      // The batch in hand has computed its states and cannot write them.
      await backend.query('BEGIN');
      await backend.query('LOCK TABLE event_processing.states IN SHARE ROW EXCLUSIVE MODE');
      await send(sent, sent + 50);
      await eventually(async () => {
        await backend.query('SELECT pg_stat_clear_snapshot()');
        const ended = await backend.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
             AND application_name = 'orrery-event-processing' AND wait_event_type = 'Lock'`,
        );
        return ended.length > 0;
      });
      await backend.query('COMMIT');
    }
    const sending = (async () => {
      for (; sent < COUNT; sent += 50) await send(sent, sent + 50);
    })();
    await backend.boot([eventProcessing], { api: false, worker: true });
    await first.close();
    await sending;
    await expectEachOnce();
  });
});
