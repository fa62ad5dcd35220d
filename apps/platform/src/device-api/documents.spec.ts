import { eventually } from '@orrery/core/testing';
import {
  type Account,
  type Connected,
  type DeviceApi,
  type Json,
  type Received,
  type Registered,
  startDeviceApi,
} from '../testing/device-api.js';

const LICENSE = { data: 'device-specific license ✓ {"a":"\\u0001"}', signature: 'RSA "signature"' };

let on: DeviceApi;
let account: Account;
beforeAll(async () => {
  on = await startDeviceApi();
  account = await on.account();
});
afterAll(() => on?.stop());

interface Session extends Connected {
  device: Registered;
  /** Takes the next message of this topic, whose body has this in it: what was changed before may still be on its way. */
  next(name: string, containing?: Json): Promise<Received>;
}

const contains = (body: Json, part: Json): boolean =>
  Object.entries(part).every(([name, value]) => body[name] === value);

async function session(as = account): Promise<Session> {
  const device = await on.register(as);
  const connected = await on.connect(device);
  const { messages, topic } = connected;
  return {
    ...connected,
    device,
    next: async (name, containing = {}) => {
      const index = await eventually(() => {
        const at = messages.findIndex((message) => message.topic === topic(name) && contains(message.body, containing));
        return at >= 0 && { at };
      });
      return messages.splice(index.at, 1)[0]!;
    },
  };
}

const licenses = async ({ path }: Registered): Promise<Json[]> =>
  (await account.api.get<Json[]>(`${path}/licenses`)).body;

