import { eventually } from '@orrery/core/testing';
import { type Fleet, type Fleets, startFleets } from './testing/fleet.js';

type Body = Record<string, unknown>;

let fleets: Fleets;
beforeAll(async () => {
  fleets = await startFleets();
});
afterAll(() => fleets.stop());

const stats = async (fleet: Fleet, body: Body): Promise<Body> => {
  const answer = await fleet.stats(body);
  if (answer.status !== 200) throw new Error(`${answer.status}: ${JSON.stringify(answer.body)}`);
  return answer.body;
};
const byField = async (fleet: Fleet, groupBy: Body, options?: Body): Promise<Body> =>
  (await stats(fleet, { groupBy, ...(options ? { options } : {}) }))['fieldAggregation'] as Body;
/** Buckets as `key count/devices`. */
const shown = (aggregation: unknown): string[] =>
  (aggregation as { buckets: Array<{ key: unknown; count: number; devices: number }> }).buckets.map(
    ({ key, count, devices }) => `${JSON.stringify(key)} ${count}/${devices}`,
  );
const buckets = async (fleet: Fleet, groupBy: Body): Promise<string[]> => shown(await byField(fleet, groupBy));

describe('stats', () => {
  it('INV-003 count devices', async () => {
    const fleet = fleets.fleet();
    expect(await stats(fleet, {})).toEqual({ devices: 0 });
    for (let i = 0; i < 7; i++) await fleet.device(`d${i}`, { tags: [`t${i % 2}`] });
    await fleets.fleet().device('other');
    expect(await stats(fleet, {})).toEqual({ devices: 7 });
    expect(await stats(fleet, { filters: { queryString: 'tags==t0' } })).toEqual({ devices: 4 });
    expect(await stats(fleet, { filters: { queryString: 'tags==t2' } })).toEqual({ devices: 0 });
    expect(await stats(fleet, { groupBy: null, filters: null, options: null })).toEqual({ devices: 7 });
    await fleet.api.delete(`/api/v1/deviceMgt/devices/${fleet.id('d0')}`);
    expect(await stats(fleet, {})).toEqual({ devices: 6 });
    expect((await fleet.client(['DEVICE_R']).post('/api/v1/deviceMgt/explorer/stats', {})).status).toBe(200);
    expect((await fleet.client(['DEVICE_W']).post('/api/v1/deviceMgt/explorer/stats', {})).status).toBe(403);
  });

  it('INV-041 INV-042 INV-051 INV-052 refuse what cannot be grouped', async () => {
    const fleet = fleets.fleet();
    for (const groupBy of [
      {},
      [],
      'tags',
      { field: 'name' },
      { field: 'toString' },
      { field: 7 },
      { field: ['tags'] },
      { compositeField: 'tags' },
      { unknown: {} },
      { interfaces: { field: 'nodeId' } },
      { interfaces: {} },
      { interfaces: { definition: { field: 'clientId' } } },
      { interfaces: { definition: { field: 'profile', groupBy: {} } } },
      { interfaces: { field: 'status', connector: { field: 'x' } } },
      { interfaces: { field: 'status', filter: { nodeId: 'x' } } },
      { interfaces: { field: 'status', filter: { connector: 7 } } },
      { interfaces: { field: 'status', filter: { connector: 'a\u0000' } } },
      { interfaces: { field: 'status', filter: 'lora' } },
      { interfaces: 'status' },
      { activityStates: { field: 'ruleId' } },
      { activityStates: { field: 'state', filter: { states: 'SILENT' } } },
      { properties: { field: 'k' } },
      { field: 'tags', location: {} },
      { field: 'tags', compositeField: 'connectors' },
      { interfaces: { field: 'status' }, groupBy: { field: 'tags' } },
      { field: 'tags', groupBy: { location: {} } },
      { field: 'tags', groupBy: { field: 'group.path', groupBy: { field: 'description' } } },
      { location: { groupBy: { interfaces: { field: 'status', groupBy: { field: 'tags' } } } } },
      { location: { precision: 0 } },
      { location: { precision: 13 } },
      { location: { precision: 2.5 } },
      { location: { precision: '5' } },
      { location: { size: 5 } },
    ]) {
      const { status, body } = await fleet.stats({ groupBy });
      expect([groupBy, status, body['code']]).toEqual([groupBy, 400, 'GENERIC_INVALID_PARAMETER_ERROR']);
    }
    for (const body of [{ options: { includeTotalKeys: 'yes' } }, { options: 7 }, { filters: { queryString: 'x' } }])
      expect([body, (await fleet.stats(body)).status]).toEqual([body, 400]);
    // Deeper than anything could be read.
    const deep = `${'{"field":"tags","groupBy":'.repeat(90)}{}${'}'.repeat(90)}`;
    expect((await fleet.stats(`{"groupBy":${deep}}`)).status).toBe(400);
  });
});

