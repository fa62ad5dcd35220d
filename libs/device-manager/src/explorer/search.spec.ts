import { eventually } from '@orrery/core/testing';
import { type Fleet, type Fleets, startFleets } from './testing/fleet.js';

const ISO = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
const UNAVAILABLE = { available: false };

let fleets: Fleets;
beforeAll(async () => {
  fleets = await startFleets();
});
afterAll(() => fleets.stop());

const statusOf = async (fleet: Fleet, body: unknown): Promise<number> => (await fleet.search(body)).status;

describe('a search', () => {
  it('INV-002 INV-034 lists the fleet by id, twenty at most when no size is given', async () => {
    const fleet = fleets.fleet();
    expect((await fleet.search({})).body).toEqual({ bookmark: [], devices: [] });
    for (let i = 30; i > 0; i--) await fleet.device(`d${String(i).padStart(2, '0')}`);
    const { status, body } = await fleet.search({});
    expect([status, Object.keys(body)]).toEqual([200, ['bookmark', 'devices']]);
    const ids = body.devices.map(({ id }) => id);
    expect(ids).toEqual(Array.from({ length: 20 }, (_, i) => fleet.id(`d${String(i + 1).padStart(2, '0')}`)));
    expect((await fleet.search({ size: 5 })).body.devices).toHaveLength(5);
    expect((await fleet.search({ size: 100_000 })).body.devices).toHaveLength(30);
    for (const size of [0, -1, 1.5, '5', 'x']) expect([size, await statusOf(fleet, { size })]).toEqual([size, 400]);
    for (const body of ['[', '7', '"x"']) expect([body, await statusOf(fleet, body)]).toEqual([body, 400]);
    const writer = fleet.client(['DEVICE_W']);
    expect((await writer.post('/api/v1/deviceMgt/explorer/search', {})).status).toBe(403);
    expect((await fleet.client(['DEVICE_R']).post('/api/v1/deviceMgt/explorer/search', {})).status).toBe(200);
  });

  it('INV-027 INV-028 shows all that is known of a device', async () => {
    const fleet = fleets.fleet();
    const site = await fleet.group('site');
    await fleet.device('full', {
      name: 'mySensor001',
      description: 'moisture',
      tags: ['Lyon', 'Test'],
      properties: { prop1: 'val1' },
      group: { id: site.id },
      staticLocation: { lat: 45.76, lon: 4.83, alt: 173 },
      interfaces: [fleet.by('mqtt'), fleet.by('lora')],
    });
    await fleet.activity('full', 'r1', 'SILENT');
    await fleet.lostMessages('full', 0.02);
    const contact = new Date().toISOString();
    await fleet.session('full', `${fleet.tenantId}-0001`, 'nodeContact', contact);
    await eventually(async () => (await fleet.one('full')).interfaces?.some(({ lastContact }) => lastContact));
    await eventually(async () => {
      const { lastCommunication, network, activities } = await fleet.one('full');
      return lastCommunication && network && activities;
    });
    const found = await fleet.one('full');
    expect(found).toEqual({
      id: fleet.id('full'),
      name: 'mySensor001',
      description: 'moisture',
      tags: ['Lyon', 'Test'],
      properties: { prop1: 'val1' },
      group: { id: site.id, path: '/site' },
      interfaces: expect.any(Array),
      activities: [{ ruleId: 'r1', state: 'SILENT' }],
      aggregatedActivityState: 'SILENT',
      lastCommunication: contact,
      created: ISO,
      updated: ISO,
      location: { lat: 45.76, lon: 4.83, alt: 173, provider: 'static', lastUpdate: ISO },
      network: { lora: { lostMessagesRatio: 0.02 } },
    });
    expect(found.interfaces!.find(({ connector }) => connector === 'mqtt')).toEqual({
      connector: 'mqtt',
      nodeId: `${fleet.tenantId}-0001`,
      enabled: true,
      status: 'REGISTERED',
      definition: { clientId: `${fleet.tenantId}-0001` },
      activity: {},
      capabilities: { command: UNAVAILABLE, configuration: UNAVAILABLE, resource: UNAVAILABLE, twin: UNAVAILABLE },
      lastContact: contact,
      created: ISO,
      updated: ISO,
    });
    // Secrets are shown by no door.
    expect(JSON.stringify(found)).not.toContain('11223344556677889988776655443322');
    await fleet.device('bare');
    expect(await fleet.one('bare')).toEqual({
      id: fleet.id('bare'),
      tags: [],
      properties: {},
      group: { id: 'root', path: '/' },
      created: ISO,
      updated: ISO,
    });
  });

  it('INV-001 follows changes and deletions', async () => {
    const fleet = fleets.fleet();
    await fleet.device('d', { name: 'before' });
    await fleet.patch('d', { name: 'after', tags: ['new'] });
    await eventually(async () => (await fleet.one('d')).name === 'after');
    expect(await fleet.found({ query: 'before' })).toBe('');
    expect(await fleet.found({ query: 'after' })).toBe('d');
    await fleet.api.delete(`/api/v1/deviceMgt/devices/${fleet.id('d')}`);
    expect(await fleet.found({})).toBe('');
  });
});

