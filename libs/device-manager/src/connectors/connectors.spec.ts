import { newSettings, smsNumbersOf } from '@orrery/core/limits';
import type { ApiClient } from '@orrery/core/testing';
import type { DeviceView } from '../devices/device.dto.js';
import type { InterfaceView } from '../interfaces/interface.dto.js';
import { badDefinition, DEVICES, DUPLICATE, refusal, type Inventory, startInventory } from '../testing/inventory.js';

const UNAVAILABLE = { available: false };
const NONE = { command: UNAVAILABLE, configuration: UNAVAILABLE, resource: UNAVAILABLE, twin: UNAVAILABLE };
const COMMANDS = { ...NONE, command: { available: true, version: 1 } };
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

describe('every connector', () => {
  it('DEV-013 DEV-014 has interfaces, also of several connectors at one device', async () => {
    const definitions: Array<[string, Body, string, string]> = [
      ['lora', { ...LORA, devEUI: 'A000000000000001' }, 'A000000000000001', 'REGISTERED'],
      ['sms', { msisdn: '33600000100' }, '33600000100', 'ONLINE'],
      ['mqtt', { clientId: 'every' }, 'every', 'REGISTERED'],
      ['lwm2m', { endpointName: 'every', bootstrap: { managed: true } }, 'every', 'REGISTERED'],
      ['x-connector', { nodeId: 'every' }, 'every', 'REGISTERED'],
      ['sigfox', { id: '00cb3a' }, 'CB3A', 'REGISTERED'],
      ['sensoro', { sn: '0117C9AAAA' }, '0117C9AAAA', 'REGISTERED'],
    ];
    for (const [connector, definition, nodeId, status] of definitions) {
      const device = await inventory.newDevice({ connector, definition });
      const { body } = await api.get<InterfaceView>(`${device}/interfaces/${connector}:${nodeId}`);
      expect([connector, body.nodeId, body.status]).toEqual([connector, nodeId, status]);
    }
    const device = await inventory.newDevice(
      { connector: 'sms', definition: { msisdn: '33600000101' } },
      { connector: 'mqtt', definition: { clientId: 'both' } },
    );
    const { body } = await api.get<InterfaceView[]>(`${device}/interfaces`);
    expect(body.map((each) => each.connector).sort()).toEqual(['mqtt', 'sms']);
  });

  it('names all that is wrong with a definition at once', async () => {
    const device = await inventory.newDevice();
    const post = (connector: string, definition: unknown) =>
      api.post(`${device}/interfaces`, { connector, definition }).then(refusal);
    expect(await post('lora', {})).toEqual(
      badDefinition('devEUI', 'appEUI', 'appKey', 'activationType', 'profile', 'connectivityPlan'),
    );
    expect(await post('lwm2m', { endpointName: '', security: { mode: 'X509', pskInfo: {} }, encoding: 7 })).toEqual(
      badDefinition(
        'endpointName',
        'security.mode',
        'security.pskInfo.identity',
        'security.pskInfo.secret',
        'encoding',
      ),
    );
    expect(await post('sigfox', { id: 'x', pac: 'y', prototype: 1 })).toEqual(badDefinition('id', 'pac', 'prototype'));
    for (const connector of ['lora', 'sms', 'lwm2m', 'x-connector', 'sigfox', 'sensoro'])
      for (const hostile of [
        '{"__proto__":{"nodeId":"n","sn":"s"},"constructor":{},"prototype":[]}',
        '{"nodeId":{},"id":[],"sn":null,"msisdn":33600000001,"security":"x","bootstrap":[],"endpointName":{}}',
      ])
        expect(
          await api.post(`${device}/interfaces`, `{"connector":"${connector}","definition":${hostile}}`),
        ).toMatchObject({ status: 400, body: { code: 'GENERIC_INVALID_PARAMETER_ERROR' } });
  });
});