describe('licenses', () => {
  it('DEM-017 are told to the device with each operation, data and signature as they are', async () => {
    const { device, subscribe, next, topic, messages } = await session();
    await subscribe('license');
    const path = `${device.path}/licenses`;
    const { id } = (await account.api.post<{ id: string }>(path, LICENSE)).body;
    const flags = { add: false, update: false, remove: false };
    const told = { topic: topic('license'), responseTopic: topic('license/update') };
    expect(await next('license')).toEqual({ ...told, body: { ...LICENSE, id, ...flags, add: true } });
    const changed = { data: 'new', signature: 'S' };
    expect((await account.api.put(`${path}/${id}`, changed)).status).toBe(200);
    expect(await next('license')).toEqual({ ...told, body: { ...changed, id, ...flags, update: true } });
    expect((await account.api.delete(`${path}/${id}`)).status).toBe(202);
    expect(await next('license')).toEqual({ ...told, body: { ...changed, id, ...flags, remove: true } });
    expect(messages).toEqual([]);
  });

  it('DEM-018 have the state that the device reports', async () => {
    const { device, publish, subscribe, next } = await session();
    await subscribe('license');
    const path = `${device.path}/licenses`;
    const { id } = (await account.api.post<{ id: string }>(path, LICENSE)).body;
    const report = (body: Json): Promise<number> => publish('license/update', { id, ...body });
    expect(await report({ state: 'inuse' })).toBe(0);
    expect(await licenses(device)).toMatchObject([{ id, state: 'inuse' }]);
    expect(await report({ state: 'error', error: 'great not success!' })).toBe(0);
    expect(await licenses(device)).toMatchObject([{ state: 'error', error: 'great not success!' }]);
    await account.api.put(`${path}/${id}`, LICENSE);
    expect(await report({ state: 'done', error: 'as in the example' })).toBe(0);
    const [used] = await licenses(device);
    expect(used).toMatchObject({ state: 'inuse', operation: 'update' });
    expect(used).not.toHaveProperty('error');
    for (const bad of [{ state: 'foo' }, {}, { state: 'error', error: 1 }, { state: 'error', error: 'x'.repeat(5000) }])
      expect([bad, await report(bad)]).toEqual([bad, 0x99]);
    expect(await publish('license/update', { id: 'unknown', state: 'inuse' })).toBe(0x99);
    expect(await publish('license/update', { id: '\0', state: 'inuse' })).toBe(0x99);
    expect(await publish('license/update', { state: 'inuse' })).toBe(0x99);
    expect(await licenses(device)).toMatchObject([{ state: 'inuse' }]);
    await account.api.delete(`${path}/${id}`);
    await next('license');
    expect(await report({ state: 'done' })).toBe(0);
    expect(await licenses(device)).toMatchObject([{ state: 'removed' }]);
    expect(await report({ state: 'removed' })).toBe(0);
  });

  it('belong to the device alone', async () => {
    const [mine, other] = [await session(), await session()];
    const { id } = (await account.api.post<{ id: string }>(`${mine.device.path}/licenses`, LICENSE)).body;
    expect(await other.publish('license/update', { id, state: 'inuse' })).toBe(0x99);
    expect(await licenses(mine.device)).toMatchObject([{ state: 'pending' }]);
  });

  it('wait for a device that is away, and come again when it asks; those that it removed do not', async () => {
    const device = await on.register(account);
    const path = `${device.path}/licenses`;
    const ids: string[] = [];
    for (const data of ['1', '2', '3'])
      ids.push((await account.api.post<{ id: string }>(path, { ...LICENSE, data })).body.id);
    const { subscribe, messages, publish } = await on.connect(device);
    await subscribe('license');
    await eventually(() => messages.length === 3);
    expect(messages.map(({ body }) => body['data'])).toEqual(['1', '2', '3']);
    await account.api.delete(`${path}/${ids[1]}`);
    await eventually(() => messages.length === 4);
    await publish('license/update', { id: ids[1], state: 'removed' });
    messages.length = 0;
    expect(await publish('get', 'anything')).toBe(0);
    await eventually(() => messages.length === 2);
    expect(messages.map(({ body }) => body['id'])).toEqual([ids[0], ids[2]]);
  });

  it('are sent no more than the client takes at once', async () => {
    const device = await on.register(account);
    const many = Array.from({ length: 10 }, (_, n) => String(n));
    for (const data of many) await account.api.post(`${device.path}/licenses`, { ...LICENSE, data });
    await account.api.post(`${device.path}/licenses`, { ...LICENSE, data: 'x'.repeat(5000) });
    const { subscribe, messages } = await on.connect(device, {
      properties: { receiveMaximum: 1, maximumPacketSize: 2000 },
    });
    await subscribe('license');
    await eventually(() => messages.length === 10);
    expect(messages.map(({ body }) => body['data'])).toEqual(many);
    await on.audit(account, device, 'message_too_large');
  });
});

describe('space information', () => {
  it('DEM-019 is made of the static location, the group and the properties of the device', async () => {
    const { device, subscribe, next, topic } = await session();
    const group = (await account.api.post<{ id: string }>('/api/v1/deviceMgt/groups', { pathNode: 'class' })).body;
    const change = {
      staticLocation: { lat: 51.165691, lon: 10.451526, alt: 3 },
      properties: { utc_offset: '60' },
      group: { id: group.id },
    };
    expect((await account.api.patch(device.path, change)).status).toBe(200);
    await subscribe('space_info');
    const first = await next('space_info', { name: 'class' });
    expect(first.topic).toBe(topic('space_info'));
    expect(first.body).toEqual({
      location: { coordinates: { lat: 51.165691, lng: 10.451526 }, utc_offset: 60, name: 'class' },
      temperature_units: 'celsius',
      maintenance: false,
      name: 'class',
      local_time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+01:00$/),
    });
    expect(Math.abs(Date.parse(first.body['local_time'] as string) - Date.now())).toBeLessThan(60_000);
    const properties = { utc_offset: '-210', temperature_units: 'fahrenheit', maintenance: 'true' };
    await account.api.patch(device.path, { properties, staticLocation: {} });
    expect((await next('space_info', { maintenance: true })).body).toMatchObject({
      location: { coordinates: null, utc_offset: -210 },
      temperature_units: 'fahrenheit',
      maintenance: true,
      local_time: expect.stringMatching(/-03:30$/),
    });
    await account.api.put(`/api/v1/deviceMgt/groups/${group.id}`, { pathNode: 'school', parentId: 'root' });
    expect((await next('space_info', { name: 'school' })).body).toMatchObject({ location: { name: 'school' } });
  });

  it('comes with a request for everything, where it is subscribed', async () => {
    const { device, subscribe, next, publish, client, topic, messages } = await session();
    expect(await publish('get', '')).toBe(0);
    await subscribe('space_info', 'config', 'commands', 'license', 'firmware');
    await next('space_info');
    await account.api.patch(device.path, { properties: { utc_offset: 'soon' } });
    expect(await publish('get', '{}')).toBe(0);
    expect((await next('space_info')).body).toMatchObject({ location: { utc_offset: 0 } });
    await client.unsubscribeAsync(topic('space_info'));
    messages.length = 0;
    expect(await publish('get', '{}')).toBe(0);
    expect(await publish('update', {})).toBe(0);
    expect(messages).toEqual([]);
  });
});

