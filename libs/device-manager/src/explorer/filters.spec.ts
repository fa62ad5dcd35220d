import { eventually } from '@orrery/core/testing';
import { type Fleet, type Fleets, startFleets } from './testing/fleet.js';

let fleets: Fleets;
let fleet: Fleet;

beforeAll(async () => {
  fleets = await startFleets();
  fleet = fleets.fleet();
  const foo = await fleet.group('foo');
  const bar = await fleet.group('bar', foo.id);
  await fleet.devices({
    a: {
      name: 'my Device',
      tags: ['spain', 'demo'],
      group: { id: bar.id },
      properties: { prop1: 'a', prop2: 'b' },
      interfaces: [fleet.by('sms'), fleet.by('x-connector')],
    },
    b: { name: 'awesome', tags: ['v2'], group: { id: foo.id }, interfaces: [fleet.by('lora')] },
    c: { name: 'MYDEVICE', tags: ["Aujourd'hui"], properties: { prop1: 'b' }, interfaces: [fleet.by('mqtt')] },
    d: { name: 'mydevice', tags: ['a', '100%'], properties: { 'k.1': "it's" } },
    e: { tags: ['demo', 'b'], interfaces: [{ ...fleet.by('mqtt'), enabled: false }] },
  });
  // What others have is never found.
  const other = fleets.fleet();
  await other.device('a', { name: 'my Device', tags: ['spain', 'v2'] });
});
afterAll(() => fleets.stop());

const refused = async (queryString: string): Promise<void> => {
  const { status, body } = await fleet.search({ filters: { queryString } });
  expect([queryString, status, body]).toEqual([
    queryString,
    400,
    expect.objectContaining({
      code: 'GENERIC_INVALID_PARAMETER_ERROR',
      details: [{ field: 'filters.queryString', expected: expect.any(String) }],
    }),
  ]);
};