describe('sms', () => {
  it('SMS-001 SMS-005 registers the device of the manual', async () => {
    const definition = { msisdn: '33600000001', serverPhoneNumber: '20259', encoding: 'myDecoder' };
    const { status, body } = await api.post<DeviceView>(DEVICES, {
      id: 'urn:lo:nsid:sensor:temp002',
      interfaces: [{ connector: 'sms', enabled: true, definition }],
    });
    expect(status).toBe(200);
    expect(body.interfaces).toMatchObject([
      { connector: 'sms', nodeId: '33600000001', enabled: true, status: 'ONLINE', definition },
    ]);
    const device = await inventory.newDevice();
    const none = await api.post(`${device}/interfaces`, { connector: 'sms', definition: {} });
    expect(refusal(none)).toEqual(badDefinition('msisdn'));
  });

  it('DEV-044 SMS-006 SMS-010 adds an interface, with commands while it is enabled', async () => {
    const device = await inventory.newDevice();
    const interfaces = `${device}/interfaces`;
    const definition = { msisdn: '33601201201', serverPhoneNumber: '20259' };
    const { status, body } = await api.post<InterfaceView>(interfaces, { connector: 'sms', enabled: true, definition });
    expect(status).toBe(201);
    expect(body).toEqual({
      connector: 'sms',
      nodeId: '33601201201',
      deviceId: device.slice(DEVICES.length + 1),
      enabled: true,
      status: 'ONLINE',
      definition,
      activity: {},
      capabilities: COMMANDS,
      created: expect.any(String),
      updated: body.created,
    });
    const again = await api.post(`${await inventory.newDevice()}/interfaces`, { connector: 'sms', definition });
    expect(refusal(again)).toEqual(DUPLICATE);
    const disabled = await api.patch<InterfaceView>(`${interfaces}/sms:33601201201`, { enabled: false });
    expect(disabled.body.capabilities).toEqual(NONE);
  });

  it('SMS-002 SMS-012 takes international numbers of any country', async () => {
    const interfaces = `${await inventory.newDevice()}/interfaces`;
    const post = (msisdn: unknown) => api.post(interfaces, { connector: 'sms', definition: { msisdn } });
    for (const msisdn of [
      '33654',
      '3'.repeat(16),
      '0033654332211',
      '+33654332211',
      '33 654332211',
      '٣٣٦٥٤٣٣٢',
      33654332211,
    ])
      expect([msisdn, refusal(await post(msisdn))]).toEqual([msisdn, badDefinition('msisdn')]);
    for (const msisdn of ['421654332211', '32654332211', '336543', '3'.repeat(15)])
      expect([msisdn, (await post(msisdn)).status]).toEqual([msisdn, 201]);
  });

  it('SMS-003 sends from numbers of the offer only', async () => {
    const settings = newSettings({
      smsconnect: { enabled: true, connectivities: { 20259: { enabled: true }, 20406: { enabled: false } } },
    });
    const offered = inventory.client('smsOffer', { smsNumbers: smsNumbersOf(settings) });
    expect((await offered.post(DEVICES, { id: 'urn:lo:nsid:sms:1' })).status).toBe(200);
    const post = (serverPhoneNumber: unknown) =>
      offered.post(`${DEVICES}/urn:lo:nsid:sms:1/interfaces`, {
        connector: 'sms',
        definition: { msisdn: '33600000002', serverPhoneNumber },
      });
    for (const number of ['99999', '20406', 20259, '', 'constructor'])
      expect([number, refusal(await post(number))]).toEqual([number, badDefinition('serverPhoneNumber')]);
    expect((await post('20259')).status).toBe(201);
  });

  it('SMS-008 is DEACTIVATED while disabled, and ONLINE otherwise', async () => {
    const device = await inventory.newDevice({ connector: 'sms', definition: { msisdn: '33600000003' } });
    const path = `${device}/interfaces/sms:33600000003`;
    expect((await api.patch<InterfaceView>(path, { enabled: false })).body.status).toBe('DEACTIVATED');
    expect((await api.patch<InterfaceView>(path, { enabled: true })).body.status).toBe('ONLINE');
  });
});

