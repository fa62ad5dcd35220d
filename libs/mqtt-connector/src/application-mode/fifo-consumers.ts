import { setTimeout as delay } from 'node:timers/promises';
import type { Msg, Subscription } from '@nats-io/transport-node';
import { type Bus, callRpc, RpcError, RpcUnavailableError } from '@orrery/core/bus';
import { decodeEntry } from '@orrery/core/messages';
import {
  FIFO_HEARTBEAT_MS,
  FIFO_HELLO,
  fifoDeliverSubject,
  type FifoDeliveryHeader,
  type FifoDeliveryReply,
  fifoPartition,
  type FifoRecallHeader,
  fifoSubscribe,
} from '@orrery/routing/contract';
import { FifoLane } from './fifo-lane.js';

/** Most messages without acknowledgement of one subscription. */
const WINDOW = 100;
/** And their bytes, which are kept here while the client does not read: it gets the rest as it acknowledges. */
const WINDOW_BYTES = 4 << 20;
/** Most messages that are kept until the client has room in its window (routing's contract says when). */
const AHEAD = 1000;
const RETRY_MS = 250;

/** Takes what a FIFO delivers. */
export interface FifoReceiver {
  /** @param traceparent W3C trace context of the message. */
  deliver(consumer: FifoConsumer, seq: number, body: string, traceparent?: string): void;
  /** The FIFO was deleted: nothing more comes. */
  ended(consumer: FifoConsumer): void;
}

/** One subscription of a session to a FIFO. */
export interface FifoConsumer {
  readonly id: string;
  readonly tenantId: string;
  readonly fifoName: string;
  /** Messages count as acknowledged when they are delivered. */
  readonly autoAck: boolean;
}

interface Waiting {
  body: string;
  traceparent: string | undefined;
}

interface Held extends FifoConsumer {
  partition: number;
  receiver: FifoReceiver;
  fifoId?: number;
  /** Of its dispatcher. */
  term?: string;
  /** The last message that came. */
  last?: number;
  /** Delivered, and not known by the dispatcher to be acknowledged. */
  held: Set<number>;
  /** Of them: what the receiver has, which is a window at most, and what waits for room there, in order. */
  passedOn: Set<number>;
  ahead: Map<number, Waiting>;
  renewing?: boolean;
  passingOn?: boolean;
}

/** The FIFO subscriptions of this instance, and their dispatchers. The protocol is described in routing's contract. */
export class FifoConsumers {
  private readonly consumers = new Map<string, Held>();
  private readonly lanes: FifoLane[];
  private subscriptions: Subscription[] = [];
  private timer?: NodeJS.Timeout;
  private made = 0;

  constructor(private readonly bus: Bus) {
    this.lanes = Array.from(
      { length: bus.partitions },
      (_, partition) =>
        new FifoLane(bus, partition, (id, seqs) => {
          const { held } = this.consumers.get(id) ?? {};
          for (const seq of seqs) held?.delete(seq);
        }),
    );
  }

  start(): void {
    const { connection } = this.bus;
    this.subscriptions = [
      connection.subscribe(fifoDeliverSubject(this.bus.instance), {
        callback: (error, message) => {
          if (!error) this.onDelivery(message);
        },
      }),
      connection.subscribe(FIFO_HELLO, {
        callback: (error, message) => {
          if (error) return;
          const { partition } = message.json<{ partition: number }>();
          for (const consumer of this.consumers.values())
            if (consumer.partition === partition && consumer.fifoId !== undefined) void this.renew(consumer);
        },
      }),
    ];
    this.timer = setInterval(() => this.beat(), FIFO_HEARTBEAT_MS);
  }

  /** After the sessions have ended. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    await Promise.all(this.lanes.map((lane) => lane.stop(2000)));
    for (const subscription of this.subscriptions) subscription.unsubscribe();
  }

  /**
   * Resolves when the subscription is active; deliveries may come before.
   * @param deadline epoch milliseconds until when an absent dispatcher is waited for.
   * @throws RpcError NOT_FOUND; RpcUnavailableError.
   */
  async subscribe(
    tenantId: string,
    fifoName: string,
    autoAck: boolean,
    receiver: FifoReceiver,
    deadline: number,
  ): Promise<FifoConsumer> {
    const consumer: Held = {
      id: `${this.bus.instance}-${++this.made}`,
      tenantId,
      fifoName,
      autoAck,
      partition: fifoPartition(tenantId, fifoName, this.bus.partitions),
      receiver,
      held: new Set(),
      passedOn: new Set(),
      ahead: new Map(),
    };
    this.consumers.set(consumer.id, consumer);
    for (;;)
      try {
        await this.ask(consumer, Math.max(deadline - Date.now(), RETRY_MS));
        return consumer;
      } catch (error) {
        if (error instanceof RpcUnavailableError && Date.now() + RETRY_MS < deadline) {
          await delay(RETRY_MS);
          continue;
        }
        // Whether the dispatcher knows it is not certain: then it must forget it.
        if (error instanceof RpcUnavailableError) void this.unsubscribe(consumer);
        this.consumers.delete(consumer.id);
        throw error;
      }
  }

