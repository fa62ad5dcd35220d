import { randomUUID } from 'node:crypto';
import { deviceManager } from '@orrery/device-manager';
import { eventProcessing } from '../index.js';
import {
  type ActivityBackend,
  type ActivityTenant,
  MINUTE,
  RULES,
  startActivity,
  STATES,
} from '../testing/activity.js';

type Json = Record<string, unknown>;

const UNKNOWN_ID = randomUUID();

let activity: ActivityBackend;
let tenant: ActivityTenant;

beforeAll(async () => {
  activity = await startActivity([deviceManager, eventProcessing]);
});
afterAll(() => activity.stop());
beforeEach(() => {
  tenant = activity.newTenant();
});

const device = (n: number): string => `urn:lo:nsid:mqtt:${n}`;
const LYON = {
  name: 'devices in Lyon',
  enabled: true,
  silentPolicy: { duration: 'P1D', repeatInterval: 'PT12H' },
  targets: { groupPaths: [{ path: '/france/lyon', includeSubPath: true }] },
};

/** Status, and the fields that are refused. */
async function create(body: unknown): Promise<[number, string[]?]> {
  const answer = await tenant.api.post<{ details?: Array<{ field: string }> }>(RULES, body);
  const { details } = answer.body;
  return Array.isArray(details)
    ? [answer.status, [...new Set(details.map(({ field }) => field))].toSorted()]
    : [answer.status];
}

describe('activity rules', () => {
  it('ACT-001 have a name of their own, a policy and targets', async () => {
    const { status, body } = await tenant.api.post<Json>(RULES, { ...LYON, tags: ['lyon'], id: UNKNOWN_ID, more: 1 });
    const rule = {
      ...LYON,
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      targets: { deviceIds: [], ...LYON.targets },
      tags: ['lyon'],
    };
    expect([status, body]).toEqual([201, rule]);
    expect(body['id']).not.toBe(UNKNOWN_ID);
    const path = `${RULES}/${String(body['id'])}`;
    expect((await tenant.api.get(path)).body).toEqual(rule);
    expect((await tenant.api.get(`${RULES}?name=devices%20in%20Lyon`)).body).toEqual([rule]);
    expect((await tenant.api.get(`${RULES}?name=other`)).body).toEqual([]);

    expect(await create(LYON)).toEqual([409]);
    for (const name of ['', ' ', null, undefined, 7, 'a\0', '\ud800', 'x'.repeat(257)])
      expect(await create({ ...LYON, name })).toEqual([400, ['name']]);
    const other = { ...LYON, name: 'other' };
    for (const enabled of [undefined, null, 'true', 1])
      expect(await create({ ...other, enabled })).toEqual([400, ['enabled']]);
    for (const silentPolicy of [undefined, null, 'P1D', []])
      expect((await create({ ...other, silentPolicy }))[0]).toBe(400);
    expect(await create({ ...other, silentPolicy: undefined })).toEqual([400, ['silentPolicy']]);
    for (const duration of [undefined, null, '1 day', 'P', '', 60, '-PT1H', 'P1M', 'P1Y', 'P99999999D'])
      expect(await create({ ...other, silentPolicy: { duration } })).toEqual([400, ['silentPolicy.duration']]);
    expect(await create({ ...other, silentPolicy: { duration: 'P1D', repeatInterval: 'often' } })).toEqual([
      400,
      ['silentPolicy.repeatInterval'],
    ]);
    for (const tags of ['lyon', [1], [''], ['\0'], Array.from({ length: 21 }, String)])
      expect(await create({ ...other, tags })).toEqual([400, ['tags']]);
    for (const body of [[], 'text', null, 1]) expect((await create(body))[0]).toBe(400);

    expect(await create(other)).toEqual([201]);
    expect((await tenant.api.put(path, other)).status).toBe(409);
    expect((await tenant.api.put(path, { ...LYON, name: '' })).status).toBe(400);
    expect((await tenant.api.put(path, { ...LYON, enabled: false })).status).toBe(204);
    const { tags: _tags, ...changed } = { ...rule, enabled: false };
    expect((await tenant.api.get(path)).body).toEqual(changed);
    expect((await tenant.api.delete(path)).status).toBe(204);
    for (const id of [body['id'], UNKNOWN_ID, 'x', '%00']) {
      const gone = `${RULES}/${String(id)}`;
      expect((await tenant.api.get(gone)).status).toBe(404);
      expect((await tenant.api.put(gone, LYON)).status).toBe(404);
      expect((await tenant.api.delete(gone)).status).toBe(404);
    }
    expect(await create(LYON)).toEqual([201]);
  });

  it('ACT-002 target one device or one group at least', async () => {
    let count = 0;
    const target = (targets: unknown) => create({ ...LYON, name: `rule ${++count}`, targets });
    for (const targets of [undefined, null, [], 'all']) expect(await target(targets)).toEqual([400, ['targets']]);
    for (const targets of [{}, { deviceIds: [], groupPaths: [] }, { deviceIds: null }])
      expect(await target(targets)).toEqual([400, ['targets']]);
    for (const deviceIds of [device(1), ['x'], [1], [null], [[device(1)]]])
      expect(await target({ deviceIds })).toEqual([400, ['targets.deviceIds']]);
    for (const groupPaths of [
      '/',
      ['/a'],
      [null],
      [[]],
      [{}],
      [{ path: 'a' }],
      [{ path: '/a/' }],
      [{ path: '/a', includeSubPath: 1 }],
    ])
      expect((await target({ groupPaths }))[0]).toBe(400);
    expect(await target({ deviceIds: [device(1)] })).toEqual([201]);
    expect(await target({ groupPaths: [{ path: '/' }] })).toEqual([201]);
    expect(await target({ groupPaths: [{ path: '/a', includeSubPath: true }], deviceIds: [device(1)] })).toEqual([201]);
  });

  it('ACT-003 LIM-031 LIM-032 LIM-033 are bounded in number and targets', async () => {
    const deviceIds = (length: number) => Array.from({ length }, (_, i) => device(i));
    const groupPaths = (length: number) => Array.from({ length }, (_, i) => ({ path: `/g${i}` }));
    expect(await create({ ...LYON, targets: { deviceIds: deviceIds(101) } })).toEqual([400, ['targets.deviceIds']]);
    expect(await create({ ...LYON, targets: { groupPaths: groupPaths(101) } })).toEqual([400, ['targets.groupPaths']]);
    const both = { deviceIds: deviceIds(100), groupPaths: groupPaths(100) };
    expect(await create({ ...LYON, targets: both })).toEqual([201]);
    // Two at a time: none slips in between.
    const others = Array.from({ length: 51 }, (_, i) => ({ ...LYON, name: `rule ${i}` }));
    const answers = await Promise.all(others.map((body) => tenant.api.post<{ code?: string }>(RULES, body)));
    const refused = answers.filter(({ status }) => status !== 201);
    expect(refused.map(({ status, body }) => [status, body.code])).toEqual([
      [403, 'GENERIC_QUOTA_EXCEEDED_ERROR'],
      [403, 'GENERIC_QUOTA_EXCEEDED_ERROR'],
    ]);
    expect((await tenant.api.get<unknown[]>(RULES)).body).toHaveLength(50);
  });
});

