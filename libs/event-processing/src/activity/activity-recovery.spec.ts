import { UNLIMITED_OFFER } from '@orrery/core/limits';
import { streamName } from '@orrery/core/bus';
import { partitionOf } from '@orrery/core/messages';
import { apiClient, eventually, type TestPlatform } from '@orrery/core/testing';
import { deviceManager } from '@orrery/device-manager';
import { ACTIVITY_READER } from '../contract.js';
import { eventProcessing } from '../index.js';
import { type ActivityBackend, type ActivityTenant, MINUTE, startActivity } from '../testing/activity.js';
import { RuleProbe } from '../testing/events.js';

let activity: ActivityBackend;
let probe: RuleProbe;
let tenant: ActivityTenant;
const workers: TestPlatform[] = [];

// What stays while instances with the timers come and go.
beforeAll(async () => {
  activity = await startActivity([deviceManager, eventProcessing], { api: true, worker: false });
  await activity.backend.boot([deviceManager], { api: false, worker: true });
  probe = new RuleProbe(await activity.backend.bus(), activity.backend);
});
afterAll(async () => {
  await probe.close();
  await activity.stop();
});
beforeEach(() => {
  tenant = activity.newTenant(UNLIMITED_OFFER);
});
afterEach(async () => {
  for (const worker of workers.splice(0)) await worker.close();
});

async function startWorker(): Promise<TestPlatform> {
  const worker = await activity.backend.boot([eventProcessing], { api: false, worker: true });
  workers.push(worker);
  return worker;
}

const states = (tenantId: string) =>
  activity.backend.query<{ device_id: string; state: string }>(
    'SELECT device_id, state FROM event_processing.activity_states WHERE tenant_id = $1',
    [tenantId],
  );

/** Waits until nothing of any partition is left to be read. */
async function allRead(): Promise<void> {
  const bus = await activity.backend.bus();
  for (const stream of ['READY', 'EVENTS'] as const)
    for (let partition = 0; partition < bus.partitions; partition++)
      await eventually(async () => {
        const name = streamName(stream, partition);
        const [position] = await activity.backend.query<{ seq: string }>(
          'SELECT seq FROM event_processing.positions WHERE reader = $1 AND stream = $2',
          [ACTIVITY_READER, name],
        );
        return Number(position!.seq) >= (await bus.jsm.streams.info(name)).state.last_seq;
      });
}

describe('activity rules', () => {
  it('tell of each silence once, and of its end, with two instances and activity at the time of the alarm', async () => {
    await startWorker();
    await startWorker();
    const names = Array.from({ length: 40 }, (_, i) => `d${i}`);
    await Promise.all(names.map((name) => tenant.device(name)));
    const targets = { groupPaths: [{ path: '/', includeSubPath: true }] };
    await tenant.rule({ targets }, names);
    await Promise.all(names.map((name) => tenant.report(name, 'nodeConnected')));
    for (let round = 0; round < 4; round++) {
      await Promise.all([tenant.pass(11 * MINUTE), ...names.map((name) => tenant.report(name, 'nodeConnected'))]);
      await tenant.looked();
    }
    await tenant.pass(11 * MINUTE);
    await eventually(async () => (await states(tenant.id)).every(({ state }) => state === 'SILENT'));
    await Promise.all(names.map((name) => tenant.report(name, 'nodeConnected')));
    await eventually(async () => (await states(tenant.id)).every(({ state }) => state === 'ACTIVE'));
    await tenant.looked();
    for (const name of names) {
      const told = await tenant.told(name, 2);
      // None is lost, none comes twice, whoever was first.
      expect(told.length % 2).toBe(0);
      expect(told.map(([state]) => state)).toEqual(told.map((_, i) => (i % 2 === 0 ? 'SILENT' : 'ACTIVE')));
      expect(told.slice(1).every(([, previous], i) => previous === told[i]![0])).toBe(true);
    }
  });

  it('hear what came during a pause before they say that a device is silent', async () => {
    const first = await startWorker();
    const { partitions } = await activity.backend.bus();
    const partition = (name: string) => partitionOf(tenant.id, tenant.idOf(name), partitions);
    const witness = Array.from({ length: 100 }, (_, i) => `w${i}`).find((name) => partition(name) !== partition('d'))!;
    for (const name of ['d', witness]) await tenant.device(name);
    const rule = await tenant.rule({}, ['d', witness]);
    await tenant.looked();
    await allRead();
    workers.splice(0);
    await first.close();
    await tenant.pass(12 * MINUTE);
    // It had been quiet for 7 minutes then.
    await probe.send(tenant.id, tenant.idOf('d'), { arrived: Date.now() - 5 * MINUTE });

    await activity.backend.query('BEGIN');
    // What has been read cannot be understood while this is locked.
    await activity.backend.query('LOCK TABLE event_processing.activity_tenants IN ACCESS EXCLUSIVE MODE');
    await startWorker();
    await eventually(() => tenant.events(witness).length === 1);
    expect(tenant.events('d')).toEqual([]);
    await activity.backend.query('COMMIT');
    await tenant.state(rule, 'd', { state: 'ACTIVE' });
    await tenant.looked();
    expect(tenant.events('d')).toEqual([]);
  });

  it('catch up with one event for all reminders that were missed', async () => {
    const first = await startWorker();
    await tenant.device('d');
    await tenant.rule({ silentPolicy: { duration: 'PT10M', repeatInterval: 'PT10M' } }, ['d']);
    await tenant.pass(11 * MINUTE);
    await tenant.told('d', 1);
    workers.splice(0);
    await first.close();
    await tenant.pass(45 * MINUTE);
    await startWorker();
    expect(await tenant.told('d', 2)).toEqual([
      ['SILENT', 'UNKNOWN', 0],
      ['SILENT', 'SILENT', 1],
    ]);
    await tenant.looked();
    expect(tenant.events('d')).toHaveLength(2);
    await tenant.pass(10 * MINUTE);
    expect((await tenant.told('d', 3)).at(-1)).toEqual(['SILENT', 'SILENT', 2]);
  });

  it('follow groups with thousands of devices', async () => {
    await startWorker();
    const big = await tenant.group('/big');
    await activity.backend.query(
      `INSERT INTO device_manager.devices (tenant_id, id, default_data_stream_id, group_id, created, updated)
       SELECT $1, id, id, $2, now(), now() FROM (SELECT 'urn:lo:nsid:mqtt:' || n AS id FROM generate_series(1, 2500) n)`,
      [tenant.id, big],
    );
    const api = apiClient(activity.url, tenant.apiKey);
    const { body } = await api.post<{ id: string }>('/api/v0/eventprocessing/activity/rules', {
      name: 'all',
      enabled: true,
      silentPolicy: { duration: 'PT10M' },
      targets: { groupPaths: [{ path: '/big' }] },
    });
    const count = (wanted: number) => eventually(async () => (await states(tenant.id)).length === wanted);
    await count(2500);
    await tenant.pass(11 * MINUTE);
    await eventually(() => tenant.events().length >= 2500);
    await tenant.renameGroup(big, 'large');
    await count(0);
    await tenant.renameGroup(big, 'big');
    await count(2500);
    expect((await states(tenant.id)).every(({ state }) => state === 'UNKNOWN')).toBe(true);
    await api.delete(`/api/v0/eventprocessing/activity/rules/${body.id}`);
    await count(0);
    await tenant.looked();
    expect(tenant.events()).toHaveLength(2500);
  });
});
