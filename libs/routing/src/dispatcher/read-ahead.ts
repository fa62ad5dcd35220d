import type { QueuedMessage } from '../fifos/queue.js';

/** Most messages that a FIFO has in memory for subscribers without room. */
export const MAX_AHEAD = 1000;
const MAX_FIFO_BYTES = 1 << 20;
const MAX_PROCESS_BYTES = 32 << 20;
/**
 * How long a message may wait in memory. A TTL that ends meanwhile, or a change of the FIFO that did not reach its
 * dispatcher, is noticed so much later.
 */
export const FRESH_MS = 200;

/** Bytes that all FIFOs of a process may read ahead. */
export class ReadAheadBudget {
  private taken = 0;

  get left(): number {
    return MAX_PROCESS_BYTES - this.taken;
  }

  /** @param bytes negative to give them back. */
  take(bytes: number): void {
    this.taken += bytes;
  }
}

/** The next messages of a FIFO, oldest first: an acknowledgement is answered from memory, not by a query. */
export class ReadAhead {
  private messages: Array<QueuedMessage & { readAt: number }> = [];
  private bytes = 0;

  constructor(private readonly budget: ReadAheadBudget) {}

  get length(): number {
    return this.messages.length;
  }

  /** Bytes that may come in addition. */
  get allowance(): number {
    return Math.max(0, Math.min(MAX_FIFO_BYTES - this.bytes, this.budget.left));
  }

  /** True when the oldest may no longer be what the queue holds. */
  get stale(): boolean {
    const first = this.messages[0];
    return first !== undefined && performance.now() - first.readAt >= FRESH_MS;
  }

  /** @param readAt by `performance.now()`. */
  push(messages: readonly QueuedMessage[], readAt: number): void {
    for (const message of messages) {
      this.messages.push({ ...message, readAt });
      this.count(message.bytes);
    }
  }

  /** Takes messages from the head as long as `taken` says so. @returns the number of the last one. */
  takeWhile(taken: (message: QueuedMessage) => boolean): number | undefined {
    let count = 0;
    while (count < this.messages.length && taken(this.messages[count]!)) count++;
    return this.removeFirst(count);
  }

  /** All up to this number are no longer in the queue. */
  dropTo(seq: number): void {
    const kept = this.messages.findIndex((message) => message.seq > seq);
    this.removeFirst(kept === -1 ? this.messages.length : kept);
  }

  remove(seqs: ReadonlySet<number>): void {
    this.messages = this.messages.filter(({ seq, bytes }) => {
      if (!seqs.has(seq)) return true;
      this.count(-bytes);
      return false;
    });
  }

  clear(): void {
    this.removeFirst(this.messages.length);
  }

  private removeFirst(count: number): number | undefined {
    const removed = this.messages.splice(0, count);
    for (const { bytes } of removed) this.count(-bytes);
    return removed.at(-1)?.seq;
  }

  private count(bytes: number): void {
    this.bytes += bytes;
    this.budget.take(bytes);
  }
}
