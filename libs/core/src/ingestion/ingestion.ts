import { type Bus, PackingPublisher, type PublishReceipt } from '../bus/index.js';
import { type DataMessage, type MessageHeader, partitionKey, partitionOf } from '../messages/index.js';
import { StageFilters } from './stage-filters.js';

/** The one way of data messages onto the bus: to their first stage, or to READY when none has anything to do with them. */
export class Ingestion {
  private readonly filters: StageFilters;
  private readonly publishers: Record<'READY' | 'DECODE' | 'TRANSFORM', PackingPublisher>;

  constructor(private readonly bus: Bus) {
    this.filters = new StageFilters(bus);
    this.publishers = {
      READY: new PackingPublisher(bus, 'READY'),
      DECODE: new PackingPublisher(bus, 'DECODE'),
      TRANSFORM: new PackingPublisher(bus, 'TRANSFORM'),
    };
  }

  start(): Promise<void> {
    return this.filters.start();
  }

  /**
   * Resolves when the bus has the message on disk. Rejects with MessageTooLargeError, and with RangeError when the value
   * is nested too deeply to be written.
   * @param timeoutMs rejects with BusUnavailableError after that time: nothing is acknowledged, the message may or may not arrive.
   * @param partition where the message goes, when it is known already.
   */
  async publish(
    header: MessageHeader,
    message: DataMessage,
    { timeoutMs, partition }: { timeoutMs?: number; partition?: number | undefined } = {},
  ): Promise<PublishReceipt> {
    const [first, ...after] = this.filters.of(header.tenantId, message);
    const written = JSON.stringify(after.length > 0 ? { ...header, stages: after } : header);
    return this.publishers[first ?? 'READY'].publish(
      partition ?? partitionOf(header.tenantId, partitionKey(header), this.bus.partitions),
      written,
      JSON.stringify(message),
      timeoutMs,
    );
  }

  /** True while more is waiting than should be held in memory: whoever reads from a network should stop reading. */
  get saturated(): boolean {
    return this.all.some(({ saturated }) => saturated);
  }

  /** Calls back once, when what is saturated has room again. */
  onDrain(listener: () => void): void {
    let waiting = 0;
    for (const publisher of this.all)
      if (publisher.saturated) {
        waiting++;
        publisher.onDrain(() => --waiting === 0 && listener());
      }
    if (waiting === 0) queueMicrotask(listener);
  }

  async close(): Promise<void> {
    this.filters.stop();
    await Promise.all(this.all.map((publisher) => publisher.close()));
  }

  private get all(): PackingPublisher[] {
    return Object.values(this.publishers);
  }
}
