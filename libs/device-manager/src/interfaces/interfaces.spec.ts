import { UNLIMITED_OFFER } from '@orrery/core/limits';
import { decodeEntry } from '@orrery/core/messages';
import { type ApiClient, apiClient, type Backend, eventually, keyRing, startBackend } from '@orrery/core/testing';
import type { DeviceView } from '../devices/device.dto.js';
import { deviceManager } from '../index.js';
import type { InterfaceView } from './interface.dto.js';

const DEVICES = '/api/v1/deviceMgt/devices';
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

let backend: Backend;
let api: ApiClient;
const events: Array<{ header: Record<string, unknown>; body: Record<string, unknown> }> = [];
const notices: Array<{ deviceId: string; nodes: unknown[] }> = [];

const codeOf = (answer: { status: number; body: unknown }): [number, string] => [
  answer.status,
  (answer.body as { code: string }).code,
];
const mqtt = (clientId: unknown, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  connector: 'mqtt',
  definition: { clientId },
  ...more,
});

let count = 0;
/** A device of its own for a test, with one interface. */
async function newDevice(clientId?: string): Promise<string> {
  const id = `urn:lo:nsid:itf:${++count}`;
  const { status } = await api.post(DEVICES, { id, interfaces: clientId === undefined ? [] : [mqtt(clientId)] });
  expect(status).toBe(200);
  return `${DEVICES}/${id}`;
}

beforeAll(async () => {
  backend = await startBackend([deviceManager]);
  const bus = await backend.bus();
  const keys = keyRing(bus);
  bus.connection.subscribe('events.*', {
    callback: (_error, message) =>
      decodeEntry(message.data).forEach(({ header, body }) =>
        events.push({ header: JSON.parse(header), body: JSON.parse(body) }),
      ),
  });
  bus.connection.subscribe('control.device', {
    callback: (_error, message) => decodeEntry(message.data).forEach(({ header }) => notices.push(JSON.parse(header))),
  });
  const { url } = await backend.boot([deviceManager]);
  api = apiClient(url, keys.grant('tenantA', { limits: UNLIMITED_OFFER }).value);
});
afterAll(() => backend.stop());

describe('adding an interface', () => {
  it('DEV-055 DEV-058 answers 201 with the interface', async () => {
    const device = await newDevice();
    const { status, body } = await api.post<InterfaceView>(`${device}/interfaces`, mqtt('added', { enabled: true }));
    expect(status).toBe(201);
    const unavailable = { available: false };
    expect(body).toEqual({
      connector: 'mqtt',
      nodeId: 'added',
      deviceId: device.slice(DEVICES.length + 1),
      enabled: true,
      status: 'REGISTERED',
      definition: { clientId: 'added' },
      activity: {},
      capabilities: { command: unavailable, configuration: unavailable, resource: unavailable, twin: unavailable },
      created: expect.stringMatching(ISO),
      updated: body.created,
    });
    expect((await api.get(`${device}/interfaces/mqtt:added`)).body).toEqual(body);
    expect((await api.get(`${device}/interfaces`)).body).toEqual([body]);
    expect((await api.get<DeviceView>(device)).body.interfaces).toEqual([body]);
  });

  it('DEV-015 takes booleans and the texts of the examples for enabled', async () => {
    const device = await newDevice();
    const add = async (clientId: string, enabled?: unknown): Promise<[number, unknown, unknown]> => {
      const { status, body } = await api.post<InterfaceView>(`${device}/interfaces`, mqtt(clientId, { enabled }));
      return [status, body.enabled, body.status];
    };
    expect(await add('b1', 'false')).toEqual([201, false, 'DEACTIVATED']);
    expect(await add('b2')).toEqual([201, true, 'REGISTERED']);
    expect(await add('b3', 'true')).toEqual([201, true, 'REGISTERED']);
    expect((await add('b4', 'maybe'))[0]).toBe(400);
    expect((await add('b4', 1))[0]).toBe(400);
  });

  it('DEV-012 DEV-045 says what is wrong', async () => {
    const device = await newDevice('used');
    const path = `${device}/interfaces`;
    const bad = [400, 'GENERIC_INVALID_PARAMETER_ERROR'];
    expect(codeOf(await api.post(path, {}))).toEqual(bad);
    expect(codeOf(await api.post(path, { connector: 'mqtt' }))).toEqual(bad);
    expect(codeOf(await api.post(path, { connector: 'mqtt', definition: 'x' }))).toEqual(bad);
    expect(codeOf(await api.post(path, { definition: { clientId: 'x' } }))).toEqual(bad);
    expect(codeOf(await api.post(`${DEVICES}/urn:lo:nsid:a:none/interfaces`, mqtt('x')))).toEqual([
      404,
      'DM_DEVICE_NOT_FOUND',
    ]);
    for (const connector of ['zigbee', 'constructor', ''])
      expect(codeOf(await api.post(path, { connector, definition: {} }))).toEqual([404, 'DM_CONNECTOR_UNAVAILABLE']);
    expect(codeOf(await api.post(path, mqtt('used')))).toEqual([409, 'DM_INTERFACE_DUPLICATE']);
    expect(codeOf(await api.post(DEVICES, { id: 'urn:lo:nsid:itf:dup', interfaces: [mqtt('used')] }))).toEqual([
      409,
      'DM_INTERFACE_DUPLICATE',
    ]);
    expect((await api.get(`${DEVICES}/urn:lo:nsid:itf:dup`)).status).toBe(404);
    expect(
      codeOf(await api.post(DEVICES, { id: 'urn:lo:nsid:itf:dup', interfaces: [mqtt('same'), mqtt('same')] })),
    ).toEqual([409, 'DM_INTERFACE_DUPLICATE']);
  });

  it('DEV-057 DEV-068 needs a client id, and takes any encoding', async () => {
    const device = await newDevice();
    for (const clientId of ['a b', '', 'x'.repeat(129), undefined, null, 5, 'a/b', 'é', 'urn:lo:nsid:foo', 'a\n'])
      expect([clientId, (await api.post(`${device}/interfaces`, mqtt(clientId))).status]).toEqual([clientId, 400]);
    for (const encoding of ['', 5, 'x\u0000', 'x'.repeat(257)]) {
      const { status } = await api.post(
        `${device}/interfaces`,
        mqtt('c1', { definition: { clientId: 'c1', encoding } }),
      );
      expect([encoding, status]).toEqual([encoding, 400]);
    }
    const { status, body } = await api.post<InterfaceView>(
      `${device}/interfaces`,
      mqtt('', { definition: { clientId: 'mydevice:0_0-1', encoding: 'nosuch', unknown: 1 } }),
    );
    expect([status, body.nodeId]).toEqual([201, 'mydevice:0_0-1']);
    expect(body.definition).toEqual({ clientId: 'mydevice:0_0-1', encoding: 'nosuch' });
  });

  it('LIM-067 takes five interfaces, also when they come at once', async () => {
    const device = await newDevice();
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, i) => api.post(`${device}/interfaces`, mqtt(`five${i}`))),
    );
    expect(answers.map((answer) => answer.status).sort()).toEqual([201, 201, 201, 201, 201, 400, 400, 400]);
    const [first] = (await api.get<InterfaceView[]>(`${device}/interfaces`)).body;
    expect((await api.delete(`${device}/interfaces/mqtt:${first!.nodeId}`)).status).toBe(204);
    expect((await api.post(`${device}/interfaces`, mqtt('five9'))).status).toBe(201);
  });
});

