import { headers as natsHeaders, type Msg, type MsgHdrs, type Subscription } from '@nats-io/transport-node';
import { encodeEntry, type EntryItem } from '../messages/index.js';
import { metrics, onScrape } from '../telemetry/index.js';
import type { Bus } from './bus.js';
import { streamSubject, type PartitionedStream } from './streams.js';

/** Headers by which a reader recognizes an entry that was published again: the highest number per origin wins. */
export const ORIGIN_HEADER = 'Orrery-Origin';
export const NUMBER_HEADER = 'Orrery-Number';

const MAX_ITEMS = 200;
const MAX_BYTES = 256 * 1024;
/** An entry without an answer is published again, with the same number. */
const ACK_TIMEOUT_MS = 5000;
const RETRY_MS = 250;
/**
 * Least time between two entries of a partition. A message on a quiet partition waits for nothing; on a busy one more
 * messages share an entry, which every reader then handles, and syncs to disk, as one.
 */
const SPACING_MS = 4;

/** The bus did not take a message in time: nothing was acknowledged, the publisher may try again. */
export class BusUnavailableError extends Error {}

/** The message is larger than the bus takes: it will never be published. */
export class MessageTooLargeError extends Error {}

const NO_STREAM = 'no stream listens';

/** For a metric, whose labels must be few. */
const retryReason = (description: string): string =>
  /^maximum (bytes|messages)/.test(description) ? 'full' : description === NO_STREAM ? 'no_stream' : 'other';

/** Room beside a message for what else an entry or a dead letter of it holds. */
const ENVELOPE_BYTES = 64 * 1024;

/** Where a message stands in its partition; grows with each message. */
export interface PublishReceipt {
  /** Sequence of the entry times 256 plus the place in it: comparable within a partition. */
  order: number;
}

interface Pending extends EntryItem {
  bytes: number;
  resolve: (receipt: PublishReceipt) => void;
  reject: (error: Error) => void;
  cancelled?: boolean;
}

interface InFlight {
  number: number;
  items: Pending[];
  payload: string;
  headers: MsgHdrs;
  timer?: NodeJS.Timeout;
}

interface Lane {
  queue: Pending[];
  inFlight?: InFlight;
  number: number;
  /** Of the last entry, on the monotonic clock. */
  sentAt: number;
  timer?: NodeJS.Timeout;
}

/**
 * Publishes to one partitioned stream. At most one entry per partition is in flight; what arrives meanwhile is the
 * next entry. At low load an entry holds one message and waits for nothing; at high load many share one fsync.
 * A refused or unanswered entry is repeated until the bus takes it, so that the order in a partition holds.
 */
export class PackingPublisher {
  private static made = 0;
  /** Each publisher counts its own entries: two of one process must not pass for one origin, or readers skip entries. */
  private readonly origin: string;
  private readonly lanes: Lane[];
  private readonly inbox: string;
  private readonly replies: Subscription;
  private readonly scheduled = new Set<number>();
  private readonly drainListeners: Array<() => void> = [];
  private pendingCount = 0;
  private pendingBytes = 0;
  private readonly endReports: () => void;
  private closed = false;
  private warnedAt = 0;
  private readonly counted;

  constructor(
    private readonly bus: Bus,
    private readonly stream: PartitionedStream,
    private readonly capacity = { messages: 8192, bytes: 64 << 20 },
  ) {
    this.counted = {
      entries: metrics.publishedEntries.labels(stream),
      messages: metrics.publishedMessages.labels(stream),
      ackSeconds: metrics.ackSeconds.labels(stream),
      pending: metrics.pendingMessages.labels(stream),
    };
    this.endReports = onScrape(() => () => this.counted.pending.inc(this.pendingCount));
    this.lanes = Array.from({ length: bus.partitions }, () => ({ queue: [], number: 0, sentAt: 0 }));
    this.origin = `${bus.instance}-${++PackingPublisher.made}`;
    this.inbox = `${bus.inboxPrefix}.pub.${this.origin}.${stream}`;
    this.replies = bus.connection.subscribe(`${this.inbox}.*`, {
      callback: (error, message) => this.onReply(error, message),
    });
    bus.onReconnect(() =>
      this.lanes.forEach((lane, partition) => lane.inFlight && this.send(partition, lane.inFlight)),
    );
  }