describe('what a device changes of itself', () => {
  it('is its name and its firmware version, both or nothing', async () => {
    const { device, publish } = await session();
    expect(await publish('update', { firmware_version: '1.0.8', name: 'N' })).toBe(0);
    for (const bad of [{ foo: 1 }, { name: 'other', foo: 1 }, { name: 1 }, { name: null }, { firmware_version: 2 }, []])
      expect([bad, await publish('update', bad)]).toEqual([bad, 0x99]);
    expect(await publish('update', { name: 'x'.repeat(300), firmware_version: '3' })).toBe(0x99);
    expect((await account.api.get<Json>(device.path)).body['name']).toBe('N');
    const rows = await on.backend.query<Json>(
      'SELECT firmware_version FROM device_manager.device_accesses WHERE id = $1',
      [device.id],
    );
    expect(rows).toEqual([{ firmware_version: '1.0.8' }]);
    await on.audit(account, device, 'bad_message');
  });

  it('DEM-022 are settings, kept as properties, ten at most', async () => {
    const small = await on.account({ mqtt: { rateLimiting: false }, http: { rateLimiting: false } });
    const { device, publish } = await session(small);
    const properties = async (): Promise<unknown> => (await small.api.get<Json>(device.path)).body['properties'];
    expect(await publish('cloud_settings/update', { property: 'p1', value: 'v1' })).toBe(0);
    expect(await properties()).toEqual({ p1: 'v1' });
    const values = [1, 1.5, true, { a: [1] }, '', 'ü', 'x', 'y', 'z'];
    for (const [n, value] of values.entries())
      expect(await publish('cloud_settings/update', { property: `p${n + 2}`, value })).toBe(0);
    const ten = {
      p1: 'v1',
      p2: '1',
      p3: '1.5',
      p4: 'true',
      p5: '{"a":[1]}',
      p6: '',
      p7: 'ü',
      p8: 'x',
      p9: 'y',
      p10: 'z',
    };
    expect(await properties()).toEqual(ten);
    expect(await publish('cloud_settings/update', { property: 'p11', value: 'v' })).toBe(0x99);
    for (const bad of [
      { value: 'v' },
      { property: 1, value: 'v' },
      { property: '', value: 'v' },
      { property: 'p1' },
      '[',
    ])
      expect([bad, await publish('cloud_settings/update', bad)]).toEqual([bad, 0x99]);
    expect(await publish('cloud_settings/update', { property: 'p1', value: 'x'.repeat(1025) })).toBe(0x99);
    expect(await publish('cloud_settings/update', { property: 'p1', value: 'v2' })).toBe(0);
    expect(await properties()).toEqual({ ...ten, p1: 'v2' });
    await on.audit(small, device, 'bad_message');
  });
});
