import type { StoredAuditEntry } from '@orrery/core/audit';
import { AUDIT_SUBJECT, type Bus, controlSubject, RpcError, serveRpc } from '@orrery/core/bus';
import { UNLIMITED_OFFER } from '@orrery/core/limits';
import {
  type DataMessage,
  decodeEntry,
  type DeviceContext,
  encodeEntry,
  type EventHeader,
  type MessageHeader,
  type NodeSessionEvent,
} from '@orrery/core/messages';
import { type Backend, eventually, type KeyRing, keyRing, startBackend, type TestPlatform } from '@orrery/core/testing';
import { DEVICE_CONTROL, GROUP_CONTROL, type ResolvedNode, resolveNode } from '@orrery/device-manager/contract';
import { mqttConnector, mqttPorts } from '../mqtt-connector.js';
import type { MqttPorts } from '../server/listeners.js';

/** The connector, with a test that speaks as the services around it on the bus. */
export interface Surroundings {
  backend: Backend;
  bus: Bus;
  /** Grants keys of an offer without limits, unless told otherwise. */
  keys: KeyRing;
  platform: TestPlatform;
  ports: MqttPorts;
  inventory: Inventory;
  /** Data messages in the order in which they came to the bus. */
  messages: Array<{ header: MessageHeader; message: DataMessage }>;
  events: Array<{ header: EventHeader; event: NodeSessionEvent }>;
  audits: StoredAuditEntry[];
  /** Waits for the only event of this type of this node. */
  event(type: NodeSessionEvent['type'], nodeId: string, timeoutMs?: number): Promise<NodeSessionEvent>;
  /** Waits for an entry of this type about this client. */
  audit(type: string, clientId: string): Promise<StoredAuditEntry>;
  /** Waits for the data message with this value of a field `mark`. */
  message(mark: string | number): Promise<DataMessage>;
}

/** Speaks as device-manager: registers whoever asks, unless told otherwise. */
export class Inventory {
  readonly nodes = new Map<string, ResolvedNode>();
  readonly requests: Array<{ tenantId: string; nodeId: string; autoRegister: boolean }> = [];
  full = false;
  /** Does not answer. */
  silent = false;

  constructor(private readonly bus: Bus) {
    serveRpc(bus, resolveNode, (request) => {
      const { tenantId, nodeId, autoRegister, connector } = request;
      this.requests.push(request);
      if (this.silent) return new Promise<ResolvedNode>(() => undefined);
      const known = this.nodes.get(`${tenantId}/${nodeId}`);
      if (known) return known;
      if (!autoRegister) throw new RpcError('DM_INTERFACE_NOT_FOUND', 'Interface not found');
      if (this.full) throw new RpcError('GENERIC_QUOTA_EXCEEDED_ERROR', 'At most 10 devices');
      return this.set(tenantId, nodeId, {}, true, connector);
    });
  }

  set(
    tenantId: string,
    nodeId: string,
    device: Partial<DeviceContext>,
    enabled = true,
    connector = 'mqtt',
  ): ResolvedNode {
    const deviceId = nodeId.startsWith('urn:') ? nodeId : `urn:lo:nsid:${connector}:${nodeId}`;
    const node: ResolvedNode = {
      enabled,
      device: {
        deviceId,
        defaultDataStreamId: deviceId,
        tags: [],
        properties: {},
        group: { id: 'root', path: '/' },
        ...device,
      },
    };
    this.nodes.set(`${tenantId}/${nodeId}`, node);
    return node;
  }

  /** Announces that something about the node has changed. */
  announce(tenantId: string, nodeId: string, connector = 'mqtt'): void {
    const header = { tenantId, deviceId: 'any', nodes: [{ connector, nodeId }] };
    this.publish(DEVICE_CONTROL, header);
  }

  announceGroups(tenantId: string): void {
    this.publish(GROUP_CONTROL, { tenantId });
  }

  private publish(kind: string, header: object): void {
    this.bus.connection.publish(controlSubject(kind), encodeEntry([{ header: JSON.stringify(header), body: '{}' }]));
  }
}

export async function startSurroundings(overrides: NodeJS.ProcessEnv = {}): Promise<Surroundings> {
  const backend = await startBackend([mqttConnector], overrides);
  const bus = await backend.bus();
  const messages: Surroundings['messages'] = [];
  const events: Surroundings['events'] = [];
  const audits: StoredAuditEntry[] = [];
  bus.connection.subscribe('ready.*', {
    callback: (_, { data }) => {
      for (const { header, body } of decodeEntry(data))
        messages.push({ header: JSON.parse(header) as MessageHeader, message: JSON.parse(body) as DataMessage });
    },
  });
  bus.connection.subscribe('events.*', {
    callback: (_, { data }) => {
      for (const { header, body } of decodeEntry(data))
        events.push({ header: JSON.parse(header) as EventHeader, event: JSON.parse(body) as NodeSessionEvent });
    },
  });
  bus.connection.subscribe(AUDIT_SUBJECT, {
    callback: (_, message) => void audits.push(message.json<StoredAuditEntry>()),
  });
  const ring = keyRing(bus);
  const keys: KeyRing = {
    ...ring,
    grant: (tenantId, options) => ring.grant(tenantId, { limits: UNLIMITED_OFFER, ...options }),
  };
  const inventory = new Inventory(bus);
  await bus.connection.flush();
  const platform = await backend.boot([mqttConnector]);
  return {
    backend,
    bus,
    keys,
    platform,
    ports: mqttPorts(platform.app),
    inventory,
    messages,
    events,
    audits,
    event: (type, nodeId, timeoutMs) =>
      eventually(() => events.find(({ event }) => event.type === type && event.nodeId === nodeId)?.event, timeoutMs),
    audit: (type, clientId) =>
      eventually(() => audits.find((entry) => entry.type === type && entry.content?.['clientId'] === clientId)),
    message: (mark) => eventually(() => messages.find(({ message }) => message.value?.['mark'] === mark)?.message),
  };
}