  /** True while more is waiting than should be held in memory: whoever reads from a network should stop reading. */
  get saturated(): boolean {
    return this.pendingCount >= this.capacity.messages || this.pendingBytes >= this.capacity.bytes;
  }

  /** Calls back once, when half of the capacity is free again. */
  onDrain(listener: () => void): void {
    this.drainListeners.push(listener);
  }

  /**
   * Resolves when the bus has the message on disk. Rejects with MessageTooLargeError.
   * @param timeoutMs rejects with BusUnavailableError after that time: nothing is acknowledged, the message may or may not arrive.
   */
  publish(partition: number, header: string, body: string, timeoutMs?: number): Promise<PublishReceipt> {
    if (this.closed) {
      this.countRefused('closing');
      return Promise.reject(new BusUnavailableError('this process is shutting down'));
    }
    // Half of what the server takes: a dead letter holds the message as a JSON string, which escapes each quote.
    const most = (this.bus.maxPayload - ENVELOPE_BYTES) / 2;
    // No UTF-16 unit makes more than three bytes: most messages need not be measured.
    if ((header.length + body.length) * 3 > most) {
      const bytes = Buffer.byteLength(header) + Buffer.byteLength(body);
      if (bytes > most) {
        this.countRefused('too_large');
        return Promise.reject(
          new MessageTooLargeError(`a message of ${bytes} bytes is larger than ${Math.floor(most)}`),
        );
      }
    }
    return new Promise((resolve, reject) => {
      const item: Pending = { header, body, bytes: header.length + body.length + 2, resolve, reject };
      this.pendingCount++;
      this.pendingBytes += item.bytes;
      this.lanes[partition]!.queue.push(item);
      if (timeoutMs !== undefined) this.giveUpAfter(item, timeoutMs);
      this.schedule(partition);
    });
  }

  private giveUpAfter(item: Pending, timeoutMs: number): void {
    const timer = setTimeout(() => {
      item.cancelled = true;
      this.countRefused('timeout');
      item.reject(new BusUnavailableError(`the bus did not take the message within ${timeoutMs} ms`));
    }, timeoutMs);
    const { resolve } = item;
    item.resolve = (receipt) => {
      clearTimeout(timer);
      resolve(receipt);
    };
  }

  // Messages of one turn of the event loop share an entry.
  private schedule(partition: number): void {
    if (this.scheduled.size === 0) setImmediate(() => this.flush());
    this.scheduled.add(partition);
  }

  private flush(): void {
    const partitions = [...this.scheduled];
    this.scheduled.clear();
    for (const partition of partitions) this.next(partition);
  }

  private next(partition: number): void {
    const lane = this.lanes[partition]!;
    if (lane.inFlight || lane.queue.length === 0) return;
    const wait = lane.sentAt + SPACING_MS - performance.now();
    if (wait > 0 && lane.queue.length < MAX_ITEMS) {
      lane.timer ??= setTimeout(() => {
        delete lane.timer;
        this.next(partition);
      }, wait);
      return;
    }
    let count = 0;
    let bytes = 0;
    while (
      count < lane.queue.length &&
      count < MAX_ITEMS &&
      (count === 0 || bytes + lane.queue[count]!.bytes <= MAX_BYTES)
    )
      bytes += lane.queue[count++]!.bytes;
    const taken = lane.queue.splice(0, count);
    const items = taken.filter((item) => !item.cancelled);
    if (items.length < taken.length) {
      for (const item of taken) if (item.cancelled) this.release(item);
      this.tellDrained();
    }
    if (items.length === 0) {
      if (lane.queue.length > 0) this.schedule(partition);
      return;
    }
    const headers = natsHeaders();
    headers.set(ORIGIN_HEADER, this.origin);
    headers.set(NUMBER_HEADER, String(++lane.number));
    lane.inFlight = { number: lane.number, items, payload: encodeEntry(items), headers };
    lane.sentAt = performance.now();
    this.send(partition, lane.inFlight);
  }