describe('groups by a field', () => {
  it('INV-041 INV-044 INV-056 have one bucket per value, the fullest first', async () => {
    const fleet = fleets.fleet();
    const [one, two] = [await fleet.group('one'), await fleet.group('two')];
    await fleet.devices({
      a: { description: 'x', tags: ['spain', 'v2'], group: { id: one.id } },
      b: { description: 'y', tags: ['v2'], group: { id: two.id } },
      c: { description: 'y', tags: ['albania'], group: { id: two.id } },
      d: {},
    });
    expect(await buckets(fleet, { field: 'tags' })).toEqual(['"v2" 2/2', '"albania" 1/1', '"spain" 1/1']);
    expect(await buckets(fleet, { field: 'description' })).toEqual(['"y" 2/2', '"x" 1/1']);
    expect(await buckets(fleet, { field: 'group.path' })).toEqual(['"/two" 2/2', '"/" 1/1', '"/one" 1/1']);
    for (const field of ['aggregatedActivityState', 'network.lora.lostMessagesRangeLabel'])
      expect(await byField(fleet, { field })).toEqual({ count: 4, devices: 4, buckets: [] });
    const filters = { queryString: `id==${fleet.id('a')}` };
    expect(await stats(fleet, { filters, groupBy: { field: 'tags' } })).toEqual({
      devices: 1,
      fieldAggregation: {
        count: 1,
        devices: 1,
        buckets: [
          { key: 'spain', count: 1, devices: 1 },
          { key: 'v2', count: 1, devices: 1 },
        ],
      },
    });
    const none = { filters: { queryString: 'tags==none' }, groupBy: { field: 'tags' } };
    expect(await stats(fleet, none)).toEqual({ devices: 0, fieldAggregation: { count: 0, devices: 0, buckets: [] } });
  });

  it('INV-056 INV-057 are fifty at most, and counted all when asked', async () => {
    const fleet = fleets.fleet();
    for (let i = 0; i < 12; i++)
      await fleet.device(`d${i}`, {
        tags: Array.from({ length: 10 }, (_, n) => `t${String(i * 10 + n).padStart(3, '0')}`),
      });
    await fleet.device('more', { tags: ['t119', 't118', 't117'] });
    await fleet.device('most', { tags: ['t119'] });
    const aggregation = await byField(fleet, { field: 'tags' });
    expect(aggregation).not.toHaveProperty('keys');
    const found = shown(aggregation);
    expect(found).toHaveLength(50);
    expect(found.slice(0, 4)).toEqual(['"t119" 3/3', '"t117" 2/2', '"t118" 2/2', '"t000" 1/1']);
    expect(await byField(fleet, { field: 'tags' }, { includeTotalKeys: true })).toMatchObject({ keys: 120, count: 14 });
  });

  it('INV-058 count the devices without a value as missing when asked', async () => {
    const fleet = fleets.fleet();
    for (let i = 0; i < 5; i++) await fleet.device(`d${i}`, { tags: ['spain'] });
    await fleet.device('bare');
    const expected = { count: 6, devices: 6, buckets: [{ key: 'spain', count: 5, devices: 5 }] };
    expect(await byField(fleet, { field: 'tags' })).toEqual(expected);
    expect(await byField(fleet, { field: 'tags' }, { includeMissingDevicesCount: true })).toEqual({
      ...expected,
      missing: 1,
    });
  });

  it('INV-045 may be by the whole list of connectors', async () => {
    const fleet = fleets.fleet();
    for (let i = 0; i < 5; i++) await fleet.device(`d${i}`, { interfaces: [fleet.by('lora')] });
    await fleet.device('both', { interfaces: [fleet.by('sms'), fleet.by('lora')] });
    await fleet.device('none');
    const composite = { compositeField: 'connectors' };
    expect(await byField(fleet, composite, { includeMissingDevicesCount: true })).toEqual({
      count: 7,
      devices: 7,
      buckets: [
        { key: ['lora'], count: 5, devices: 5 },
        { key: [], count: 1, devices: 1 },
        { key: ['lora', 'sms'], count: 1, devices: 1 },
      ],
      missing: 0,
    });
    const within = await byField(fleet, { ...composite, groupBy: { interfaces: { field: 'connector' } } });
    expect((within['buckets'] as Body[]).map((each) => shown(each['fieldAggregation']))).toEqual([
      ['"lora" 5/5'],
      [],
      ['"lora" 1/1', '"sms" 1/1'],
    ]);
  });
});

