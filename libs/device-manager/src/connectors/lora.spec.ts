import { Secrets } from '@orrery/core/secrets';
import type { ApiClient } from '@orrery/core/testing';
import type { DeviceView } from '../devices/device.dto.js';
import type { InterfaceView } from '../interfaces/interface.dto.js';
import { badDefinition, DEVICES, DUPLICATE, refusal, type Inventory, startInventory } from '../testing/inventory.js';

const UNAVAILABLE = { available: false };
const NONE = { command: UNAVAILABLE, configuration: UNAVAILABLE, resource: UNAVAILABLE, twin: UNAVAILABLE };
const COMMANDS = { ...NONE, command: { available: true, version: 1 } };
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
let api: ApiClient;

beforeAll(async () => {
  inventory = await startInventory();
  api = inventory.client('tenantA');
});
afterAll(() => inventory.backend.stop());

describe('lora', () => {
  it('LOR-001 LOR-009 registers the device of the manual', async () => {
    const id = 'urn:lo:nsid:lora:0101010210101010';
    const { appKey: _appKey, ...withoutKey } = LORA;
    const refused = await api.post(DEVICES, { id, interfaces: [{ connector: 'lora', definition: withoutKey }] });
    expect(refusal(refused)).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR', ['interfaces.0.definition.appKey']]);
    const { status, body } = await api.post<DeviceView>(DEVICES, {
      id,
      interfaces: [{ connector: 'lora', enabled: true, definition: LORA }],
    });
    expect([status, body.defaultDataStreamId]).toEqual([200, id]);
    expect(body.interfaces).toMatchObject([{ nodeId: LORA.devEUI, status: 'REGISTERED', enabled: true }]);
  });

  it('LOR-010 LOR-022 adds an interface, with commands while it is enabled', async () => {
    const device = await inventory.newDevice();
    const definition = { ...LORA, devEUI: '0202020220202020' };
    const { status, body } = await api.post<InterfaceView>(`${device}/interfaces`, { connector: 'lora', definition });
    expect([status, body.status, body.activity, body.capabilities]).toEqual([201, 'REGISTERED', {}, COMMANDS]);
    const again = await api.post(`${await inventory.newDevice()}/interfaces`, { connector: 'lora', definition });
    expect(refusal(again)).toEqual(DUPLICATE);
    const disabled = await api.patch<InterfaceView>(`${device}/interfaces/lora:${body.nodeId}`, { enabled: false });
    expect(disabled.body.capabilities).toEqual(NONE);
  });

  it('LOR-002 LOR-003 wants EUIs and a key of their lengths, and OTAA', async () => {
    const device = await inventory.newDevice();
    const post = (changes: Body) =>
      api.post<InterfaceView>(`${device}/interfaces`, { connector: 'lora', definition: { ...LORA, ...changes } });
    for (const name of ['devEUI', 'appEUI', 'appKey'])
      for (const value of ['010101021010101', '01010102101010G0', `${LORA.appKey}0`, '', 5, null, ' 101010210101010'])
        expect([value, refusal(await post({ [name]: value }))]).toEqual([value, badDefinition(name)]);
    for (const activationType of ['ABP', 'otaa', null])
      expect(refusal(await post({ activationType }))).toEqual(badDefinition('activationType'));
    const { status, body } = await post({ devEUI: '00aabbccddeeff11', appEUI: 'aabbccddeeff0011' });
    expect([status, body.nodeId]).toEqual([201, '00AABBCCDDEEFF11']);
    expect(body.definition).toMatchObject({ devEUI: '00AABBCCDDEEFF11', appEUI: 'AABBCCDDEEFF0011' });
    // The same device, whatever its case.
    expect(refusal(await post({ devEUI: '00AABBCCDDEEFF11' }))).toEqual(DUPLICATE);
    const read = await api.get<InterfaceView>(`${device}/interfaces/lora:00aabbccddeeff11`);
    expect([read.status, read.body.nodeId]).toEqual([200, '00AABBCCDDEEFF11']);
  });

  it('LOR-004 LOR-005 LOR-006 takes a listed profile, and options or a plan', async () => {
    const device = await inventory.newDevice();
    let eui = 0;
    const post = (changes: Body) =>
      api.post<InterfaceView>(`${device}/interfaces`, {
        connector: 'lora',
        definition: { ...LORA, devEUI: `B00000000000000${eui}`, ...changes },
      });
    const [plan, options] = [{ connectivityOptions: undefined }, { connectivityPlan: undefined }];
    expect(refusal(await post({ profile: 'NoSuchProfile' }))).toEqual(badDefinition('profile'));
    expect(refusal(await post({ ...plan, ...options }))).toEqual(badDefinition('connectivityPlan'));
    expect(refusal(await post({ connectivityPlan: 'nosuch/plan' }))).toEqual(badDefinition('connectivityPlan'));
    for (const [connectivityOptions, field] of [
      [{ foo: true }, 'connectivityOptions.foo'],
      [{ ackUl: 'maybe' }, 'connectivityOptions.ackUl'],
      [['ackUl'], 'connectivityOptions'],
    ] as const)
      expect(refusal(await post({ ...options, connectivityOptions }))).toEqual(badDefinition(field));
    const definitions = [
      (await post({})).body.definition,
      (eui++, (await post(plan)).body.definition),
      (eui++, (await post(options)).body.definition),
    ];
    expect(
      definitions.map(({ connectivityPlan, connectivityOptions }) => [connectivityPlan, connectivityOptions]),
    ).toEqual([
      ['orange-cs/CP_Basic', undefined],
      ['orange-cs/CP_Basic', undefined],
      [undefined, { ackUl: true, location: false }],
    ]);
    const path = `${device}/interfaces/lora:B000000000000002`;
    const changed = await api.patch<InterfaceView>(path, { definition: { connectivityOptions: { location: true } } });
    expect(changed.body.definition).toMatchObject({ connectivityOptions: { ackUl: true, location: true } });
    eui = 9;
    for (const profile of (await api.get<string[]>(`${LISTS}/profiles`)).body) {
      expect([profile, (await post({ profile })).status]).toEqual([profile, 201]);
      await api.delete(`${device}/interfaces/lora:B000000000000009`);
    }
  });

  it('LOR-008 never shows the key, and keeps it encrypted', async () => {
    const devEUI = 'C000000000000001';
    const { body } = await api.post<DeviceView>(DEVICES, {
      id: 'urn:lo:nsid:lora:hidden',
      interfaces: [{ connector: 'lora', definition: { ...LORA, devEUI } }],
    });
    const device = `${DEVICES}/${body.id}`;
    const path = `${device}/interfaces/lora:${devEUI}`;
    const answers = [
      body,
      (await api.get(device)).body,
      (await api.get(`${device}/interfaces`)).body,
      (await api.get(`${DEVICES}?fields=interfaces&id=${body.id}`)).body,
      (await api.get(path)).body,
      (await api.patch(path, { definition: { encoding: 'e1' } })).body,
      (
        await api.post(`${device}/interfaces`, {
          connector: 'lora',
          definition: { ...LORA, devEUI: 'C000000000000002' },
        })
      ).body,
    ];
    for (const answer of answers) {
      expect(JSON.stringify(answer)).toContain('C00000000000000');
      expect(JSON.stringify(answer)).not.toMatch(/appKey|secret|11223344556677889988776655443322/);
    }
    const stored = async (): Promise<string> => {
      const rows = await inventory.backend.query<{ row: string; secret: string }>(
        'SELECT i::text AS row, secret FROM device_manager.interfaces i WHERE node_id = $1',
        [devEUI],
      );
      expect(rows[0]!.row).not.toContain('1122334455667788');
      return new Secrets(inventory.backend.config).open(
        { tenantId: 'tenantA', purpose: 'interface:lora' },
        rows[0]!.secret,
      );
    };
    expect(await stored()).toBe(LORA.appKey);
    await api.patch(path, { definition: { appKey: 'aa'.repeat(16) } });
    expect(await stored()).toBe('AA'.repeat(16));
    expect(refusal(await api.patch(path, { definition: { appKey: 'aa' } }))).toEqual(badDefinition('appKey'));
    expect(await stored()).toBe('AA'.repeat(16));
  });

  it('notes when it was disabled and enabled again', async () => {
    const device = await inventory.newDevice({
      connector: 'lora',
      definition: { ...LORA, devEUI: 'D000000000000001' },
    });
    const path = `${device}/interfaces/lora:D000000000000001`;
    const off = (await api.patch<InterfaceView>(path, { enabled: false })).body;
    expect([off.status, off.activity]).toEqual(['DEACTIVATED', { lastDeactivationTs: off.updated }]);
    const on = (await api.patch<InterfaceView>(path, { enabled: true })).body;
    expect([on.status, on.capabilities]).toEqual(['REACTIVATED', COMMANDS]);
    expect(on.activity).toEqual({ lastDeactivationTs: off.updated, lastActivationTs: on.updated });
    const created = await inventory.newDevice({
      connector: 'lora',
      enabled: false,
      definition: { ...LORA, devEUI: 'D000000000000002' },
    });
    const { body } = await api.get<InterfaceView[]>(`${created}/interfaces`);
    expect([body[0]!.status, body[0]!.activity]).toEqual(['DEACTIVATED', { lastDeactivationTs: body[0]!.created }]);
  });

  it('LOR-011 LOR-012 lists connectivity plans and profiles', async () => {
    const reader = inventory.client('tenantA', { roles: ['DEVICE_R'] });
    const plans = await reader.get<Array<{ id: string; name: string; parameters: Body }>>(`${LISTS}/connectivities`);
    expect(plans.status).toBe(200);
    const parameters = { nbTransMin: 1, nbTransMax: 3, sfMin: 7, sfMax: 12, location: false, ackUl: false };
    expect(plans.body).toEqual(
      expect.arrayContaining([
        { id: 'orange-cs/CP_Basic', name: 'CP_Basic', parameters },
        { id: 'orange-cs/CP_ACK', name: 'CP_ACK', parameters: { ...parameters, ackUl: true } },
      ]),
    );
    const profiles = await reader.get<string[]>(`${LISTS}/profiles`);
    expect(profiles.status).toBe(200);
    expect(profiles.body).toEqual(expect.arrayContaining(['Generic_classA_RX2SF12', 'Generic_classA_RX2SF9']));
    const writer = inventory.client('tenantA', { roles: ['DEVICE_W'] });
    for (const list of ['connectivities', 'profiles']) expect((await writer.get(`${LISTS}/${list}`)).status).toBe(403);
  });
});
