import type { ApiClient } from '@orrery/core/testing';
import { DEVICES, type Inventory, refusal, startInventory } from '../testing/inventory.js';
import type { DeviceView } from './device.dto.js';

let inventory: Inventory;
let api: ApiClient;

beforeAll(async () => {
  inventory = await startInventory();
  api = inventory.client('tenantA');
});
afterAll(() => inventory.backend.stop());

describe('tenants and roles', () => {
  it('ACC-002 ACC-003 keeps tenants apart', async () => {
    const id = 'urn:lo:nsid:iso:1';
    const other = inventory.client('tenantB');
    const node = [{ connector: 'mqtt', definition: { clientId: 'iso1' } }];
    await api.post(DEVICES, { id, name: 'ours', interfaces: node });
    const ours = `${DEVICES}/${id}`;
    for (const answer of [
      await other.get(ours),
      await other.delete(ours),
      await other.patch(ours, { name: 'theirs' }),
      await other.get(`${ours}/interfaces`),
      await other.get(`${ours}/interfaces/mqtt:iso1`),
      await other.patch(`${ours}/interfaces/mqtt:iso1`, { enabled: false }),
      await other.delete(`${ours}/interfaces/mqtt:iso1`),
      await other.post(`${ours}/interfaces`, { connector: 'mqtt', definition: { clientId: 'iso2' } }),
    ])
      expect(refusal(answer)).toEqual([404, 'DM_DEVICE_NOT_FOUND']);
    expect((await other.get(`${DEVICES}?id=${id}`)).body).toEqual([]);
    // Nor does a device of their own open the way to an interface or a group of ours.
    expect((await other.post(DEVICES, { id, name: 'theirs', interfaces: node })).status).toBe(200);
    const group = await api.post<{ id: string }>('/api/v1/deviceMgt/groups', { pathNode: 'ours' });
    const moved = await other.patch(ours, { group: { id: group.body.id } });
    expect(refusal(moved)).toEqual([404, 'DM_GROUP_NOT_FOUND']);
    await other.delete(`${ours}/interfaces/mqtt:iso1`);
    expect((await api.get<DeviceView>(ours)).body).toMatchObject({ name: 'ours', interfaces: [{ nodeId: 'iso1' }] });
  });

  it('asks for DEVICE_R to read and DEVICE_W to write', async () => {
    const reader = inventory.client('tenantA', { roles: ['DEVICE_R'] });
    const writer = inventory.client('tenantA', { roles: ['DEVICE_W'] });
    const id = 'urn:lo:nsid:roles:1';
    expect((await reader.post(DEVICES, { id })).status).toBe(403);
    expect((await writer.post(DEVICES, { id })).status).toBe(200);
    expect((await writer.get(DEVICES)).status).toBe(403);
    expect((await reader.get(DEVICES)).status).toBe(200);
    expect((await reader.patch(`${DEVICES}/${id}`, {})).status).toBe(403);
    expect((await reader.delete(`${DEVICES}/${id}`)).status).toBe(403);
  });
});
