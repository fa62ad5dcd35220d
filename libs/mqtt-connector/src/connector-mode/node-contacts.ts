import type { NodeReports, ReportedSession } from '../nodes/node-reports.js';
import { nodeKey } from '../nodes/node-directory.js';

const REPORTED_EVERY_MS = 1000;

/** Nodes that were heard since the last report: one that sends a hundred messages a second is reported once. */
export class NodeContacts {
  private contacts = new Map<string, { session: ReportedSession; heardAt: number }>();
  private timer?: NodeJS.Timeout;

  constructor(private readonly reports: NodeReports) {}

  start(): void {
    this.timer = setInterval(() => this.report(), REPORTED_EVERY_MS);
  }

  stop(): void {
    clearInterval(this.timer);
    this.report();
  }

  heard(session: ReportedSession): void {
    this.contacts.set(nodeKey(session.tenantId, session.nodeId), { session, heardAt: Date.now() });
  }

  private report(): void {
    for (const [key, { session, heardAt }] of this.contacts) {
      if (this.reports.saturated) return;
      this.contacts.delete(key);
      void this.reports.report(session, { type: 'nodeContact', timestamp: new Date(heardAt).toISOString() });
    }
  }
}
