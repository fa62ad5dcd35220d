import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { RequestError } from '@nats-io/transport-node';
import { type Bus, serveRpc } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import { ApiError } from '@orrery/core/http';
import { encodeEntry } from '@orrery/core/messages';
import {
  FIFO_HEARTBEAT_MS,
  FIFO_HELLO,
  FIFO_SILENCE_MS,
  fifoAck,
  type FifoDeliveryReply,
  fifoDeliverSubject,
  fifoHeartbeat,
  type FifoRecallHeader,
  fifoSubscribe,
  type FifoSubscribed,
  type FifoSubscription,
  fifoUnsubscribe,
} from '../contract.js';
import type { FifoWake } from '../fifos/queue.js';
import { type WakeMessage, wakeSubject } from '../fifos/wakes.js';
import { ConsumedFifo } from './consumed-fifo.js';
import type { ConsumerCounts } from './consumer-counts.js';
import type { Delivery } from './delivery.js';
import type { QueueStore } from './queue-store.js';
import type { ReadAheadBudget } from './read-ahead.js';
import type { Subscriber } from './subscriber.js';

/** Time in which the subscriptions of a previous dispatcher come back and say what they hold. */
const GRACE_MS = FIFO_HEARTBEAT_MS * 1.5;
/** How long a connector may take to say that it is there. */
const PROBE_MS = 500;
const RETRY_MS = 500;

interface Closeable {
  unsubscribe(): void;
}

/** What the dispatchers of all partitions of this process share. */
export interface DispatcherParts {
  bus: Bus;
  database: Database;
  queue: QueueStore;
  counts: ConsumerCounts;
  budget: ReadAheadBudget;
}

/** The FIFOs of one partition, while this instance holds its lease. Everything here is forgotten with the lease. */
export class OwnedPartition {
  private readonly term = randomUUID();
  private readonly fifos = new Map<number, ConsumedFifo>();
  private readonly bySubscription = new Map<string, ConsumedFifo>();
  /** Subscriptions that FIFOs had under the previous dispatcher. Deliveries wait until as many are back. */
  private expected = new Map<number, number>();
  /** What is acknowledged while a subscription is being added, for each of them. */
  private readonly subscribing = new Set<Set<string>>();
  private grace?: NodeJS.Timeout;
  private served: Closeable[] = [];
  private readonly deliveries = new Set<Promise<void>>();
  private closed = false;

  /** @param owns whether the lease is certainly ours at this moment. */
  constructor(
    private readonly partition: number,
    private readonly parts: DispatcherParts,
    private readonly owns: () => boolean,
  ) {}

  async open(): Promise<void> {
    const { bus, database } = this.parts;
    while (!this.closed) {
      try {
        const rows = await database.query<{ id: number; consumers: number }>(
          'SELECT id, consumers FROM fifos WHERE partition = $1 AND consumers > 0',
          [this.partition],
        );
        this.expected = new Map(rows.map((row) => [row.id, row.consumers]));
        break;
      } catch (error) {
        bus.logger.warn(
          { partition: this.partition, error: String(error) },
          'could not start dispatching; trying again',
        );
        await delay(RETRY_MS);
      }
    }
    if (this.closed) return;
    const to = String(this.partition);
    this.served = [
      serveRpc(bus, fifoSubscribe, (request) => this.subscribe(request), to),
      serveRpc(bus, fifoUnsubscribe, ({ subscriptions }) => this.unsubscribe(subscriptions), to),
      serveRpc(bus, fifoAck, ({ acks }) => this.acknowledge(acks), to),
      serveRpc(bus, fifoHeartbeat, ({ subscriptions }) => this.heartbeat(subscriptions), to),
      bus.connection.subscribe(wakeSubject(this.partition), {
        callback: (error, message) => {
          if (error) return;
          const { fifos, droppedTo } = message.json<WakeMessage>();
          this.changed(fifos.map((id) => ({ id, droppedTo: droppedTo?.[id] ?? 0 })));
        },
      }),
    ];
    if (this.expected.size > 0) this.grace = setTimeout(() => this.endGrace(), GRACE_MS);
    bus.connection.publish(FIFO_HELLO, JSON.stringify({ partition: this.partition }));
  }

  /** Stops at once; what subscribers hold stays with them and is named to the next dispatcher. */
  close(): void {
    this.closed = true;
    clearTimeout(this.grace);
    for (const each of this.served) each.unsubscribe();
    for (const fifo of this.fifos.values()) fifo.close();
    this.fifos.clear();
    this.bySubscription.clear();
  }

  /** Resolves when the deliveries under way have been answered. */
  async delivered(): Promise<void> {
    await Promise.allSettled(this.deliveries);
  }

  wake(fifoIds: Iterable<number> = this.fifos.keys()): void {
    for (const id of fifoIds) this.fifos.get(id)?.wake();
  }