describe('reading interfaces', () => {
  it('DEV-046 DEV-047 splits the interface id at its first colon', async () => {
    const device = await newDevice('urn:lo:nsid:itf:colons');
    const { status, body } = await api.get<InterfaceView>(`${device}/interfaces/mqtt:urn:lo:nsid:itf:colons`);
    expect([status, body.nodeId]).toEqual([200, 'urn:lo:nsid:itf:colons']);
    expect(codeOf(await api.get(`${device}/interfaces/mqtt`))).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
    expect((await api.get(`${await newDevice()}/interfaces`)).body).toEqual([]);
    expect((await api.get(`${DEVICES}/foo/interfaces`)).status).toBe(400);
    expect(codeOf(await api.get(`${DEVICES}/urn:lo:nsid:a:none/interfaces`))).toEqual([404, 'DM_DEVICE_NOT_FOUND']);
  });

  it('DEV-048 looks for the device, then the connector, then the interface', async () => {
    const device = await newDevice();
    for (const call of [api.get, api.delete, (path: string) => api.patch(path, {})]) {
      expect(codeOf(await call(`${DEVICES}/urn:lo:nsid:a:none/interfaces/zigbee:1`))).toEqual([
        404,
        'DM_DEVICE_NOT_FOUND',
      ]);
      expect(codeOf(await call(`${device}/interfaces/zigbee:1`))).toEqual([404, 'DM_CONNECTOR_UNAVAILABLE']);
      for (const nodeId of ['1', 'a%00b', '%20'])
        expect(codeOf(await call(`${device}/interfaces/mqtt:${nodeId}`))).toEqual([404, 'DM_INTERFACE_NOT_FOUND']);
    }
    const other = await newDevice('elsewhere');
    expect((await api.get(`${other}/interfaces/mqtt:elsewhere`)).status).toBe(200);
    expect(codeOf(await api.get(`${device}/interfaces/mqtt:elsewhere`))).toEqual([404, 'DM_INTERFACE_NOT_FOUND']);
  });
});

