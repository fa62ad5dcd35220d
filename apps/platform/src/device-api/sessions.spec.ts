import { Database } from '@orrery/core/database';
import { UNLIMITED_CONTENTS } from '@orrery/core/limits';
import { apiClient, eventually } from '@orrery/core/testing';
import { bootstrap, identity } from '@orrery/identity';
import { services } from '../services.js';
import {
  type Account,
  codeOf,
  type DeviceApi,
  type Json,
  type Registered,
  startDeviceApi,
} from '../testing/device-api.js';

const TELEMETRY = { status: 'online', telemetries: { a: 1 } };

let on: DeviceApi;
let account: Account;
beforeAll(async () => {
  on = await startDeviceApi();
  account = await on.account();
});
afterAll(() => on?.stop());

const inventory = async ({ path }: Registered): Promise<{ id: string; interfaces: Json[] }> =>
  (await account.api.get<{ id: string; interfaces: Json[] }>(path)).body;

describe('CONNECT', () => {
  it('DEM-001 takes the pair of id and key alone, as client id, user name and password', async () => {
    const { id, accessKey } = await on.register(account);
    const right = { clientId: id, username: id, password: accessKey };
    expect(await on.refusal(right)).toBe(0);
    expect(await on.refusal({ ...right, password: 'wrong' })).toBe(0x86);
    expect(await on.refusal({ clientId: id, username: id })).toBe(0x86);
    expect(await on.refusal({ ...right, password: account.apiKey })).toBe(0x86);
    expect(await on.refusal({ ...right, username: '' })).toBe(0x86);
    expect(await on.refusal({ ...right, clientId: 'x' })).toBe(0x85);
    expect(await on.refusal({ ...right, clientId: 'x', password: 'wrong' })).toBe(0x86);
    expect(await on.refusal({ ...right, username: id.toUpperCase() })).toBe(0x86);
    expect(await on.refusal({ ...right, username: 'json+device' })).toBe(0x86);
  });

  it('says in the audit log why a device was refused', async () => {
    const device = await on.register(account);
    await on.refusal({ clientId: device.id, username: device.id, password: 'wrong' });
    const entry = await on.audit(account, device, 'connection_refused');
    expect(JSON.stringify(entry)).toContain('expected the access key');
    expect(JSON.stringify(entry)).not.toContain(device.accessKey);
  });

  it('DEM-002 takes no MQTT 3', async () => {
    const { id, accessKey } = await on.register(account);
    const right = { clientId: id, username: id, password: accessKey };
    expect(await on.refusal({ ...right, protocolVersion: 4 })).toBe(0x04);
    expect(await on.refusal({ ...right, protocolVersion: 3, protocolId: 'MQIsdp' })).toBe(0x04);
  });

  it('DEM-003 takes the newest access key of a device that registered twice; the session of the old one ends', async () => {
    const first = await on.register(account, {
      name: 'n',
      sn: 'twice',
      mac: '00:11:22:33:44:55',
      firmware_version: '1',
    });
    const { client } = await on.connect(first);
    const ended = new Promise<Json>((resolve) => void client.on('disconnect', (packet) => resolve({ ...packet })));
    const second = await on.register(account, { sn: 'twice' });
    expect(second.id).toBe(first.id);
    expect(await ended).toMatchObject({ reasonCode: 0x98 });
    const old = { clientId: first.id, username: first.id, password: first.accessKey };
    expect(await on.refusal(old)).toBe(0x86);
    const again = await on.connect(second);
    expect(await again.publish('telemetry', TELEMETRY)).toBe(0);
  });

  it('is refused while the account is deactivated, and sessions end with it', async () => {
    const database = await Database.connect({
      url: on.backend.config.DATABASE_URL,
      schema: identity.schema!,
      poolSize: 1,
    });
    const vendorKey = 'the-key-of-the-vendor';
    await bootstrap(database, { ORRERY_BOOTSTRAP_LOGIN: 'admin', ORRERY_BOOTSTRAP_VENDOR_API_KEY: vendorKey });
    await database.close();
    const vendor = apiClient(on.platform.url, vendorKey);
    const { id: vendorId } = (await vendor.get<{ id: string }>('/api/v0/tenants/me')).body;
    const customer = await on.account(UNLIMITED_CONTENTS, vendorId);
    const device = await on.register(customer);
    const { client } = await on.connect(device);
    const subscriptions = `/api/v1/vendor/bss/customers/${customer.tenantId}/subscriptions`;
    for (const offer of ['Unlimited', 'Disabled'])
      expect(await vendor.post(`${subscriptions}?ruleDisplayName=${offer}`)).toMatchObject({ status: 201 });
    await eventually(() => !client.connected);
    expect(await on.refusal({ clientId: device.id, username: device.id, password: device.accessKey })).toBe(0x86);
  });

  it('counts against the limits of device mode', async () => {
    const { tenantId, api } = await on.account({ mqtt: { rateLimiting: true, maximumDeviceConnections: 1 } });
    const limited = { tenantId, api, apiKey: '' };
    const [a, b] = [await on.register(limited), await on.register(limited)];
    await on.connect(a);
    expect(await on.refusal({ clientId: b.id, username: b.id, password: b.accessKey })).toBe(0x97);
  });
});

