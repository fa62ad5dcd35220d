import { type ApiClient, eventually } from '@orrery/core/testing';
import type { DeviceView } from '../devices/device.dto.js';
import { DEVICES, type Inventory, refusal, startInventory } from '../testing/inventory.js';
import type { InterfaceView } from './interface.dto.js';

let inventory: Inventory;
let api: ApiClient;

const mqtt = (clientId: string): unknown => ({ connector: 'mqtt', definition: { clientId } });
const lwm2m = (name: string): unknown => ({
  connector: 'lwm2m',
  definition: { endpointName: name, security: { mode: 'PSK', pskInfo: { identity: name, secret: 's' } } },
});
const statuses = (answers: Array<{ status: number }>): number[] => answers.map(({ status }) => status).sort();

beforeAll(async () => {
  inventory = await startInventory();
  api = inventory.client('tenantA');
});
afterAll(() => inventory.backend.stop());

describe('changes at the same time', () => {
  it('swap the nodes of two interfaces without a deadlock that anybody sees', async () => {
    const [one, two] = [await inventory.newDevice(mqtt('swap1')), await inventory.newDevice(mqtt('swap2'))];
    const change = (device: string, from: string, clientId: string) =>
      api.patch(`${device}/interfaces/mqtt:${from}`, { definition: { clientId } });
    for (let round = 0; round < 3; round++) {
      const answers = await Promise.all([change(one, 'swap1', 'swap2'), change(two, 'swap2', 'swap1')]);
      for (const answer of answers) expect(refusal(answer)).toEqual([409, 'DM_INTERFACE_DUPLICATE']);
    }
    // Round about by a free node, both at once.
    const away = await Promise.all([change(one, 'swap1', 'swap3'), change(two, 'swap2', 'swap3')]);
    expect(statuses(away)).toEqual([200, 409]);
  });

  it('begin anew when a deadlock ended them', async () => {
    const device = await inventory.newDevice(mqtt('dead1'));
    await inventory.newDevice(mqtt('dead3'));
    const { query } = inventory.backend;
    // Somebody has the node that the change wants, and then wants the interface that it has.
    await query('BEGIN');
    await query(
      `INSERT INTO device_manager.interfaces
         (tenant_id, connector, node_id, device_id, enabled, status, definition, capabilities, created, updated)
       SELECT tenant_id, connector, 'dead2', device_id, enabled, status, definition, capabilities, created, updated
       FROM device_manager.interfaces WHERE node_id = 'dead3'`,
    );
    const change = api.patch(`${device}/interfaces/mqtt:dead1`, { definition: { clientId: 'dead2' } });
    await eventually(async () => (await query('SELECT 1 FROM pg_locks WHERE NOT granted')).length > 0);
    await query(`SELECT 1 FROM device_manager.interfaces WHERE node_id = 'dead1' FOR UPDATE`);
    await query('ROLLBACK');
    const { status, body } = await change;
    expect([status, body]).toEqual([200, expect.objectContaining({ nodeId: 'dead2' })]);
  });

  it('swap PSK identities the same way', async () => {
    const [one, two] = [await inventory.newDevice(lwm2m('psk1')), await inventory.newDevice(lwm2m('psk2'))];
    const change = (device: string, endpoint: string, identity: string) =>
      api.patch(`${device}/interfaces/lwm2m:${endpoint}`, { definition: { security: { pskInfo: { identity } } } });
    for (let round = 0; round < 3; round++)
      expect(statuses(await Promise.all([change(one, 'psk1', 'psk2'), change(two, 'psk2', 'psk1')]))).toEqual([
        409, 409,
      ]);
  });

  it('move interfaces between two devices in both directions', async () => {
    const [one, two] = [await inventory.newDevice(mqtt('move1')), await inventory.newDevice(mqtt('move2'))];
    const deviceId = (device: string): string => device.slice(DEVICES.length + 1);
    const move = (from: string, nodeId: string, to: string) =>
      api.patch(`${from}/interfaces/mqtt:${nodeId}`, { deviceId: deviceId(to) });
    expect(statuses(await Promise.all([move(one, 'move1', two), move(two, 'move2', one)]))).toEqual([200, 200]);
    const { body } = await api.get<InterfaceView[]>(`${one}/interfaces`);
    expect(body.map(({ nodeId }) => nodeId)).toEqual(['move2']);
  });

  it('register one device from 20 connections, and give one node to one of 20 devices', async () => {
    const id = 'urn:lo:nsid:race:same';
    const same = await Promise.all(
      Array.from({ length: 20 }, (_, i) => api.post(DEVICES, { id, name: `n${i}`, interfaces: [mqtt('same')] })),
    );
    expect(statuses(same)).toEqual([200, ...Array.from({ length: 19 }, () => 409)]);
    const { body } = await api.get<DeviceView>(`${DEVICES}/${id}`);
    expect(body).toMatchObject({ name: expect.stringMatching(/^n\d+$/), interfaces: [{ nodeId: 'same' }] });
    const wanted = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        // Each in another order, and of two connectors.
        api.post(DEVICES, {
          id: `urn:lo:nsid:race:${i}`,
          interfaces: [mqtt('wanted'), mqtt('too'), lwm2m('wanted')].toSorted(() => (i % 2 ? 1 : -1)),
        }),
      ),
    );
    expect(statuses(wanted)).toEqual([200, ...Array.from({ length: 19 }, () => 409)]);
    for (const answer of wanted.filter(({ status }) => status === 409))
      expect(refusal(answer)).toEqual([409, 'DM_INTERFACE_DUPLICATE']);
  });

  it('delete a device while its interfaces change', async () => {
    for (let round = 0; round < 5; round++) {
      const device = await inventory.newDevice(mqtt(`gone${round}a`), mqtt(`gone${round}b`));
      const answers = await Promise.all([
        api.delete(device),
        ...['a', 'b'].map((end) => api.patch(`${device}/interfaces/mqtt:gone${round}${end}`, { enabled: false })),
        ...['a', 'b'].map((end) => api.delete(`${device}/interfaces/mqtt:gone${round}${end}`)),
        api.patch(device, { name: 'x' }),
        api.post(`${device}/interfaces`, mqtt(`gone${round}c`)),
        api.delete(device),
      ]);
      for (const { status } of answers) expect([200, 201, 204, 404]).toContain(status);
      expect((await api.get(device)).status).toBe(404);
    }
    const [counted] = await inventory.backend.query<{ devices: string; rows: string; orphans: string }>(
      `SELECT (SELECT devices FROM device_manager.device_counts WHERE tenant_id = 'tenantA') AS devices,
              (SELECT count(*) FROM device_manager.devices WHERE tenant_id = 'tenantA') AS rows,
              (SELECT count(*) FROM device_manager.interfaces WHERE node_id LIKE 'gone%') AS orphans`,
    );
    expect(counted).toEqual({ devices: counted!.rows, rows: counted!.rows, orphans: '0' });
  });
});
