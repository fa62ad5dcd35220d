import { disabledSections, limitsOf, newSettings } from '@orrery/core/limits';
import type { DeviceView } from '../devices/device.dto.js';
import type { InterfaceView } from '../interfaces/interface.dto.js';
import { DEVICES, refusal, type Inventory, startInventory } from '../testing/inventory.js';

const LISTS = '/api/v1/deviceMgt/connectors/lora';
const LORA = {
  devEUI: '0101010210101010',
  profile: 'Generic_classA_RX2SF9',
  activationType: 'OTAA',
  appEUI: '9879876546543211',
  appKey: '11223344556677889988776655443322',
  connectivityOptions: { ackUl: true, location: false },
  connectivityPlan: 'orange-cs/CP_Basic',
};

type Body = Record<string, unknown>;

let inventory: Inventory;

beforeAll(async () => {
  inventory = await startInventory();
});
afterAll(() => inventory.backend.stop());

describe('the offer', () => {
  it('ACC-043 API-010 DEV-053 refuses interfaces of a connector that is switched off', async () => {
    const disabled = [403, 'GENERIC_OFFER_DISABLED_ERROR'];
    const all = inventory.client('offer');
    const sections: Record<string, [section: string, definition: Body, nodeId: string]> = {
      lora: ['lora', { ...LORA, devEUI: 'E000000000000001' }, 'E000000000000001'],
      sms: ['smsconnect', { msisdn: '33600000200' }, '33600000200'],
      mqtt: ['mqtt', { clientId: 'offer' }, 'offer'],
      'x-connector': ['x-connector', { nodeId: 'offer' }, 'offer'],
      lwm2m: ['lwm2m', { endpointName: 'offer', bootstrap: { managed: true } }, 'offer'],
      sigfox: ['sigfox', { id: 'FF' }, 'FF'],
    };
    for (const [connector, [section, definition, nodeId]] of Object.entries(sections)) {
      const id = `urn:lo:nsid:offer:${connector}`;
      const without = inventory.client('offer', { disabledSections: [section] });
      const interfaces = [{ connector, definition }];
      const { status, body } = await without.post(DEVICES, { id, interfaces });
      expect([status, body]).toEqual([
        403,
        expect.objectContaining({
          code: 'GENERIC_OFFER_DISABLED_ERROR',
          message: 'The requested service is disabled in your offer settings. Please contact a sales representative.',
        }),
      ]);
      expect((await without.get(`${DEVICES}/${id}`)).status).toBe(404);
      expect((await all.post(DEVICES, { id, interfaces })).status).toBe(200);
      const path = `${DEVICES}/${id}/interfaces`;
      expect(refusal(await without.post(path, interfaces[0])).slice(0, 2)).toEqual(disabled);
      for (const call of [without.get, without.delete, (at: string) => without.patch(at, {})])
        expect(refusal(await call(`${path}/${connector}:${nodeId}`)).slice(0, 2)).toEqual(disabled);
      // What is there can be seen with its device, and removed with it.
      expect((await without.get<DeviceView>(`${DEVICES}/${id}`)).body.interfaces).toHaveLength(1);
      expect((await without.delete(`${DEVICES}/${id}`)).status).toBe(204);
    }
    const deleted = await all.post(DEVICES, {
      id: 'urn:lo:nsid:offer:twice',
      interfaces: [{ connector: 'lora', definition: LORA }],
    });
    expect(deleted.status).toBe(200);
    const path = `${DEVICES}/urn:lo:nsid:offer:twice/interfaces/lora:${LORA.devEUI}`;
    expect([(await all.delete(path)).status, refusal(await all.delete(path))]).toEqual([
      204,
      [404, 'DM_INTERFACE_NOT_FOUND'],
    ]);
  });

  it('LOR-013 refuses both lists of LoRa with a code of their own', async () => {
    const without = inventory.client('tenantA', { disabledSections: ['lora'] });
    for (const list of ['connectivities', 'profiles']) {
      const { status, body } = await without.get(`${LISTS}/${list}`);
      expect([status, body]).toEqual([
        403,
        expect.objectContaining({
          code: '4030',
          message: 'Service is disabled. Please contact your sales entry point.',
        }),
      ]);
    }
  });

  it('TEN-034 follows the settings: limits that are set, features that are disabled', async () => {
    const settings = newSettings({
      deviceManagement: { maximumTagsNumber: 12 },
      smsconnect: { enabled: false },
    });
    const offered = inventory.client('ten', {
      limits: limitsOf(settings),
      disabledSections: disabledSections(settings),
    });
    const tags = (most: number): string[] => Array.from({ length: most }, (_, i) => `t${i}`);
    expect((await offered.post(DEVICES, { id: 'urn:lo:nsid:ten:12', tags: tags(12) })).status).toBe(200);
    const more = await offered.post(DEVICES, { id: 'urn:lo:nsid:ten:13', tags: tags(13) });
    expect(refusal(more)).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR', ['tags']]);
    const sms = { connector: 'sms', definition: { msisdn: '33600000300' } };
    const refused = await offered.post(`${DEVICES}/urn:lo:nsid:ten:12/interfaces`, sms);
    expect(refusal(refused)).toEqual([403, 'GENERIC_OFFER_DISABLED_ERROR']);
  });

  it.each([
    ['LIM-093 allows ten SMS interfaces', 'sms', (i: number): Body => ({ msisdn: `3360000${1000 + i}` })],
    [
      'LIM-095 allows ten LoRa interfaces',
      'lora',
      (i: number): Body => ({ ...LORA, devEUI: `F00000000000${1000 + i}` }),
    ],
  ])('%s, also when they come at once', async (_title, connector, definition) => {
    const tenant = `limited-${connector}`;
    const quota = [403, 'GENERIC_QUOTA_EXCEEDED_ERROR'];
    const limited = inventory.client(tenant, { limits: { devices: null } });
    const create = (i: number) =>
      limited.post<DeviceView>(DEVICES, {
        id: `urn:lo:nsid:limited:${i}`,
        interfaces: [{ connector, definition: definition(i) }],
      });
    const answers = await Promise.all(Array.from({ length: 16 }, (_, i) => create(i)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(10);
    for (const answer of answers.filter(({ status }) => status !== 200))
      expect(refusal(answer).slice(0, 2)).toEqual(quota);
    const kept = answers.filter(({ status }) => status === 200).map(({ body }) => body.id);
    const add = (device: string, i: number) =>
      limited.post(`${DEVICES}/${device}/interfaces`, { connector, definition: definition(i) });
    expect(refusal(await add(kept[0]!, 50)).slice(0, 2)).toEqual(quota);
    // Other connectors are not counted with them; what is deleted makes room.
    const mqtt = { connector: 'mqtt', definition: { clientId: 'free' } };
    expect((await limited.post(`${DEVICES}/${kept[0]!}/interfaces`, mqtt)).status).toBe(201);
    const [first] = (await limited.get<InterfaceView[]>(`${DEVICES}/${kept[1]!}/interfaces`)).body;
    await limited.delete(`${DEVICES}/${kept[1]!}/interfaces/${connector}:${first!.nodeId}`);
    await limited.delete(`${DEVICES}/${kept[2]!}`);
    const again = await Promise.all([60, 61, 62, 63].map((i) => add(kept[0]!, i)));
    expect(again.map(({ status }) => status).sort()).toEqual([201, 201, 403, 403]);
    // More than are allowed at once.
    const bulk = Array.from({ length: 3 }, (_, i) => ({ connector, definition: definition(70 + i) }));
    await limited.delete(`${DEVICES}/${kept[3]!}`);
    expect(
      refusal(await limited.post(DEVICES, { id: 'urn:lo:nsid:limited:bulk', interfaces: bulk })).slice(0, 2),
    ).toEqual(quota);
    const [counted] = await inventory.backend.query<{ counted: string; rows: string }>(
      `SELECT (SELECT interfaces FROM device_manager.interface_counts WHERE tenant_id = $1 AND connector = $2) AS counted,
              (SELECT count(*) FROM device_manager.interfaces WHERE tenant_id = $1 AND connector = $2) AS rows`,
      [tenant, connector],
    );
    expect([counted!.counted, counted!.rows]).toEqual(['9', '9']);
  });
});
