import type { IConnectPacket, ISubscribePacket, IUnsubscribePacket } from 'mqtt-packet';
import { MessageTooLargeError } from '@orrery/core/bus';
import type { MessageOrigin } from '@orrery/core/messages';
import type { NodeEvent, RequestKind, ResolvedNode } from '@orrery/device-manager/contract';
import type { DataPublisher } from '../data/data-publisher.js';
import { limitEnding, type Traffic } from '../limits/traffic.js';
import type { NodeDirectory } from '../nodes/node-directory.js';
import type { NodeReports } from '../nodes/node-reports.js';
import type { Connection } from '../server/connection.js';
import { Hold } from '../server/hold.js';
import type { Publication } from '../server/publication-queue.js';
import { subscribeFailure } from '../server/return-codes.js';
import type { Session } from '../server/session.js';
import type { Credentials } from '../sessions/admission.js';
import { EXTERNAL_CONNECTOR, type SessionAudit } from '../sessions/session-audit.js';
import type { NodeContacts } from './node-contacts.js';
import { NodeLookUp, type NoNode } from './node-look-up.js';
import { RequestDeliveries } from './request-deliveries.js';
import type { RequestReceiver, RequestSubscriptions } from './request-subscriptions.js';
import { REQUEST_TOPICS } from './topics.js';
import { readUplink, type Uplink } from './uplinks.js';

/** What a connector session works with; the same for all. */
export interface ConnectorTools {
  directory: NodeDirectory;
  data: DataPublisher;
  reports: NodeReports;
  contacts: NodeContacts;
  requests: RequestSubscriptions;
}

interface Subscribed {
  topic: string;
  kind: RequestKind;
  qos: 0 | 1;
}

/** An external connector's MQTT session (manual 6.6): it speaks for nodes, which do not depend on it. */
export class ConnectorSession implements Session, RequestReceiver {
  private readonly nodes: NodeLookUp;
  private readonly deliveries: RequestDeliveries;
  private readonly subscribed = new Map<RequestKind, Subscribed>();
  /** SUBSCRIBE and UNSUBSCRIBE are done one after the other. */
  private subscribing = Promise.resolve();
  private underWay = 0;

  constructor(
    private readonly sessionId: string,
    private readonly connection: Connection,
    packet: IConnectPacket,
    private readonly credentials: Credentials,
    private readonly audit: SessionAudit,
    private readonly traffic: Traffic,
    private readonly tools: ConnectorTools,
  ) {
    this.nodes = new NodeLookUp(tools.directory, {
      get closed() {
        return connection.closed;
      },
      tenantId: credentials.key.tenantId,
      get limits() {
        return credentials.key.limits;
      },
    });
    this.deliveries = new RequestDeliveries(connection, packet.properties ?? {}, (topic, bytes) =>
      audit.error(
        'message_too_large',
        `A request on ${topic} was left out: it makes a packet of ${bytes} bytes, more than the client takes`,
        { topic },
      ),
    );
  }

  /** Statuses of nodes stay as they were told (manual 6.6.3). */
  end(): void {
    for (const { kind } of this.subscribed.values()) this.tools.requests.remove(this.tenantId, kind, this);
    this.subscribed.clear();
  }

  publish(topic: string, payload: Buffer, publication: Publication): void {
    const { connection } = this;
    const reached = this.traffic.publication();
    if (reached) {
      connection.close(limitEnding(reached));
      return;
    }
    const uplink = readUplink(topic, payload);
    if (!('problem' in uplink)) {
      this.nodes.find(uplink.nodeId, uplink.registers, (found) => this.take(uplink, found, publication));
      return;
    }
    const { type, problem, nodeId } = uplink;
    if (type === 'bad_topic') this.refuseTopic(topic, 'publish on');
    else this.auditOf(nodeId).error(type, problem, { topic: topic.slice(0, 256) });
    connection.acknowledge(publication);
  }