describe('groups by a field of components', () => {
  it('INV-040 INV-046 count components beside devices', async () => {
    const fleet = fleets.fleet();
    await fleet.device('two', { interfaces: [fleet.by('sms'), fleet.by('sms')] });
    expect(await stats(fleet, { groupBy: { interfaces: { field: 'status' } } })).toEqual({
      devices: 1,
      fieldAggregation: { count: 2, devices: 1, buckets: [{ key: 'ONLINE', count: 2, devices: 1 }] },
    });
    for (let i = 0; i < 3; i++) await fleet.device(`off${i}`, { interfaces: [fleet.by('x-connector')] });
    for (let i = 0; i < 4; i++) await fleet.device(`on${i}`, { interfaces: [fleet.by('sms')] });
    await fleet.device('bare');
    expect(await stats(fleet, { groupBy: { interfaces: { field: 'status' } } })).toEqual({
      devices: 9,
      fieldAggregation: {
        count: 9,
        devices: 8,
        buckets: [
          { key: 'ONLINE', count: 6, devices: 5 },
          { key: 'OFFLINE', count: 3, devices: 3 },
        ],
      },
    });
    expect(await buckets(fleet, { interfaces: { field: 'connector' } })).toEqual(['"sms" 6/5', '"x-connector" 3/3']);
  });

  it('INV-047 INV-048 keep all properties of the devices selected, or those of a nested filter', async () => {
    const fleet = fleets.fleet();
    await fleet.device('a', { properties: { prop1: 'val1', prop2: 'val2' } });
    await fleet.device('b', { properties: { prop2: 'val1', prop3: 'val1' } });
    await fleet.device('c');
    const queryString = 'properties.k==prop1';
    expect(await stats(fleet, { filters: { queryString }, groupBy: { properties: { field: 'value' } } })).toEqual({
      devices: 1,
      fieldAggregation: {
        count: 2,
        devices: 1,
        buckets: [
          { key: 'val1', count: 1, devices: 1 },
          { key: 'val2', count: 1, devices: 1 },
        ],
      },
    });
    const nested = (field: string, filter: Body) => stats(fleet, { groupBy: { properties: { field, filter } } });
    expect(await nested('value', { key: 'prop1' })).toEqual({
      devices: 3,
      fieldAggregation: { count: 1, devices: 1, buckets: [{ key: 'val1', count: 1, devices: 1 }] },
    });
    expect(await nested('key', { value: 'val1' })).toMatchObject({ fieldAggregation: { count: 3, devices: 2 } });
    expect(await nested('key', { value: 'val1', key: 'none' })).toEqual({
      devices: 3,
      fieldAggregation: { count: 0, devices: 0, buckets: [] },
    });
    expect(await buckets(fleet, { properties: { field: 'value' } })).toEqual(['"val1" 3/2', '"val2" 1/1']);
    expect(await buckets(fleet, { properties: { field: 'key' } })).toEqual([
      '"prop2" 2/2',
      '"prop1" 1/1',
      '"prop3" 1/1',
    ]);
  });

  it('INV-042 INV-049 INV-059 keep the interfaces of a nested filter, and tell which have no profile', async () => {
    const fleet = fleets.fleet();
    for (let i = 0; i < 4; i++) await fleet.device(`lora${i}`, { interfaces: [fleet.by('lora')] });
    for (let i = 0; i < 2; i++) await fleet.device(`two${i}`, { interfaces: [fleet.by('sms'), fleet.by('mqtt')] });
    for (let i = 0; i < 4; i++) await fleet.device(`bare${i}`);
    const missing = { includeMissingDevicesCount: true };
    const profiles = {
      count: 8,
      devices: 6,
      buckets: [{ key: 'Generic_classA_RX2SF9', count: 4, devices: 4 }],
      missing: 2,
    };
    expect(await byField(fleet, { interfaces: { field: 'definition.profile' } }, missing)).toEqual(profiles);
    expect(await byField(fleet, { interfaces: { definition: { field: 'profile' } } }, missing)).toEqual(profiles);
    expect(await byField(fleet, { interfaces: { field: 'connector' } }, missing)).toMatchObject({ missing: 0 });
    const filtered = (filter: Body) => buckets(fleet, { interfaces: { field: 'status', filter } });
    expect(await filtered({ connector: 'lora' })).toEqual(['"REGISTERED" 4/4']);
    expect(await filtered({ status: 'ONLINE' })).toEqual(['"ONLINE" 2/2']);
    expect(await filtered({ connector: 'mqtt', status: 'ONLINE' })).toEqual([]);
    for (const profile of [
      { definition: { profile: 'Generic_classA_RX2SF9' } },
      { 'definition.profile': 'Generic_classA_RX2SF9' },
    ])
      expect(await filtered(profile)).toEqual(['"REGISTERED" 4/4']);
    expect(await filtered({ definition: { profile: 'other' } })).toEqual([]);
  });

  it('INV-043 INV-050 group activity states, also of certain states or of one rule', async () => {
    const fleet = fleets.fleet();
    await fleet.devices({ a: {}, b: {}, c: {} });
    await fleet.activity('a', 'r1', 'SILENT');
    await fleet.activity('a', 'r2', 'ACTIVE');
    await fleet.activity('b', 'r1', 'UNKNOWN');
    await fleet.activity('b', 'r2', 'SILENT');
    await eventually(async () => (await byField(fleet, { activityStates: { field: 'state' } }))['count'] === 4);
    expect(await buckets(fleet, { activityStates: { field: 'state' } })).toEqual([
      '"SILENT" 2/2',
      '"ACTIVE" 1/1',
      '"UNKNOWN" 1/1',
    ]);
    const states = { filter: { states: ['SILENT', 'UNKNOWN'] } };
    expect(await byField(fleet, { activityStates: { field: 'state', ...states } })).toMatchObject({
      count: 3,
      devices: 2,
    });
    expect(await buckets(fleet, { activityStates: { field: 'state', ...states } })).toEqual([
      '"SILENT" 2/2',
      '"UNKNOWN" 1/1',
    ]);
    const byRule = await stats(fleet, { groupBy: { activityStates: { field: 'rule.id' } } });
    expect(shown(byRule['fieldAggregation'])).toEqual(['"r1" 2/2', '"r2" 2/2']);
    expect(await stats(fleet, { groupBy: { activityStates: { rule: { field: 'id' } } } })).toEqual(byRule);
    const rule = { filter: { rule: { id: 'r1' } } };
    expect(await buckets(fleet, { activityStates: { field: 'rule.id', ...rule } })).toEqual(['"r1" 2/2']);
    expect(await buckets(fleet, { field: 'aggregatedActivityState' })).toEqual(['"SILENT" 2/2']);
  });
});
