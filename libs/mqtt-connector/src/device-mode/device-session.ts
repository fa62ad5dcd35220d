import { setTimeout as delay } from 'node:timers/promises';
import type { IConnectPacket, IPublishPacket, ISubscribePacket, IUnsubscribePacket } from 'mqtt-packet';
import { RpcError } from '@orrery/core/bus';
import type { ResolvedNode } from '@orrery/device-manager/contract';
import { type MessageOrigin, type NodeSessionEvent, partitionOf } from '@orrery/core/messages';
import type { DataPublisher } from '../data/data-publisher.js';
import { readBinary, readJson } from '../data/published-data.js';
import type { Traffic } from '../limits/traffic.js';
import type { NodeDirectory } from '../nodes/node-directory.js';
import type { NodeReports, ReportedSession } from '../nodes/node-reports.js';
import type { Connection } from '../server/connection.js';
import { Hold } from '../server/hold.js';
import type { Publication } from '../server/publication-queue.js';
import { Reason, subscribeFailure } from '../server/return-codes.js';
import type { Session } from '../server/session.js';
import type { Credentials } from '../sessions/admission.js';
import { CONNECTOR, SessionAudit } from '../sessions/session-audit.js';
import { binaryEncoding, CAPABILITY_TOPICS, DATA_TOPIC, REPORT_TOPICS } from './topics.js';

const RETRY_MS = 500;

/** What a device session works with; the same for all. */
export interface DeviceSessionTools {
  partitions: number;
  directory: NodeDirectory;
  data: DataPublisher;
  reports: NodeReports;
  /** The device was heard. */
  contacted(session: DeviceSession): void;
}

/** The node may not connect. */
export class NodeDisabledError extends Error {
  constructor(message = 'the interface was disabled') {
    super(message);
  }
}

const mayNotConnect = (error: unknown): boolean =>
  error instanceof NodeDisabledError || (error instanceof RpcError && error.code === 'DM_INTERFACE_NOT_FOUND');

const noCapabilities = (): NonNullable<NodeSessionEvent['capabilities']> =>
  Object.fromEntries([...CAPABILITY_TOPICS.values()].map((name) => [name, { available: false, version: 1 }]));

/** A publication that is taken once the device is known. */
type Taken = [topic: string, payload: Buffer, publication: Publication, properties?: IPublishPacket['properties']];

/** A device's MQTT session (manual 6.5). */
export class DeviceSession implements Session {
  readonly tenantId: string;
  readonly clientId: string;
  /** Grows with each session of the device; set once the session is announced. */
  order?: number;
  deviceId?: string;
  /** What the session sends depends on the group of its device. */
  readonly watchesGroup: boolean = false;
  /** Told to whoever publishes more than it may. */
  protected readonly overLimit?: Reason;
  protected origin?: MessageOrigin;
  protected partition = 0;
  private readonly keepAlive: number;
  private announced = false;
  private stale = false;
  private loading?: Promise<void>;
  private waiting: Taken[] = [];
  private readonly subscribed = new Set<string>();
  private reporting = 0;
  /** Last publication, epoch milliseconds. */
  private heard = 0;

  constructor(
    readonly sessionId: string,
    readonly connection: Connection,
    packet: IConnectPacket,
    protected readonly credentials: Credentials,
    protected readonly audit: SessionAudit,
    protected readonly traffic: Traffic,
    protected readonly tools: DeviceSessionTools,
  ) {
    this.tenantId = credentials.key.tenantId;
    this.clientId = packet.clientId;
    this.keepAlive = packet.keepalive ?? 0;
  }

  /**
   * Finds or registers the device and reports the session.
   * @throws NodeDisabledError; RpcError as `resolveNode`; RpcUnavailableError; BusUnavailableError.
   */
  async open(): Promise<void> {
    await this.load(true);
    if (this.connection.closed) return;
    this.announced = true;
    this.order = await this.tools.reports.announce(this.reported, {
      type: 'nodeConnected',
      activity: {
        apiKeyId: this.credentials.key.id,
        mqttVersion: this.connection.protocolVersion,
        mqttUsername: this.credentials.username,
        mqttTimeout: this.keepAlive,
        remoteAddress: this.connection.remoteAddress,
        lastSessionStartTime: new Date().toISOString(),
        security: this.connection.security,
      },
      capabilities: noCapabilities(),
    });
    if (this.stale) await this.load(true);
  }

  accept(): void {
    this.connection.accept(this, this.keepAlive);
  }

  /** Reports the end of a session that was reported and not replaced. */
  reportEnd(): void {
    if (!this.announced) return;
    void this.tools.reports.report(this.reported, {
      type: 'nodeDisconnected',
      activity: { lastSessionEndTime: new Date().toISOString() },
      capabilities: noCapabilities(),
    });
  }

  reportContact(): void {
    const timestamp = new Date(this.heard).toISOString();
    void this.tools.reports.report(this.reported, { type: 'nodeContact', timestamp });
  }

  /** What is known of the device may be wrong: publications wait until it is loaded again. */
  invalidate(): void {
    this.stale = true;
    delete this.origin;
  }

  /** Loads what was invalidated, and ends the session when the device may not be connected any more (manual 6.5.3). */
  reload(): Promise<void> {
    this.loading ??= this.load(false)
      .catch((error: unknown) => {
        const description = error instanceof NodeDisabledError ? error.message : 'the device is gone';
        this.connection.close({ description, reason: Reason.AdministrativeAction });
      })
      .finally(() => {
        delete this.loading;
      });
    return this.loading;
  }

