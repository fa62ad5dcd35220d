import { BusUnavailableError, type Bus, PackingPublisher, type PublishReceipt } from '@orrery/core/bus';
import { type EventHeader, type NodeSessionEvent, partitionOf } from '@orrery/core/messages';
import { BackPressure } from '../data/back-pressure.js';

/** Longest wait for the bus before a connection is refused. */
const ANNOUNCE_WITHIN_MS = 5000;

/** Which session is reported on. */
export interface ReportedSession {
  tenantId: string;
  nodeId: string;
  deviceId: string;
  sessionId: string;
}

/** Of now, unless it has a timestamp. */
export type SessionReport = Pick<NodeSessionEvent, 'type' | 'activity' | 'capabilities'> &
  Partial<Pick<NodeSessionEvent, 'timestamp'>>;

/** Reports to device-manager what a connector hears of its nodes, in the order of each device. */
export class NodeReports {
  readonly backPressure: BackPressure;
  private readonly publisher: PackingPublisher;

  constructor(
    private readonly bus: Bus,
    private readonly connector: string,
  ) {
    this.publisher = new PackingPublisher(bus, 'EVENTS');
    this.backPressure = new BackPressure(this.publisher);
  }

  get saturated(): boolean {
    return this.publisher.saturated;
  }

  /**
   * Resolves with the session's number, which grows with each session of a device.
   * @throws BusUnavailableError when the bus does not take it in time; it may still arrive.
   */
  async announce(session: ReportedSession, report: SessionReport): Promise<number> {
    const { order } = await this.publish(session, report, ANNOUNCE_WITHIN_MS);
    return order;
  }

  /** Resolves when the report is on the bus; never, when this process ends before. */
  report(session: ReportedSession, report: SessionReport): Promise<void> {
    return kept(this.publish(session, report));
  }

  /**
   * As `report`, for what else there is to tell.
   * @param key the device that it is about, or whatever else decides its order.
   * @throws MessageTooLargeError
   */
  tell(tenantId: string, key: string, event: { type: string }): Promise<void> {
    return kept(this.put(tenantId, key, event));
  }

  close(): Promise<void> {
    return this.publisher.close();
  }

  private publish(
    { tenantId, nodeId, deviceId, sessionId }: ReportedSession,
    report: SessionReport,
    timeoutMs?: number,
  ): Promise<PublishReceipt> {
    const event: NodeSessionEvent = {
      connector: this.connector,
      nodeId,
      deviceId,
      sessionId,
      instance: this.bus.instance,
      timestamp: new Date().toISOString(),
      ...report,
    };
    return this.put(tenantId, deviceId, event, timeoutMs);
  }

  private put(tenantId: string, key: string, event: { type: string }, timeoutMs?: number): Promise<PublishReceipt> {
    const header: EventHeader = { tenantId, type: event.type, key };
    const partition = partitionOf(tenantId, key, this.bus.partitions);
    return this.publisher.publish(partition, JSON.stringify(header), JSON.stringify(event), timeoutMs);
  }
}

const kept = (publishing: Promise<PublishReceipt>): Promise<void> =>
  publishing.then(
    () => undefined,
    (error: unknown) => {
      if (!(error instanceof BusUnavailableError)) throw error;
      return new Promise<void>(() => undefined);
    },
  );