describe('changing interfaces', () => {
  it('DEV-049 merges the definition', async () => {
    const device = await newDevice('merged');
    const path = `${device}/interfaces/mqtt:merged`;
    const before = (await api.get<InterfaceView>(path)).body;
    const { status, body } = await api.patch<InterfaceView>(path, { definition: { encoding: 'myDecoder' } });
    expect(status).toBe(200);
    expect(body).toEqual({
      ...before,
      definition: { clientId: 'merged', encoding: 'myDecoder' },
      updated: expect.stringMatching(ISO),
    });
    expect(body.updated > before.updated).toBe(true);
    const without = await api.patch<InterfaceView>(path, { definition: { encoding: null } });
    expect(without.body.definition).toEqual({ clientId: 'merged' });
    const id = device.slice(DEVICES.length + 1);
    await eventually(() => notices.filter((notice) => notice.deviceId === id).length === 2);
    expect(notices.find((notice) => notice.deviceId === id)!.nodes).toEqual([{ connector: 'mqtt', nodeId: 'merged' }]);
  });

  it('DEV-050 moves an interface to another device', async () => {
    const [from, to] = [await newDevice('moving'), await newDevice()];
    const deviceId = to.slice(DEVICES.length + 1);
    const { status, body } = await api.patch<InterfaceView>(`${from}/interfaces/mqtt:moving`, { deviceId });
    expect([status, body.deviceId]).toEqual([200, deviceId]);
    expect((await api.get(`${to}/interfaces/mqtt:moving`)).status).toBe(200);
    expect(codeOf(await api.get(`${from}/interfaces/mqtt:moving`))).toEqual([404, 'DM_INTERFACE_NOT_FOUND']);
    await eventually(() => notices.some((notice) => notice.deviceId === deviceId));
    expect(notices.some((notice) => notice.deviceId === from.slice(DEVICES.length + 1))).toBe(true);
  });

  it('DEV-051 refuses what cannot be', async () => {
    const device = await newDevice('refused');
    await newDevice('taken');
    const path = `${device}/interfaces/mqtt:refused`;
    expect(codeOf(await api.patch(path, { deviceId: 'urn:lo:nsid:a:none' }))).toEqual([404, 'DM_DEVICE_NOT_FOUND']);
    expect(codeOf(await api.patch(path, { deviceId: 'none' }))).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
    expect(codeOf(await api.patch(path, { definition: { clientId: 'taken' } }))).toEqual([
      409,
      'DM_INTERFACE_DUPLICATE',
    ]);
    expect(codeOf(await api.patch(path, { definition: { clientId: 'a b' } }))).toEqual([
      400,
      'GENERIC_INVALID_PARAMETER_ERROR',
    ]);
    expect(codeOf(await api.patch(path, { enabled: 'maybe' }))).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
    expect((await api.get<InterfaceView>(path)).body).toMatchObject({ nodeId: 'refused', enabled: true });
    const renamed = await api.patch<InterfaceView>(path, { definition: { clientId: 'renamed' } });
    expect([renamed.status, renamed.body.nodeId]).toEqual([200, 'renamed']);
    expect(codeOf(await api.get(path))).toEqual([404, 'DM_INTERFACE_NOT_FOUND']);
  });

  it('refuses to move an interface to a device that is full', async () => {
    const full = await newDevice();
    for (let i = 0; i < 5; i++) await api.post(`${full}/interfaces`, mqtt(`full${i}`));
    const device = await newDevice('sixth');
    const moved = await api.patch(`${device}/interfaces/mqtt:sixth`, { deviceId: full.slice(DEVICES.length + 1) });
    expect(codeOf(moved)).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
    expect((await api.get(`${device}/interfaces/mqtt:sixth`)).status).toBe(200);
  });

  it('DEV-052 deletes an interface alone', async () => {
    const device = await newDevice('deleted');
    const path = `${device}/interfaces/mqtt:deleted`;
    expect((await api.delete(path)).status).toBe(204);
    expect(codeOf(await api.delete(path))).toEqual([404, 'DM_INTERFACE_NOT_FOUND']);
    const { status, body } = await api.get<DeviceView>(device);
    expect([status, body.interfaces]).toEqual([200, undefined]);
  });

  it('reports a change of status in the exact shape of manual 15.4.3.3', async () => {
    const device = await newDevice('reported');
    const deviceId = device.slice(DEVICES.length + 1);
    await api.patch(`${device}/interfaces/mqtt:reported`, { enabled: false });
    const event = await eventually(() =>
      events.find(({ body }) => body['type'] === 'deviceStatus' && body['deviceId'] === deviceId),
    );
    expect(event).toEqual({
      header: {
        tenantId: 'tenantA',
        type: 'deviceStatus',
        key: deviceId,
        connectors: ['mqtt'],
        groupPath: '/',
        tags: [],
      },
      body: {
        type: 'deviceStatus',
        version: 1,
        deviceId,
        updatedInterface: {
          connector: 'mqtt',
          nodeId: 'reported',
          enabled: false,
          status: { current: 'DEACTIVATED', previous: 'REGISTERED' },
        },
        timestamp: expect.stringMatching(ISO),
      },
    });
  });
});