  private send(partition: number, entry: InFlight): void {
    clearTimeout(entry.timer);
    entry.timer = setTimeout(() => {
      metrics.publishRetries.inc({ stream: this.stream, reason: 'no_answer' });
      this.send(partition, entry);
    }, ACK_TIMEOUT_MS);
    if (this.bus.connection.isClosed()) return;
    this.bus.connection.publish(streamSubject(this.stream, partition), entry.payload, {
      reply: `${this.inbox}.${partition}-${entry.number}`,
      headers: entry.headers,
    });
  }

  private onReply(error: Error | null, message: Msg): void {
    if (error) return;
    const [partition, number] = message.subject
      .slice(this.inbox.length + 1)
      .split('-')
      .map(Number) as [number, number];
    const lane = this.lanes[partition]!;
    const entry = lane.inFlight;
    if (!entry || entry.number !== number) return;
    const answer =
      message.headers?.code === 503
        ? { error: { description: NO_STREAM } }
        : message.json<{ seq?: number; error?: { description: string } }>();
    if (!('seq' in answer) || answer.error) {
      this.refused(partition, entry, answer.error?.description ?? 'unknown answer');
      return;
    }
    clearTimeout(entry.timer);
    delete lane.inFlight;
    this.counted.entries.inc();
    this.counted.messages.inc(entry.items.length);
    this.counted.ackSeconds.observe((performance.now() - lane.sentAt) / 1000);
    const base = answer.seq! * 256;
    entry.items.forEach((item, i) => {
      this.release(item);
      item.resolve({ order: base + i });
    });
    this.next(partition);
    this.tellDrained();
  }

  private refused(partition: number, entry: InFlight, reason: string): void {
    if (Date.now() - this.warnedAt > 10_000) {
      this.warnedAt = Date.now();
      this.bus.logger.warn(
        { stream: this.stream, partition, reason, waiting: this.pendingCount },
        'the bus refuses messages; trying again',
      );
    }
    metrics.publishRetries.inc({ stream: this.stream, reason: retryReason(reason) });
    clearTimeout(entry.timer);
    // Those who wait with a time limit have been answered already; they must not be published behind their back.
    const left = entry.items.filter((item) => !item.cancelled);
    if (left.length < entry.items.length) {
      for (const item of entry.items) if (item.cancelled) this.release(item);
      this.tellDrained();
      if (left.length === 0) {
        delete this.lanes[partition]!.inFlight;
        this.next(partition);
        return;
      }
      entry.items = left;
      entry.payload = encodeEntry(left);
    }
    entry.timer = setTimeout(() => this.send(partition, entry), RETRY_MS);
  }

  private countRefused(reason: 'closing' | 'too_large' | 'timeout'): void {
    metrics.refusedMessages.inc({ stream: this.stream, reason });
  }

  private tellDrained(): void {
    if (
      this.drainListeners.length > 0 &&
      this.pendingCount <= this.capacity.messages / 2 &&
      this.pendingBytes <= this.capacity.bytes / 2
    )
      for (const listener of this.drainListeners.splice(0)) listener();
  }

  private release(item: Pending): void {
    this.pendingCount--;
    this.pendingBytes -= item.bytes;
  }

  /** Waits, at most `timeoutMs`, until everything given so far is on the bus. */
  async close(timeoutMs = 5000): Promise<void> {
    this.closed = true;
    const deadline = Date.now() + timeoutMs;
    while (this.pendingCount > 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
    for (const lane of this.lanes) clearTimeout(lane.inFlight?.timer);
    this.replies.unsubscribe();
    this.endReports();
  }
}