  /** What the consumer holds goes back to the FIFO. Resolves when the dispatcher knows it. */
  unsubscribe({ id }: FifoConsumer): Promise<void> {
    const consumer = this.consumers.get(id);
    if (!consumer) return Promise.resolve();
    this.consumers.delete(id);
    return this.lanes[consumer.partition]!.end(id);
  }

  acknowledge({ id }: FifoConsumer, seq: number): void {
    const consumer = this.consumers.get(id);
    if (!consumer) return;
    if (consumer.held.has(seq)) this.lanes[consumer.partition]!.acknowledge(id, consumer.fifoId!, seq);
    consumer.passedOn.delete(seq);
    this.passOn(consumer);
  }

  private passOn(consumer: Held): void {
    // A receiver may acknowledge at once.
    if (consumer.passingOn) return;
    consumer.passingOn = true;
    for (const [seq, { body, traceparent }] of consumer.ahead) {
      if (consumer.passedOn.size >= WINDOW) break;
      consumer.ahead.delete(seq);
      consumer.passedOn.add(seq);
      consumer.receiver.deliver(consumer, seq, body, traceparent);
    }
    consumer.passingOn = false;
  }

  private async ask(consumer: Held, timeoutMs?: number): Promise<void> {
    const { id, tenantId, fifoName, autoAck, partition, held, ahead } = consumer;
    const named = [...held];
    const { fifoId, term, kept } = await callRpc(
      this.bus,
      fifoSubscribe,
      {
        subscription: id,
        tenantId,
        fifoName,
        instance: this.bus.instance,
        window: WINDOW,
        windowBytes: WINDOW_BYTES,
        ahead: AHEAD,
        autoAck,
        held: named,
      },
      { to: String(partition), ...(timeoutMs === undefined ? {} : { timeoutMs }) },
    );
    // A FIFO that was deleted and made anew has other messages.
    if (consumer.fifoId !== undefined && consumer.fifoId !== fifoId) {
      held.clear();
      consumer.passedOn.clear();
      ahead.clear();
    }
    // This process was held up for so long that another subscription has some of it.
    if (kept) {
      const still = new Set(kept);
      for (const seq of named) if (!still.has(seq) && ahead.delete(seq)) held.delete(seq);
    }
    consumer.fifoId = fifoId;
    consumer.term = term;
  }

  // The dispatcher has changed or has forgotten the subscription.
  private async renew(consumer: Held): Promise<void> {
    if (consumer.renewing) return;
    consumer.renewing = true;
    while (this.consumers.has(consumer.id))
      try {
        await this.ask(consumer);
        // It may have ended while the dispatcher answered.
        if (!this.consumers.has(consumer.id)) void this.lanes[consumer.partition]!.end(consumer.id);
        break;
      } catch (error) {
        if (error instanceof RpcError && error.code === 'NOT_FOUND') {
          this.consumers.delete(consumer.id);
          consumer.receiver.ended(consumer);
          break;
        }
        await delay(RETRY_MS);
      }
    consumer.renewing = false;
  }

  private beat(): void {
    const alive = new Map<number, string[]>();
    for (const { id, partition, fifoId, renewing } of this.consumers.values()) {
      if (fifoId === undefined || renewing) continue;
      const ids = alive.get(partition);
      if (ids) ids.push(id);
      else alive.set(partition, [id]);
    }
    for (const [partition, ids] of alive)
      void this.lanes[partition]!.beat(ids).then((unknown) => {
        for (const id of unknown) {
          const consumer = this.consumers.get(id);
          if (consumer) void this.renew(consumer);
        }
      });
  }

  private onDelivery(message: Msg): void {
    const gone = new Set<string>();
    const taken: Array<[Held, number, Waiting]> = [];
    let kept: number[] | undefined;
    for (const item of decodeEntry(message.data)) {
      const header = JSON.parse(item.header) as FifoDeliveryHeader | FifoRecallHeader;
      if ('recall' in header) {
        const consumer = this.consumers.get(header.recall);
        if (consumer) kept = this.giveBack(consumer, header.term);
        continue;
      }
      const { subscription, seq, after, quoted, traceparent } = header;
      const consumer = this.consumers.get(subscription);
      // A delivery that was lost with a connection would leave newer messages before older ones.
      if (!consumer || (after !== undefined && after !== consumer.last)) {
        gone.add(subscription);
        continue;
      }
      consumer.last = seq;
      if (!consumer.held.has(seq))
        taken.push([consumer, seq, { body: quoted ? (JSON.parse(item.body) as string) : item.body, traceparent }]);
    }
    const reply: FifoDeliveryReply = { gone: [...gone], ...(kept ? { kept } : {}) };
    message.respond(JSON.stringify(reply));
    for (const [consumer, seq, waiting] of taken)
      if (consumer.autoAck) consumer.receiver.deliver(consumer, seq, waiting.body, waiting.traceparent);
      else {
        consumer.held.add(seq);
        consumer.ahead.set(seq, waiting);
        this.passOn(consumer);
      }
  }

  /** Forgets what is ahead, unless another dispatcher knows of it or is being told. @returns what is held. */
  private giveBack({ held, ahead, renewing, term }: Held, of: string): number[] {
    if (!renewing && term === of) {
      for (const seq of ahead.keys()) held.delete(seq);
      ahead.clear();
    }
    return [...held];
  }
}
