import { eventually } from '@orrery/core/testing';
import {
  type Account,
  type Connected,
  type DeviceApi,
  type Json,
  type Registered,
  startDeviceApi,
} from '../testing/device-api.js';

let on: DeviceApi;
let account: Account;
beforeAll(async () => {
  on = await startDeviceApi();
  account = await on.account();
});
afterAll(() => on?.stop());

interface Session extends Connected {
  device: Registered;
  /** Data messages of the device, oldest first, when there are so many. */
  stored(count: number): Promise<Json[]>;
  /** The current state, when it has these values. */
  state(telemetries: Json): Promise<Json>;
}

async function session(): Promise<Session> {
  const device = await on.register(account);
  const connected = await on.connect(device);
  return {
    ...connected,
    device,
    stored: (count) =>
      eventually(async () => {
        const { body } = await account.api.get<Json[]>(`/api/v0/data/streams/urn:lo:nsid:mqtt:${device.id}`);
        return body.length >= count && body.toReversed();
      }),
    state: (telemetries) =>
      eventually(async () => {
        const { body } = await account.api.get<Json>(`${device.path}/telemetry`);
        expect(body['telemetries']).toEqual(telemetries);
        return body;
      }),
  };
}

it('DEM-008 is a data message of the device', async () => {
  const { publish, stored, device } = await session();
  const payload = {
    status: 'online',
    timestamp: '2021-08-04T07:45:44.122Z',
    telemetries: { fan_speed: 100.1, connection: '4g', usbc: true },
  };
  expect(await publish('telemetry', payload)).toBe(0);
  expect(await stored(1)).toMatchObject([
    {
      value: { fan_speed: 100.1, connection: '4g', usbc: true, status: 'online' },
      timestamp: payload.timestamp,
      metadata: {
        connector: 'mqtt',
        source: `urn:lo:nsid:mqtt:${device.id}`,
        network: { mqtt: { clientId: device.id } },
      },
    },
  ]);
  const [message] = await stored(1);
  expect(Object.keys(message!['value'] as Json).sort()).toEqual(['connection', 'fan_speed', 'status', 'usbc']);
});

it('DEM-009 needs a status; what is not as it should be is refused, audited and not stored', async () => {
  const { publish, stored, device } = await session();
  const bad = [
    { status: 'foo' },
    {},
    { status: ['online'] },
    { status: 'online', timestamp: 'yesterday' },
    { status: 'online', timestamp: 1_628_063_144 },
    { status: 'online', telemetries: [1] },
    { status: 'online', telemetries: 'a' },
    { status: 'online', telemetries: { 'a.b': 1 } },
    { status: 'online', message: 1 },
    { status: 'online', override: 'true' },
    { problem: 'x' },
    [],
    'online',
    '{"status":"online"',
    '',
    `{"status":"online","telemetries":{"a":"${'x'.repeat(1_048_577)}"}}`,
    `{"status":"online","telemetries":{"a":${'['.repeat(2000)}${']'.repeat(2000)}}}`,
  ];
  for (const payload of bad) expect([payload, await publish('telemetry', payload)]).toEqual([payload, 0x99]);
  const entry = await on.audit(account, device, 'bad_message');
  expect(JSON.stringify(entry)).toMatch(/status: expected one of|expected/);
  expect(await publish('telemetry', { status: 'error', message: 'm' })).toBe(0);
  expect(await publish('telemetry', { status: 'offline', timestamp: null, telemetries: null, other: 1 })).toBe(0);
  const messages = await stored(2);
  expect(messages.map(({ value }) => value)).toEqual([{ status: 'error', message: 'm' }, { status: 'offline' }]);
  const age = Date.now() - Date.parse(messages[1]!['timestamp'] as string);
  expect(Math.abs(age)).toBeLessThan(60_000);
});

it('DEM-010 merges into the current state of the device, and replaces it with override', async () => {
  const { publish, state, device } = await session();
  const { body } = await account.api.get(`${device.path}/telemetry`);
  expect(body).toEqual({ telemetries: {} });
  await publish('telemetry', { status: 'online', telemetries: { a: 1 } });
  await publish('telemetry', { status: 'online', telemetries: { b: 2 } });
  await state({ a: 1, b: 2 });
  await publish('telemetry', { status: 'error', message: 'hot', timestamp: '2026-01-01T00:00:00Z' });
  expect(await state({ a: 1, b: 2 })).toBeDefined();
  await publish('telemetry', { status: 'online', telemetries: { c: 3 }, override: true });
  await state({ c: 3 });
  // In one batch, with what came before and comes after.
  await Promise.all([
    publish('telemetry', { status: 'online', telemetries: { d: 4 } }),
    publish('telemetry', { status: 'online', telemetries: { e: 5 }, override: true }),
    publish('telemetry', {
      status: 'error',
      message: 'm',
      timestamp: '2026-01-02T03:04:05Z',
      telemetries: { f: null },
    }),
  ]);
  expect(await state({ e: 5, f: null })).toEqual({
    status: 'error',
    message: 'm',
    timestamp: '2026-01-02T03:04:05.000Z',
    telemetries: { e: 5, f: null },
  });
});

it('keeps names and values that are hostile, unusual or large', async () => {
  const { publish, state, stored, device } = await session();
  const odd = '{"status":"online","telemetries":{"__proto__":1,"constructor":{"a":"\\u0000"},"ü":"\\ud800","":[]}}';
  expect(await publish('telemetry', odd)).toBe(0);
  const expected = JSON.parse('{"__proto__":1,"constructor":{"a":"\\u0000"},"ü":"\\ud800","":[]}') as Json;
  await state(expected);
  // A state that would become too long keeps what it has.
  const half = 'x'.repeat(600_000);
  expect(await publish('telemetry', { status: 'online', telemetries: { half }, override: true })).toBe(0);
  await state({ half });
  expect(await publish('telemetry', { status: 'online', telemetries: { other: half } })).toBe(0);
  expect(await publish('telemetry', { status: 'error', telemetries: { small: 1 } })).toBe(0);
  await state({ half, small: 1 });
  await eventually(async () => {
    const { body } = await account.api.get<Json[]>('/api/v0/auditlog/messages?type=telemetry_state_full');
    return body.some(({ type }) => type === 'telemetry_state_full');
  });
  expect(await stored(4)).toHaveLength(4);
  expect((await account.api.delete(device.path)).status).toBe(204);
  expect((await account.api.get(`${device.path}/telemetry`)).status).toBe(404);
});

it('goes on for others when a device is deleted meanwhile', async () => {
  const [gone, stays] = [await session(), await session()];
  const sending = Promise.all(
    Array.from({ length: 200 }, (_, n) =>
      Promise.race([
        gone.publish('telemetry', { status: 'online', telemetries: { n } }),
        new Promise<void>((resolve) => void gone.client.once('close', () => resolve())),
      ]),
    ),
  );
  expect((await account.api.delete(gone.device.path)).status).toBe(204);
  await sending;
  await stays.publish('telemetry', { status: 'online', telemetries: { alive: true } });
  await stays.state({ alive: true });
  expect(
    await on.backend.query(
      'SELECT 1 FROM device_manager.device_telemetry t LEFT JOIN device_manager.devices d ON d.tenant_id = t.tenant_id AND d.id = t.device_id WHERE d.id IS NULL',
    ),
  ).toEqual([]);
});