describe('the inventory', () => {
  it('DEM-004 shows the device and its session', async () => {
    const device = await on.register(account);
    const { client } = await on.connect(device);
    const urn = `urn:lo:nsid:mqtt:${device.id}`;
    const shown = async (status: string): Promise<Json | undefined> =>
      (await inventory(device)).interfaces.find((each) => each['status'] === status);
    const online = await eventually(() => shown('ONLINE'));
    expect((await inventory(device)).id).toBe(urn);
    expect(online).toMatchObject({
      connector: 'mqtt',
      nodeId: device.id,
      activity: { mqttVersion: 5, mqttUsername: device.id },
    });
    await client.endAsync();
    await eventually(() => shown('OFFLINE'));
  });

  it('ends the session of a device that is deleted, or whose interface is disabled', async () => {
    const [deleted, disabled] = [await on.register(account), await on.register(account)];
    const sessions = [await on.connect(deleted), await on.connect(disabled)];
    expect((await account.api.delete(deleted.path)).status).toBe(204);
    const path = `${disabled.path}/interfaces/mqtt:${disabled.id}`;
    expect((await account.api.patch(path, { enabled: false })).status).toBe(200);
    await eventually(() => sessions.every(({ client }) => !client.connected));
    expect(await on.refusal({ clientId: deleted.id, username: deleted.id, password: deleted.accessKey })).toBe(0x86);
    expect(await on.refusal({ clientId: disabled.id, username: disabled.id, password: disabled.accessKey })).toBe(0x87);
  });
});

describe('topics', () => {
  it('DEM-005 take what has the device_id and the access_key of the device, and nothing else', async () => {
    const device = await on.register(account);
    const other = await on.register(account);
    const session = await on.connect(device);
    const publish = (userProperties: Record<string, string>): Promise<number> =>
      session.publish('telemetry', { ...TELEMETRY, telemetries: { refused: true } }, userProperties);
    const own = { device_id: device.id, access_key: device.accessKey };
    expect(await codeOf(session.client.publishAsync(session.topic('telemetry'), '{}', { qos: 1 }))).toBe(0x87);
    expect(await publish({ device_id: device.id })).toBe(0x87);
    expect(await publish({ ...own, access_key: 'wrong' })).toBe(0x87);
    expect(await publish({ ...own, device_id: other.id })).toBe(0x87);
    expect(await publish({ device_id: other.id, access_key: other.accessKey })).toBe(0x87);
    const twice = { ...own, access_key: [device.accessKey, device.accessKey] };
    expect(
      await codeOf(
        session.client.publishAsync(session.topic('telemetry'), JSON.stringify(TELEMETRY), {
          qos: 2,
          properties: { userProperties: twice },
        }),
      ),
    ).toBe(0x87);
    await session.client.publishAsync(session.topic('telemetry'), JSON.stringify(TELEMETRY), { qos: 0 });
    expect(await session.publish('telemetry', { ...TELEMETRY, telemetries: { taken: true } })).toBe(0);
    const entry = await on.audit(account, device, 'not_authorized');
    expect(entry).toMatchObject({ source: { deviceId: `urn:lo:nsid:mqtt:${device.id}` } });
    expect(JSON.stringify(entry)).not.toContain(device.accessKey);
    const stream = `/api/v0/data/streams/urn:lo:nsid:mqtt:${device.id}`;
    const stored = await eventually(async () => {
      const { body } = await account.api.get<Json[]>(stream);
      return body.length > 0 && body;
    });
    expect(stored.map(({ value }) => value)).toEqual([{ taken: true, status: 'online' }]);
  });

  it('DEM-006 are those of the device alone, and the session stays open', async () => {
    const device = await on.register(account);
    const other = await on.register(await on.account());
    const { client, topic, publish, granted } = await on.connect(device);
    for (const filter of [
      `v1/device/${other.id}/commands`,
      topic('#'),
      topic('+'),
      '#',
      'v1/device/+/license',
      topic('telemetry'),
      topic('license/update'),
      topic('nothing'),
      topic(''),
      'dev/cmd',
    ])
      expect([filter, await granted(filter)]).toEqual([filter, 0x87]);
    const properties = { userProperties: { device_id: device.id, access_key: device.accessKey } };
    for (const name of [`v1/device/${other.id}/telemetry`, topic('nothing'), topic('license'), 'dev/data', topic('')])
      expect([
        name,
        await codeOf(client.publishAsync(name, JSON.stringify(TELEMETRY), { qos: 1, properties })),
      ]).toEqual([name, 0x87]);
    const entry = await on.audit(account, device, 'bad_topic');
    expect(entry).toMatchObject({ content: { clientId: device.id } });
    expect(await publish('telemetry', TELEMETRY)).toBe(0);
  });

  it('expose no files and dumps', async () => {
    const { publish } = await on.connect(await on.register(account));
    for (const name of ['file', 'dump']) expect(await publish(name, '{}')).toBe(0x87);
  });

  it('say what is not served', async () => {
    const device = await on.register(account);
    const { publish } = await on.connect(device);
    expect(await publish('config/update', { version: 1, p: 'x' })).toBe(0x83);
    expect(await publish('config/update', '[')).toBe(0x99);
    const command = '00000000-0000-4000-8000-000000000000';
    expect(await publish('commands/update', { id: command, status: 'done' })).toBe(0x99);
    expect(await publish('commands/update', { id: command, status: 'finished' })).toBe(0x99);
    const entry = await on.audit(account, device, 'bad_message');
    expect(JSON.stringify(entry)).toContain('/update refused');
  });

  it('belong to one session of a device in all instances together', async () => {
    const second = await on.backend.boot(services);
    const device = await on.register(account);
    const first = await on.connect(device);
    const newer = await on.connect(device, {}, second);
    await eventually(() => !first.client.connected);
    expect(await newer.publish('telemetry', TELEMETRY)).toBe(0);
    await second.close();
  });
});
