import { type Bus, callRpc, PackingPublisher } from '@orrery/core/bus';
import { type LimitValues, UNLIMITED_OFFER } from '@orrery/core/limits';
import { buildMessage, type Location, type NodeSessionEvent, partitionOf } from '@orrery/core/messages';
import {
  type ApiAnswer,
  type ApiClient,
  apiClient,
  type Backend,
  keyRing,
  startBackend,
  type TestPlatform,
} from '@orrery/core/testing';
import {
  type ActivityStateEvent,
  DEVICE_NETWORK,
  type DeviceNetworkEvent,
  NODE_STATUS,
  type NodeStatusEvent,
  resolveNode,
  RULE_ACTIVITY,
} from '../../contract.js';
import type { DeviceView } from '../../devices/device.dto.js';
import type { GroupView } from '../../groups/group.dto.js';
import { deviceManager } from '../../index.js';
import type { FoundDevice, SearchAnswer } from '../search.dto.js';

const BASE = '/api/v1/deviceMgt';
type Body = Record<string, unknown>;

/** Device-manager with all that it needs, for tests of the explorer. */
export interface Fleets {
  backend: Backend;
  /** A tenant of its own, unlimited unless told otherwise. */
  fleet(limits?: LimitValues): Fleet;
  /** Another instance beside the first one. */
  boot(): Promise<TestPlatform>;
  stop(): Promise<void>;
}

export async function startFleets(): Promise<Fleets> {
  const backend = await startBackend([deviceManager]);
  const bus = await backend.bus();
  const keys = keyRing(bus);
  const { url } = await backend.boot([deviceManager]);
  const publishers = [new PackingPublisher(bus, 'READY'), new PackingPublisher(bus, 'EVENTS')] as const;
  let count = 0;
  return {
    backend,
    boot: () => backend.boot([deviceManager]),
    fleet(limits = UNLIMITED_OFFER) {
      const tenantId = `fleet${++count}`;
      const client = (roles?: Array<'DEVICE_W' | 'DEVICE_R'>): ApiClient =>
        apiClient(url, keys.grant(tenantId, { limits, ...(roles ? { roles } : {}) }).value);
      return new Fleet(tenantId, bus, publishers, client);
    },
    async stop() {
      for (const publisher of publishers) await publisher.close();
      await backend.stop();
    },
  };
}

/** The devices of one tenant, each called by the last part of its id. */
export class Fleet {
  readonly api: ApiClient;
  private nodes = 0;

  constructor(
    readonly tenantId: string,
    private readonly bus: Bus,
    private readonly publishers: readonly [PackingPublisher, PackingPublisher],
    readonly client: (roles?: Array<'DEVICE_W' | 'DEVICE_R'>) => ApiClient,
  ) {
    this.api = client();
  }

  id(name: string): string {
    return `urn:lo:nsid:${this.tenantId}:${name}`;
  }

