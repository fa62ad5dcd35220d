import { connectAsync, type MqttClient } from 'mqtt';
import type { StoredAuditEntry } from '@orrery/core/audit';
import { AUDIT_SUBJECT, type Bus, PackingPublisher } from '@orrery/core/bus';
import { UNLIMITED_OFFER } from '@orrery/core/limits';
import { decodeEntry, type NodeSessionEvent, partitionOf } from '@orrery/core/messages';
import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  type KeyRing,
  keyRing,
  startBackend,
  type TestPlatform,
} from '@orrery/core/testing';
import { deviceManager } from '@orrery/device-manager';
import { mqttConnector, mqttPorts } from '@orrery/mqtt-connector';
import { store } from '@orrery/store';

// External connector mode with the inventory and the store behind it (manual 5.5.5 and 6.6).

const DEVICES = '/api/v1/deviceMgt/devices';
const AUTO = (nodeId: string): string => `urn:lo:nsid:x-connector:${nodeId}`;

type Json = Record<string, unknown>;
interface Interface extends Json {
  status: string;
  lastContact?: string;
  capabilities: Record<string, { available: boolean }>;
}

let backend: Backend;
let bus: Bus;
let keys: KeyRing;
/** An instance of the connector beside the one of the platform. */
let second: TestPlatform;
let ports: number[];
const audits: StoredAuditEntry[] = [];
const events: Array<Json & { type: string; deviceId: string }> = [];
const clients: MqttClient[] = [];

interface Tenant {
  api: ApiClient;
  /** Publishes with QoS 1 through an instance of the connector. */
  publish(topic: string, content: unknown, instance?: number): Promise<void>;
  status(nodeId: string, status: string, more?: Json, instance?: number): Promise<void>;
  data(nodeId: string, content: unknown): Promise<void>;
  /** The interface once it is as expected. */
  becomes(nodeId: string, expected: Json, deviceId?: string): Promise<Interface>;
  /** Waits until all that was published for the node before has had its effect. @returns its interface */
  settled(nodeId: string, deviceId?: string): Promise<Interface>;
  messages(streamId: string, count: number): Promise<Json[]>;
  audited(type: string, nodeId: string): Promise<StoredAuditEntry>;
}

let tenants = 0;
async function newTenant(): Promise<Tenant & { id: string; sessions: MqttClient[] }> {
  const id = `tenant-${++tenants}`;
  const { value } = keys.grant(id, { limits: UNLIMITED_OFFER });
  const api = apiClient(url, value);
  const sessions: MqttClient[] = [];
  for (const port of ports) {
    const client = await connectAsync(`mqtts://localhost:${port}`, {
      username: 'connector',
      password: value,
      clientId: 'adapter',
      rejectUnauthorized: false,
      reconnectPeriod: 0,
    });
    sessions.push(client);
    clients.push(client);
  }
  const path = (nodeId: string, deviceId: string): string => `${DEVICES}/${deviceId}/interfaces/x-connector:${nodeId}`;
  const tenant: Tenant = {
    api,
    async publish(topic, content, instance = 0) {
      await sessions[instance]!.publishAsync(topic, JSON.stringify(content), { qos: 1 });
    },
    status: (nodeId, status, more = {}, instance = 0) =>
      tenant.publish(`connector/v1/nodes/${nodeId}/status`, { status, ...more }, instance),
    data: (nodeId, content) => tenant.publish(`connector/v1/nodes/${nodeId}/data`, content),
    becomes: (nodeId, expected, deviceId = AUTO(nodeId)) =>
      eventually(async () => {
        const { status, body } = await api.get<Interface>(path(nodeId, deviceId));
        expect(status).toBe(200);
        expect(body).toMatchObject(expected);
        return body;
      }),
    async settled(nodeId, deviceId = AUTO(nodeId)) {
      const marker = `m${Math.random()}`;
      const event: NodeSessionEvent = {
        type: 'nodeContact',
        connector: 'x-connector',
        nodeId,
        deviceId,
        sessionId: 'test',
        instance: 'test',
        timestamp: '2001-01-01T00:00:00.000Z',
        activity: { marker },
      };
      await report(id, event);
      return tenant.becomes(nodeId, { activity: { marker } }, deviceId);
    },
    messages: (streamId, count) =>
      eventually(async () => {
        const { body } = await api.get<Json[]>(`/api/v0/data/streams/${streamId}`);
        return body.length === count && body;
      }),
    audited: (type, nodeId) =>
      eventually(() =>
        audits.find((entry) => entry.tenantId === id && entry.type === type && entry.source?.nodeId === nodeId),
      ),
  };
  return { ...tenant, id, sessions };
}