describe('a query string', () => {
  it('INV-005 has at most 512 characters', async () => {
    const long = (length: number): string => `name==${'x'.repeat(length - 6)}`;
    expect((await fleet.search({ filters: { queryString: long(512) } })).status).toBe(200);
    await refused(long(513));
  });

  it('INV-006 INV-019 INV-022 is refused when it is no RSQL of its fields and operators', async () => {
    for (const text of ['foo==1', 'id=lt=a', 'tags=in=(', 'tags=out=(a)', 'Name==x', 'NAME==x', 'name', '==', 'a==b;'])
      await refused(text);
    for (const text of ['name!=awe*', 'tags=in=(sp*)', 'interfaces.enabled==1', "interfaces=q='foo==1'", 'tags==\0'])
      await refused(text);
    await refused(`${'('.repeat(250)}tags==a`);
    expect((await fleet.search({ filters: { queryString: 7 } })).status).toBe(400);
    expect((await fleet.search({ filters: 'name==x' })).status).toBe(400);
  });

  it('INV-007 INV-022 filters on name and id, whose case counts', async () => {
    expect(await fleet.filtered("name=='my Device'")).toBe('a');
    expect(await fleet.filtered(`id==${fleet.id('b')}`)).toBe('b');
    expect(await fleet.filtered('name==MYDEVICE')).toBe('c');
    expect(await fleet.filtered('name==mydevice')).toBe('d');
  });

  it('INV-008 INV-018 filters on groups', async () => {
    for (const field of ['group.path', 'groupPath']) {
      expect(await fleet.filtered(`${field}==/foo/bar`)).toBe('a');
      expect(await fleet.filtered(`${field}==/foo*`)).toBe('a b');
      expect(await fleet.filtered(`${field}!=/foo/bar`)).toBe('b c d e');
      expect(await fleet.filtered(`${field}=in=(/foo,/)`)).toBe('b c d e');
    }
    const { group } = await fleet.one('a');
    expect(await fleet.filtered(`group.id==${group.id}`)).toBe('a');
    expect(await fleet.filtered(`groupId==${group.id}`)).toBe('a');
  });

  it('INV-009 INV-014 filters on tags', async () => {
    expect(await fleet.filtered('tags==v2')).toBe('b');
    expect(await fleet.filtered('tags=in=(spain, v2)')).toBe('a b');
    expect(await fleet.filtered('tags!=demo')).toBe('b c d');
    expect(await fleet.filtered('tags==100%*')).toBe('d');
    expect(await fleet.filtered('tags==1_0*')).toBe('');
  });

  it('INV-010 INV-011 filters on properties', async () => {
    expect(await fleet.filtered('properties.k==prop1 and properties.v==b')).toBe('a c');
    expect(await fleet.filtered('property.prop1==a')).toBe('a');
    expect(await fleet.filtered('property.prop1==b')).toBe('c');
    expect(await fleet.filtered(`property.k.1=="it's"`)).toBe('d');
    expect(await fleet.filtered("properties=q='k==prop1 and v==b'")).toBe('c');
    expect(await fleet.filtered("properties=q='k==prop1 and v==a'")).toBe('a');
    expect(await fleet.filtered('properties.k==prop*')).toBe('a c');
  });

  it('INV-012 INV-013 INV-014 INV-015 filters on interfaces', async () => {
    expect(await fleet.filtered('interfaces.connector==mqtt')).toBe('c e');
    const { interfaces } = await fleet.one('c');
    expect(await fleet.filtered(`interfaces.nodeId==${interfaces![0]!.nodeId}`)).toBe('c');
    expect(await fleet.filtered('interfaces.enabled==false')).toBe('a e');
    expect(await fleet.filtered('interfaces.definition.profile==Generic_classA_RX2SF9')).toBe('b');
    expect(await fleet.filtered('interfaces.status==ONLINE')).toBe('a');
    for (const status of ['SLEEPING', 'UNKNOWN', 'INITIALIZING', 'ACTIVATED'])
      expect(await fleet.filtered(`interfaces.status==${status}`)).toBe('');
    expect(await fleet.filtered('interfaces.status=in=(REGISTERED,DEACTIVATED)')).toBe('b c e');
    expect(await fleet.filtered('interfaces.status!=OFFLINE')).toBe('a b c e');
    expect(await fleet.filtered("interfaces=q='connector==lo*'")).toBe('b');
    expect(await fleet.filtered("interfaces=q='connector==x-connector and status==ONLINE'")).toBe('');
    expect(await fleet.filtered("interfaces=q='connector==sms and status==ONLINE'")).toBe('a');
  });

  it('INV-018 takes a star at the end of a value for a prefix', async () => {
    expect(await fleet.filtered(`id==${fleet.id('')}*`)).toBe('a b c d e');
    expect(await fleet.filtered('id==urn:lo:nsid:other*')).toBe('');
    expect(await fleet.filtered('name==my*')).toBe('a d');
  });

  it('INV-020 INV-021 combines by and, or and parentheses, and quotes values', async () => {
    expect(await fleet.filtered('tags==v2,tags==demo;name=="my Device"')).toBe('a b');
    expect(await fleet.filtered('tags==v2 or tags==demo and name=="my Device"')).toBe('a b');
    expect(await fleet.filtered('(tags==v2,tags==demo);name=="my Device"')).toBe('a');
    expect(await fleet.filtered('(tags==a or name==awe*) and interfaces.connector==lora')).toBe('b');
    expect(await fleet.filtered("tags=='Aujourd\\'hui'")).toBe('c');
    expect(await fleet.filtered(`tags=="Aujourd'hui"`)).toBe('c');
    expect(await fleet.filtered("name=='x\\' OR true OR \\''")).toBe('');
  });
});

