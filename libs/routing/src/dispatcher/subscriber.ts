import type { FifoSubscription } from '../contract.js';

/** Bytes from which on a subscriber gets nothing ahead. */
const MAX_AHEAD_BYTES = 1 << 20;

/** A subscription and what it holds. */
export class Subscriber {
  readonly id: string;
  readonly instance: string;
  readonly autoAck: boolean;
  /** Bytes of each message, in the order in which they were handed out. */
  readonly held = new Map<number, number>();
  window: number;
  /** The last message that was delivered to it. */
  delivered?: number;
  /** Deliveries begin once the subscription has been answered. */
  active = false;
  /** When the connector last named it, epoch milliseconds. */
  heard = 0;
  /** It is asked to give back what it has ahead, and gets nothing meanwhile. */
  recalled?: Promise<void>;
  private heldBytes = 0;
  private readonly windowBytes: number;
  private readonly mostAhead: number;
  private acknowledged = 0;
  /** By so many acknowledgements, what was ahead at the last look has been passed on. */
  private due?: number;

  constructor({ subscription, instance, window, windowBytes, ahead, autoAck }: Omit<FifoSubscription, 'held'>) {
    this.id = subscription;
    this.instance = instance;
    this.autoAck = autoAck;
    this.window = window;
    this.windowBytes = windowBytes ?? Number.POSITIVE_INFINITY;
    this.mostAhead = ahead ?? 0;
  }

  take(seq: number, bytes: number): void {
    this.held.set(seq, bytes);
    this.heldBytes += bytes;
  }

  release(seq: number): void {
    this.heldBytes -= this.held.get(seq) ?? 0;
    this.held.delete(seq);
  }

  acknowledge(seq: number): void {
    this.release(seq);
    this.acknowledged++;
  }

  /** Messages that it may hold, when so many may be ahead. */
  capacity(ahead: number): number {
    return this.window + (this.heldBytes < MAX_AHEAD_BYTES ? Math.min(ahead, this.mostAhead) : 0);
  }

  /** Messages that it may get. */
  room(ahead: number): number {
    if (!this.active || this.recalled || this.heldBytes >= this.windowBytes) return 0;
    return Math.max(0, this.capacity(ahead) - this.held.size);
  }

  /** Bytes that it may get, when so many messages may be ahead: what is read and has no room would stay in memory. */
  roomBytes(ahead: number): number {
    return (this.capacity(ahead) > this.window ? MAX_AHEAD_BYTES : this.windowBytes) - this.heldBytes;
  }

  /** Messages that its connector keeps until there is room in the window. */
  get beyond(): number {
    return this.mostAhead === 0 ? 0 : Math.max(0, this.held.size - this.window);
  }

  /** @returns true when something has been ahead since the last look. */
  waits(): boolean {
    const waited = this.due !== undefined && this.acknowledged < this.due;
    if (this.beyond === 0) delete this.due;
    else this.due = this.acknowledged + this.beyond;
    return waited;
  }
}
