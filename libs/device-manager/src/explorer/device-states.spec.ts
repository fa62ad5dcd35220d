import { eventually, type TestPlatform } from '@orrery/core/testing';
import { type Fleet, type Fleets, startFleets } from './testing/fleet.js';

let fleets: Fleets;
beforeAll(async () => {
  fleets = await startFleets();
});
afterAll(() => fleets.stop());

const deadLetters = async (): Promise<number> => {
  const bus = await fleets.backend.bus();
  return (await bus.jsm.streams.info('DEAD')).state.messages;
};
const nodes = async (fleet: Fleet, count: number): Promise<string[]> => {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    const mqtt = fleet.by('mqtt');
    await fleet.device(`d${i}`, { interfaces: [mqtt] });
    ids.push((mqtt['definition'] as { clientId: string }).clientId);
  }
  return ids;
};

describe('the state of devices', () => {
  it('is kept by two instances together, and by the one that is left', async () => {
    const fleet = fleets.fleet();
    const ids = await nodes(fleet, 16);
    const latitudes = async (): Promise<Array<number | undefined>> =>
      (await fleet.search({ size: 100, sort: ['created'] })).body.devices.map(({ location }) => location?.lat);
    const other: TestPlatform = await fleets.boot();
    for (let round = 1; round <= 20; round++) {
      if (round === 10) await other.close();
      await Promise.all(ids.map((id, i) => fleet.message(id, { lat: round, lon: i })));
    }
    await eventually(async () => (await latitudes()).every((lat) => lat === 20));
    expect(await latitudes()).toHaveLength(16);
  });

  it('is nothing of what is unknown, deleted, of another tenant, or no device at all', async () => {
    const [fleet, other] = [fleets.fleet(), fleets.fleet()];
    const [nodeId] = await nodes(fleet, 1);
    await fleet.device('gone');
    await fleet.api.delete(`/api/v1/deviceMgt/devices/${fleet.id('gone')}`);
    const before = await deadLetters();
    const location = { lat: 1, lon: 1 };
    for (const source of ['urn:lo:nsid:no:body', 'a\u0000b', '\ud800', '', 'x'.repeat(100_000), fleet.id('gone')])
      await fleet.inject(source, location);
    await other.inject(fleet.id('d0'), location);
    await fleet.activity('gone', 'r', 'SILENT');
    await fleet.lostMessages('gone', 1);
    const last = await fleet.message(nodeId!);
    await eventually(async () => (await fleet.one('d0')).lastCommunication === last);
    expect(await fleet.one('d0')).not.toHaveProperty('location');
    expect(await fleet.found({})).toBe('d0');
    expect((await other.search()).body.devices).toEqual([]);
    // Registered anew, a device knows nothing of its former life.
    await fleet.device('gone');
    const { lastCommunication, location: position, activities, network } = await fleet.one('gone');
    expect([lastCommunication, position, activities, network]).toEqual([undefined, undefined, undefined, undefined]);
    expect(await deadLetters()).toBe(before);
  });

  it('INV-029 is the contact that an external connector tells of, which is not in the future', async () => {
    const fleet = fleets.fleet();
    const external = fleet.by('x-connector');
    const { nodeId } = external['definition'] as { nodeId: string };
    await fleet.device('d', { interfaces: [{ ...external, enabled: true }] });
    const contact = new Date(Date.now() - 60_000).toISOString();
    await fleet.nodeStatus('d', nodeId, contact);
    await eventually(async () => (await fleet.one('d')).lastCommunication === contact);
    expect((await fleet.one('d')).interfaces).toMatchObject([{ lastContact: contact, status: 'ONLINE' }]);
    await fleet.nodeStatus('d', nodeId, '9999-01-01T00:00:00.000Z');
    await eventually(async () => (await fleet.one('d')).lastCommunication !== contact);
    expect(Date.parse((await fleet.one('d')).lastCommunication!)).toBeLessThanOrEqual(Date.now());
  });

  it('waits for a device that is being changed, and not the other way round', async () => {
    const fleet = fleets.fleet();
    await fleet.device('d');
    const { query } = fleets.backend;
    await query('BEGIN');
    try {
      await query(`SET LOCAL lock_timeout = '500ms'`);
      await query('SELECT 1 FROM device_manager.devices WHERE id = $1 FOR UPDATE', [fleet.id('d')]);
      await fleet.lostMessages('d', 0.5);
      await fleet.activity('d', 'r', 'SILENT');
      await eventually(async () => (await query('SELECT 1 FROM pg_locks WHERE NOT granted')).length > 0);
      // As the trigger of a static location does.
      await query('UPDATE device_manager.device_states SET static_since = now() WHERE device_id = $1', [fleet.id('d')]);
    } finally {
      await query('ROLLBACK');
    }
    await eventually(async () => (await fleet.one('d')).aggregatedActivityState === 'SILENT');
  });

  it('is also that of messages which name their device over HTTP', async () => {
    const fleet = fleets.fleet();
    await fleet.device('named');
    await fleet.inject(fleet.id('named'), { lat: 37.6, lon: -122.1 });
    await eventually(async () => (await fleet.one('named')).location?.lat === 37.6);
  });
});

it('INV-060 an account has ten devices, each with ten tags and properties and five interfaces, unless its offer says otherwise', async () => {
  const limited = fleets.fleet({});
  const post = async (name: string, body: object): Promise<number> =>
    (await limited.api.post('/api/v1/deviceMgt/devices', { id: limited.id(name), ...body })).status;
  const many = (count: number): string[] => Array.from({ length: count }, (_, i) => `t${i}`);
  const properties = (count: number) => Object.fromEntries(many(count).map((name) => [name, name]));
  const interfaces = (count: number) => many(count).map(() => limited.by('mqtt'));
  expect(await post('d0', { tags: many(11) })).toBe(400);
  expect(await post('d0', { properties: properties(11) })).toBe(400);
  expect(await post('d0', { interfaces: interfaces(6) })).toBe(400);
  expect(await post('d0', { tags: many(10), properties: properties(10), interfaces: interfaces(5) })).toBe(200);
  for (let i = 1; i < 10; i++) expect(await post(`d${i}`, {})).toBe(200);
  expect(await post('d10', {})).toBe(403);
  expect((await limited.stats()).body).toEqual({ devices: 10 });
});