  async device(name: string, body: Body = {}): Promise<DeviceView> {
    const answer = await this.api.post<DeviceView>(`${BASE}/devices`, { id: this.id(name), ...body });
    if (answer.status !== 200) throw new Error(`${name}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  async devices(bodies: Record<string, Body>): Promise<void> {
    for (const [name, body] of Object.entries(bodies)) await this.device(name, body);
  }

  patch(name: string, body: Body): Promise<ApiAnswer<unknown>> {
    return this.api.patch(`${BASE}/devices/${this.id(name)}`, body);
  }

  async group(pathNode: string, parentId = 'root'): Promise<GroupView> {
    return (await this.api.post<GroupView>(`${BASE}/groups`, { pathNode, parentId })).body;
  }

  /** An interface that has the status at once: `ONLINE` by SMS, `REGISTERED` by MQTT, `OFFLINE` by an external connector. */
  by(connector: 'sms' | 'mqtt' | 'x-connector' | 'lora'): Body {
    const n = String(++this.nodes).padStart(4, '0');
    const nodeId = `${this.tenantId}-${n}`;
    switch (connector) {
      case 'sms':
        return { connector, definition: { msisdn: `3360000${n}` } };
      case 'mqtt':
        return { connector, definition: { clientId: nodeId } };
      case 'x-connector':
        return { connector, enabled: false, definition: { nodeId } };
      case 'lora':
        return {
          connector,
          definition: {
            devEUI: `A00000000000${n}`,
            profile: 'Generic_classA_RX2SF9',
            activationType: 'OTAA',
            appEUI: '9879876546543211',
            appKey: '11223344556677889988776655443322',
            connectivityOptions: { ackUl: true, location: false },
          },
        };
    }
  }

  search(body: unknown = {}): Promise<ApiAnswer<SearchAnswer>> {
    return this.api.post<SearchAnswer>(`${BASE}/explorer/search`, body);
  }

  stats(body: unknown = {}): Promise<ApiAnswer<Body>> {
    return this.api.post<Body>(`${BASE}/explorer/stats`, body);
  }

  /** Names of the devices found, in their order. */
  async found(body: Body): Promise<string> {
    const answer = await this.search({ size: 100, ...body });
    if (answer.status !== 200) throw new Error(`${answer.status}: ${JSON.stringify(answer.body)}`);
    return answer.body.devices.map(({ id }) => id.slice(this.id('').length)).join(' ');
  }

  filtered(queryString: string): Promise<string> {
    return this.found({ filters: { queryString } });
  }

  async one(name: string): Promise<FoundDevice> {
    const { body } = await this.search({ filters: { queryString: `id==${this.id(name)}` } });
    return body.devices[0]!;
  }

  /** Publishes a data message as the connector of the node does, enriched with what the inventory says. */
  async message(nodeId: string, location?: Location, value: Body = { t: 1 }): Promise<string> {
    const { device } = await callRpc(this.bus, resolveNode, {
      tenantId: this.tenantId,
      connector: 'mqtt',
      nodeId,
      autoRegister: false,
      limits: {},
    });
    const { header, message } = buildMessage(
      { value, tags: [], metadata: {}, ...(location ? { location } : {}) },
      { tenantId: this.tenantId, connector: 'mqtt', device },
    );
    await this.publishers[0].publish(this.partition(device.deviceId), JSON.stringify(header), JSON.stringify(message));
    return message.created;
  }

  /** Publishes a message that names its device itself, as one that comes in over HTTP does. */
  async inject(source: string, location?: Location): Promise<void> {
    const { header, message } = buildMessage(
      { value: {}, tags: [], streamId: 's', metadata: { source }, ...(location ? { location } : {}) },
      { tenantId: this.tenantId, connector: 'http' },
    );
    await this.publishers[0].publish(this.partition(source), JSON.stringify(header), JSON.stringify(message));
  }

  activity(name: string, ruleId: string, state: ActivityStateEvent['state']): Promise<void> {
    const event: Omit<ActivityStateEvent, 'deviceId'> = { type: RULE_ACTIVITY, ruleId, state, timestamp: now() };
    return this.event(name, event);
  }

  lostMessages(name: string, lostMessagesRatio: number | null): Promise<void> {
    const event: Omit<DeviceNetworkEvent, 'deviceId'> = {
      type: DEVICE_NETWORK,
      lora: { lostMessagesRatio },
      timestamp: now(),
    };
    return this.event(name, event);
  }

  session(name: string, nodeId: string, type: NodeSessionEvent['type'], timestamp = now()): Promise<void> {
    const session = { connector: 'mqtt', nodeId, sessionId: 's1', instance: 'i1' };
    return this.event(name, { type, ...session, timestamp });
  }

  /** What an external connector tells of a node. */
  nodeStatus(name: string, nodeId: string, lastContact: string): Promise<void> {
    const event: Omit<NodeStatusEvent, 'deviceId'> = {
      type: NODE_STATUS,
      connector: 'x-connector',
      nodeId,
      status: 'ONLINE',
      capabilities: {},
      lastContact,
      timestamp: now(),
    };
    return this.event(name, event);
  }

  private async event(name: string, event: { type: string } & Body): Promise<void> {
    const deviceId = this.id(name);
    const header = { tenantId: this.tenantId, type: event.type, key: deviceId };
    await this.publishers[1].publish(
      this.partition(deviceId),
      JSON.stringify(header),
      JSON.stringify({ ...event, deviceId }),
    );
  }

  private partition(deviceId: string): number {
    return partitionOf(this.tenantId, deviceId, this.bus.partitions);
  }
}

const now = (): string => new Date().toISOString();