describe('what devices send', () => {
  it('INV-025 is their location, unless they have a static one', async () => {
    const fleet = fleets.fleet();
    const mqtt = fleet.by('mqtt');
    const nodeId = (mqtt['definition'] as { clientId: string }).clientId;
    await fleet.device('d', { interfaces: [mqtt] });
    const located = (lat: number) =>
      eventually(async () => {
        const { location } = await fleet.one('d');
        return location?.lat === lat && location;
      });
    const sent = await fleet.message(nodeId, { lat: 48.8, lon: 2.3, alt: 35.5, accuracy: 12.3, provider: 'My_GPS' });
    expect(await located(48.8)).toEqual({
      lat: 48.8,
      lon: 2.3,
      alt: 35.5,
      accuracy: 12.3,
      provider: 'My_GPS',
      lastUpdate: sent,
    });
    // Messages without a location leave it as it is, whatever their values are called.
    await fleet.message(nodeId, undefined, { location: { lat: 9, lon: 9 } });
    await fleet.message(nodeId, undefined, { text: '"location":' });
    await fleet.message(nodeId, { lat: 48.9, lon: 2.3, provider: 'bad\u0000one' });
    expect(await located(48.9)).toEqual({ lat: 48.9, lon: 2.3, lastUpdate: ISO });

    await fleet.patch('d', { staticLocation: { lat: 1, lon: 2 } });
    expect(await located(1)).toEqual({ lat: 1, lon: 2, provider: 'static', lastUpdate: ISO });
    const after = await fleet.message(nodeId, { lat: 50, lon: 3 });
    await eventually(async () => (await fleet.one('d')).lastCommunication === after);
    expect((await fleet.one('d')).location).toMatchObject({ lat: 1, lon: 2, provider: 'static' });
    const box = (lat: number) => ({ topLeft: { lat, lon: 0 }, bottomRight: { lat: lat - 1, lon: 5 } });
    expect(await fleet.found({ filters: { geoBounds: box(1.5) } })).toBe('d');
    await fleet.patch('d', { staticLocation: {} });
    await fleet.message(nodeId, { lat: 51, lon: 3, provider: 'gps' });
    expect(await located(51)).toMatchObject({ lat: 51, provider: 'gps' });
    expect(await fleet.found({ filters: { geoBounds: box(1.5) } })).toBe('');
  });

  it('INV-029 is the last communication, and so are their contacts', async () => {
    const fleet = fleets.fleet();
    const mqtt = fleet.by('mqtt');
    const nodeId = (mqtt['definition'] as { clientId: string }).clientId;
    await fleet.device('d', { interfaces: [mqtt] });
    const last = (at: string) => eventually(async () => (await fleet.one('d')).lastCommunication === at);
    const data = await fleet.message(nodeId);
    await last(data);
    const later = new Date(Date.parse(data) + 5000).toISOString();
    await fleet.session('d', nodeId, 'nodeContact', later);
    await last(later);
    // What comes late is not the latest, and what nobody can read is nothing.
    await fleet.session('d', nodeId, 'nodeContact', data);
    await fleet.message(nodeId);
    await fleet.session('d', nodeId, 'nodeContact', new Date(Date.parse(later) + 1).toISOString());
    await last(new Date(Date.parse(later) + 1).toISOString());
  });
});

