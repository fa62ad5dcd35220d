import { setTimeout as delay } from 'node:timers/promises';
import { type Bus, RpcError, serveRpc } from '@orrery/core/bus';
import { encodeEntry } from '@orrery/core/messages';
import {
  FIFO_HELLO,
  fifoAck,
  fifoDeliverSubject,
  type FifoDeliveryReply,
  fifoHeartbeat,
  fifoPartition,
  fifoPublish,
  type FifoSubscription,
  fifoSubscribe,
  fifoUnsubscribe,
} from '@orrery/routing/contract';

interface Stored {
  seq: number;
  body: string;
  holder?: string;
}

/** Speaks as routing: FIFOs in memory, one dispatcher for all partitions. */
export class Dispatcher {
  readonly fifos = new Map<string, { id: number; messages: Stored[] }>();
  readonly subscriptions = new Map<string, FifoSubscription>();
  readonly requests: Array<{ method: string; request: unknown }> = [];
  /** How often its database was away. */
  failures = 0;
  /** Its database is away. */
  failing = false;
  /** What it needs to write acknowledgements. */
  writeMs = 0;
  /** Messages beyond the window that a subscription gets. */
  ahead = 0;
  private seq = 0;
  private servers: Array<{ unsubscribe(): void }> = [];

  constructor(private readonly bus: Bus) {}

  start(): void {
    const { bus } = this;
    this.servers.push(
      serveRpc(bus, fifoPublish, ({ tenantId, fifoName, body }) => {
        if (this.failing) throw new RpcError('INTERNAL_ERROR', `failure ${++this.failures}`);
        this.put(tenantId, fifoName, body);
        return {};
      }),
    );
    for (let partition = 0; partition < bus.partitions; partition++) this.servePartition(String(partition));
  }

  /** Nobody answers any more. */
  stop(): void {
    for (const server of this.servers.splice(0)) server.unsubscribe();
  }

  /** As after another instance took over: no subscription is known. */
  takeOver(): void {
    this.subscriptions.clear();
    for (const { messages } of this.fifos.values()) for (const message of messages) delete message.holder;
    for (let partition = 0; partition < this.bus.partitions; partition++)
      this.bus.connection.publish(FIFO_HELLO, JSON.stringify({ partition }));
  }

  /** As after a connector was silent: it is forgotten, and another one has the newest messages. */
  giveNewest(tenantId: string, fifoName: string, count: number): void {
    this.subscriptions.clear();
    const { messages } = this.fifo(tenantId, fifoName);
    for (const message of messages) delete message.holder;
    for (const message of messages.slice(-count)) message.holder = 'another';
  }

  create(tenantId: string, fifoName: string, ...bodies: string[]): void {
    this.fifos.set(`${tenantId}/${fifoName}`, { id: ++this.seq, messages: [] });
    for (const body of bodies) this.put(tenantId, fifoName, body);
  }

  put(tenantId: string, fifoName: string, body: string): void {
    this.fifo(tenantId, fifoName).messages.push({ seq: ++this.seq, body });
    this.dispatch();
  }

  /** Bodies of the messages that are left. */
  left(tenantId: string, fifoName: string): string[] {
    return this.fifo(tenantId, fifoName).messages.map(({ body }) => body);
  }

  private fifo(tenantId: string, fifoName: string): { id: number; messages: Stored[] } {
    const fifo = this.fifos.get(`${tenantId}/${fifoName}`);
    if (!fifo) throw new RpcError('NOT_FOUND', 'FIFO not found');
    return fifo;
  }

  private servePartition(to: string): void {
    const log = (method: string, request: unknown): void => void this.requests.push({ method, request });
    this.servers.push(
      serveRpc(
        this.bus,
        fifoSubscribe,
        (request) => {
          log('subscribe', request);
          const { tenantId, fifoName, subscription, held } = request;
          if (String(fifoPartition(tenantId, fifoName, this.bus.partitions)) !== to)
            throw new RpcError('NOT_FOUND', 'asked of the wrong partition');
          const { id, messages } = this.fifo(tenantId, fifoName);
          this.subscriptions.set(subscription, request);
          for (const message of messages) if (held.includes(message.seq)) message.holder ??= subscription;
          const kept = messages.filter(({ holder }) => holder === subscription).map(({ seq }) => seq);
          this.dispatch();
          return { fifoId: id, term: 'only', kept };
        },
        to,
      ),
      serveRpc(
        this.bus,
        fifoAck,
        async (request) => {
          log('ack', request);
          for (const { fifoId, seqs } of request.acks)
            for (const fifo of this.fifos.values())
              if (fifo.id === fifoId) fifo.messages = fifo.messages.filter(({ seq }) => !seqs.includes(seq));
          this.dispatch();
          if (this.writeMs > 0) await delay(this.writeMs);
          return {};
        },
        to,
      ),
      serveRpc(
        this.bus,
        fifoUnsubscribe,
        (request) => {
          log('unsubscribe', request);
          for (const id of request.subscriptions) this.drop(id);
          return {};
        },
        to,
      ),
      serveRpc(
        this.bus,
        fifoHeartbeat,
        (request) => {
          log('heartbeat', request);
          return { unknown: request.subscriptions.filter((id) => !this.subscriptions.has(id)) };
        },
        to,
      ),
    );
  }

  private drop(subscription: string): void {
    this.subscriptions.delete(subscription);
    for (const { messages } of this.fifos.values())
      for (const message of messages) if (message.holder === subscription) delete message.holder;
    this.dispatch();
  }

  private dispatch(): void {
    for (const [name, fifo] of this.fifos)
      // A copy: what is acknowledged by its delivery leaves the list meanwhile.
      for (const message of fifo.messages.slice()) {
        if (message.holder !== undefined) continue;
        const free = [...this.subscriptions.values()].find(
          ({ tenantId, fifoName, subscription, window }) =>
            `${tenantId}/${fifoName}` === name &&
            fifo.messages.filter(({ holder }) => holder === subscription).length < window + this.ahead,
        );
        if (!free) break;
        message.holder = free.subscription;
        if (free.autoAck) fifo.messages = fifo.messages.filter((each) => each !== message);
        void this.deliver(free, message);
      }
  }

  private async deliver({ instance, subscription }: FifoSubscription, { seq, body }: Stored): Promise<void> {
    const header = JSON.stringify({ subscription, seq });
    const reply = await this.bus.connection.request(fifoDeliverSubject(instance), encodeEntry([{ header, body }]), {
      timeout: 60_000,
    });
    for (const gone of reply.json<FifoDeliveryReply>().gone) this.drop(gone);
  }
}