  publish(...publication: Taken): void {
    // Dropped, and answered as if it was not: the device cannot do better (manual 23.1).
    if (this.traffic.publication()) {
      this.connection.acknowledge(publication[2], this.overLimit);
      return;
    }
    if (this.origin && this.waiting.length === 0) {
      this.take(...publication);
      return;
    }
    this.waiting.push(publication);
    this.connection.hold(Hold.Reload);
    void this.reload();
  }

  subscribe({ messageId, subscriptions }: ISubscribePacket): void {
    if (this.traffic.subscribe()) {
      const refused = subscriptions.map(() => subscribeFailure(this.connection.protocolVersion));
      this.connection.sendPacket({ cmd: 'suback', messageId: messageId!, granted: refused });
      return;
    }
    const granted = subscriptions.map(({ topic, qos }) => {
      if (CAPABILITY_TOPICS.has(topic)) return Math.min(qos, 1);
      this.audit.error('bad_topic', `Client ${this.clientId} may not subscribe to the topic ${topic.slice(0, 256)}`, {
        topic: topic.slice(0, 256),
      });
      return subscribeFailure(this.connection.protocolVersion);
    });
    const added = subscriptions.map(({ topic }) => topic).filter((topic) => CAPABILITY_TOPICS.has(topic));
    for (const topic of added) this.subscribed.add(topic);
    void this.reportCapabilities(added).then(() =>
      this.connection.sendPacket({ cmd: 'suback', messageId: messageId!, granted }),
    );
  }

  unsubscribe({ messageId, unsubscriptions }: IUnsubscribePacket): void {
    const removed = unsubscriptions.filter((topic) => this.subscribed.delete(topic));
    // MQTT 5: 0x11 says that there was no such subscription.
    const granted = unsubscriptions.map((topic) => (removed.includes(topic) ? 0 : 0x11));
    void this.reportCapabilities(removed).then(() =>
      this.connection.sendPacket({ cmd: 'unsuback', messageId: messageId!, granted }),
    );
  }

  acknowledged(_packetId: number): void {
    // Nothing is delivered that would wait for it.
  }

  protected get reported(): ReportedSession {
    return { tenantId: this.tenantId, nodeId: this.clientId, deviceId: this.deviceId!, sessionId: this.sessionId };
  }

  private async reportCapabilities(topics: string[]): Promise<void> {
    if (topics.length === 0) return;
    this.reporting++;
    this.connection.hold(Hold.Subscribing);
    const capabilities = Object.fromEntries(
      topics.map((topic) => [CAPABILITY_TOPICS.get(topic)!, { available: this.subscribed.has(topic), version: 1 }]),
    );
    await this.tools.reports.report(this.reported, { type: 'nodeSubscribed', capabilities });
    if (--this.reporting === 0) this.connection.release(Hold.Subscribing);
  }

  protected contacted(): void {
    this.heard = Date.now();
    this.tools.contacted(this);
  }

  protected take(...[topic, payload, publication]: Taken): void {
    const { connection, audit, tools } = this;
    if (topic === DATA_TOPIC) {
      this.contacted();
      tools.data.take(readJson(payload, true), this.origin!, connection, publication, audit, this.partition);
      return;
    }
    const encoding = binaryEncoding(topic);
    if (encoding !== null) {
      this.contacted();
      tools.data.take(readBinary(payload, encoding), this.origin!, connection, publication, audit, this.partition);
      return;
    }
    const content = { topic: topic.slice(0, 256) };
    if (REPORT_TOPICS.has(topic)) {
      this.contacted();
      audit.error('not_supported', `Publications on the topic ${topic} are not supported yet`, content);
    } else audit.error('bad_topic', `Client ${this.clientId} may not publish on the topic ${content.topic}`, content);
    connection.acknowledge(publication);
  }

  // A change that is announced while the device is loaded makes it load again.
  private async load(first: boolean): Promise<void> {
    do {
      this.stale = false;
      try {
        await this.loadOnce(first);
      } catch (error) {
        if (first || mayNotConnect(error)) throw error;
        this.stale = true;
        await delay(RETRY_MS);
      }
    } while (this.stale && !this.connection.closed);
    if (this.connection.closed) return;
    this.loaded();
    for (const publication of this.waiting.splice(0)) this.take(...publication);
    this.connection.release(Hold.Reload);
  }

  /** @param first whether the session opens: an unknown node is registered then. @throws NodeDisabledError; RpcError as `resolveNode` */
  protected find(first: boolean): Promise<ResolvedNode> {
    const { tenantId, clientId, tools, credentials } = this;
    return first
      ? tools.directory.findOrRegister(tenantId, clientId, credentials.key.limits)
      : tools.directory.find(tenantId, clientId);
  }

  /** The device was loaded, and may have changed. */
  protected loaded(): void {
    // Nothing of it is sent.
  }

  private async loadOnce(first: boolean): Promise<void> {
    const { tenantId, clientId } = this;
    const { partitions } = this.tools;
    const { enabled, device } = await this.find(first);
    if (this.stale) return;
    if (!enabled) throw new NodeDisabledError();
    if (this.announced && device.deviceId !== this.deviceId)
      throw new RpcError('DM_INTERFACE_NOT_FOUND', `the interface moved to ${device.deviceId}`);
    this.deviceId = device.deviceId;
    this.partition = partitionOf(tenantId, device.deviceId, partitions);
    this.origin = {
      tenantId,
      connector: CONNECTOR,
      network: { mqtt: { clientId } },
      device,
      apiKeyId: this.credentials.key.id,
    };
  }
}
