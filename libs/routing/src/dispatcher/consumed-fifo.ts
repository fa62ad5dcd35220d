import type { FifoDeliveryHeader, FifoSubscription } from '../contract.js';
import type { EntryItem } from '@orrery/core/messages';

/** A message of the queue, as it is read for delivery. */
export interface QueuedMessage {
  seq: number;
  body: string;
  /** W3C trace context. */
  traceparent: string | null;
}

/** What the queue of a FIFO offers to its dispatcher. */
export interface QueueReader {
  /** Messages after this number, oldest first, until they have so many bytes. */
  after(fifoId: number, seq: number, limit: number, bytes: number): Promise<ReadPage>;
  /** Those of these messages that still exist, oldest first, until they have so many bytes. */
  these(fifoId: number, seqs: readonly number[], bytes: number): Promise<ReadPage>;
  /** Numbers whose acknowledgement is being written. */
  acknowledging(fifoId: number): ReadonlySet<number>;
}

export interface ReadPage {
  messages: QueuedMessage[];
  /** True when the page ends before its limit because it has the bytes that were asked for, or are delivered at once. */
  cut: boolean;
}

export interface Delivery extends EntryItem {
  subscription: string;
  seq: number;
  autoAck: boolean;
}

/** A message that a subscriber holds. */
export interface HeldMessage {
  seq: number;
  /** Of its text. */
  bytes: number;
}

/** A subscription and what it holds. */
export interface Subscriber {
  readonly id: string;
  readonly instance: string;
  readonly autoAck: boolean;
  /** Bytes of each message. */
  readonly held: Map<number, number>;
  heldBytes: number;
  window: number;
  windowBytes: number;
  /** Deliveries begin once the subscription has been answered. */
  active: boolean;
  /** When the connector last named it, epoch milliseconds. */
  heard: number;
}

/** Most messages of one delivery, however large the windows are. */
const MAX_MESSAGES = 1000;
/**
 * How long little room in the windows may grow before it is filled. Whoever has three quarters of a window before it
 * waits for nothing; without this, a busy FIFO is read for each acknowledgement.
 */
const LINGER_MS = 4;
/** Of one request to a connector, unless a single message is larger. */
const MAX_REQUEST_BYTES = 4 << 20;

/**
 * Hands the messages of one FIFO to its subscribers, in order, round-robin among those with room in their window
 * (MQA-006). Exists only while the FIFO has subscribers.
 */
export class ConsumedFifo {
  private readonly subscribers = new Map<string, Subscriber>();
  private order: Subscriber[] = [];
  private turn = 0;
  private readonly holders = new Map<number, Subscriber>();
  /** Highest number that was held when its subscription came back after a change of dispatcher. */
  private resumed = 0;
  /** Last number read; everything up to it is acknowledged, held or given back. */
  private cursor = 0;
  /** What lost subscribers held, ascending, below the cursor: served before anything newer. */
  private givenBack: number[] = [];
  private acknowledgedWhileReading?: Set<number>;
  private wanted = false;
  private closed = false;
  private linger?: NodeJS.Timeout;
  private lingered = false;

  /**
   * @param mayDeliver false while this instance may not, or not yet, deliver.
   * @param deliver passes messages to one connector instance and does not wait.
   * @param failed a read failed: wake the FIFO later.
   */
  constructor(
    readonly id: number,
    private readonly queue: QueueReader,
    private readonly mayDeliver: () => boolean,
    private readonly deliver: (fifo: ConsumedFifo, instance: string, deliveries: Delivery[]) => void,
    private readonly failed: (fifo: ConsumedFifo, error: unknown) => void,
  ) {}

  get size(): number {
    return this.subscribers.size;
  }

  get lastRead(): number {
    return this.cursor;
  }

  subscriber(id: string): Subscriber | undefined {
    return this.subscribers.get(id);
  }

  all(): Iterable<Subscriber> {
    return this.subscribers.values();
  }

  /** Adds a subscription, or what it holds when it is known: the request is repeated when its answer was lost. */
  subscribe(request: Omit<FifoSubscription, 'held'>, held: readonly HeldMessage[]): Subscriber {
    let subscriber = this.subscribers.get(request.subscription);
    if (!subscriber) {
      subscriber = {
        id: request.subscription,
        instance: request.instance,
        autoAck: request.autoAck,
        held: new Map(),
        heldBytes: 0,
        window: request.window,
        windowBytes: request.windowBytes ?? Number.POSITIVE_INFINITY,
        active: false,
        heard: 0,
      };
      this.subscribers.set(subscriber.id, subscriber);
      this.order.push(subscriber);
    }
    subscriber.heard = Date.now();
    subscriber.window = request.window;
    for (const { seq, bytes } of held) {
      // Handed to another subscriber meanwhile: that one keeps it.
      if (this.holders.has(seq)) continue;
      this.take(subscriber, seq, bytes);
      this.resumed = Math.max(this.resumed, seq);
    }
    if (held.length > 0) this.givenBack = this.givenBack.filter((seq) => !this.holders.has(seq));
    return subscriber;
  }

  /** Ends a subscription; what it held goes back to its original place (MQA-008). */
  unsubscribe(id: string): void {
    const subscriber = this.subscribers.get(id);
    if (!subscriber) return;
    this.subscribers.delete(id);
    this.order = this.order.filter((each) => each !== subscriber);
    for (const seq of subscriber.held.keys()) this.holders.delete(seq);
    this.giveBack([...subscriber.held.keys()]);
    this.wake();
  }

