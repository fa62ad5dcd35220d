import { randomUUID } from 'node:crypto';
import { type Bus, callRpc, type Rpc, RpcUnavailableError } from '@orrery/core/bus';
import { decodeEntry } from '@orrery/core/messages';
import { eventually } from '@orrery/core/testing';
import {
  FIFO_HEARTBEAT_MS,
  FIFO_HELLO,
  fifoAck,
  type FifoDeliveryHeader,
  type FifoDeliveryReply,
  fifoDeliverSubject,
  fifoHeartbeat,
  fifoPartition,
  type FifoRecallHeader,
  fifoSubscribe,
  fifoUnsubscribe,
} from '../contract.js';

interface Subscribed {
  id: string;
  tenantId: string;
  fifoName: string;
  fifoId?: number;
  window: number;
  windowBytes?: number;
  ahead: number;
  autoAck: boolean;
  /** Acknowledges so many messages by itself. */
  prompt: number;
  held: Set<number>;
  received: Array<{ seq: number; text: string }>;
}

/** Speaks the protocol of contract.ts as a connector does, for tests. */
export class FifoConnector {
  readonly instance = randomUUID();
  /** Subscriptions whose FIFO was deleted. */
  readonly ended = new Set<string>();
  private readonly subscriptions = new Map<string, Subscribed>();
  private readonly stops: Array<() => void> = [];

  constructor(private readonly bus: Bus) {
    const deliveries = bus.connection.subscribe(fifoDeliverSubject(this.instance), {
      callback: (error, message) => {
        if (!error) message.respond(JSON.stringify(this.take(message.data)));
      },
    });
    const hello = bus.connection.subscribe(FIFO_HELLO, {
      callback: (error, message) => {
        if (!error) this.again(message.json<{ partition: number }>().partition);
      },
    });
    const timer = setInterval(() => void this.beat(), FIFO_HEARTBEAT_MS);
    this.stops = [() => deliveries.unsubscribe(), () => hello.unsubscribe(), () => clearInterval(timer)];
  }

  async subscribe(
    tenantId: string,
    fifoName: string,
    {
      window = 100,
      windowBytes,
      ahead = 0,
      autoAck = false,
      prompt = true,
    }: { window?: number; windowBytes?: number; ahead?: number; autoAck?: boolean; prompt?: boolean | number } = {},
  ): Promise<string> {
    const subscribed: Subscribed = {
      id: randomUUID(),
      tenantId,
      fifoName,
      window,
      ...(windowBytes === undefined ? {} : { windowBytes }),
      ahead,
      autoAck,
      prompt: prompt === true ? Number.POSITIVE_INFINITY : Number(prompt),
      held: new Set(),
      received: [],
    };
    this.subscriptions.set(subscribed.id, subscribed);
    try {
      await this.ask(subscribed);
    } catch (error) {
      this.subscriptions.delete(subscribed.id);
      throw error;
    }
    return subscribed.id;
  }

  async unsubscribe(id: string): Promise<void> {
    const subscribed = this.subscriptions.get(id)!;
    this.subscriptions.delete(id);
    await this.call(fifoUnsubscribe, { subscriptions: [id] }, subscribed);
  }

  /** What a subscription got, in order. */
  texts(id: string): string[] {
    return this.subscriptions.get(id)!.received.map(({ text }) => text);
  }

  json<Body = Record<string, unknown>>(id: string): Body[] {
    return this.texts(id).map((text) => JSON.parse(text) as Body);
  }

  /** Acknowledges the oldest messages that a subscription holds. */
  async acknowledge(id: string, count = Number.MAX_SAFE_INTEGER): Promise<void> {
    const subscribed = this.subscriptions.get(id)!;
    const seqs = [...subscribed.held].slice(0, count);
    await this.remove(subscribed, seqs);
  }

  /** How many messages a subscription has and has not acknowledged. */
  held(id: string): number {
    return this.subscriptions.get(id)!.held.size;
  }