  /** The queues have changed. */
  changed(wakes: readonly FifoWake[]): void {
    for (const wake of wakes) this.fifos.get(wake.id)?.arrived(wake);
  }

  count(fifoId: number): number {
    return this.fifos.get(fifoId)?.size ?? 0;
  }

  /** FIFOs with subscribers, and the last message that was handed out of each. */
  *handed(): Iterable<readonly [id: number, last: number]> {
    for (const fifo of this.fifos.values()) yield [fifo.id, fifo.lastHanded];
  }

  /** The FIFO was deleted: its subscriptions end, and what they held is gone with it. */
  forget(fifoId: number): void {
    const fifo = this.fifos.get(fifoId);
    if (!fifo) return;
    for (const { id } of fifo.all()) this.bySubscription.delete(id);
    fifo.close();
    this.fifos.delete(fifoId);
  }

  /** Drops the subscriptions that their connector has not named for a while. */
  dropSilent(): void {
    const deadline = Date.now() - FIFO_SILENCE_MS;
    for (const [id, fifo] of this.bySubscription) if (fifo.subscriber(id)!.heard < deadline) this.drop(id);
  }

  private async subscribe(request: FifoSubscription): Promise<FifoSubscribed> {
    const acknowledged = new Set<string>();
    this.subscribing.add(acknowledged);
    try {
      return await this.add(request, acknowledged);
    } finally {
      this.subscribing.delete(acknowledged);
    }
  }

  /** @param acknowledged what is acknowledged meanwhile: the request may name it as held. */
  private async add(request: FifoSubscription, acknowledged: ReadonlySet<string>): Promise<FifoSubscribed> {
    const { queue, counts, database } = this.parts;
    const missing = (): ApiError => new ApiError('NOT_FOUND', `no FIFO "${request.fifoName}"`);
    const [row] = await database.query<{ id: number }>('SELECT id FROM fifos WHERE tenant_id = $1 AND name = $2', [
      request.tenantId,
      request.fifoName,
    ]);
    if (!row) throw missing();
    const { id } = row;
    const leaving = new Set(queue.acknowledging(id));
    const existing = await queue.existing(id, request.held);
    if (this.closed) throw new ApiError('SERVICE_UNAVAILABLE');
    const held = existing.filter(({ seq }) => !leaving.has(seq) && !acknowledged.has(`${id}/${seq}`));
    // A FIFO that was made anew under the same name is another one.
    const former = this.bySubscription.get(request.subscription);
    if (former && former.id !== id) void this.drop(request.subscription);
    let fifo = this.fifos.get(id);
    if (!fifo) this.fifos.set(id, (fifo = this.consume(id)));
    const subscriber = fifo.subscribe(request, held);
    this.bySubscription.set(subscriber.id, fifo);
    if (!(await counts.write(id))) {
      this.forget(id);
      throw missing();
    }
    await this.dropGone(fifo, request.instance);
    // What others have ahead is for this one too. One that does not answer may be busy.
    if (fifo.size > 1) await Promise.race([fifo.recall(), delay(PROBE_MS)]);
    // After this turn, in which the answer is sent.
    setImmediate(() => {
      subscriber.active = true;
      fifo.wake();
    });
    const kept = request.held.filter((seq) => subscriber.held.has(seq));
    return { fifoId: id, term: this.term, ...(this.owns() ? { kept } : {}) };
  }

  /**
   * What a connector held that is gone is given back before a new subscription gets anything: an application that comes
   * back through another connector goes on where it was.
   */
  private async dropGone(fifo: ConsumedFifo, except: string): Promise<void> {
    const others = new Set([...fifo.all()].map(({ instance }) => instance));
    others.delete(except);
    await Promise.all(
      [...others].map(async (instance) => {
        try {
          await this.parts.bus.connection.request(fifoDeliverSubject(instance), encodeEntry([]), { timeout: PROBE_MS });
        } catch (error) {
          // One that does not answer may be busy.
          if (!(error instanceof RequestError && error.isNoResponders())) return;
          for (const { id, instance: of } of fifo.all()) if (of === instance) void this.drop(id);
        }
      }),
    );
  }

  private consume(id: number): ConsumedFifo {
    return new ConsumedFifo(
      id,
      this.parts.queue,
      this.parts.budget,
      () => this.owns() && this.count(id) >= (this.expected.get(id) ?? 0),
      (fifo, instance, deliveries) => {
        const delivery = this.deliver(fifo, instance, deliveries).finally(() => this.deliveries.delete(delivery));
        this.deliveries.add(delivery);
      },
      (subscriber) => this.takeBack(subscriber),
      (fifo, error) => {
        this.parts.bus.logger.warn({ fifo: id, error: String(error) }, 'could not read a FIFO; trying again');
        setTimeout(() => fifo.wake(), RETRY_MS);
      },
    );
  }