let publisher: PackingPublisher;
const report = (tenantId: string, event: NodeSessionEvent): Promise<unknown> =>
  publisher.publish(
    partitionOf(tenantId, event.deviceId, bus.partitions),
    JSON.stringify({ tenantId, type: event.type, key: event.deviceId }),
    JSON.stringify(event),
  );

let url: string;
beforeAll(async () => {
  backend = await startBackend([deviceManager, store, mqttConnector], { ORRERY_LEASE_TTL_MS: '6000' });
  bus = await backend.bus();
  keys = keyRing(bus);
  publisher = new PackingPublisher(bus, 'EVENTS');
  bus.connection.subscribe(AUDIT_SUBJECT, { callback: (_, message) => void audits.push(message.json()) });
  bus.connection.subscribe('events.*', {
    callback: (_, { data }) => decodeEntry(data).forEach(({ body }) => void events.push(JSON.parse(body))),
  });
  const platform = await backend.boot([deviceManager, store, mqttConnector]);
  second = await backend.boot([mqttConnector]);
  url = platform.url;
  ports = [mqttPorts(platform.app).tls, mqttPorts(second.app).tls];
});
afterAll(async () => {
  for (const client of clients) client.end(true);
  await publisher.close();
  await backend.stop();
});

const eventsOf = (deviceId: string, type: string): Json[] =>
  events.filter((event) => event.deviceId === deviceId && event.type === type);