  subscribe({ messageId, subscriptions }: ISubscribePacket): void {
    this.inTurn(async () => {
      const added: Subscribed[] = [];
      const granted: number[] = [];
      for (const { topic, qos } of subscriptions) {
        const kind = REQUEST_TOPICS.get(topic);
        if (kind) {
          const most = qos === 0 ? 0 : 1;
          added.push({ topic, kind, qos: most });
          granted.push(most);
        } else {
          this.refuseTopic(topic, 'subscribe to');
          granted.push(subscribeFailure(this.connection.protocolVersion));
        }
      }
      const kinds = new Set(added.map(({ kind }) => kind).filter((kind) => !this.subscribed.has(kind)));
      await Promise.all([...kinds].map((kind) => this.tools.requests.add(this.tenantId, kind)));
      this.connection.sendPacket({ cmd: 'suback', messageId: messageId!, granted });
      if (this.connection.closed) {
        for (const kind of kinds) this.tools.requests.remove(this.tenantId, kind);
        return;
      }
      for (const subscription of added) this.subscribed.set(subscription.kind, subscription);
      await Promise.all([...kinds].map((kind) => this.tools.requests.activate(this.tenantId, kind, this)));
    });
  }

  unsubscribe({ messageId, unsubscriptions }: IUnsubscribePacket): void {
    this.inTurn(() => {
      const granted = unsubscriptions.map((topic) => {
        const kind = REQUEST_TOPICS.get(topic);
        // MQTT 5: 0x11 says that there was no such subscription.
        if (!kind || !this.subscribed.delete(kind)) return 0x11;
        this.tools.requests.remove(this.tenantId, kind, this);
        return 0;
      });
      this.connection.sendPacket({ cmd: 'unsuback', messageId: messageId!, granted });
      return Promise.resolve();
    });
  }

  acknowledged(packetId: number): void {
    this.deliveries.acknowledged(packetId);
  }

  receive(kind: RequestKind, body: string): boolean {
    const { topic, qos } = this.subscribed.get(kind)!;
    return this.deliveries.add(topic, body, qos);
  }

  private get tenantId(): string {
    return this.credentials.key.tenantId;
  }

  private take(uplink: Uplink, found: ResolvedNode | NoNode, publication: Publication): void {
    const { connection, tools, tenantId } = this;
    const { nodeId } = uplink;
    if ('type' in found) {
      this.auditOf(nodeId).error(found.type, `Publication for the node ${nodeId} ignored: ${found.problem}`);
      connection.acknowledge(publication);
      return;
    }
    const { device, enabled } = found;
    const audit = this.auditOf(nodeId, device.deviceId);
    if (!enabled) {
      audit.error('node_disabled', `Publication for the node ${nodeId} ignored: its interface is disabled`);
      connection.acknowledge(publication);
      return;
    }
    if ('data' in uplink) {
      const origin: MessageOrigin = {
        tenantId,
        connector: EXTERNAL_CONNECTOR,
        device,
        apiKeyId: this.credentials.key.id,
      };
      tools.data.take(uplink.data, origin, connection, publication, audit);
      tools.contacts.heard({ tenantId, nodeId, deviceId: device.deviceId, sessionId: this.sessionId });
      return;
    }
    const { deviceId } = device;
    const node: Omit<NodeEvent, 'timestamp'> = { connector: EXTERNAL_CONNECTOR, nodeId, deviceId };
    tools.reports.tell(tenantId, deviceId, { ...uplink.event, ...node }).then(
      () => connection.acknowledge(publication),
      (error: unknown) => {
        if (!(error instanceof MessageTooLargeError)) throw error;
        audit.error('bad_message', `Publication for the node ${nodeId} refused: ${error.message}`);
        connection.acknowledge(publication);
      },
    );
    tools.reports.backPressure.check(connection);
  }

  private inTurn(work: () => Promise<void>): void {
    this.underWay++;
    this.connection.hold(Hold.Subscribing);
    this.subscribing = this.subscribing.then(work).finally(() => {
      if (--this.underWay === 0) this.connection.release(Hold.Subscribing);
    });
  }

  /** Entries about the node, or about the client when it is not known. */
  private auditOf(nodeId: string | undefined, deviceId?: string): SessionAudit {
    if (nodeId === undefined) return this.audit;
    return this.audit.of({
      connector: EXTERNAL_CONNECTOR,
      nodeId,
      ...(deviceId === undefined ? {} : { deviceId }),
    });
  }

  private refuseTopic(topic: string, verb: string): void {
    const shown = topic.slice(0, 256);
    const { clientId } = this.audit.client;
    this.audit.error('bad_topic', `Client ${clientId} may not ${verb} the topic ${shown}`, { topic: shown });
  }
}
