import { PackingPublisher } from '@orrery/core/bus';
import { UNLIMITED_OFFER } from '@orrery/core/limits';
import { decodeEntry, type DeviceStatusEvent, partitionOf } from '@orrery/core/messages';
import { type ApiClient, apiClient, type Backend, eventually, keyRing, startBackend } from '@orrery/core/testing';
import { NODE_STATUS, type NodeStatusEvent } from '../contract.js';
import { deviceManager } from '../index.js';
import type { InterfaceView } from '../interfaces/interface.dto.js';
import { DEVICES } from '../testing/inventory.js';

let backend: Backend;
let publisher: PackingPublisher;
let partitions: number;
let api: ApiClient;
const statuses: DeviceStatusEvent[] = [];

/** A node of an external connector, as the MQTT connector reports it. */
class Node {
  static count = 0;
  nodeId = `n${++Node.count}`;
  readonly deviceId = `urn:lo:nsid:external:${this.nodeId}`;

  get path(): string {
    return `${DEVICES}/${this.deviceId}/interfaces/x-connector:${this.nodeId}`;
  }

  async register(): Promise<this> {
    const interfaces = [{ connector: 'x-connector', definition: { nodeId: this.nodeId } }];
    expect((await api.post(DEVICES, { id: this.deviceId, interfaces })).status).toBe(200);
    return this;
  }

  async tell(status: NodeStatusEvent['status'], more: Partial<NodeStatusEvent> = {}): Promise<void> {
    const timestamp = new Date().toISOString();
    const { nodeId, deviceId } = this;
    const event: NodeStatusEvent = {
      type: NODE_STATUS,
      connector: 'x-connector',
      nodeId,
      deviceId,
      status,
      capabilities: {},
      lastContact: timestamp,
      timestamp,
      ...more,
    };
    await this.publish(NODE_STATUS, event);
  }

  async read(): Promise<InterfaceView> {
    return (await api.get<InterfaceView>(this.path)).body;
  }

  /** Waits until everything told so far is applied. */
  async settled(): Promise<InterfaceView> {
    const marker = `m${Math.random()}`;
    const { nodeId, deviceId } = this;
    await this.publish('nodeContact', {
      type: 'nodeContact',
      connector: 'x-connector',
      nodeId,
      deviceId,
      sessionId: 'any',
      instance: 'any',
      timestamp: '2001-01-01T00:00:00.000Z',
      activity: { marker },
    });
    return eventually(async () => {
      const read = await this.read();
      return read.activity['marker'] === marker ? read : undefined;
    });
  }

  changes(): string[] {
    return statuses
      .filter((event) => event.deviceId === this.deviceId)
      .map(({ updatedInterface: { status } }) => `${status.previous}>${status.current}`);
  }

  private async publish(type: string, event: object): Promise<void> {
    await publisher.publish(
      partitionOf('tenantA', this.deviceId, partitions),
      JSON.stringify({ tenantId: 'tenantA', type, key: this.deviceId }),
      JSON.stringify(event),
    );
  }
}

const node = (): Promise<Node> => new Node().register();

beforeAll(async () => {
  backend = await startBackend([deviceManager]);
  const bus = await backend.bus();
  partitions = bus.partitions;
  const keys = keyRing(bus);
  bus.connection.subscribe('events.*', {
    callback: (_error, message) =>
      decodeEntry(message.data)
        .filter(({ header }) => (JSON.parse(header) as { type: string }).type === 'deviceStatus')
        .forEach(({ body }) => statuses.push(JSON.parse(body) as DeviceStatusEvent)),
  });
  publisher = new PackingPublisher(bus, 'EVENTS');
  const { url } = await backend.boot([deviceManager]);
  api = apiClient(url, keys.grant('tenantA', { limits: UNLIMITED_OFFER }).value);
});
afterAll(async () => {
  await publisher.close();
  await backend.stop();
});