describe('states that other services report', () => {
  it('INV-016 INV-024 are those of activity rules', async () => {
    const watched = fleets.fleet();
    const states: Record<string, Array<'ACTIVE' | 'SILENT' | 'UNKNOWN'>> = {
      active: ['ACTIVE', 'UNKNOWN'],
      none: [],
      silent: ['ACTIVE', 'SILENT'],
      unknown: ['UNKNOWN'],
    };
    for (const [name, given] of Object.entries(states)) {
      await watched.device(name);
      for (const [i, state] of given.entries()) await watched.activity(name, `ac${i}`, state);
    }
    await eventually(async () => (await watched.filtered('activities.ruleId==ac*')) === 'active silent unknown');
    expect(await watched.filtered("activities=q='state!=SILENT or ruleId==ac*'")).toBe('active silent unknown');
    expect(await watched.filtered("activities=q='state==SILENT and ruleId==ac0'")).toBe('');
    expect(await watched.filtered('activities.state==ACTIVE')).toBe('active silent');
    expect(await watched.filtered('activities.ruleId==ac1')).toBe('active silent');
    for (const state of ['SILENT', 'ACTIVE', 'UNKNOWN'])
      expect(await watched.filtered(`aggregatedActivityState==${state}`)).toBe(state.toLowerCase());
    expect(await watched.one('silent')).toMatchObject({
      activities: [
        { ruleId: 'ac0', state: 'ACTIVE' },
        { ruleId: 'ac1', state: 'SILENT' },
      ],
      aggregatedActivityState: 'SILENT',
    });
    for (const field of ['activities', 'aggregatedActivityState'])
      expect(await watched.one('none')).not.toHaveProperty(field);
    await watched.activity('silent', 'ac1', null);
    await eventually(async () => (await watched.one('silent')).aggregatedActivityState === 'ACTIVE');
    await watched.activity('unknown', 'ac0', null);
    await eventually(async () => (await watched.one('unknown')).aggregatedActivityState === undefined);
  });

  it('INV-017 are the messages that LoRa devices lost', async () => {
    const lora = fleets.fleet();
    const ratios: Record<string, number> = { a: 0.024, b: 0.1, c: 1, d: 0.2, e: 0.3, f: 0 };
    for (const [name, ratio] of Object.entries(ratios)) {
      await lora.device(name);
      await lora.lostMessages(name, ratio);
    }
    await lora.device('g');
    const label = (range: string) => lora.filtered(`network.lora.lostMessagesRangeLabel==${range}`);
    await eventually(async () => (await label('0-10%')) === 'a f');
    expect(await Promise.all(['10-20%', '20-30%', '30-100%'].map(label))).toEqual(['b', 'd', 'c e']);
    expect((await lora.one('a')).network).toEqual({ lora: { lostMessagesRatio: 0.024 } });
    expect(await lora.one('g')).not.toHaveProperty('network');
    expect(await lora.found({ sort: ['-network.lora.lostMessagesRatio', 'id'] })).toBe('c e d b a f g');
    await lora.lostMessages('a', null);
    await eventually(async () => !('network' in (await lora.one('a'))));
  });
});

describe('a box of positions', () => {
  const box = (topLeft: object, bottomRight: object) => ({ geoBounds: { topLeft, bottomRight } });

  it('INV-004 INV-023 holds what lies in it, borders included, and goes together with a query string', async () => {
    const placed = fleets.fleet();
    const at = (lat: number, lon: number, more = {}) => ({ staticLocation: { lat, lon }, ...more });
    await placed.devices({
      border: at(12.34567, 20.20202),
      inside: at(48.85, 2.34, { interfaces: [placed.by('lora')] }),
      north: at(52, 2),
      nowhere: {},
      west: at(48.85, 1.1),
    });
    const bounds = box({ lat: 50.56789, lon: 1.10101 }, { lat: 12.34567, lon: 20.20202 });
    expect(await placed.found({ filters: bounds })).toBe('border inside');
    const queryString = 'interfaces.connector==lora';
    expect(await placed.found({ filters: { ...bounds, queryString } })).toBe('inside');
    expect(await placed.found({ filters: { ...bounds, queryString: 'tags==x' } })).toBe('');
    await placed.devices({ fiji: at(-18, 178), samoa: at(-14, -172) });
    expect(await placed.found({ filters: box({ lat: 0, lon: 170 }, { lat: -20, lon: -170 }) })).toBe('fiji samoa');
    for (const wrong of [
      {},
      { topLeft: { lat: 1, lon: 1 } },
      box({ lat: 91, lon: 1 }, { lat: 0, lon: 1 }).geoBounds,
      box({ lat: '1', lon: 1 }, { lat: 0, lon: 1 }).geoBounds,
      box({ lat: 0, lon: 1 }, { lat: 1, lon: 1 }).geoBounds,
      [],
      'x',
    ])
      expect([wrong, (await placed.search({ filters: { geoBounds: wrong } })).status]).toEqual([wrong, 400]);
  });
});