  /** Frees the window of who held these messages. */
  acknowledge(seqs: readonly number[]): void {
    for (const seq of seqs) {
      this.acknowledgedWhileReading?.add(seq);
      const holder = this.holders.get(seq);
      if (!holder) continue;
      holder.heldBytes -= holder.held.get(seq)!;
      holder.held.delete(seq);
      this.holders.delete(seq);
    }
    this.wake();
  }

  /** There may be something to deliver. */
  wake(): void {
    this.wanted = true;
    if (!this.acknowledgedWhileReading) void this.pump();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.linger);
  }

  private async pump(): Promise<void> {
    try {
      while (this.wanted && !this.closed) {
        this.wanted = false;
        let [free, freeBytes] = [0, 0];
        let enough = this.lingered;
        this.lingered = false;
        for (const subscriber of this.order) {
          const room = roomOf(subscriber);
          free += room;
          enough ||= room * 4 >= subscriber.window;
          if (room > 0) freeBytes += subscriber.windowBytes - subscriber.heldBytes;
        }
        if (free === 0 || !this.mayDeliver()) return;
        if (!enough) {
          this.linger ??= setTimeout(() => {
            delete this.linger;
            this.lingered = true;
            this.wake();
          }, LINGER_MS);
          return;
        }
        this.acknowledgedWhileReading = new Set(this.queue.acknowledging(this.id));
        await this.read(Math.min(free, MAX_MESSAGES), freeBytes);
        delete this.acknowledgedWhileReading;
      }
    } catch (error) {
      delete this.acknowledgedWhileReading;
      if (!this.closed) this.failed(this, error);
    }
  }

  private async read(limit: number, bytes: number): Promise<void> {
    let page: ReadPage;
    if (this.givenBack.length > 0) {
      const asked = this.givenBack.slice(0, limit);
      page = await this.queue.these(this.id, asked, bytes);
      const last = page.cut ? page.messages.at(-1)!.seq : asked.at(-1)!;
      const done = new Set(asked.filter((seq) => seq <= last));
      this.givenBack = this.givenBack.filter((seq) => !done.has(seq));
      // What is newer comes next.
      this.wanted = true;
    } else {
      const before = this.cursor;
      const heldAhead =
        this.resumed > before ? [...this.holders.keys()].reduce((sum, seq) => sum + (seq > before ? 1 : 0), 0) : 0;
      page = await this.queue.after(this.id, before, limit + heldAhead, bytes);
      this.cursor = page.messages.at(-1)?.seq ?? before;
      if (page.cut || page.messages.length === limit + heldAhead) this.wanted = true;
    }
    if (this.closed) return;
    this.hand(page.messages.filter(({ seq }) => !this.holders.has(seq) && !this.acknowledgedWhileReading!.has(seq)));
  }

  private hand(messages: readonly QueuedMessage[]): void {
    const deliveries = new Map<string, Delivery[]>();
    const left: number[] = [];
    for (const { seq, body, traceparent } of messages) {
      const subscriber = left.length === 0 ? this.next() : undefined;
      if (!subscriber) {
        left.push(seq);
        continue;
      }
      this.take(subscriber, seq, Buffer.byteLength(body));
      const quoted = body.includes('\n');
      const header: FifoDeliveryHeader = {
        subscription: subscriber.id,
        seq,
        ...(quoted ? { quoted } : {}),
        ...(traceparent === null ? {} : { traceparent }),
      };
      const delivery: Delivery = {
        subscription: subscriber.id,
        seq,
        autoAck: subscriber.autoAck,
        header: JSON.stringify(header),
        body: quoted ? JSON.stringify(body) : body,
      };
      const list = deliveries.get(subscriber.instance);
      if (list) list.push(delivery);
      else deliveries.set(subscriber.instance, [delivery]);
    }
    if (left.length > 0) this.giveBack(left);
    for (const [instance, list] of deliveries) for (const part of inParts(list)) this.deliver(this, instance, part);
  }

  private take(subscriber: Subscriber, seq: number, bytes: number): void {
    this.holders.set(seq, subscriber);
    subscriber.held.set(seq, bytes);
    subscriber.heldBytes += bytes;
  }

  private next(): Subscriber | undefined {
    for (let i = 0; i < this.order.length; i++) {
      const subscriber = this.order[this.turn++ % this.order.length]!;
      if (roomOf(subscriber) > 0) return subscriber;
    }
    return undefined;
  }

  // What lies beyond the cursor is read again by itself.
  private giveBack(seqs: readonly number[]): void {
    this.givenBack = [...new Set([...this.givenBack, ...seqs.filter((seq) => seq <= this.cursor)])].sort(
      (a, b) => a - b,
    );
  }
}

/** What one request carries: quoting makes a text up to six times as long as it is stored. */
function inParts(deliveries: Delivery[]): Delivery[][] {
  const parts: Delivery[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const delivery of deliveries) {
    const size = Buffer.byteLength(delivery.header) + Buffer.byteLength(delivery.body);
    bytes += size;
    if (bytes > MAX_REQUEST_BYTES) {
      parts.push([]);
      bytes = size;
    }
    parts.at(-1)!.push(delivery);
  }
  return parts;
}

const roomOf = ({ active, window, windowBytes, held, heldBytes }: Subscriber): number =>
  active && heldBytes < windowBytes ? Math.max(0, window - held.size) : 0;