describe('statuses of nodes', () => {
  it('MQX-014 change an interface, each change with one event', async () => {
    const told = await node();
    for (const status of ['ONLINE', 'ONLINE', 'OFFLINE', 'ONLINE'] as const) await told.tell(status);
    expect((await told.settled()).status).toBe('ONLINE');
    await eventually(() => told.changes().length === 3);
    expect(told.changes()).toEqual(['REGISTERED>ONLINE', 'ONLINE>OFFLINE', 'OFFLINE>ONLINE']);
    const [first] = statuses.filter(({ deviceId }) => deviceId === told.deviceId);
    expect(first!.updatedInterface).toMatchObject({ connector: 'x-connector', nodeId: told.nodeId, enabled: true });
  });

  it('leave capabilities alone that they do not name', async () => {
    const told = await node();
    await told.tell('ONLINE', { capabilities: { command: { available: true } } });
    expect((await told.settled()).capabilities).toEqual({
      command: { available: true },
      configuration: { available: false },
      resource: { available: false },
      twin: { available: false },
    });
    await told.tell('OFFLINE', { capabilities: { resource: { available: true } } });
    await told.tell('ONLINE', { capabilities: { command: { available: false } } });
    expect((await told.settled()).capabilities).toMatchObject({
      command: { available: false },
      configuration: { available: false },
      resource: { available: true },
    });
  });

  it('are ignored when their numbers are lower than known ones', async () => {
    const told = await node();
    const tell = async (
      status: NodeStatusEvent['status'],
      sessionSequenceId?: number,
      eventSequenceId?: number,
    ): Promise<string> => {
      await told.tell(status, {
        ...(sessionSequenceId === undefined ? {} : { sessionSequenceId }),
        ...(eventSequenceId === undefined ? {} : { eventSequenceId }),
        lastContact: status === 'ONLINE' ? '2020-01-01T00:00:00.000Z' : '2021-01-01T00:00:00.000Z',
      });
      const { lastContact, status: current } = await told.settled();
      // What is ignored changes nothing else either.
      expect(lastContact).toBe(current === 'ONLINE' ? '2020-01-01T00:00:00.000Z' : '2021-01-01T00:00:00.000Z');
      return current;
    };
    expect(await tell('ONLINE', 2, 1_790_000_000_000)).toBe('ONLINE');
    expect(await tell('OFFLINE', 1)).toBe('ONLINE');
    expect(await tell('OFFLINE', 1, 1_790_000_000_009)).toBe('ONLINE');
    expect(await tell('OFFLINE', 2, 1_789_999_999_999)).toBe('ONLINE');
    expect(await tell('OFFLINE', undefined, 1_789_999_999_999)).toBe('ONLINE');
    expect(await tell('OFFLINE', 2, 1_790_000_000_000)).toBe('OFFLINE');
    expect(await tell('ONLINE', 3, 1)).toBe('ONLINE');
    expect(await tell('OFFLINE', 3, 0)).toBe('ONLINE');
    expect(await tell('OFFLINE')).toBe('OFFLINE');
    expect(await tell('ONLINE', 2, 5)).toBe('OFFLINE');
    expect(await tell('ONLINE', Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)).toBe('ONLINE');
    expect(await tell('OFFLINE', Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER - 1)).toBe('ONLINE');
  });

  it('have numbers of their own for another node of the interface', async () => {
    const told = await node();
    await told.tell('ONLINE', { sessionSequenceId: 9 });
    expect((await told.settled()).status).toBe('ONLINE');
    const nodeId = `${told.nodeId}-renamed`;
    expect((await api.patch(told.path, { definition: { nodeId } })).status).toBe(200);
    told.nodeId = nodeId;
    await told.tell('ONLINE', { sessionSequenceId: 1 });
    expect((await told.settled()).status).toBe('ONLINE');
  });

  it('do not reach an interface that is disabled, and do again when it is enabled', async () => {
    const told = await node();
    await told.tell('ONLINE', { capabilities: { command: { available: true } } });
    await told.settled();
    expect((await api.patch(told.path, { enabled: false })).body).toMatchObject({
      status: 'OFFLINE',
      capabilities: { command: { available: false } },
    });
    await told.tell('ONLINE', { sessionSequenceId: 7 });
    expect((await told.settled()).status).toBe('OFFLINE');
    expect((await api.patch<InterfaceView>(told.path, { enabled: true })).body.status).toBe('OFFLINE');
    await told.tell('ONLINE', { sessionSequenceId: 1 });
    expect((await told.settled()).status).toBe('ONLINE');
  });

  it('of an interface that is gone change nothing, and hold nothing up', async () => {
    const gone = await node();
    const other = await node();
    expect((await api.delete(`${DEVICES}/${gone.deviceId}`)).status).toBe(204);
    await gone.tell('ONLINE');
    await other.tell('ONLINE');
    expect((await other.settled()).status).toBe('ONLINE');
  });
});