describe('activity states', () => {
  it('are listed by device and by rule, page by page', async () => {
    const names = ['a', 'b', 'c'];
    for (const name of names) await tenant.device(name);
    const rule = await tenant.rule({}, names);
    const other = await tenant.rule({}, ['b']);
    const listed = async (query: string) =>
      (await tenant.states(query)).map(({ deviceId, activityRule }) => [deviceId.at(-1), activityRule.id]);
    expect(await listed(`activityRuleId=${rule}`)).toEqual(names.map((name) => [name, rule]));
    expect(await listed(`activityRuleId=${rule}&limit=2`)).toEqual([
      ['a', rule],
      ['b', rule],
    ]);
    expect(await listed(`activityRuleId=${rule}&limit=2&bookmarkDeviceId=${tenant.idOf('b')}`)).toEqual([['c', rule]]);
    expect(await listed(`deviceId=${tenant.idOf('b')}`)).toEqual([
      ['b', rule],
      ['b', other],
    ]);
    expect(await listed(`deviceId=${tenant.idOf('a')}&activityRuleId=${other}`)).toEqual([]);
    const stranger = activity.newTenant();
    expect(await stranger.states(`activityRuleId=${rule}`)).toEqual([]);
    for (const query of ['', 'deviceId=x', 'activityRuleId=x', `deviceId=${tenant.idOf('a')}&bookmarkDeviceId=%00`])
      expect((await tenant.api.get(`${STATES}?${query}`)).status).toBe(400);
  });

  it('are muted until the device is active, and count from now when they are reset', async () => {
    await tenant.device('d');
    await tenant.device('witness');
    const rule = await tenant.rule({ silentPolicy: { duration: 'PT10M', repeatInterval: 'PT10M' } }, ['d', 'witness']);
    const order = async (body: Json): Promise<unknown> => {
      const answer = await tenant.api.put(`${STATES}/mute`, body);
      return answer.status === 200 ? answer.body : answer.status;
    };
    for (const body of [{}, { nextAlarmOrder: 'MUTE' }, { nextAlarmOrder: 'OFF', activityRuleId: rule }])
      expect(await order(body)).toBe(400);
    expect(await order({ nextAlarmOrder: 'MUTE', deviceId: 'x' })).toBe(400);
    expect(await order({ nextAlarmOrder: 'MUTE', activityRuleId: 'x' })).toBe(400);
    expect(await order({ nextAlarmOrder: 'MUTE', activityRuleId: UNKNOWN_ID })).toBe(0);
    const d = { deviceId: tenant.idOf('d'), activityRuleId: rule };
    const stranger = activity.newTenant();
    expect((await stranger.api.put(`${STATES}/mute`, { nextAlarmOrder: 'MUTE', ...d })).body).toBe(0);

    expect(await order({ nextAlarmOrder: 'MUTE', ...d })).toBe(1);
    expect(await tenant.state(rule, 'd')).not.toHaveProperty('nextAlarm');
    await tenant.pass(11 * MINUTE);
    await tenant.told('witness', 1);
    await tenant.looked();
    expect(tenant.events('d')).toEqual([]);

    await tenant.report('d', 'nodeConnected');
    const active = await tenant.state(rule, 'd', { state: 'ACTIVE' });
    expect(Date.parse(active.nextAlarm!) - Date.parse(active.lastActivity!)).toBe(10 * MINUTE);
    await tenant.pass(9 * MINUTE);
    expect(await order({ nextAlarmOrder: 'RESET', deviceId: tenant.idOf('d') })).toBe(1);
    await tenant.pass(9 * MINUTE);
    await tenant.told('witness', 2);
    await tenant.looked();
    expect(tenant.events('d')).toEqual([]);
    await tenant.pass(2 * MINUTE);
    await tenant.told('d', 1);
    // Of a silent device it is the reminder.
    await tenant.pass(9 * MINUTE);
    expect(await order({ nextAlarmOrder: 'RESET', activityRuleId: rule })).toBe(2);
    await tenant.pass(9 * MINUTE);
    await tenant.looked();
    await tenant.pass(2 * MINUTE);
    expect((await tenant.told('d', 2)).at(-1)).toEqual(['SILENT', 'SILENT', 1]);
  });
});
