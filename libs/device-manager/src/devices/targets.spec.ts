import { type Bus, callRpc } from '@orrery/core/bus';
import { decodeEntry } from '@orrery/core/messages';
import { type ApiClient, eventually } from '@orrery/core/testing';
import { DEVICE_PLACED, type DeviceTargets, GROUPS_MOVED, resolveNode, targetedDevices } from '../contract.js';
import { DEVICES, type Inventory, startInventory } from '../testing/inventory.js';

const GROUPS = '/api/v1/deviceMgt/groups';
const idOf = (name: string): string => `urn:lo:nsid:test:${name}`;

let inventory: Inventory;
let bus: Bus;
const events: Array<{ tenantId: string; type: string; key: string; body: Record<string, unknown> }> = [];

beforeAll(async () => {
  inventory = await startInventory();
  bus = await inventory.backend.bus();
  bus.connection.subscribe('events.*', {
    callback: (_error, message) =>
      decodeEntry(message.data).forEach(({ header, body }) =>
        events.push({ ...JSON.parse(header), body: JSON.parse(body) }),
      ),
  });
});
afterAll(() => inventory.backend.stop());

const group = async (api: ApiClient, pathNode: string, parentId = 'root'): Promise<string> =>
  (await api.post<{ id: string }>(GROUPS, { pathNode, parentId })).body.id;

const targeted = async (tenantId: string, targets: Partial<DeviceTargets>, after = '', limit = 100) =>
  (await callRpc(bus, targetedDevices, { tenantId, deviceIds: [], groupPaths: [], ...targets, after, limit })).map(
    ({ deviceId, name, groupPath }) => [deviceId.split(':').at(-1), name, groupPath],
  );

describe('devices that are targeted', () => {
  it('are those of the ids and groups, of groups below where these are meant too, page by page', async () => {
    const tenantId = 'targets';
    const api = inventory.client(tenantId);
    const france = await group(api, 'france');
    await group(api, 'lyon', france);
    await group(api, 'frances');
    for (const [name, path] of Object.entries({ a: '/', b: '/france', c: '/france/lyon', d: '/frances' }))
      await api.post(DEVICES, { id: idOf(name), name: `device ${name}`, group: { path } });
    await inventory.client('other').post(DEVICES, { id: idOf('a'), group: { path: '/' } });
    const all = [
      ['a', 'device a', '/'],
      ['b', 'device b', '/france'],
      ['c', 'device c', '/france/lyon'],
      ['d', 'device d', '/frances'],
    ];
    const groups = (path: string, includeSubPath: boolean): Partial<DeviceTargets> => ({
      groupPaths: [{ path, includeSubPath }],
    });
    expect(await targeted(tenantId, groups('/france', false))).toEqual([all[1]]);
    expect(await targeted(tenantId, groups('/france', true))).toEqual([all[1], all[2]]);
    expect(await targeted(tenantId, groups('/', true))).toEqual(all);
    expect(await targeted(tenantId, groups('/', true), '', 2)).toEqual(all.slice(0, 2));
    expect(await targeted(tenantId, groups('/', true), idOf('b'), 2)).toEqual(all.slice(2));
    expect(await targeted(tenantId, { ...groups('/nowhere', true), deviceIds: [idOf('d'), idOf('none')] })).toEqual([
      all[3],
    ]);
    expect(await targeted('stranger', { ...groups('/', true), deviceIds: [idOf('a')] })).toEqual([]);
  });

  it('are announced when they are new, renamed or in another group, and not when something else changes', async () => {
    const tenantId = 'placed';
    const api = inventory.client(tenantId);
    const france = await group(api, 'france');
    const id = idOf('x');
    await api.post(DEVICES, { id });
    await api.patch(`${DEVICES}/${id}`, { tags: ['t'] });
    await api.patch(`${DEVICES}/${id}`, { name: 'x', group: { path: '/france' } });
    const placed = await eventually(() => {
      const found = events.filter((event) => event.tenantId === tenantId && event.type === DEVICE_PLACED);
      return found.length >= 2 && found;
    });
    const type = DEVICE_PLACED;
    const timestamp = expect.any(String) as string;
    expect(placed.map(({ key, body }) => [key, body])).toEqual([
      [id, { type, deviceId: id, timestamp }],
      [id, { type, deviceId: id, timestamp }],
    ]);

    await api.put(`${GROUPS}/${france}`, { pathNode: 'gallia' });
    await eventually(() => events.some((event) => event.tenantId === tenantId && event.type === GROUPS_MOVED));

    const node = { tenantId, connector: 'mqtt', nodeId: 'auto', autoRegister: true, limits: { devices: null } };
    await callRpc(bus, resolveNode, node);
    await eventually(() =>
      events.some(({ type: each, key }) => each === DEVICE_PLACED && key === 'urn:lo:nsid:mqtt:auto'),
    );
  });
});
