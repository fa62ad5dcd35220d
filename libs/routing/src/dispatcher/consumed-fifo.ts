import type { FifoSubscription } from '../contract.js';
import type { FifoWake, QueuedMessage } from '../fifos/queue.js';
import { type Delivery, deliveryOf, inParts } from './delivery.js';
import { Pace } from './pace.js';
import { FRESH_MS, MAX_AHEAD, ReadAhead, type ReadAheadBudget } from './read-ahead.js';
import { Subscriber } from './subscriber.js';

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

/** A message that a subscriber holds. */
export interface HeldMessage {
  seq: number;
  /** Of its text. */
  bytes: number;
}

/** Most messages of one page, however large the windows are. */
const MAX_PAGE = 1000;
/**
 * How long little room in the windows may grow before it is filled. Whoever has three quarters of a window before it
 * waits for nothing; without this, a busy FIFO makes a delivery of each acknowledgement.
 */
const LINGER_MS = 4;
/** What is read ahead lasts so long at the pace of the acknowledgements: a slow subscriber gets little or nothing. */
const AHEAD_MS = 50;
/** And what its only subscriber gets ahead: with busy cores, a request and its answer take so long. */
const SENT_AHEAD_MS = 200;
/**
 * What was ahead at two looks goes back. A TTL that ends meanwhile, or a message that is dropped, is noticed so much later.
 */
