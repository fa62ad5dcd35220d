import { type Bus, callRpc } from '@orrery/core/bus';
import { type LimitValues, UNLIMITED_OFFER } from '@orrery/core/limits';
import { decodeEntry } from '@orrery/core/messages';
import { type ApiClient, apiClient, type Backend, eventually, keyRing, startBackend } from '@orrery/core/testing';
import { type ResolvedNode, resolveNode } from '../contract.js';
import type { DeviceView } from '../devices/device.dto.js';
import { deviceManager } from '../index.js';

const DEVICES = '/api/v1/deviceMgt/devices';

let backend: Backend;
let bus: Bus;
let api: ApiClient;
const created: string[] = [];

const resolve = (
  nodeId: string,
  options: { tenantId?: string; connector?: string; autoRegister?: boolean; limits?: LimitValues } = {},
): Promise<ResolvedNode> =>
  callRpc(bus, resolveNode, {
    tenantId: 'tenantA',
    connector: 'mqtt',
    nodeId,
    autoRegister: true,
    limits: UNLIMITED_OFFER,
    ...options,
  });

beforeAll(async () => {
  backend = await startBackend([deviceManager]);
  bus = await backend.bus();
  const keys = keyRing(bus);
  bus.connection.subscribe('events.*', {
    callback: (_error, message) =>
      decodeEntry(message.data)
        .map(({ body }) => JSON.parse(body) as { type: string; deviceId: string })
        .filter(({ type }) => type === 'deviceCreated')
        .forEach(({ deviceId }) => created.push(deviceId)),
  });
  const { url } = await backend.boot([deviceManager]);
  api = apiClient(url, keys.grant('tenantA', { limits: UNLIMITED_OFFER }).value);
});
afterAll(() => backend.stop());

