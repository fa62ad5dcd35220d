import { eventually } from '@orrery/core/testing';
import { deviceManager } from '@orrery/device-manager';
import { search } from '@orrery/search';
import { store } from '@orrery/store';
import { eventProcessing } from '../index.js';
import { type ActivityBackend, type ActivityTenant, HOUR, MINUTE, startActivity } from '../testing/activity.js';

/** A quiet device beside the one that is looked at: its event shows that the time has come. */
const WITNESS = 'witness';

let activity: ActivityBackend;
let tenant: ActivityTenant;

beforeAll(async () => {
  activity = await startActivity([deviceManager, store, search, eventProcessing]);
});
afterAll(() => activity.stop());
beforeEach(() => {
  tenant = activity.newTenant();
});

async function devices(...names: string[]): Promise<string[]> {
  for (const name of names) await tenant.device(name);
  return names;
}

describe('targets', () => {
  it('ACT-013 follow the inventory', async () => {
    await tenant.group('/france/lyon/nord');
    await devices('d');
    const group = (includeSubPath: boolean) => ({ groupPaths: [{ path: '/france/lyon', includeSubPath }] });
    const all = await tenant.rule({ targets: group(true) }, []);
    const own = await tenant.rule({ targets: group(false) }, []);
    await tenant.move('d', '/france/lyon/nord');
    await tenant.monitored(all, ['d']);
    await tenant.monitored(own, []);
    await tenant.device('new', { group: { path: '/france/lyon' } });
    await tenant.monitored(all, ['d', 'new']);
    await tenant.monitored(own, ['new']);
    await tenant.pass(11 * MINUTE);
    expect(await tenant.told('d', 1)).toEqual([['SILENT', 'UNKNOWN', 0]]);
    expect((await tenant.told('new', 2)).map(([state]) => state)).toEqual(['SILENT', 'SILENT']);
    await tenant.move('d', '/france');
    await tenant.removeDevice('new');
    await tenant.monitored(all, []);
    await tenant.monitored(own, []);
    await tenant.send('d');
    await tenant.rule({}, await devices(WITNESS));
    await tenant.pass(HOUR);
    await tenant.told(WITNESS, 1);
    await tenant.looked();
    expect([tenant.events('d').length, tenant.events('new').length]).toEqual([1, 2]);
  });

  it('follow groups that are renamed', async () => {
    const france = await tenant.group('/france/lyon');
    const rule = await tenant.rule({ targets: { groupPaths: [{ path: '/gallia/lyon' }] } }, []);
    await tenant.device('d', { group: { path: '/france/lyon' } });
    const parent = await tenant.group('/france');
    expect(parent).not.toBe(france);
    await tenant.renameGroup(parent, 'gallia');
    await tenant.monitored(rule, ['d']);
    await tenant.pass(11 * MINUTE);
    await tenant.told('d', 1);
    expect(tenant.events('d')[0]!.deviceAdditionalInfo).toEqual({ groupPath: '/gallia/lyon' });
    await tenant.renameGroup(parent, 'france');
    await tenant.monitored(rule, []);
  });

  it('MSG-021 are shown with their name and path as they are when the event is sent', async () => {
    await tenant.group('/europe');
    const rule = await tenant.rule({ name: 'test 10 min' }, await devices('d'));
    await tenant.api.patch(`/api/v1/deviceMgt/devices/${tenant.idOf('d')}`, {
      name: 'sensor #12',
      group: { path: '/europe' },
    });
    await eventually(async () => {
      const [row] = await activity.backend.query<{ group_path: string }>(
        'SELECT group_path FROM event_processing.activity_states WHERE tenant_id = $1',
        [tenant.id],
      );
      return row?.group_path === '/europe';
    });
    await tenant.pass(11 * MINUTE);
    await tenant.told('d', 1);
    expect(tenant.events('d')).toEqual([
      {
        type: 'deviceActivity',
        version: 1,
        deviceId: tenant.idOf('d'),
        deviceAdditionalInfo: { deviceName: 'sensor #12', groupPath: '/europe' },
        activityRule: { id: rule, name: 'test 10 min' },
        state: 'SILENT',
        previousState: 'UNKNOWN',
        timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
        numberOfAlarmReminders: 0,
      },
    ]);
  });

  it('are those of another rule after a change, and none of a rule that is gone', async () => {
    const rule = await tenant.rule({}, await devices('a', 'b'));
    await tenant.change(rule, { targets: { deviceIds: [tenant.idOf('b'), tenant.idOf('unknown')] } });
    await tenant.monitored(rule, ['b']);
    await tenant.device('unknown');
    await tenant.monitored(rule, ['b', 'unknown']);
    expect((await tenant.api.delete(`/api/v0/eventprocessing/activity/rules/${rule}`)).status).toBe(204);
    expect(await tenant.states(`activityRuleId=${rule}`)).toEqual([]);
    await eventually(async () => {
      const left = await activity.backend.query('SELECT 1 FROM event_processing.activity_states WHERE tenant_id = $1', [
        tenant.id,
      ]);
      return left.length === 0;
    });
  });
});

describe('what others see', () => {
  it('MSG-022 ACT-014 stored events have the full rule and its tags, by which they are found', async () => {
    const silentPolicy = { duration: 'PT10M', repeatInterval: 'PT10M' };
    const rule = await tenant.rule({ name: 'test 10 min', silentPolicy, tags: ['lyon'] }, await devices('d'));
    await tenant.pass(11 * MINUTE);
    const [stored] = await eventually(async () => {
      const { body } = await tenant.api.get<object[]>(`/api/v0/data/streams/event:${tenant.idOf('d')}`);
      return body.length === 1 && body;
    });
    expect(stored).toMatchObject({
      streamId: `event:${tenant.idOf('d')}`,
      model: 'event:DeviceActivity',
      tags: ['event', 'lyon'],
      location: null,
      metadata: null,
      value: {
        deviceId: tenant.idOf('d'),
        state: 'SILENT',
        activityRule: {
          id: rule,
          name: 'test 10 min',
          silentPolicy,
          targets: { deviceIds: [tenant.idOf('d')], groupPaths: [] },
          enabled: true,
        },
      },
    });
    await eventually(async () => {
      const found = await tenant.api.post('/api/v1/data/search/hits', { query: { term: { tags: 'lyon' } } });
      expect(found.body).toMatchObject([{ streamId: `event:${tenant.idOf('d')}`, tags: ['event', 'lyon'] }]);
      return true;
    });
  });

  it('the inventory shows the states of its devices', async () => {
    await devices('d');
    const list = '/api/v1/deviceMgt/devices?fields=activityState';
    expect((await tenant.api.get(list)).body).toEqual([{ id: tenant.idOf('d'), activityState: 'NOT_MONITORED' }]);
    const rule = await tenant.rule({}, ['d']);
    const shown = async (state: string): Promise<void> => {
      await eventually(async () => {
        const { body } = await tenant.api.post<{ devices: unknown[] }>('/api/v1/deviceMgt/explorer/search', {});
        expect(body.devices).toMatchObject([{ aggregatedActivityState: state, activities: [{ ruleId: rule, state }] }]);
        const device = `/api/v1/deviceMgt/devices/${tenant.idOf('d')}`;
        expect((await tenant.api.get(device)).body).toMatchObject({ activityState: state });
        return true;
      });
    };
    await shown('UNKNOWN');
    await tenant.send('d');
    await shown('ACTIVE');
    await tenant.pass(11 * MINUTE);
    await shown('SILENT');
    await tenant.change(rule, {});
    await shown('UNKNOWN');
  });
});