describe('a free text query', () => {
  it('INV-030 INV-031 INV-033 finds parts of what a device is called', async () => {
    const fleet = fleets.fleet();
    const plant = await fleet.group('Usine-Été');
    await fleet.devices({
      a: { name: 'mySensor001', tags: ['alpha', 'v2'], group: { id: plant.id } },
      b: { name: 'other', tags: ['x'], properties: { Manufacturer: 'BetaWorks' } },
      c: { name: 'ÉCLAIR 100% a_b', description: 'sensor', tags: ['日本語テスト'] },
      'gamma-ray': {},
    });
    const query = (text: string) => fleet.found({ query: text });
    expect(await query('ENSOR')).toBe('a');
    expect(await query('alpha beta')).toBe('a b');
    expect(await query('  MANUFACT\t')).toBe('b');
    expect(await query('usine-é')).toBe('a');
    expect(await query('éclair')).toBe('c');
    expect(await query('本語テ')).toBe('c');
    expect(await query('AMMA-R')).toBe('gamma-ray');
    expect(await query('a_b')).toBe('c');
    expect(await query('a%b')).toBe('');
    expect(await query("' OR 1=1")).toBe('');
    expect(await query('se')).toBe('');
    expect(await query('v2')).toBe('a');
    expect(await query('v')).toBe('');
    expect(await query('X')).toBe('b');
    expect(await query('')).toBe('a b c gamma-ray');
    // Groups that two values of a device make together are nothing that it has.
    expect(await query('phav2')).toBe('');
    const queryString = 'tags==x';
    expect(await fleet.found({ query: 'alpha beta', filters: { queryString } })).toBe('b');
    expect(await fleet.found({ query: 'alpha', filters: { queryString } })).toBe('');
  });

  it('INV-030 finds words that nearly all devices have, and words that hardly one has', async () => {
    const fleet = fleets.fleet();
    await fleet.device('first', { tags: ['Sensor', 'x9'] });
    await fleets.backend.query(
      `INSERT INTO device_manager.devices (tenant_id, id, name, default_data_stream_id, group_id, created, updated)
       SELECT $1, $2 || 'many' || n, 'Sensor ' || n, 's', 'root', now(), now() FROM generate_series(1, 6000) n`,
      [fleet.tenantId, fleet.id('')],
    );
    await fleets.backend.query('ANALYZE device_manager.devices');
    expect(await fleet.found({ query: 'ENSOR', size: 2 })).toBe('first many1');
    expect(await fleet.found({ query: 'ensor x9', sort: ['-relevance'], size: 3 })).toBe('first many1 many10');
    expect(await fleet.found({ query: '5999' })).toBe('many5999');
    expect(await fleet.found({ query: 'x9' })).toBe('first');
  });

  it('INV-032 has at most 256 characters', async () => {
    const fleet = fleets.fleet();
    await fleet.device('d');
    expect(await statusOf(fleet, { query: 'x'.repeat(256) })).toBe(200);
    expect(await statusOf(fleet, { query: 'x'.repeat(257) })).toBe(400);
    expect(await statusOf(fleet, { query: 'a b '.repeat(64) })).toBe(200);
    expect(
      await statusOf(fleet, {
        query: Array.from({ length: 128 }, (_, i) => String.fromCodePoint(0x4e00 + i)).join(' '),
      }),
    ).toBe(200);
    for (const query of ['a\u0000b', '\ud800', 7, ['a']])
      expect([query, await statusOf(fleet, { query })]).toEqual([query, 400]);
  });

  it('INV-036 is sorted by how many of its words are found', async () => {
    const fleet = fleets.fleet();
    await fleet.devices({
      one: { tags: ['alpha'] },
      three: { tags: ['alpha', 'beta', 'gamma'] },
      two: { tags: ['alpha', 'gamma'] },
    });
    const query = 'alpha beta gamma';
    expect(await fleet.found({ query, sort: ['-relevance'] })).toBe('three two one');
    expect(await fleet.found({ query, sort: ['relevance'] })).toBe('one two three');
    const first = await fleet.search({ query, sort: ['-relevance'], size: 1 });
    expect(first.body.bookmark).toEqual([3, fleet.id('three')]);
    expect(await fleet.found({ query, sort: ['-relevance'], bookmark: first.body.bookmark })).toBe('two one');
    expect(await fleet.found({ sort: ['relevance'] })).toBe('one three two');
  });
});

