import { eventually } from '@orrery/core/testing';
import { deviceManager } from '@orrery/device-manager';
import { mqttConnector, mqttPorts } from '@orrery/mqtt-connector';
import { store } from '@orrery/store';
import { connectAsync } from 'mqtt';
import { eventProcessing } from '../index.js';
import { type ActivityBackend, type ActivityTenant, HOUR, MINUTE, startActivity } from '../testing/activity.js';

let activity: ActivityBackend;
let tenant: ActivityTenant;

const SERVICES = [deviceManager, store, eventProcessing];

beforeAll(async () => {
  activity = await startActivity(SERVICES);
});
afterAll(() => activity.stop());
beforeEach(() => {
  tenant = activity.newTenant();
});

const DAILY = { duration: 'P1D', repeatInterval: 'PT12H' };
/** A quiet device beside the one that is looked at: its event shows that the time has come. */
const WITNESS = 'witness';

async function devices(...names: string[]): Promise<string[]> {
  for (const name of names) await tenant.device(name);
  return names;
}

/** A rule of 10 minutes; after 9 of them the device does something, and 2 minutes later it is looked at. */
async function activeAfterNineMinutes(act: () => Promise<unknown>): Promise<void> {
  const rule = await tenant.rule({}, await devices('d', WITNESS));
  await tenant.pass(9 * MINUTE);
  await act();
  await tenant.state(rule, 'd', { state: 'ACTIVE' });
  await tenant.pass(2 * MINUTE);
  expect(await tenant.told(WITNESS, 1)).toEqual([['SILENT', 'UNKNOWN', 0]]);
  await tenant.looked();
  expect(tenant.events('d')).toEqual([]);
  await tenant.pass(9 * MINUTE);
  expect(await tenant.told('d', 1)).toEqual([['SILENT', 'ACTIVE', 0]]);
}

describe('what counts as activity', () => {
  it('ACT-005 a connection by MQTT', async () => {
    const platform = await activity.backend.boot([mqttConnector]);
    await activeAfterNineMinutes(async () => {
      const client = await connectAsync(`mqtt://127.0.0.1:${mqttPorts(platform.app).plain}`, {
        clientId: 'd',
        username: 'json+device',
        password: tenant.apiKey,
      });
      await client.endAsync();
    });
  });

  it('ACT-006 data with the device as its source, and not that of another source', async () => {
    await devices('other');
    await activeAfterNineMinutes(async () => {
      // Sources that are no device, in the batch of one that is.
      for (const source of ['\0', '\ud800', 'x'.repeat(10_000), "';--"])
        await tenant.api.post('/api/v0/data/streams/any', { value: {}, metadata: { source } });
      await tenant.send('other');
      await tenant.send('d');
    });
    await tenant.send('other');
    await tenant.looked();
    expect((await tenant.told('d', 1)).map(([state]) => state)).toEqual(['SILENT']);
  });

  it('ACT-007 the answer to a command, and to a change of parameters', async () => {
    await activeAfterNineMinutes(() => tenant.report('d', 'commandResponse', { id: 'c1', response: {} }));
    tenant = activity.newTenant();
    await activeAfterNineMinutes(() =>
      tenant.report('d', 'configurationResponse', { targetVersion: 1, parameters: {} }),
    );
  });

  it('a node of an external connector that is online, and not one that is offline', async () => {
    await activeAfterNineMinutes(() => tenant.report('d', 'nodeStatus', { status: 'ONLINE', capabilities: {} }));
    await tenant.report('d', 'nodeStatus', { status: 'OFFLINE', capabilities: {} });
    await tenant.report('d', 'nodeDisconnected', { sessionId: 's', instance: 'i' });
    await tenant.pass(11 * MINUTE);
    await tenant.looked();
    expect(await tenant.told('d', 1)).toEqual([['SILENT', 'ACTIVE', 0]]);
  });
});