  /** Falls silent without a word, as a process that is killed. */
  vanish(): void {
    for (const stop of this.stops) stop();
  }

  private take(data: Uint8Array): FifoDeliveryReply {
    const gone = new Set<string>();
    const acks = new Map<Subscribed, number[]>();
    for (const item of decodeEntry(data)) {
      const header = JSON.parse(item.header) as FifoDeliveryHeader | FifoRecallHeader;
      // Whatever comes is with the client at once.
      if ('recall' in header) return { gone: [], kept: [...(this.subscriptions.get(header.recall)?.held ?? [])] };
      const { subscription, seq, quoted } = header;
      const subscribed = this.subscriptions.get(subscription);
      if (!subscribed) {
        gone.add(subscription);
        continue;
      }
      // Delivered by a former dispatcher too, while the subscription moved.
      if (subscribed.held.has(seq)) continue;
      subscribed.received.push({ seq, text: quoted ? (JSON.parse(item.body) as string) : item.body });
      if (subscribed.autoAck) continue;
      subscribed.held.add(seq);
      if (subscribed.received.length <= subscribed.prompt) acks.set(subscribed, [...(acks.get(subscribed) ?? []), seq]);
    }
    for (const [subscribed, seqs] of acks) void this.remove(subscribed, seqs).catch(() => undefined);
    return { gone: [...gone] };
  }

  private async remove(subscribed: Subscribed, seqs: number[]): Promise<void> {
    // A delivery may come before the answer to the subscription has been looked at.
    const fifoId = await eventually(() => subscribed.fifoId);
    await this.call(fifoAck, { acks: [{ subscription: subscribed.id, fifoId, seqs }] }, subscribed);
    for (const seq of seqs) subscribed.held.delete(seq);
  }

  private async ask(subscribed: Subscribed): Promise<void> {
    const { id, tenantId, fifoName, window, windowBytes, ahead, autoAck, held } = subscribed;
    const { fifoId } = await this.call(
      fifoSubscribe,
      {
        subscription: id,
        tenantId,
        fifoName,
        instance: this.instance,
        window,
        ...(windowBytes === undefined ? {} : { windowBytes }),
        ahead,
        autoAck,
        held: [...held],
      },
      subscribed,
    );
    subscribed.fifoId = fifoId;
  }

  private again(partition: number): void {
    for (const subscribed of this.subscriptions.values())
      if (this.partitionOf(subscribed) === partition) void this.ask(subscribed).catch(() => undefined);
  }

  private async beat(): Promise<void> {
    for (let partition = 0; partition < this.bus.partitions; partition++) {
      const mine = [...this.subscriptions.values()].filter((each) => this.partitionOf(each) === partition);
      if (mine.length === 0) continue;
      const request = { instance: this.instance, subscriptions: mine.map(({ id }) => id) };
      const { unknown } = await callRpc(this.bus, fifoHeartbeat, request, { to: String(partition) }).catch(() => ({
        unknown: [] as string[],
      }));
      for (const id of unknown) {
        const subscribed = this.subscriptions.get(id);
        if (!subscribed) continue;
        await this.ask(subscribed).catch((error: { code?: string }) => {
          if (error.code === 'NOT_FOUND') this.ended.add(id);
        });
      }
    }
  }

  private partitionOf({ tenantId, fifoName }: Subscribed): number {
    return fifoPartition(tenantId, fifoName, this.bus.partitions);
  }

  // Until the partition has a dispatcher.
  private async call<Request, Response>(
    rpc: Rpc<Request, Response>,
    request: Request,
    subscribed: Subscribed,
  ): Promise<Response> {
    const to = String(this.partitionOf(subscribed));
    const { answer } = await eventually(async () => {
      try {
        return { answer: await callRpc(this.bus, rpc, request, { to, timeoutMs: 2000 }) };
      } catch (error) {
        if (error instanceof RpcUnavailableError) return undefined;
        return { answer: Promise.reject(error as Error) };
      }
    });
    return answer;
  }
}