describe('the order of a search', () => {
  let fleet: Fleet;
  beforeAll(async () => {
    fleet = fleets.fleet();
    const [one, two] = [await fleet.group('grp1'), await fleet.group('grp2')];
    await fleet.device('a', {
      name: 'n2',
      group: { id: two.id },
      interfaces: [fleet.by('x-connector'), fleet.by('sms')],
    });
    await fleet.device('b', { name: 'n1', group: { id: one.id }, interfaces: [fleet.by('mqtt')] });
    await fleet.device('c', { name: 'n1', group: { id: one.id } });
    await fleet.device('d', { interfaces: [fleet.by('sms')] });
    await fleet.session('b', `${fleet.tenantId}-0003`, 'nodeContact');
    await eventually(async () => (await fleet.one('b')).interfaces![0]!.lastContact);
    await eventually(async () => (await fleet.one('b')).lastCommunication);
    await fleet.lostMessages('c', 0.5);
    await eventually(async () => (await fleet.one('c')).network);
    await fleet.patch('a', { description: 'updated last' });
  });

  const SORTED: Record<string, [ascending: string, descending: string]> = {
    id: ['a b c d', 'd c b a'],
    created: ['a b c d', 'd c b a'],
    updated: ['b c d a', 'a d c b'],
    name: ['d b c a', 'a b c d'],
    'group.path': ['d b c a', 'a b c d'],
    'interfaces.status': ['c a d b', 'b a d c'],
    'interfaces.enabled': ['c a b d', 'a b d c'],
    'interfaces.lastContact': ['a c d b', 'b a c d'],
    lastCommunication: ['a c d b', 'b a c d'],
    'network.lora.lostMessagesRatio': ['a b d c', 'c a b d'],
    relevance: ['a b c d', 'a b c d'],
  };

  it('INV-035 INV-036 is that of its sort list, and then of the ids', async () => {
    expect(await fleet.found({ sort: [] })).toBe('a b c d');
    for (const [name, [ascending, descending]] of Object.entries(SORTED)) {
      expect([name, await fleet.found({ sort: [name] })]).toEqual([name, ascending]);
      expect([name, await fleet.found({ sort: [`-${name}`] })]).toEqual([name, descending]);
    }
    expect(await fleet.found({ sort: ['-created', 'id'] })).toBe('d c b a');
    expect(await fleet.found({ sort: ['name', '-id'] })).toBe('d c b a');
    expect(await fleet.found({ sort: ['group.path', '-name', '-created', 'id'] })).toBe('d c b a');
    for (const sort of [
      ['tags'],
      ['id', 'name'],
      ['name', 'name'],
      ['name', '-name'],
      ['--id'],
      ['constructor'],
      [7],
      'id',
      [''],
    ])
      expect([sort, await statusOf(fleet, { sort })]).toEqual([sort, 400]);
  });

  it('INV-037 INV-038 INV-039 is continued after a bookmark, without gap or repeat', async () => {
    const all = Object.keys(SORTED).filter((name) => name !== 'id');
    const sorts = [
      ...Object.keys(SORTED).flatMap((name) => [[name], [`-${name}`]]),
      ['-name', 'id'],
      ['name', '-id'],
      all,
      all.map((name) => `-${name}`),
    ];
    for (const sort of sorts)
      for (const size of [1, 3]) {
        const seen: string[] = [];
        let bookmark: unknown[] = [];
        for (let pages = 0; pages < 6; pages++) {
          const { status, body } = await fleet.search({ sort, size, bookmark });
          expect([sort, status]).toEqual([sort, 200]);
          bookmark = body.bookmark;
          if (body.devices.length === 0) break;
          expect(bookmark).toHaveLength(sort.at(-1)!.endsWith('id') ? sort.length : sort.length + 1);
          expect(bookmark.at(-1)).toBe(body.devices.at(-1)!.id);
          seen.push(...body.devices.map(({ id }) => id.slice(-1)));
        }
        expect(bookmark).toEqual([]);
        expect([sort, seen.join(' ')]).toEqual([sort, await fleet.found({ sort })]);
      }
    const bookmarkOf = async (sort: string[], size: number) => (await fleet.search({ sort, size })).body.bookmark;
    expect(await bookmarkOf(['group.path'], 3)).toEqual(['/grp1', fleet.id('c')]);
    expect(await bookmarkOf([], 1)).toEqual([fleet.id('a')]);
    expect(
      await bookmarkOf(['name', 'interfaces.status', 'interfaces.enabled', 'interfaces.lastContact', 'id'], 1),
    ).toEqual([null, 'ONLINE', true, null, fleet.id('d')]);
    expect(await bookmarkOf(['-created'], 1)).toEqual([ISO, fleet.id('d')]);
  });

  it('INV-039 refuses a bookmark of another order', async () => {
    const id = fleet.id('a');
    expect(await statusOf(fleet, { sort: ['name'], bookmark: [id] })).toBe(400);
    expect(await statusOf(fleet, { sort: ['name'], bookmark: ['n', id] })).toBe(200);
    for (const [sort, bookmark] of [
      [['created'], ['yesterday', id]],
      [['created'], [{}, id]],
      [['created'], ['2026-99-99T00:00:00Z', id]],
      // Years that PostgreSQL does not read as JavaScript writes them.
      [['created'], ['0000-01-01T00:00:00.000Z', id]],
      [['-lastCommunication'], ['9999-12-31T23:59:59-23:00', id]],
      [['name'], [['x'], id]],
      [['name'], ['x\u0000', id]],
      [['interfaces.enabled'], [1e300, id]],
      [['relevance'], ['3', id]],
      [['network.lora.lostMessagesRatio'], ['x', id]],
      [[], [7]],
      [[], 'x'],
      [['id'], [id, id]],
    ])
      expect([sort, bookmark, await statusOf(fleet, { sort, bookmark })]).toEqual([sort, bookmark, 400]);
  });
});
