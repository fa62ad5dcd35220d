import type { IConnectPacket } from 'mqtt-packet';
import type { Audit } from '@orrery/core/audit';
import type { Role } from '@orrery/core/auth';
import type { Bus } from '@orrery/core/bus';
import type { SharedCounters } from '@orrery/core/limits';
import { mqttMetrics } from '../metrics.js';
import type { DataPublisher } from '../data/data-publisher.js';
import { APPLICATION_LIMITS } from '../limits/mode-limits.js';
import { Traffic } from '../limits/traffic.js';
import type { Connection } from '../server/connection.js';
import type { Credentials, Mode } from '../sessions/admission.js';
import { SessionAudit } from '../sessions/session-audit.js';
import { ApplicationSession, type ApplicationTools } from './application-session.js';
import { FifoConsumers } from './fifo-consumers.js';

/** Application mode (manual 16.2.2): consumes FIFOs and publishes data that belongs to no device. */
export class ApplicationMode implements Mode {
  readonly username = 'application';
  readonly roles: readonly Role[] = ['BUS_R', 'DATA_W'];
  readonly needsTls = true;
  readonly servesFifos = true;
  readonly limits = APPLICATION_LIMITS;
  private readonly tools: ApplicationTools;

  constructor(
    bus: Bus,
    private readonly audit: Audit,
    data: DataPublisher,
    private readonly counters: SharedCounters,
  ) {
    this.tools = { bus, data, fifos: new FifoConsumers(bus) };
  }

  start(): void {
    this.tools.fifos.start();
  }

  /** After the connections have ended. */
  stop(): Promise<void> {
    return this.tools.fifos.stop();
  }

  async open(connection: Connection, packet: IConnectPacket, credentials: Credentials): Promise<void> {
    const audit = new SessionAudit(
      this.audit,
      { tenantId: credentials.key.tenantId, clientId: packet.clientId, apiKeyId: credentials.key.id },
      () => credentials.key.debugUntil,
    );
    const traffic = new Traffic(this.limits, this.counters, credentials, audit);
    const session = new ApplicationSession(connection, packet, credentials, audit, traffic, this.tools);
    mqttMetrics.sessions.inc({ mode: 'application' });
    connection.onEnd((ending) => {
      mqttMetrics.sessions.dec({ mode: 'application' });
      session.end();
      audit.info('disconnected', `Disconnected: ${ending.description}`);
    });
    connection.accept(session, packet.keepalive ?? 0);
    audit.info('connected', `Connected from ${connection.remoteAddress}`);
  }
}
