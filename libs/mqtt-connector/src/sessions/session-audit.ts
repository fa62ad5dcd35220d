import type { Audit, AuditEntry } from '@orrery/core/audit';

/** Connector name of everything that comes in over MQTT without an external connector (manual 15.2.3). */
export const CONNECTOR = 'mqtt';

/** Whom the entries are about. */
export interface AuditedClient {
  tenantId: string;
  clientId: string;
  apiKeyId: string;
  deviceId?: string;
}

/** Writes what the manual wants to see of one client in the audit log (19.2). */
export class SessionAudit {
  constructor(
    private readonly audit: Audit,
    readonly client: AuditedClient,
    /** Epoch milliseconds until when connections are logged too. */
    private readonly debugUntil: () => number | undefined,
  ) {}

  /** @param type stable name, such as `bad_topic`. */
  error(type: string, description: string, content: Record<string, unknown> = {}): void {
    this.write('error', type, description, content);
  }

  /** Only in the debug mode of the API key. */
  info(type: string, description: string): void {
    if ((this.debugUntil() ?? 0) > Date.now()) this.write('info', type, description, {});
  }

  private write(level: AuditEntry['level'], type: string, description: string, content: Record<string, unknown>): void {
    const { tenantId, clientId, apiKeyId, deviceId } = this.client;
    this.audit.write({
      tenantId,
      level,
      category: 'connectivity',
      subcategory: 'mqtt',
      type,
      description,
      source: { ...(deviceId === undefined ? {} : { deviceId }), nodeId: clientId, connector: CONNECTOR, apiKeyId },
      content: { clientId, ...content },
    });
  }
}
