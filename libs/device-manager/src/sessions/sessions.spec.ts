import { type Bus, PackingPublisher } from '@orrery/core/bus';
import { UNLIMITED_OFFER } from '@orrery/core/limits';
import { decodeEntry, type NodeSessionEvent, partitionOf } from '@orrery/core/messages';
import { type ApiClient, apiClient, type Backend, eventually, keyRing, startBackend } from '@orrery/core/testing';
import { connectorLeaseKey } from '../contract.js';
import { deviceManager } from '../index.js';
import type { InterfaceView } from '../interfaces/interface.dto.js';

const DEVICES = '/api/v1/deviceMgt/devices';

let backend: Backend;
let bus: Bus;
let api: ApiClient;
let publisher: PackingPublisher;
let renewal: NodeJS.Timeout;
const statuses: Array<{ deviceId: string; updatedInterface: { status: { current: string; previous: string } } }> = [];

/** A connector as the bus sees it: it publishes what happens to the session of one node. */
class Node {
  static count = 0;
  readonly nodeId = `node${++Node.count}`;
  readonly deviceId = `urn:lo:nsid:ses:${this.nodeId}`;
  readonly path = `${DEVICES}/${this.deviceId}/interfaces/mqtt:${this.nodeId}`;

  async register(): Promise<this> {
    const interfaces = [{ connector: 'mqtt', definition: { clientId: this.nodeId } }];
    expect((await api.post(DEVICES, { id: this.deviceId, interfaces })).status).toBe(200);
    return this;
  }

  async report(type: NodeSessionEvent['type'], sessionId: string, more: Partial<NodeSessionEvent> = {}): Promise<void> {
    const timestamp = new Date().toISOString();
    const event: NodeSessionEvent = {
      type,
      connector: 'mqtt',
      nodeId: this.nodeId,
      deviceId: this.deviceId,
      sessionId,
      instance: 'alive',
      timestamp,
      ...more,
    };
    await publisher.publish(
      partitionOf('tenantA', this.deviceId, bus.partitions),
      JSON.stringify({ tenantId: 'tenantA', type, key: this.deviceId }),
      JSON.stringify(event),
    );
  }

  async read(): Promise<InterfaceView> {
    return (await api.get<InterfaceView>(this.path)).body;
  }

  async becomes(status: string): Promise<InterfaceView> {
    return eventually(async () => {
      const read = await this.read();
      return read.status === status ? read : undefined;
    });
  }

  /** Waits until everything reported so far is applied. */
  async settled(): Promise<InterfaceView> {
    const marker = `m${Math.random()}`;
    await this.report('nodeContact', 'none', { timestamp: '2001-01-01T00:00:00.000Z', activity: { marker } });
    return eventually(async () => {
      const read = await this.read();
      return read.activity['marker'] === marker ? read : undefined;
    });
  }

  /** Status changes reported so far, as `previous>current`. */
  changes(): string[] {
    return statuses
      .filter((event) => event.deviceId === this.deviceId)
      .map(({ updatedInterface: { status } }) => `${status.previous}>${status.current}`);
  }
}

const node = (): Promise<Node> => new Node().register();
const available = { available: true, version: 1 };
const unavailable = { available: false };

/** Connector instances that live. */
const instances = new Set(['alive']);
/** Once more where the bus had no time for it. */
const renew = (): Promise<unknown> =>
  eventually(() => Promise.all([...instances].map((each) => bus.leases.put(connectorLeaseKey('mqtt', each), '1'))));

beforeAll(async () => {
  backend = await startBackend([deviceManager], { ORRERY_LEASE_TTL_MS: '8000' });
  bus = await backend.bus();
  const keys = keyRing(bus);
  bus.connection.subscribe('events.*', {
    callback: (_error, message) =>
      decodeEntry(message.data)
        .filter(({ header }) => (JSON.parse(header) as { type: string }).type === 'deviceStatus')
        .forEach(({ body }) => statuses.push(JSON.parse(body))),
  });
  publisher = new PackingPublisher(bus, 'EVENTS');
  await renew();
  renewal = setInterval(() => void renew().catch(() => undefined), 500);
  const { url } = await backend.boot([deviceManager]);
  api = apiClient(url, keys.grant('tenantA', { limits: UNLIMITED_OFFER }).value);
});
afterAll(async () => {
  clearInterval(renewal);
  await publisher.close();
  await backend.stop();
});

