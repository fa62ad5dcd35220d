import type { Subscription } from '@nats-io/transport-node';
import type { IConnectPacket } from 'mqtt-packet';
import type { Audit } from '@orrery/core/audit';
import type { Role } from '@orrery/core/auth';
import type { Bus } from '@orrery/core/bus';
import type { SharedCounters } from '@orrery/core/limits';
import { DEVICE_CONTROL, type DeviceChange, GROUP_CONTROL, type GroupChange } from '@orrery/device-manager/contract';
import { mqttMetrics } from '../metrics.js';
import type { DataPublisher } from '../data/data-publisher.js';
import { CONNECTOR_LIMITS } from '../limits/mode-limits.js';
import { Traffic } from '../limits/traffic.js';
import { NodeDirectory } from '../nodes/node-directory.js';
import { NodeReports } from '../nodes/node-reports.js';
import type { Connection } from '../server/connection.js';
import type { Credentials, Mode } from '../sessions/admission.js';
import { EXTERNAL_CONNECTOR, SessionAudit } from '../sessions/session-audit.js';
import { ConnectorSession, type ConnectorTools } from './connector-session.js';
import { NodeContacts } from './node-contacts.js';
import { RequestSubscriptions } from './request-subscriptions.js';

/** External connector mode (manual 6.6): one connection speaks for any number of nodes. */
export class ConnectorMode implements Mode {
  readonly username = 'connector';
  readonly roles: readonly Role[] = ['CONNECTOR_ACCESS'];
  readonly needsTls = true;
  readonly limits = CONNECTOR_LIMITS;
  private readonly tools: ConnectorTools;
  private subscriptions: Subscription[] = [];
  private stopListening?: () => void;
  private opened = 0;

  constructor(
    private readonly bus: Bus,
    private readonly audit: Audit,
    data: DataPublisher,
    private readonly counters: SharedCounters,
  ) {
    const reports = new NodeReports(bus, EXTERNAL_CONNECTOR);
    this.tools = {
      directory: new NodeDirectory(bus, EXTERNAL_CONNECTOR),
      data,
      reports,
      contacts: new NodeContacts(reports),
      requests: new RequestSubscriptions(bus, reports),
    };
  }

  start(): void {
    const { bus } = this;
    const { directory, contacts, requests } = this.tools;
    this.subscriptions = [
      bus.onControl(DEVICE_CONTROL, ({ header }) => {
        const { tenantId, nodes } = JSON.parse(header) as DeviceChange;
        for (const { connector, nodeId } of nodes)
          if (connector === EXTERNAL_CONNECTOR) directory.forget(tenantId, nodeId);
      }),
      bus.onControl(GROUP_CONTROL, ({ header }) =>
        directory.forgetTenant((JSON.parse(header) as GroupChange).tenantId),
      ),
    ];
    this.stopListening = bus.onReconnect(() => directory.forgetAll());
    contacts.start();
    requests.start();
  }

  /** After the connections have ended. */
  async stop(): Promise<void> {
    for (const subscription of this.subscriptions) subscription.unsubscribe();
    this.stopListening?.();
    this.tools.requests.stop();
    this.tools.contacts.stop();
    await this.tools.reports.close();
  }

  async open(connection: Connection, packet: IConnectPacket, credentials: Credentials): Promise<void> {
    const audit = new SessionAudit(
      this.audit,
      { tenantId: credentials.key.tenantId, clientId: packet.clientId, apiKeyId: credentials.key.id },
      () => credentials.key.debugUntil,
    );
    const sessionId = `${this.bus.instance}-c${++this.opened}`;
    const traffic = new Traffic(this.limits, this.counters, credentials, audit);
    const session = new ConnectorSession(sessionId, connection, packet, credentials, audit, traffic, this.tools);
    mqttMetrics.sessions.inc({ mode: 'connector' });
    connection.onEnd((ending) => {
      mqttMetrics.sessions.dec({ mode: 'connector' });
      session.end();
      audit.info('disconnected', `Disconnected: ${ending.description}`);
    });
    connection.accept(session, packet.keepalive ?? 0);
    audit.info('connected', `Connected from ${connection.remoteAddress}`);
  }
}
