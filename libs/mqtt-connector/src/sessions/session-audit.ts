import type { Audit, AuditEntry } from '@orrery/core/audit';
import { mqttMetrics } from '../metrics.js';

/** Connector name of everything that comes in over MQTT without an external connector (manual 15.2.3). */
export const CONNECTOR = 'mqtt';
/** Connector name of what comes in through an external connector, which speaks for its nodes. */
export const EXTERNAL_CONNECTOR = 'x-connector';

/** Whom the entries are about. */
export interface AuditedClient {
  tenantId: string;
  clientId: string;
  apiKeyId: string;
  deviceId?: string;
}

/** A node behind the client, which the entry is about rather than about the client. */
export interface AuditedNode {
  connector: string;
  nodeId: string;
  deviceId?: string;
}

/** Writes what the manual wants to see of one client in the audit log (19.2). */
export class SessionAudit {
  constructor(
    private readonly audit: Audit,
    readonly client: AuditedClient,
    /** Epoch milliseconds until when connections are logged too. */
    private readonly debugUntil: () => number | undefined,
    private readonly node?: AuditedNode,
  ) {}

  /** Writes about a node behind the client. */
  of(node: AuditedNode): SessionAudit {
    return new SessionAudit(this.audit, this.client, this.debugUntil, node);
  }

  /** @param type stable name, such as `bad_topic`. */
  error(type: string, description: string, content: Record<string, unknown> = {}): void {
    mqttMetrics.problems.inc({ type });
    this.write('error', type, description, content);
  }

  /** Only in the debug mode of the API key. */
  info(type: string, description: string): void {
    if ((this.debugUntil() ?? 0) > Date.now()) this.write('info', type, description, {});
  }

  private write(level: AuditEntry['level'], type: string, description: string, content: Record<string, unknown>): void {
    const { tenantId, clientId, apiKeyId } = this.client;
    const { deviceId } = this.node ?? this.client;
    const { nodeId, connector } = this.node ?? { nodeId: clientId, connector: CONNECTOR };
    this.audit.write({
      tenantId,
      level,
      category: 'connectivity',
      subcategory: 'mqtt',
      type,
      description,
      source: { ...(deviceId === undefined ? {} : { deviceId }), nodeId, connector, apiKeyId },
      content: { clientId, ...content },
    });
  }
}