describe('sessions', () => {
  it('make an interface ONLINE and OFFLINE, each with one event', async () => {
    const device = await node();
    expect((await device.read()).status).toBe('REGISTERED');
    const security = {
      secured: true,
      protocol: 'TLSv1.2',
      cipher: 'C',
      clientCertAuthentication: false,
      sniHostname: 'h',
    };
    const activity = {
      apiKeyId: 'k',
      mqttVersion: 4,
      mqttUsername: 'json+device',
      mqttTimeout: 60,
      remoteAddress: '10.0.0.1/4',
      lastSessionStartTime: '2026-01-01T00:00:00.000Z',
      security,
    };
    await device.report('nodeConnected', 's1', { activity });
    const online = await device.becomes('ONLINE');
    expect(online.activity).toEqual(activity);
    expect(online).not.toHaveProperty('lastContact');
    await device.report('nodeDisconnected', 's1', { activity: { lastSessionEndTime: '2026-01-01T00:01:00.000Z' } });
    const offline = await device.becomes('OFFLINE');
    expect(offline.activity).toEqual({ ...activity, lastSessionEndTime: '2026-01-01T00:01:00.000Z' });
    expect(offline.updated).toBe(online.updated);
    await eventually(() => device.changes().length === 2);
    expect(device.changes()).toEqual(['REGISTERED>ONLINE', 'ONLINE>OFFLINE']);
  });

  it('ignores the end of a session that another one has taken over', async () => {
    const device = await node();
    await device.report('nodeConnected', 's1');
    await device.report('nodeConnected', 's2');
    await device.report('nodeDisconnected', 's1');
    expect((await device.settled()).status).toBe('ONLINE');
    await device.report('nodeDisconnected', 's2');
    await device.becomes('OFFLINE');
    await eventually(() => device.changes().length === 2);
    expect(device.changes()).toEqual(['REGISTERED>ONLINE', 'ONLINE>OFFLINE']);
  });

  it('show capabilities while the current session has them', async () => {
    const device = await node();
    await device.report('nodeConnected', 's1');
    await device.report('nodeSubscribed', 's1', { capabilities: { command: available } });
    const some = await device.settled();
    expect(some.capabilities).toEqual({
      command: available,
      configuration: unavailable,
      resource: unavailable,
      twin: unavailable,
    });
    await device.report('nodeSubscribed', 's1', { capabilities: { command: unavailable, resource: available } });
    await device.report('nodeSubscribed', 'other', { capabilities: { configuration: available } });
    expect((await device.settled()).capabilities).toMatchObject({
      command: unavailable,
      configuration: unavailable,
      resource: available,
    });
    await device.report('nodeDisconnected', 's1');
    expect((await device.becomes('OFFLINE')).capabilities.resource).toEqual(unavailable);
    await device.report('nodeConnected', 's2');
    expect((await device.becomes('ONLINE')).capabilities.resource).toEqual(unavailable);
  });

  it('keep the latest contact', async () => {
    const device = await node();
    await device.report('nodeConnected', 's1');
    for (const timestamp of ['2026-01-02T00:00:00.000Z', '2026-01-01T00:00:00.000Z'])
      await device.report('nodeContact', 's1', { timestamp });
    expect((await device.settled()).lastContact).toBe('2026-01-02T00:00:00.000Z');
  });

  it('DEV-062 leave a disabled interface DEACTIVATED, and decide what it becomes when enabled again', async () => {
    const device = await node();
    expect((await api.patch<InterfaceView>(device.path, { enabled: false })).body.status).toBe('DEACTIVATED');
    expect((await api.patch<InterfaceView>(device.path, { enabled: true })).body.status).toBe('REGISTERED');
    await device.report('nodeConnected', 's1');
    await device.report('nodeSubscribed', 's1', { capabilities: { command: available } });
    await eventually(async () => (await device.read()).capabilities.command.available);
    const disabled = (await api.patch<InterfaceView>(device.path, { enabled: false })).body;
    expect(disabled).toMatchObject({ status: 'DEACTIVATED', enabled: false, capabilities: { command: unavailable } });
    await device.report('nodeDisconnected', 's1', { activity: { lastSessionEndTime: 'end' } });
    await device.report('nodeConnected', 's2');
    await device.report('nodeDisconnected', 's2');
    const still = await device.settled();
    expect(still).toMatchObject({ status: 'DEACTIVATED', activity: { lastSessionEndTime: 'end' } });
    expect((await api.patch<InterfaceView>(device.path, { enabled: true })).body.status).toBe('OFFLINE');
    await device.report('nodeConnected', 's3');
    await device.becomes('ONLINE');
    const expected = [
      'REGISTERED>DEACTIVATED',
      'DEACTIVATED>REGISTERED',
      'REGISTERED>ONLINE',
      'ONLINE>DEACTIVATED',
      'DEACTIVATED>OFFLINE',
      'OFFLINE>ONLINE',
    ];
    await eventually(() => device.changes().length === expected.length);
    expect(device.changes()).toEqual(expected);
  });

  it('of many nodes are applied together, whatever else is on the stream', async () => {
    const devices = await Promise.all(Array.from({ length: 30 }, node));
    await Promise.all(
      devices.flatMap((device) => [
        device.report('nodeConnected', 'a'),
        device.report('nodeDisconnected', 'a'),
        device.report('nodeConnected', 'b'),
        device.report('nodeContact', 'b', { nodeId: 'unknown' }),
        device.report('nodeContact', 'b', { nodeId: `${device.nodeId}`, timestamp: 'no date' }),
        device.report('nodeSubscribed', 'b', { capabilities: { twin: available } }),
      ]),
    );
    for (const device of devices)
      await eventually(async () => {
        const { status, capabilities } = await device.read();
        return status === 'ONLINE' && capabilities.twin.available;
      });
    const expected = ['REGISTERED>ONLINE', 'ONLINE>OFFLINE', 'OFFLINE>ONLINE'];
    for (const device of devices) await eventually(() => device.changes().length === 3);
    for (const device of devices) expect(device.changes()).toEqual(expected);
  });

  it('end when the lease of their instance is gone, and live again when they speak', async () => {
    const [silent, lively] = [await node(), await node()];
    instances.add('dead');
    await renew();
    await silent.report('nodeConnected', 's1', { instance: 'dead' });
    await silent.report('nodeSubscribed', 's1', { instance: 'dead', capabilities: { command: available } });
    await lively.report('nodeConnected', 's1');
    await silent.becomes('ONLINE');
    instances.delete('dead');
    const ended = await silent.becomes('OFFLINE');
    expect(ended.capabilities.command).toEqual(unavailable);
    expect(ended.activity['lastSessionEndTime']).toEqual(expect.any(String));
    expect((await lively.settled()).status).toBe('ONLINE');
    await silent.report('nodeContact', 's1', { instance: 'alive' });
    await silent.becomes('ONLINE');
    await silent.report('nodeDisconnected', 's1');
    await silent.becomes('OFFLINE');
    await silent.report('nodeContact', 's1');
    expect((await silent.settled()).status).toBe('OFFLINE');
    await eventually(() => silent.changes().length === 4);
    expect(silent.changes()).toEqual(['REGISTERED>ONLINE', 'ONLINE>OFFLINE', 'OFFLINE>ONLINE', 'ONLINE>OFFLINE']);
  });

  it('end with the node id that they were opened with', async () => {
    const device = await node();
    await device.report('nodeConnected', 's1');
    await device.becomes('ONLINE');
    const renamed = await api.patch<InterfaceView>(device.path, { definition: { clientId: `${device.nodeId}-new` } });
    expect(renamed.body.status).toBe('OFFLINE');
    expect((await api.delete(`${DEVICES}/${device.deviceId}`)).status).toBe(204);
    await device.report('nodeDisconnected', 's1');
    const next = await node();
    await next.report('nodeConnected', 's1');
    await next.becomes('ONLINE');
  });
});