describe('nodes', () => {
  it('MQX-005 MQX-007 XCN-006 register themselves with their first status, under the names of the manual', async () => {
    const { api, status, becomes } = await newTenant();
    await status('n1', 'ONLINE', { capabilities: { command: { available: true } } });
    await becomes('n1', {
      connector: 'x-connector',
      nodeId: 'n1',
      status: 'ONLINE',
      enabled: true,
      capabilities: {
        command: { available: true },
        configuration: { available: false },
        resource: { available: false },
      },
    });
    const { body } = await api.get<Json>(`${DEVICES}/${AUTO('n1')}`);
    expect(body).toMatchObject({
      name: 'Auto-created device (x-connector / n1)',
      description: 'This device was auto registered by the connector [x-connector] with the nodeId [n1]',
      defaultDataStreamId: AUTO('n1'),
      interfaces: [{ connector: 'x-connector', nodeId: 'n1' }],
    });
    await eventually(() => eventsOf(AUTO('n1'), 'deviceCreated').length > 0);
    expect(eventsOf(AUTO('n1'), 'deviceCreated')).toHaveLength(1);
  });

  it('XCN-006 MQX-017 register themselves with their first message', async () => {
    const { api, data, messages } = await newTenant();
    await data('n77', { value: { t: 1 } });
    const [message] = await messages(AUTO('n77'), 1);
    expect(message).toMatchObject({ value: { t: 1 }, metadata: { source: AUTO('n77'), connector: 'x-connector' } });
    const { status, body } = await api.get<{ interfaces: Json[] }>(`${DEVICES}/${AUTO('n77')}`);
    expect([status, body.interfaces]).toEqual([
      200,
      [expect.objectContaining({ connector: 'x-connector', nodeId: 'n77', status: 'REGISTERED' })],
    ]);
  });

  it('MQX-006 are those of a device that declares them', async () => {
    const { api, status, becomes } = await newTenant();
    const id = 'urn:lo:nsid:external:measures';
    const interfaces = [{ connector: 'x-connector', enabled: true, definition: { nodeId: 'myDevice1234' } }];
    expect((await api.post(DEVICES, { id, interfaces })).status).toBe(200);
    await status('myDevice1234', 'ONLINE');
    await becomes('myDevice1234', { status: 'ONLINE' }, id);
    expect((await api.get<Json[]>(DEVICES)).body.map((device) => device['id'])).toEqual([id]);
  });

  it('XCN-007 MQX-008 MQX-014 have the status that is published, and each change is one event', async () => {
    const { status, settled, becomes, audited } = await newTenant();
    await status('s1', 'ONLINE');
    await status('s1', 'ONLINE');
    await settled('s1');
    await eventually(() => eventsOf(AUTO('s1'), 'deviceStatus').length > 0);
    expect(eventsOf(AUTO('s1'), 'deviceStatus')).toEqual([
      expect.objectContaining({
        updatedInterface: {
          connector: 'x-connector',
          nodeId: 's1',
          enabled: true,
          status: { current: 'ONLINE', previous: 'REGISTERED' },
        },
      }),
    ]);
    await status('s1', 'OFFLINE');
    await becomes('s1', { status: 'OFFLINE' });
    await status('s1', 'REGISTERED');
    expect((await audited('bad_message', 's1')).description).toContain('ONLINE or OFFLINE');
    expect((await settled('s1')).status).toBe('OFFLINE');
    await status('s1', 'ONLINE');
    await becomes('s1', { status: 'ONLINE' });
  });

  it('MQX-009 have the capabilities that are published, and keep those that are not', async () => {
    const { status, becomes } = await newTenant();
    await status('c1', 'ONLINE', { capabilities: { command: { available: true } } });
    await becomes('c1', {
      capabilities: {
        command: { available: true },
        configuration: { available: false },
        resource: { available: false },
      },
    });
    await status('c1', 'ONLINE', { capabilities: { resource: { available: true } } });
    await becomes('c1', {
      capabilities: {
        command: { available: true },
        configuration: { available: false },
        resource: { available: true },
      },
    });
  });

  it('MQX-010 have the published time of the last contact, else that of reception; data is a contact too', async () => {
    const { status, data, becomes } = await newTenant();
    await status('t1', 'ONLINE', { lastContact: '2019-05-20T16:01:47Z' });
    await becomes('t1', { lastContact: '2019-05-20T16:01:47.000Z' });
    const contactAfter = async (time: number): Promise<void> =>
      void (await eventually(async () => Date.parse((await becomes('t1', {})).lastContact!) >= time));
    let began = Date.now();
    await status('t1', 'ONLINE');
    await contactAfter(began);
    await status('t1', 'ONLINE', { lastContact: '2019-05-20T16:01:47Z' });
    await becomes('t1', { lastContact: '2019-05-20T16:01:47.000Z' });
    began = Date.now();
    await data('t1', {});
    await contactAfter(began);
  });

  it('MQX-011 MQX-012 take statuses in the order of their numbers, whichever instance they come through', async () => {
    const { status, settled } = await newTenant();
    const after = async (
      told: string,
      session: number,
      event: number | undefined,
      instance: number,
    ): Promise<string> => {
      const numbers = { sessionSequenceId: session, ...(event === undefined ? {} : { eventSequenceId: event }) };
      await status('q1', told, numbers, instance);
      return (await settled('q1')).status;
    };
    expect(await after('ONLINE', 2, undefined, 0)).toBe('ONLINE');
    expect(await after('OFFLINE', 1, undefined, 1)).toBe('ONLINE');
    expect(await after('ONLINE', 3, 3, 1)).toBe('ONLINE');
    expect(await after('OFFLINE', 3, 2, 0)).toBe('ONLINE');
    expect(await after('OFFLINE', 3, 3, 1)).toBe('OFFLINE');
    expect(await after('ONLINE', 4, 1, 0)).toBe('ONLINE');
  });

  it('XCN-008 are not heard while their interface is disabled', async () => {
    const { api, status, data, becomes, settled, messages, audited } = await newTenant();
    await status('x1', 'ONLINE');
    await data('x1', { value: { n: 1 } });
    await becomes('x1', { status: 'ONLINE' });
    const path = `${DEVICES}/${AUTO('x1')}/interfaces/x-connector:x1`;
    expect((await api.patch<Interface>(path, { enabled: false })).body.status).toBe('OFFLINE');
    await status('x1', 'ONLINE');
    await data('x1', { value: { n: 2 } });
    await eventually(async () => {
      await status('x1', 'ONLINE');
      return audits.some((entry) => entry.type === 'node_disabled' && entry.source?.nodeId === 'x1');
    });
    expect((await audited('node_disabled', 'x1')).source).toMatchObject({
      deviceId: AUTO('x1'),
      connector: 'x-connector',
    });
    expect((await settled('x1')).status).toBe('OFFLINE');
    expect((await api.patch<Interface>(path, { enabled: true })).body.status).toBe('OFFLINE');
    await eventually(async () => {
      await status('x1', 'ONLINE');
      return (await settled('x1')).status === 'ONLINE';
    });
    const all = await api.get<Json[]>(`/api/v0/data/streams/${AUTO('x1')}`);
    await data('x1', { value: { n: 3 } });
    const values = (await messages(AUTO('x1'), all.body.length + 1)).map((message) => (message['value'] as Json)['n']);
    expect(values).toEqual(expect.arrayContaining([1, 3]));
  });

  it('are registered anew when their device is deleted and they are heard again', async () => {
    const { api, status, becomes } = await newTenant();
    await status('g1', 'ONLINE');
    await becomes('g1', { status: 'ONLINE' });
    expect((await api.delete(`${DEVICES}/${AUTO('g1')}`)).status).toBe(204);
    await eventually(async () => {
      await status('g1', 'OFFLINE');
      return (await api.get(`${DEVICES}/${AUTO('g1')}`)).status === 200;
    });
    await becomes('g1', { status: 'OFFLINE' });
  });

  it('come by the hundred from two instances at once, each as one device', async () => {
    const { api, status, becomes } = await newTenant();
    const nodes = Array.from({ length: 100 }, (_, i) => `h${i}`);
    await Promise.all(nodes.flatMap((nodeId) => [0, 1].map((instance) => status(nodeId, 'ONLINE', {}, instance))));
    for (const nodeId of nodes) await becomes(nodeId, { status: 'ONLINE' });
    expect((await api.get<Json[]>(`${DEVICES}?limit=1000`)).body).toHaveLength(100);
  });
});