describe('resolveNode', () => {
  it('registers an unknown node with the names of manual 5.3.3.2', async () => {
    const resolved = await resolve('myDevice');
    const deviceId = 'urn:lo:nsid:mqtt:myDevice';
    expect(resolved).toEqual({
      enabled: true,
      device: { deviceId, defaultDataStreamId: deviceId, tags: [], properties: {}, group: { id: 'root', path: '/' } },
    });
    const { status, body } = await api.get<DeviceView>(`${DEVICES}/${deviceId}`);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      name: 'Auto-created device (mqtt / myDevice)',
      description: 'This device was auto registered by the connector [mqtt] with the nodeId [myDevice]',
      group: { id: 'root', path: '/' },
      defaultDataStreamId: deviceId,
      interfaces: [
        {
          connector: 'mqtt',
          nodeId: 'myDevice',
          enabled: true,
          status: 'REGISTERED',
          definition: { clientId: 'myDevice' },
        },
      ],
    });
  });

  it('takes a URN for the device id, and refuses what only looks like one', async () => {
    const urn = 'urn:lo:nsid:tempSensor:17872800001W';
    expect((await resolve(urn)).device.deviceId).toBe(urn);
    expect((await resolve('x'.repeat(128))).device.deviceId).toBe(`urn:lo:nsid:mqtt:${'x'.repeat(128)}`);
    for (const nodeId of ['urn:lo:nsid:foo', 'a b', '', 'x'.repeat(129), 'a\u0000b', 'a/b'])
      await expect(resolve(nodeId)).rejects.toMatchObject({ code: 'GENERIC_INVALID_PARAMETER_ERROR' });
  });

  it('makes one device of 20 first connections at once, and one event', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => resolve('crowd')));
    expect(new Set(answers.map((answer) => answer.device.deviceId))).toEqual(new Set(['urn:lo:nsid:mqtt:crowd']));
    await resolve('after-the-crowd');
    await eventually(
      () => created.includes('urn:lo:nsid:mqtt:after-the-crowd') && created.includes('urn:lo:nsid:mqtt:crowd'),
    );
    await resolve('crowd');
    expect(created.filter((id) => id === 'urn:lo:nsid:mqtt:crowd')).toHaveLength(1);
    const [counted] = await backend.query<{ devices: string; rows: string }>(
      `SELECT (SELECT devices FROM device_manager.device_counts WHERE tenant_id = 'tenantA') AS devices,
              (SELECT count(*) FROM device_manager.devices WHERE tenant_id = 'tenantA') AS rows`,
    );
    expect(counted!.devices).toBe(counted!.rows);
  });

  it('registers nodes of other connectors under their own names, however they are spelt', async () => {
    const answers = await Promise.all([
      ...['n77', 'urn:lo:nsid:a:77'].map((nodeId) => resolve(nodeId, { connector: 'x-connector' })),
      ...['0cb3', 'CB3'].map((nodeId) => resolve(nodeId, { connector: 'sigfox' })),
      resolve('0117C9AAAA', { connector: 'sensoro' }),
    ]);
    expect(answers.map(({ device }) => device.deviceId)).toEqual([
      'urn:lo:nsid:x-connector:n77',
      'urn:lo:nsid:x-connector:urn:lo:nsid:a:77',
      'urn:lo:nsid:sigfox:CB3',
      'urn:lo:nsid:sigfox:CB3',
      'urn:lo:nsid:sensoro:0117C9AAAA',
    ]);
    const { body } = await api.get<DeviceView>(`${DEVICES}/urn:lo:nsid:x-connector:n77`);
    expect(body.interfaces).toMatchObject([
      { connector: 'x-connector', nodeId: 'n77', status: 'REGISTERED', definition: { nodeId: 'n77' } },
    ]);
    // What needs a secret cannot come unannounced.
    for (const [connector, nodeId] of [
      ['lora', '0101010210101010'],
      ['lwm2m', 'endpoint'],
      ['sms', '33600000001'],
    ] as const)
      await expect(resolve(nodeId, { connector })).rejects.toMatchObject({ code: 'DM_INTERFACE_NOT_FOUND' });
    await expect(resolve('xyz', { connector: 'lora' })).rejects.toMatchObject({
      code: 'GENERIC_INVALID_PARAMETER_ERROR',
    });
  });

  it('finds the device that was registered with the node, whatever its id', async () => {
    const group = await api.post<{ id: string }>('/api/v1/deviceMgt/groups', { pathNode: 'resolved' });
    await api.post(DEVICES, {
      id: 'urn:lo:nsid:a:b',
      tags: ['t'],
      properties: { p: 'q' },
      defaultDataStreamId: 'stream',
      staticLocation: { lat: 1, lon: 2 },
      group: { path: '/resolved' },
      interfaces: [{ connector: 'mqtt', enabled: false, definition: { clientId: 'cid1', encoding: 'enc' } }],
    });
    expect(await resolve('cid1')).toEqual({
      enabled: false,
      device: {
        deviceId: 'urn:lo:nsid:a:b',
        defaultDataStreamId: 'stream',
        tags: ['t'],
        properties: { p: 'q' },
        group: { id: group.body.id, path: '/resolved' },
        staticLocation: { lat: 1, lon: 2 },
        encoding: 'enc',
      },
    });
    expect((await api.get(`${DEVICES}/urn:lo:nsid:mqtt:cid1`)).status).toBe(404);
  });

  it('adds the interface to a device that was registered without', async () => {
    const id = 'urn:lo:nsid:sensor:bare';
    await api.post(DEVICES, { id, name: 'bare' });
    expect((await resolve(id)).device.deviceId).toBe(id);
    const { body } = await api.get<DeviceView>(`${DEVICES}/${id}`);
    expect(body).toMatchObject({ name: 'bare', interfaces: [{ nodeId: id }] });
    const full = 'urn:lo:nsid:sensor:full';
    const interfaces = Array.from({ length: 5 }, (_, i) => ({ connector: 'mqtt', definition: { clientId: `rf${i}` } }));
    await api.post(DEVICES, { id: full, interfaces });
    await expect(resolve(full)).rejects.toMatchObject({ code: 'GENERIC_INVALID_PARAMETER_ERROR' });
  });

  it('registers nothing unless asked to', async () => {
    await expect(resolve('unknown', { autoRegister: false })).rejects.toMatchObject({ code: 'DM_INTERFACE_NOT_FOUND' });
    await expect(resolve('unknown', { connector: 'zigbee' })).rejects.toMatchObject({
      code: 'DM_CONNECTOR_UNAVAILABLE',
    });
    expect((await api.get(`${DEVICES}/urn:lo:nsid:mqtt:unknown`)).status).toBe(404);
  });

  it('stops at the device limit, and still knows those it has', async () => {
    const options = { tenantId: 'ten', limits: {} };
    const answers = await Promise.allSettled(Array.from({ length: 15 }, (_, i) => resolve(`node${i}`, options)));
    const refused = answers.filter((answer) => answer.status === 'rejected');
    expect(refused).toHaveLength(5);
    for (const { reason } of refused) expect(reason).toMatchObject({ code: 'GENERIC_QUOTA_EXCEEDED_ERROR' });
    const known = answers.findIndex((answer) => answer.status === 'fulfilled');
    expect((await resolve(`node${known}`, options)).enabled).toBe(true);
  });

  it('ACC-003 keeps the nodes of tenants apart', async () => {
    const ours = await resolve('shared');
    await api.patch(`${DEVICES}/${ours.device.deviceId}`, { tags: ['ours'] });
    await expect(resolve('shared', { tenantId: 'tenantB', autoRegister: false })).rejects.toMatchObject({
      code: 'DM_INTERFACE_NOT_FOUND',
    });
    expect((await resolve('shared', { tenantId: 'tenantB' })).device.tags).toEqual([]);
    expect((await resolve('shared')).device.tags).toEqual(['ours']);
  });
});
