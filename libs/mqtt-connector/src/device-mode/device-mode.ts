import type { IConnectPacket } from 'mqtt-packet';
import type { Audit } from '@orrery/core/audit';
import type { Role } from '@orrery/core/auth';
import { type Bus, BusUnavailableError, RpcError, RpcUnavailableError } from '@orrery/core/bus';
import type { SharedCounters } from '@orrery/core/limits';
import { DEVICE_ID } from '@orrery/core/messages';
import { mqttMetrics } from '../metrics.js';
import type { DataPublisher } from '../data/data-publisher.js';
import { DEVICE_LIMITS } from '../limits/mode-limits.js';
import { Traffic } from '../limits/traffic.js';
import { isUnknownNode, NodeDirectory } from '../nodes/node-directory.js';
import { NodeReports } from '../nodes/node-reports.js';
import type { Connection } from '../server/connection.js';
import { Reason, Refusal } from '../server/return-codes.js';
import type { Ending } from '../server/session.js';
import { type Credentials, type Mode, refusalAudit } from '../sessions/admission.js';
import { type AuditedClient, CONNECTOR, SessionAudit } from '../sessions/session-audit.js';
import { DeviceSession, type DeviceSessionTools, NodeDisabledError } from './device-session.js';
import { DeviceSessions } from './device-sessions.js';
import { Liveness } from './liveness.js';

const CONTACT_MS = 1000;

/** Makes the session of a device that has been admitted. */
export type MakeSession = (...parts: ConstructorParameters<typeof DeviceSession>) => DeviceSession;

/** Device mode (manual 6.5): one connection is one device. */
export class DeviceMode implements Mode {
  readonly username = 'json+device';
  readonly roles: readonly Role[] = ['DEVICE_ACCESS'];
  readonly needsTls = false;
  readonly limits = DEVICE_LIMITS;
  private readonly reports: NodeReports;
  private readonly sessions: DeviceSessions;
  private readonly liveness: Liveness;
  private readonly tools: DeviceSessionTools;
  private readonly contacts = new Set<DeviceSession>();
  private timer?: NodeJS.Timeout;
  private opened = 0;

  constructor(
    private readonly bus: Bus,
    private readonly audit: Audit,
    data: DataPublisher,
    private readonly counters: SharedCounters,
  ) {
    const directory = new NodeDirectory(bus, CONNECTOR);
    this.reports = new NodeReports(bus, CONNECTOR);
    this.sessions = new DeviceSessions(bus, directory);
    this.liveness = new Liveness(bus, () =>
      this.sessions.endAll({ description: 'this instance was not seen in time', reason: Reason.ServerBusy }),
    );
    this.tools = {
      partitions: bus.partitions,
      directory,
      data,
      reports: this.reports,
      contacted: (session) => this.contacts.add(session),
    };
  }

  async start(): Promise<void> {
    this.sessions.start();
    await this.liveness.start();
    this.timer = setInterval(() => this.reportContacts(), CONTACT_MS);
  }

  /** After the connections have ended. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    this.sessions.stop();
    await this.reports.close();
    await this.liveness.stop();
  }

  replaces(tenantId: string, clientId: string): boolean {
    return this.sessions.has(tenantId, clientId);
  }

  async ownsName(tenantId: string, clientId: string, commonName: string): Promise<boolean> {
    return commonName === clientId || commonName === (await this.urnOf(tenantId, clientId));
  }

  async open(
    connection: Connection,
    packet: IConnectPacket,
    credentials: Credentials,
    make: MakeSession = (...parts) => new DeviceSession(...parts),
  ): Promise<void> {
    const client: AuditedClient = {
      tenantId: credentials.key.tenantId,
      clientId: packet.clientId,
      apiKeyId: credentials.key.id,
    };
    const audit = new SessionAudit(this.audit, client, () => credentials.key.debugUntil);
    const refuse = (code: Refusal, description: string): void => {
      refusalAudit(audit, connection, description);
      connection.refuse(code, description);
    };
    if (packet.clientId.startsWith('urn:lo:') && !DEVICE_ID.test(packet.clientId)) {
      refuse(Refusal.Identifier, 'client id: expected urn:lo:nsid:{namespace}:{id}, or a plain id');
      return;
    }
    if (!this.liveness.alive) {
      refuse(Refusal.Unavailable, 'the platform is not ready; try again');
      return;
    }
    const sessionId = `${this.bus.instance}-${++this.opened}`;
    const traffic = new Traffic(this.limits, this.counters, credentials, audit);
    const session = make(sessionId, connection, packet, credentials, audit, traffic, this.tools);
    // Before the device is loaded, so that no change is missed.
    this.sessions.add(session);
    connection.onEnd((ending) => this.ended(session, ending, audit));
    try {
      await session.open();
    } catch (error) {
      const [code, description] = refusalOf(error);
      refuse(code, description);
      return;
    }
    if (connection.closed) return;
    client.deviceId = session.deviceId!;
    this.sessions.takeOver(session);
    mqttMetrics.sessions.inc({ mode: 'device' });
    connection.onEnd(() => mqttMetrics.sessions.dec({ mode: 'device' }));
    session.accept();
    audit.info('connected', `Connected from ${connection.remoteAddress}`);
  }

  // That the client's device has, or would be registered with (manual 6.5.2).
  private async urnOf(tenantId: string, clientId: string): Promise<string> {
    try {
      return (await this.tools.directory.find(tenantId, clientId)).device.deviceId;
    } catch (error) {
      if (!isUnknownNode(error)) throw error;
      return clientId.startsWith('urn:lo:') ? clientId : `urn:lo:nsid:mqtt:${clientId}`;
    }
  }

  private ended(session: DeviceSession, ending: Ending, audit: SessionAudit): void {
    this.sessions.remove(session);
    this.contacts.delete(session);
    if (ending.replaced !== true) session.reportEnd();
    if (session.order !== undefined) audit.info('disconnected', `Disconnected: ${ending.description}`);
  }

  // Coalesced: a device that sends a hundred messages a second is reported once.
  private reportContacts(): void {
    for (const session of this.contacts) {
      if (this.reports.saturated) return;
      this.contacts.delete(session);
      session.reportContact();
    }
  }
}

function refusalOf(error: unknown): [Refusal, string] {
  if (error instanceof NodeDisabledError) return [Refusal.NotAuthorized, error.message];
  if (error instanceof RpcUnavailableError || error instanceof BusUnavailableError)
    return [Refusal.Unavailable, 'the platform is not ready; try again'];
  if (error instanceof RpcError) {
    if (error.code === 'GENERIC_INVALID_PARAMETER_ERROR') return [Refusal.Identifier, `client id: ${error.message}`];
    if (error.code === 'DM_INTERFACE_NOT_FOUND') return [Refusal.NotAuthorized, 'the device has no such interface'];
    if (error.code === 'GENERIC_QUOTA_EXCEEDED_ERROR') return [Refusal.NotAuthorized, error.message];
  }
  throw error;
}