export const UNTAKEN_MS = 500;

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
  /** Last number handed out; everything up to it is acknowledged, held or given back. */
  private cursor = 0;
  /** Read, and beyond the cursor. Subscriptions that came back may hold some of them. */
  private readonly ahead: ReadAhead;
  /** Last number read; everything between the cursor and it is ahead, or no longer in the queue. */
  private readTo = 0;
  /** There may be messages beyond what was read. */
  private more = false;
  /** Everything up to this number was dropped, because the FIFO was full or is deleted. */
  private droppedTo = 0;
  /** What lost subscribers held, ascending, below the cursor: served before anything newer. */
  private givenBack: number[] = [];
  private acknowledgedWhileReading?: Set<number>;
  private readonly pace = new Pace();
  private closed = false;
  private linger?: NodeJS.Timeout;
  private staleness?: NodeJS.Timeout;
  private taking?: NodeJS.Timeout;

  /**
   * @param mayDeliver false while this instance may not, or not yet, deliver.
   * @param deliver passes messages to one connector instance and does not wait.
   * @param takeBack lets the connector forget what it keeps ahead; answers what the subscription still holds, or nothing when the
   *   connector is gone.
   * @param failed a read failed: wake the FIFO later.
   */
  constructor(
    readonly id: number,
    private readonly queue: QueueReader,
    private readonly budget: ReadAheadBudget,
    private readonly mayDeliver: () => boolean,
    private readonly deliver: (fifo: ConsumedFifo, instance: string, deliveries: Delivery[]) => void,
    private readonly takeBack: (subscriber: Subscriber) => Promise<ReadonlySet<number> | undefined>,
    private readonly failed: (fifo: ConsumedFifo, error: unknown) => void,
  ) {
    this.ahead = new ReadAhead(budget);
  }

  get size(): number {
    return this.subscribers.size;
  }

  /** Everything up to this number is acknowledged or held. */
  get lastHanded(): number {
    return this.givenBack.length > 0 ? this.givenBack[0]! - 1 : this.cursor;
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
      subscriber = new Subscriber(request);
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
    this.watchTaking();
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
    this.pump();
  }

  /** What subscribers have ahead goes back to its original place. */
  async recall(): Promise<void> {
    if (!this.mayDeliver()) return;
    await Promise.all(
      this.order.filter(({ beyond }) => beyond > 0).map((each) => (each.recalled ??= this.recallFrom(each))),
    );
  }

  /** Frees the window of who held these messages. */
  acknowledge(seqs: readonly number[]): void {
    this.pace.measure(seqs.length);
    const beyond = new Set<number>();
    for (const seq of seqs) {
      this.acknowledgedWhileReading?.add(seq);
      if (seq > this.cursor) beyond.add(seq);
      const holder = this.holders.get(seq);
      if (!holder) continue;
      holder.acknowledge(seq);
      this.holders.delete(seq);
    }
    if (beyond.size > 0) this.ahead.remove(beyond);
    this.pump();
  }

  /** There may be something to deliver. */
  wake(): void {
    this.more = true;
    this.pump();
  }

  /** Messages have been written: they need not be read when they follow the last one that was read. */
  arrived({ droppedTo = 0, added = [] }: FifoWake): void {
    if (this.closed) return;
    if (droppedTo > this.droppedTo) {
      this.droppedTo = droppedTo;
      this.ahead.dropTo(droppedTo);
    }
    const bytes = added.reduce((sum, message) => sum + message.bytes, 0);
    if (
      added[0]?.seq === this.readTo + 1 &&
      this.ahead.length + added.length <= MAX_AHEAD &&
      bytes <= this.ahead.allowance
    ) {
      this.append(added, added.at(-1)!.seq);
    } else this.more = true;
    this.pump();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.linger);
    clearTimeout(this.staleness);
    clearTimeout(this.taking);
    this.ahead.clear();
  }

  private pump(lingered = false): void {
    if (this.closed || !this.mayDeliver()) return;
    const room = this.room();
    if (room.messages === 0) return;
    if (!room.enough && !lingered) {
      this.linger ??= setTimeout(() => {
        delete this.linger;
        this.pump(true);
      }, LINGER_MS);
      return;
    }
    if (this.givenBack.length === 0) this.handAhead();
    if (!this.acknowledgedWhileReading) this.readMore();
  }

  /** In the windows: messages and their bytes, and whether it is worth a delivery. */
  private room(): { messages: number; bytes: number; enough: boolean } {
    let [messages, bytes, enough] = [0, 0, false];
    const ahead = this.mayBeAhead();
    for (const subscriber of this.order) {
      const free = subscriber.room(ahead);
      messages += free;
      enough ||= free > 0 && free * 4 >= subscriber.capacity(ahead);
      if (free > 0) bytes += subscriber.roomBytes(ahead);
    }
    return { messages, bytes, enough };
  }

  /** Messages beyond its window that a subscriber may have: with others, they would be missing there. */
  private mayBeAhead(): number {
    return this.order.length === 1 ? this.pace.within(SENT_AHEAD_MS) : 0;
  }

  // Only what is beyond the room is bounded by what may be kept in memory.
  private readMore(): void {
    const room = this.room();
    if (this.givenBack.length > 0) {
      if (room.messages > 0) void this.reading(() => this.readGivenBack(room.messages, room.bytes));
      return;
    }
    const { allowance } = this.ahead;
    const wanted = allowance === 0 ? 0 : Math.min(this.pace.within(AHEAD_MS), MAX_AHEAD);
    if (!this.more || (room.messages === 0 && this.ahead.length >= wanted / 2)) return;
    this.budget.take(allowance);
    const limit = room.messages + Math.max(0, wanted - this.ahead.length);
    void this.reading(() => this.readAfter(limit, room.bytes + allowance)).finally(() => this.budget.take(-allowance));
  }

  /** One page at a time. */
  private async reading(read: () => Promise<void>): Promise<void> {
    this.acknowledgedWhileReading = new Set(this.queue.acknowledging(this.id));
    try {
      await read();
      delete this.acknowledgedWhileReading;
      this.pump();
    } catch (error) {
      delete this.acknowledgedWhileReading;
      if (!this.closed) this.failed(this, error);
    }
  }

  private async readGivenBack(limit: number, bytes: number): Promise<void> {
    const asked = this.givenBack.slice(0, Math.min(limit, MAX_PAGE));
    const page = await this.queue.these(this.id, asked, bytes);
    if (this.closed) return;
    const last = page.cut ? page.messages.at(-1)!.seq : asked.at(-1)!;
    const done = new Set(asked.filter((seq) => seq <= last));
    this.givenBack = this.givenBack.filter((seq) => !done.has(seq));
    this.handGivenBack(this.present(page.messages).filter(({ seq }) => !this.holders.has(seq)));
  }

  private async readAfter(limit: number, bytes: number): Promise<void> {
    const from = this.readTo;
    const heldAhead =
      this.resumed > from ? [...this.holders.keys()].reduce((sum, seq) => sum + (seq > from ? 1 : 0), 0) : 0;
    const most = Math.min(limit, MAX_PAGE) + heldAhead;
    this.more = false;
    const page = await this.queue.after(this.id, from, most, bytes);
    if (this.closed) return;
    if (this.readTo === from) {
      this.append(this.present(page.messages), page.messages.at(-1)?.seq ?? from);
      if (page.cut || page.messages.length === most) this.more = true;
    } else {
      // What was ahead of this page has been given up meanwhile, and comes first; or what it holds has come otherwise.
      this.more = true;
    }
  }

  /** Without what has left the queue since it was read. */
  private present(messages: QueuedMessage[]): QueuedMessage[] {
    return messages.filter(({ seq }) => seq > this.droppedTo && !this.acknowledgedWhileReading!.has(seq));
  }

  /** What is ahead is read again. */
  private forgetAhead(): void {
    this.ahead.clear();
    if (this.readTo > this.cursor) this.more = true;
    this.readTo = this.cursor;
  }

  private append(messages: readonly QueuedMessage[], readTo: number): void {
    this.ahead.push(messages, performance.now());
    this.readTo = readTo;
    if (this.ahead.length > 0) this.staleness ??= setTimeout(() => this.checkStaleness(), FRESH_MS);
  }

  /** Nobody has room: memory is for those who read. */
  private checkStaleness(): void {
    delete this.staleness;
    if (this.ahead.stale) this.forgetAhead();
    if (this.ahead.length > 0) this.staleness = setTimeout(() => this.checkStaleness(), FRESH_MS);
  }

  private watchTaking(): void {
    if (this.order.some(({ beyond }) => beyond > 0)) this.taking ??= setTimeout(() => this.checkTaking(), UNTAKEN_MS);
  }

  /** Messages are for those who acknowledge, and for all of them. */
  private checkTaking(): void {
    delete this.taking;
    // Each of them looks, also after one that waits.
    const untaken = this.order.filter((subscriber) => subscriber.waits()).length > 0;
    if (untaken) this.pace.stop();
    if (untaken || this.order.length > 1) void this.recall();
    this.watchTaking();
  }

  private async recallFrom(subscriber: Subscriber): Promise<void> {
    const kept = await this.takeBack(subscriber);
    delete subscriber.recalled;
    if (!kept || this.closed || this.subscribers.get(subscriber.id) !== subscriber) return;
    const back = [...subscriber.held.keys()].filter((seq) => !kept.has(seq));
    for (const seq of back) {
      subscriber.release(seq);
      this.holders.delete(seq);
    }
    this.giveBack(back);
    this.pump();
  }

  private handAhead(): void {
    if (this.ahead.stale) this.forgetAhead();
    const deliveries = new Map<string, Delivery[]>();
    const last = this.ahead.takeWhile((message) => this.holders.has(message.seq) || this.give(message, deliveries));
    // Behind the last one, the rest of the page may no longer be in the queue.
    this.cursor = this.ahead.length === 0 ? this.readTo : (last ?? this.cursor);
    this.send(deliveries);
  }

  private handGivenBack(messages: readonly QueuedMessage[]): void {
    const deliveries = new Map<string, Delivery[]>();
    // Another subscriber may have left meanwhile, and held older ones.
    const older = this.givenBack[0] ?? Number.POSITIVE_INFINITY;
    const left = messages.findIndex((message) => message.seq > older || !this.give(message, deliveries));
    if (left !== -1) this.giveBack(messages.slice(left).map(({ seq }) => seq));
    this.send(deliveries);
  }

  /** @returns false when nobody has room. */
  private give(message: QueuedMessage, deliveries: Map<string, Delivery[]>): boolean {
    const subscriber = this.next();
    if (!subscriber) return false;
    this.take(subscriber, message.seq, message.bytes);
    const delivery = deliveryOf(subscriber, message);
    subscriber.delivered = message.seq;
    const list = deliveries.get(subscriber.instance);
    if (list) list.push(delivery);
    else deliveries.set(subscriber.instance, [delivery]);
    return true;
  }

  private send(deliveries: ReadonlyMap<string, Delivery[]>): void {
    for (const [instance, list] of deliveries) for (const part of inParts(list)) this.deliver(this, instance, part);
    this.watchTaking();
  }

  private take(subscriber: Subscriber, seq: number, bytes: number): void {
    this.holders.set(seq, subscriber);
    subscriber.take(seq, bytes);
  }

  private next(): Subscriber | undefined {
    const ahead = this.mayBeAhead();
    for (let i = 0; i < this.order.length; i++) {
      const subscriber = this.order[this.turn++ % this.order.length]!;
      if (subscriber.room(ahead) > 0) return subscriber;
    }
    return undefined;
  }

  // What lies beyond the cursor is read again by itself, after what is given back.
  private giveBack(seqs: readonly number[]): void {
    this.forgetAhead();
    this.givenBack = [...new Set([...this.givenBack, ...seqs.filter((seq) => seq <= this.cursor)])].sort(
      (a, b) => a - b,
    );
  }
}