describe('x-connector', () => {
  it('XCN-001 XCN-002 registers the device of the manual, in one call or in two', async () => {
    const { status, body } = await api.post<DeviceView>(DEVICES, {
      id: 'urn:lo:nsid:external:measures',
      interfaces: [{ connector: 'x-connector', enabled: true, definition: { nodeId: 'myDevice1234' } }],
    });
    expect([status, body.activityState]).toEqual([200, 'NOT_MONITORED']);
    expect(body.interfaces).toMatchObject([
      {
        nodeId: 'myDevice1234',
        status: 'REGISTERED',
        definition: { nodeId: 'myDevice1234' },
        capabilities: { command: UNAVAILABLE, configuration: UNAVAILABLE, resource: UNAVAILABLE },
      },
    ]);
    const added = await api.post<InterfaceView>(`${await inventory.newDevice()}/interfaces`, {
      connector: 'x-connector',
      definition: { nodeId: 'n1' },
    });
    expect([added.status, added.body.status]).toEqual([201, 'REGISTERED']);
  });

  it('XCN-003 XCN-004 has node ids of their characters, each once in a tenant', async () => {
    const interfaces = `${await inventory.newDevice()}/interfaces`;
    const post = (definition: Body) => api.post<InterfaceView>(interfaces, { connector: 'x-connector', definition });
    for (const nodeId of [undefined, '', 'x'.repeat(129), 'a b', 'a/b', 'a.b', 'é', 'a\n', 7])
      expect([nodeId, refusal(await post({ nodeId }))]).toEqual([nodeId, badDefinition('nodeId')]);
    expect((await post({ nodeId: 'a:b-c_1', encoding: 'e1' })).body.definition).toEqual({
      nodeId: 'a:b-c_1',
      encoding: 'e1',
    });
    const other = await api.post(`${await inventory.newDevice()}/interfaces`, {
      connector: 'x-connector',
      definition: { nodeId: 'a:b-c_1' },
    });
    expect(refusal(other)).toEqual(DUPLICATE);
    // Neither another connector nor another tenant has taken it.
    expect((await api.post(interfaces, { connector: 'mqtt', definition: { clientId: 'a:b-c_1' } })).status).toBe(201);
    const theirs = { connector: 'x-connector', definition: { nodeId: 'a:b-c_1' } };
    const created = await inventory.client('tenantB').post(DEVICES, { id: 'urn:lo:nsid:xcn:b', interfaces: [theirs] });
    expect(created.status).toBe(200);
  });

  it('is OFFLINE while disabled, for it has no status of its own', async () => {
    const device = await inventory.newDevice({ connector: 'x-connector', definition: { nodeId: 'switched' } });
    const path = `${device}/interfaces/x-connector:switched`;
    expect((await api.patch<InterfaceView>(path, { enabled: false })).body.status).toBe('OFFLINE');
    expect((await api.patch<InterfaceView>(path, { enabled: true })).body.status).toBe('REGISTERED');
  });
});

describe('sigfox', () => {
  it('knows a device by its number, however it is written, and hides its PAC', async () => {
    const device = await inventory.newDevice();
    const post = (definition: Body) =>
      api.post<InterfaceView>(`${device}/interfaces`, { connector: 'sigfox', definition });
    const { status, body } = await post({
      id: '0cb3',
      pac: 'AABBCCDDEEFF0011',
      deviceTypeId: 't1',
      automaticRenewal: false,
      prototype: true,
    });
    expect([status, body.nodeId, body.status]).toEqual([201, 'CB3', 'REGISTERED']);
    expect(body.definition).toEqual({ id: 'CB3', deviceTypeId: 't1', automaticRenewal: false, prototype: true });
    expect(refusal(await post({ id: 'CB3' }))).toEqual(DUPLICATE);
    expect((await api.get<InterfaceView>(`${device}/interfaces/sigfox:00cb3`)).body.nodeId).toBe('CB3');
    expect((await post({ id: '000' })).body.nodeId).toBe('0');
  });
});