describe('messages', () => {
  it('MQX-015 are stored as those of the device', async () => {
    const { status, data, messages } = await newTenant();
    await status('n1', 'ONLINE');
    await data('n1', {
      streamId: 'urn:lo:nsid:detector_A8:12435355',
      timestamp: '2019-05-20T16:01:47Z',
      model: 'data_v0',
      value: { temperature: 14.6, battery: 53, messageAlert: 'low battery' },
      location: { lat: 48.86667, lon: 2.33333, alt: 35.2, accuracy: 12.3, provider: 'GPS' },
      tags: ['production', 'london'],
    });
    const [message] = await messages('urn:lo:nsid:detector_A8:12435355', 1);
    expect(message).toMatchObject({
      timestamp: '2019-05-20T16:01:47.000Z',
      model: 'data_v0',
      value: { temperature: 14.6, battery: 53, messageAlert: 'low battery' },
      location: { lat: 48.86667, lon: 2.33333, alt: 35.2, accuracy: 12.3, provider: 'GPS' },
      tags: ['production', 'london'],
      metadata: { connector: 'x-connector', source: AUTO('n1') },
    });
  });

  it('MQX-016 need no field: an empty one is of now, in the default stream of the device', async () => {
    const { api, data, messages } = await newTenant();
    const interfaces = [{ connector: 'x-connector', definition: { nodeId: 'empty' } }];
    const device = { id: 'urn:lo:nsid:external:empty', defaultDataStreamId: 'the-default', interfaces };
    expect((await api.post(DEVICES, device)).status).toBe(200);
    const began = Date.now();
    await data('empty', {});
    const [message] = await messages('the-default', 1);
    const time = Date.parse(message!['timestamp'] as string);
    expect(time).toBeGreaterThanOrEqual(began);
    expect(time).toBeLessThanOrEqual(Date.now());
  });

  it('MQX-020 XCN-005 have the encoding of the interface, whatever their own', async () => {
    const { api, data, messages } = await newTenant();
    const id = 'urn:lo:nsid:external:encoded';
    const interfaces = [{ connector: 'x-connector', definition: { nodeId: 'encoded', encoding: 'e1' } }];
    expect((await api.post(DEVICES, { id, interfaces })).status).toBe(200);
    await data('encoded', { value: { payload: '00' }, metadata: { encoding: 'e2' } });
    await data('encoded', { value: { payload: '01' } });
    for (const message of await messages(id, 2)) expect(message['metadata']).toMatchObject({ encoding: 'e1' });
  });
});

describe('the session of a connector', () => {
  it('MQX-032 ends without an effect on its nodes, and so does its instance', async () => {
    const { id, api, sessions, status, becomes, settled } = await newTenant();
    await status('w1', 'ONLINE', {}, 0);
    await status('w2', 'ONLINE', {}, 1);
    for (const nodeId of ['w1', 'w2']) await becomes(nodeId, { status: 'ONLINE' });
    await sessions[0]!.endAsync(true);
    await second.close();
    // A device of an instance that is gone goes OFFLINE: by then the nodes would have too.
    const deviceId = 'urn:lo:nsid:mqtt:witness';
    const interfaces = [{ connector: 'mqtt', definition: { clientId: 'witness' } }];
    expect((await api.post(DEVICES, { id: deviceId, interfaces })).status).toBe(200);
    const witness = { connector: 'mqtt', nodeId: 'witness', deviceId, sessionId: 's', instance: 'gone' };
    await report(id, { type: 'nodeConnected', ...witness, timestamp: new Date().toISOString() });
    await eventually(async () => {
      const { body } = await api.get<Interface>(`${DEVICES}/${deviceId}/interfaces/mqtt:witness`);
      return body.status === 'OFFLINE';
    });
    for (const nodeId of ['w1', 'w2']) expect((await settled(nodeId)).status).toBe('ONLINE');
  });
});