describe('silence', () => {
  it('ACT-010 ACT-011 gives an event after the delay, and reminders as long as it lasts', async () => {
    await tenant.group('/france/lyon');
    await tenant.device('d', { name: 'myDongle001', group: { path: '/france/lyon' } });
    const targets = { groupPaths: [{ path: '/france/lyon', includeSubPath: true }] };
    const rule = await tenant.rule({ silentPolicy: DAILY, targets }, ['d']);
    const once = await tenant.rule({ silentPolicy: { duration: 'P1D' }, targets }, ['d']);
    await tenant.send('d');
    const { lastActivity } = await tenant.state(rule, 'd', { state: 'ACTIVE' });
    const began = Date.parse(lastActivity!);
    const of = (id: string) => tenant.events('d').filter(({ activityRule }) => activityRule.id === id);
    let passed = 0;
    const at = async (ms: number, count: number): Promise<void> => {
      await tenant.pass(ms + MINUTE - passed);
      passed = ms + MINUTE;
      await eventually(() => of(rule).length === count);
      await tenant.looked();
      // The clock of the states goes ahead of that of the test.
      const { timestamp } = of(rule).at(-1)!;
      expect(Date.parse(timestamp) + passed - began).toBe(ms);
      expect(of(once)).toHaveLength(1);
    };
    await tenant.pass((passed = 24 * HOUR - MINUTE));
    await tenant.looked();
    expect(tenant.events()).toEqual([]);
    await at(24 * HOUR, 1);
    const event = {
      type: 'deviceActivity',
      version: 1,
      deviceId: tenant.idOf('d'),
      deviceAdditionalInfo: { deviceName: 'myDongle001', groupPath: '/france/lyon' },
      activityRule: { id: rule, name: expect.any(String) },
      state: 'SILENT',
      previousState: 'ACTIVE',
      timestamp: expect.any(String),
      numberOfAlarmReminders: 0,
    };
    expect(of(rule)).toEqual([event]);
    await tenant.state(rule, 'd', { state: 'SILENT', numberOfAlarmReminders: 0 });
    await at(36 * HOUR, 2);
    await at(48 * HOUR, 3);
    expect(of(rule).slice(1)).toEqual(
      [1, 2].map((numberOfAlarmReminders) => ({ ...event, previousState: 'SILENT', numberOfAlarmReminders })),
    );
    await tenant.state(rule, 'd', { state: 'SILENT', numberOfAlarmReminders: 2 });
    const [silent] = await tenant.states(`activityRuleId=${once}`);
    expect(silent).not.toHaveProperty('nextAlarm');
  });

  it('ACT-004 is detected after 10 minutes when the rule says less, also for reminders', async () => {
    for (const duration of ['P1D', 'PT12H', 'P2DT3H30M'])
      await tenant.rule({ silentPolicy: { duration } }, await devices(duration));
    const refused = { name: 'r', enabled: true, targets: { deviceIds: [tenant.idOf('d')] } };
    const { status } = await tenant.api.post('/api/v0/eventprocessing/activity/rules', {
      ...refused,
      silentPolicy: { duration: '1 day' },
    });
    expect(status).toBe(400);
    const rule = await tenant.rule({ silentPolicy: { duration: 'PT1M', repeatInterval: 'PT1S' } }, await devices('d'));
    await tenant.pass(9 * MINUTE);
    await tenant.looked();
    await tenant.state(rule, 'd', { state: 'UNKNOWN' });
    await tenant.pass(MINUTE + 10_000);
    expect(await tenant.told('d', 1)).toHaveLength(1);
    await tenant.pass(9 * MINUTE);
    await tenant.looked();
    expect(tenant.events('d')).toHaveLength(1);
    await tenant.pass(MINUTE);
    expect(await tenant.told('d', 2)).toEqual([
      ['SILENT', 'UNKNOWN', 0],
      ['SILENT', 'SILENT', 1],
    ]);
  });

  it('ACT-012 ends with an event, and begins to count again', async () => {
    const rule = await tenant.rule({}, await devices('d'));
    await tenant.pass(11 * MINUTE);
    await tenant.told('d', 1);
    await tenant.send('d');
    expect(await tenant.told('d', 2)).toEqual([
      ['SILENT', 'UNKNOWN', 0],
      ['ACTIVE', 'SILENT', 0],
    ]);
    await tenant.state(rule, 'd', { state: 'ACTIVE' });
    await tenant.pass(9 * MINUTE);
    await tenant.looked();
    expect(tenant.events('d')).toHaveLength(2);
    await tenant.pass(2 * MINUTE);
    expect((await tenant.told('d', 3)).at(-1)).toEqual(['SILENT', 'ACTIVE', 0]);
  });

  it('ACT-008 is one of each rule', async () => {
    const names = await devices('d');
    const daily = await tenant.rule({ silentPolicy: { duration: 'P1D' } }, names);
    const rules = [await tenant.rule({}, names), await tenant.rule({}, names)];
    await tenant.pass(20 * MINUTE);
    await tenant.told('d', 2);
    await tenant.looked();
    expect(
      tenant
        .events('d')
        .map(({ state, activityRule }) => [state, activityRule.id])
        .toSorted(),
    ).toEqual(rules.map((id) => ['SILENT', id]).toSorted());
    const states = await tenant.states(`deviceId=${tenant.idOf('d')}`);
    expect(states.map(({ state, activityRule }) => [activityRule.id, state])).toEqual([
      [daily, 'UNKNOWN'],
      ...rules.map((id) => [id, 'SILENT']),
    ]);
  });

  it('ACT-009 counts from the creation and from each change of the rule, and UNKNOWN to ACTIVE is no event', async () => {
    const rule = await tenant.rule({}, await devices('d', 'busy'));
    await tenant.state(rule, 'd', { state: 'UNKNOWN', numberOfAlarmReminders: 0 });
    await tenant.send('busy');
    await tenant.state(rule, 'busy', { state: 'ACTIVE' });
    await tenant.pass(11 * MINUTE);
    expect(await tenant.told('d', 1)).toEqual([['SILENT', 'UNKNOWN', 0]]);
    expect(await tenant.told('busy', 1)).toEqual([['SILENT', 'ACTIVE', 0]]);
    const before = Date.now();
    await tenant.change(rule, {});
    // At once, whatever else has to be done.
    const state = await tenant.state(rule, 'd', { state: 'UNKNOWN', numberOfAlarmReminders: 0 });
    expect(Date.parse(state.nextAlarm!)).toBeGreaterThanOrEqual(before + 10 * MINUTE);
    await tenant.monitored(rule, ['d', 'busy']);
    await tenant.pass(9 * MINUTE);
    await tenant.looked();
    expect(tenant.events()).toHaveLength(2);
    await tenant.pass(2 * MINUTE);
    expect(await tenant.told('d', 2)).toEqual([
      ['SILENT', 'UNKNOWN', 0],
      ['SILENT', 'UNKNOWN', 0],
    ]);
  });

  it('ACT-015 of a disabled rule gives no event, nor reminders', async () => {
    const silentPolicy = { duration: 'PT10M', repeatInterval: 'PT10M' };
    const [d, off] = [
      await tenant.rule({ silentPolicy }, await devices('d')),
      await tenant.rule({ silentPolicy, enabled: false }, await devices('off')),
    ];
    await tenant.pass(11 * MINUTE);
    await tenant.told('d', 1);
    await tenant.change(d, { enabled: false });
    const [witness] = [await tenant.rule({}, await devices(WITNESS))];
    await tenant.monitored(d, ['d']);
    await tenant.pass(30 * MINUTE);
    await tenant.told(WITNESS, 1);
    await tenant.looked();
    expect([tenant.events('d').length, tenant.events('off')]).toEqual([1, []]);
    for (const rule of [d, off]) {
      const [state] = await tenant.states(`activityRuleId=${rule}`);
      expect(state).toMatchObject({ state: 'UNKNOWN' });
      expect(state).not.toHaveProperty('nextAlarm');
    }
    await tenant.send('d');
    await tenant.send(WITNESS);
    await tenant.state(witness, WITNESS, { state: 'ACTIVE' });
    await tenant.state(d, 'd', { state: 'UNKNOWN' });
    expect(tenant.events('d')).toHaveLength(1);
  });
});
