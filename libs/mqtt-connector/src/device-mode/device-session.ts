import { setTimeout as delay } from 'node:timers/promises';
import type { IConnectPacket, ISubscribePacket, IUnsubscribePacket } from 'mqtt-packet';
import { RpcError } from '@orrery/core/bus';
import { type MessageOrigin, type NodeSessionEvent, partitionOf } from '@orrery/core/messages';
import type { DataPublisher } from '../data/data-publisher.js';
import { readBinary, readJson } from '../data/published-data.js';
import type { Traffic } from '../limits/traffic.js';
import type { NodeDirectory } from '../nodes/node-directory.js';
import type { NodeReports, ReportedSession } from '../nodes/node-reports.js';
import { type Connection, Hold } from '../server/connection.js';
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
export class NodeDisabledError extends Error {}

const mayNotConnect = (error: unknown): boolean =>
  error instanceof NodeDisabledError || (error instanceof RpcError && error.code === 'DM_INTERFACE_NOT_FOUND');

const noCapabilities = (): NonNullable<NodeSessionEvent['capabilities']> =>
  Object.fromEntries([...CAPABILITY_TOPICS.values()].map((name) => [name, { available: false, version: 1 }]));

/** A device's MQTT session (manual 6.5). */
export class DeviceSession implements Session {
  readonly tenantId: string;
  readonly clientId: string;
  /** Grows with each session of the device; set once the session is announced. */
  order?: number;
  deviceId?: string;
  private readonly keepAlive: number;
  private origin?: MessageOrigin;
  private partition = 0;
  private announced = false;
  private stale = false;
  private loading?: Promise<void>;
  private waiting: Array<{ topic: string; payload: Buffer; publication: Publication }> = [];
  private readonly subscribed = new Set<string>();
  private reporting = 0;
  /** Last publication, epoch milliseconds. */
  private heard = 0;

  constructor(
    readonly sessionId: string,
    readonly connection: Connection,
    packet: IConnectPacket,
    private readonly credentials: Credentials,
    private readonly audit: SessionAudit,
    private readonly traffic: Traffic,
    private readonly tools: DeviceSessionTools,
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
        const description = error instanceof NodeDisabledError ? 'the interface was disabled' : 'the device is gone';
        this.connection.close({ description, reason: Reason.AdministrativeAction });
      })
      .finally(() => {
        delete this.loading;
      });
    return this.loading;
  }

  publish(topic: string, payload: Buffer, publication: Publication): void {
    // Dropped, and answered as if it was not: the device cannot do better (manual 23.1).
    if (this.traffic.publication()) {
      this.connection.acknowledge(publication);
      return;
    }
    if (this.origin && this.waiting.length === 0) {
      this.take(topic, payload, publication);
      return;
    }
    this.waiting.push({ topic, payload, publication });
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

  acknowledged(): void {
    // Nothing is delivered that would wait for it.
  }

  private get reported(): ReportedSession {
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

  private contacted(): void {
    this.heard = Date.now();
    this.tools.contacted(this);
  }

  private take(topic: string, payload: Buffer, publication: Publication): void {
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
    for (const { topic, payload, publication } of this.waiting.splice(0)) this.take(topic, payload, publication);
    this.connection.release(Hold.Reload);
  }

  private async loadOnce(first: boolean): Promise<void> {
    const { directory, partitions } = this.tools;
    const { tenantId, clientId } = this;
    const { enabled, device } = first
      ? await directory.findOrRegister(tenantId, clientId, this.credentials.key.limits)
      : await directory.find(tenantId, clientId);
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
