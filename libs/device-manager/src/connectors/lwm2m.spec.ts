import { Secrets } from '@orrery/core/secrets';
import type { ApiClient } from '@orrery/core/testing';
import type { DeviceView } from '../devices/device.dto.js';
import type { InterfaceView } from '../interfaces/interface.dto.js';
import { badDefinition, DEVICES, DUPLICATE, refusal, type Inventory, startInventory } from '../testing/inventory.js';

const UNAVAILABLE = { available: false };
const NONE = { command: UNAVAILABLE, configuration: UNAVAILABLE, resource: UNAVAILABLE, twin: UNAVAILABLE };
const PSK = { mode: 'PSK', pskInfo: { identity: 'test_lwm2m_id2', secret: 'my_psk_secret' } };

type Body = Record<string, unknown>;

let inventory: Inventory;
let api: ApiClient;

beforeAll(async () => {
  inventory = await startInventory();
  api = inventory.client('tenantA');
});
afterAll(() => inventory.backend.stop());

describe('lwm2m', () => {
  const TWIN = { ...NONE, twin: { available: false, version: 1 } };
  const post = async (definition: Body) =>
    api.post<InterfaceView>(`${await inventory.newDevice()}/interfaces`, {
      connector: 'lwm2m',
      enabled: 'true',
      definition,
    });

  it('DEV-069 DEV-070 DEV-073 LWM-014 registers the device of the manual and hides its secret', async () => {
    const id = 'urn:lo:nsid:lwm2m:test12';
    const endpointName = 'urn:lo:lwm2m:my_endpoint123';
    const { status, body } = await api.post<DeviceView>(DEVICES, {
      id,
      interfaces: [{ connector: 'lwm2m', enabled: 'true', definition: { endpointName, security: PSK } }],
    });
    expect(status).toBe(200);
    const shown = { endpointName, security: { mode: 'PSK', pskInfo: { identity: 'test_lwm2m_id2' } } };
    expect(body.interfaces).toEqual([
      expect.objectContaining({
        nodeId: endpointName,
        enabled: true,
        status: 'REGISTERED',
        definition: shown,
        capabilities: TWIN,
        activity: {},
      }),
    ]);
    const path = `${DEVICES}/${id}/interfaces/lwm2m:${endpointName}`;
    const patched = await api.patch<InterfaceView>(path, {
      definition: { security: { pskInfo: { identity: 'renamed' } } },
    });
    expect(patched.body.definition).toMatchObject({ security: { mode: 'PSK', pskInfo: { identity: 'renamed' } } });
    for (const answer of [body, patched.body, (await api.get(`${DEVICES}/${id}`)).body, (await api.get(path)).body])
      expect(JSON.stringify(answer)).not.toMatch(/secret/);
    const [row] = await inventory.backend.query<{ secret: string }>(
      'SELECT secret FROM device_manager.interfaces WHERE node_id = $1',
      [endpointName],
    );
    const owner = { tenantId: 'tenantA', purpose: 'interface:lwm2m' };
    expect(new Secrets(inventory.backend.config).open(owner, row!.secret)).toBe('my_psk_secret');
  });

  it('DEV-071 LWM-015 wants PSK and all of its fields', async () => {
    const endpointName = 'missing';
    for (const mode of ['X509', 'psk', 'RPK', undefined])
      expect(refusal(await post({ endpointName, security: { ...PSK, mode } }))).toEqual(badDefinition('security.mode'));
    for (const name of ['identity', 'secret'])
      for (const value of [undefined, '', 'x'.repeat(129), 5])
        expect(
          refusal(await post({ endpointName, security: { mode: 'PSK', pskInfo: { ...PSK.pskInfo, [name]: value } } })),
        ).toEqual(badDefinition(`security.pskInfo.${name}`));
    expect(refusal(await post({ endpointName }))).toEqual(badDefinition('security'));
    expect(refusal(await post({ endpointName, security: { mode: 'PSK' } }))).toEqual(badDefinition('security.pskInfo'));
    expect(refusal(await post({ security: PSK }))).toEqual(badDefinition('endpointName'));
    expect((await post({ endpointName: 'managed', bootstrap: { managed: true } })).body.status).toBe('REGISTERED');
  });

  it('has secrets of up to 64 bytes, in hexadecimal or as text', async () => {
    let count = 0;
    const secretOf = (secret: string) =>
      post({
        endpointName: `secret${++count}`,
        security: { mode: 'PSK', pskInfo: { identity: `secret${count}`, secret } },
      });
    for (const secret of ['x'.repeat(65), 'é'.repeat(33), 'a'.repeat(127), 'ab'.repeat(65)])
      expect([secret, refusal(await secretOf(secret))]).toEqual([secret, badDefinition('security.pskInfo.secret')]);
    for (const secret of ['x'.repeat(64), 'é'.repeat(32), 'a'.repeat(63), 'aB'.repeat(64)])
      expect([secret, (await secretOf(secret)).status]).toEqual([secret, 201]);
  });

  it('DEV-072 leaves the credentials of a managed device to the bootstrap server', async () => {
    const managed = { bootstrap: { managed: true } };
    expect(refusal(await post({ endpointName: 'm1', ...managed, security: PSK }))).toEqual(badDefinition('security'));
    const { status, body } = await post({ endpointName: 'm1', bootstrap: { managed: 'true' } });
    expect([status, body.definition]).toEqual([201, { endpointName: 'm1', ...managed }]);
    const own = { ...PSK, pskInfo: { identity: 'unmanaged', secret: 's' } };
    const not = await post({ endpointName: 'm2', bootstrap: { managed: 'false' }, security: own });
    expect([not.status, not.body.definition['bootstrap']]).toEqual([201, { managed: false }]);
    const path = `${DEVICES}/${not.body.deviceId}/interfaces/lwm2m:m2`;
    expect(refusal(await api.patch(path, { definition: managed }))).toEqual(badDefinition('security'));
    const handed = await api.patch<InterfaceView>(path, { definition: { ...managed, security: null } });
    expect([handed.status, handed.body.definition]).toEqual([200, { endpointName: 'm2', ...managed }]);
    const [row] = await inventory.backend.query<{ secret: null }>(
      `SELECT secret FROM device_manager.interfaces WHERE node_id = 'm2'`,
    );
    expect(row!.secret).toBeNull();
  });

  it('LWM-013 LWM-016 has any endpoint name and any PSK identity once', async () => {
    const security = (identity: string): Body => ({ mode: 'PSK', pskInfo: { identity, secret: 's' } });
    expect((await post({ endpointName: 'my_endpoint', security: security('one') })).status).toBe(201);
    expect(refusal(await post({ endpointName: 'my_endpoint', security: security('two') }))).toEqual(DUPLICATE);
    expect(refusal(await post({ endpointName: 'other', security: security('one') }))).toEqual(DUPLICATE);
    // A handshake tells no tenant.
    const theirs = { connector: 'lwm2m', definition: { endpointName: 'my_endpoint', security: security('one') } };
    const other = inventory.client('tenantB');
    expect(refusal(await other.post(DEVICES, { id: 'urn:lo:nsid:psk:b', interfaces: [theirs] }))).toEqual(DUPLICATE);
    expect((await other.get(`${DEVICES}/urn:lo:nsid:psk:b`)).status).toBe(404);
  });
});