  private async takeBack(subscriber: Subscriber): Promise<ReadonlySet<number> | undefined> {
    const { id, instance } = subscriber;
    const header: FifoRecallHeader = { recall: id, term: this.term };
    try {
      const reply = await this.parts.bus.connection.request(
        fifoDeliverSubject(instance),
        encodeEntry([{ header: JSON.stringify(header), body: '' }]),
        { timeout: FIFO_SILENCE_MS },
      );
      const { kept } = reply.json<FifoDeliveryReply>();
      if (kept) return new Set(kept);
    } catch (error) {
      this.parts.bus.logger.debug({ instance, error: String(error) }, 'a connector did not answer a recall');
    }
    this.dropUnlessAnew(subscriber);
    return undefined;
  }

  private async unsubscribe(subscriptions: string[]): Promise<Record<string, never>> {
    await Promise.all(subscriptions.map((id) => this.drop(id)));
    return {};
  }

  /** A subscription that has come back meanwhile is another one of the same name. */
  private dropUnlessAnew(subscriber: Subscriber): void {
    if (this.bySubscription.get(subscriber.id)?.subscriber(subscriber.id) === subscriber) void this.drop(subscriber.id);
  }

  private async drop(id: string): Promise<void> {
    const fifo = this.bySubscription.get(id);
    if (!fifo) return;
    this.bySubscription.delete(id);
    fifo.unsubscribe(id);
    if (fifo.size === 0) {
      fifo.close();
      this.fifos.delete(fifo.id);
    }
    await this.parts.counts
      .write(fifo.id)
      .catch((error: unknown) =>
        this.parts.bus.logger.warn({ fifo: fifo.id, error: String(error) }, 'could not count the consumers of a FIFO'),
      );
  }

  private async acknowledge(
    acks: Array<{ subscription: string; fifoId: number; seqs: number[] }>,
  ): Promise<Record<string, never>> {
    await Promise.all(acks.map(({ fifoId, seqs }) => this.remove(fifoId, seqs)));
    return {};
  }

  // The window is free at once; the answer waits until the messages have left the queue.
  private remove(fifoId: number, seqs: number[]): Promise<void> {
    for (const acknowledged of this.subscribing) for (const seq of seqs) acknowledged.add(`${fifoId}/${seq}`);
    const written = this.parts.queue.acknowledge(fifoId, seqs);
    this.fifos.get(fifoId)?.acknowledge(seqs);
    return written;
  }

  private heartbeat(subscriptions: string[]): { unknown: string[] } {
    const now = Date.now();
    const unknown: string[] = [];
    for (const id of subscriptions) {
      const subscriber: Subscriber | undefined = this.bySubscription.get(id)?.subscriber(id);
      if (subscriber) subscriber.heard = now;
      else unknown.push(id);
    }
    return { unknown };
  }

  private endGrace(): void {
    const { expected } = this;
    this.expected = new Map();
    for (const id of expected.keys())
      // Those that did not come back are no longer counted.
      this.parts.counts
        .write(id)
        .catch((error: unknown) =>
          this.parts.bus.logger.warn({ fifo: id, error: String(error) }, 'could not count the consumers of a FIFO'),
        );
    this.wake();
  }

  private async deliver(fifo: ConsumedFifo, instance: string, deliveries: Delivery[]): Promise<void> {
    let gone: Set<string>;
    const subscribers = new Map(deliveries.map(({ subscription: id }) => [id, fifo.subscriber(id)]));
    const spans = this.parts.bus.tracing.batch('deliver fifo', 'producer', deliveries, () => ({
      'messaging.destination.partition.id': String(this.partition),
      'messaging.batch.message_count': deliveries.length,
    }));
    try {
      const reply = await this.parts.bus.connection.request(fifoDeliverSubject(instance), encodeEntry(deliveries), {
        timeout: FIFO_SILENCE_MS,
      });
      gone = new Set(reply.json<FifoDeliveryReply>().gone);
      for (const each of deliveries) if (gone.has(each.subscription)) spans.fail(each, 'undelivered');
      spans.end();
    } catch (error) {
      spans.end(error);
      this.parts.bus.logger.debug({ instance, error: String(error) }, 'a connector did not take a delivery');
      gone = new Set(deliveries.map(({ subscription }) => subscription));
    }
    const done = deliveries.filter(({ autoAck, subscription }) => autoAck && !gone.has(subscription));
    // A failure to write is tried again by the queue itself.
    if (done.length > 0)
      this.remove(
        fifo.id,
        done.map(({ seq }) => seq),
      ).catch(() => undefined);
    for (const id of gone) {
      const subscriber = subscribers.get(id);
      if (subscriber) this.dropUnlessAnew(subscriber);
    }
  }
}
