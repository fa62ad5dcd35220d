import type { Audit } from '@orrery/core/audit';
import { type Bus, LeaseManager, RpcUnavailableError } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import { WokenWork } from '@orrery/core/jobs';
import type { Running } from '@orrery/core/service';
import { type PreparedActions, UnrenderableError } from '../actions/prepared-action.js';
import {
  type Delivery,
  keyText,
  type QueueKey,
  queuePartition,
  type QueueName,
  releasePartition,
  type Settled,
  settleAndTake,
  type Wanted,
} from './delivery-queue.js';
import { routingMetrics } from '../metrics.js';
import type { Attempt, Attempted, Outcome } from './outcome.js';

/** Attempts at once, per tenant over all instances: of pushes as the manual has it (14.3.2.3). */
const AT_ONCE: Record<QueueName, number> = { push: 10, email: 2, sms: 2 };
/** Attempts at once of this process. */
const AT_ONCE_HERE = 1000;
/** Most that are taken ahead of a queue: what a server that falls silent may hold beside its requests. */
const MOST_AHEAD = 20;
/** Characters of the messages that are being sent. */
const MAX_SIZE_HERE = 64 << 20;
/** Queues of one transaction. */
const QUEUES_AT_ONCE = 50;
/** Retries and what a lost wake would have told are looked for so often. */
const LOOK_MS = 1000;
/** After an error that is ours: nothing is known of the delivery's own fate. */
const OURS_MS = 5000;
/** How long requests may take to end when the process stops. */
const STOP_MS = 6000;

const POLICY_GONE: Outcome = { failed: true, told: 'its policy has been deleted or changed' };

/** Tells the sender of a partition that queues have something: `[[tenantId, queue]…]`. */
export const wakeSubject = (partition: number): string => `deliveries.wake.${partition}`;

interface Queue extends QueueKey {
  partition: number;
  running: number;
  /** Taken ahead, so that a place is not empty while PostgreSQL is asked. */
  ready: Delivery[];
  /** Attempts that have ended since something was last taken: as many are taken ahead. */
  ended: number;
  /** There may be something due. */
  woken: boolean;
}

interface Owned {
  abort: AbortController;
  /** What the last owner had taken is due again: from now on this one may take. */
  ready: boolean;
  unsubscribe(): void;
}

/**
 * Sends what waits in the queues of deliveries. Partitions of tenants are leased: all queues of a tenant have one sender,
 * which therefore knows how many of its requests are open. Each queue has so many places and no more, so that a tenant
 * whose servers do not answer holds up nobody else.
 */
export class Sender implements Running {
  private readonly leases: LeaseManager;
  private readonly work: WokenWork;
  private readonly owned = new Map<number, Owned>();
  private readonly queues = new Map<string, Queue>();
  private readonly running = new Set<Promise<void>>();
  private settled: Settled[] = [];
  private size = 0;
  private lookAt = 0;
  private stopping = false;

  constructor(
    private readonly bus: Bus,
    private readonly database: Database,
    private readonly audit: Audit,
    private readonly actions: PreparedActions,
    private readonly attempts: Record<QueueName, Attempt>,
  ) {
    this.leases = new LeaseManager(bus, 'deliveries', bus.partitions, {
      acquired: (partition) => this.acquire(partition),
      lost: (partition) => this.lose(partition),
    });
    this.work = new WokenWork({
      name: 'deliveries',
      everyMs: LOOK_MS,
      run: () => this.run(),
      logger: bus.logger,
    });
  }

  async start(): Promise<void> {
    await this.leases.start();
    this.work.wake();
  }

  async stop(): Promise<void> {
    this.stopping = true;
    // From here on nothing more is taken.
    await this.work.stop();
    const late = setTimeout(() => {
      for (const { abort } of this.owned.values()) abort.abort();
    }, STOP_MS);
    for (const queue of this.queues.values()) this.fill(queue);
    await Promise.all(this.running);
    clearTimeout(late);
    await this.run().catch((error: unknown) =>
      this.bus.logger.warn({ error: String(error) }, 'what has been sent at last may be sent again'),
    );
    for (const { unsubscribe } of this.owned.values()) unsubscribe();
    await this.leases.stop();
  }

  /** Tells that queues have something. */
  wake(keys: Iterable<QueueKey>): void {
    const different = new Map<string, QueueKey>();
    for (const key of keys) different.set(keyText(key), key);
    const elsewhere = new Map<number, Array<[string, QueueName]>>();
    for (const key of different.values()) {
      const partition = queuePartition(key.tenantId, this.bus.partitions);
      if (this.owns(partition)) this.queueOf(key).woken = true;
      else elsewhere.set(partition, [...(elsewhere.get(partition) ?? []), [key.tenantId, key.queue]]);
    }
    this.work.wake();
    if (this.bus.connection.isClosed()) return;
    for (const [partition, told] of elsewhere)
      this.bus.connection.publish(wakeSubject(partition), JSON.stringify(told));
  }

  private owns(partition: number): boolean {
    return this.owned.get(partition)?.ready === true && this.leases.epoch(partition) !== undefined;
  }

  private acquire(partition: number): void {
    if (this.stopping || this.owned.has(partition)) return;
    const wakes = this.bus.connection.subscribe(wakeSubject(partition), {
      callback: (error, message) => {
        if (error) return;
        for (const [tenantId, queue] of message.json<Array<[string, QueueName]>>())
          this.queueOf({ tenantId, queue }).woken = true;
        this.work.wake();
      },
    });
    const owned = { abort: new AbortController(), ready: false, unsubscribe: () => wakes.unsubscribe() };
    this.owned.set(partition, owned);
    void this.takeOver(partition, owned);
  }

  private async takeOver(partition: number, owned: Owned): Promise<void> {
    while (!owned.abort.signal.aborted && !this.stopping)
      try {
        await this.database.transaction((manager) => releasePartition(manager, partition));
        owned.ready = true;
        this.lookAt = 0;
        return this.work.wake();
      } catch (error) {
        this.bus.logger.warn({ partition, error: String(error) }, 'could not take deliveries over; trying again');
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      }
  }

  private lose(partition: number): void {
    const owned = this.owned.get(partition);
    this.owned.delete(partition);
    // Another instance begins with what is open here.
    owned?.abort.abort();
    owned?.unsubscribe();
    for (const [key, queue] of this.queues)
      if (queue.partition === partition) {
        for (const { body } of queue.ready.splice(0)) this.size -= body.length;
        this.queues.delete(key);
      }
  }

  private queueOf({ tenantId, queue }: QueueKey): Queue {
    const text = keyText({ tenantId, queue });
    let known = this.queues.get(text);
    if (!known) {
      const partition = queuePartition(tenantId, this.bus.partitions);
      this.queues.set(text, (known = { tenantId, queue, partition, running: 0, ready: [], ended: 0, woken: false }));
    }
    return known;
  }

  private async run(): Promise<void> {
    if (Date.now() >= this.lookAt) await this.look();
    for (;;) {
      // What ends or comes in the same turn of the event loop shares a transaction.
      await new Promise((resolve) => setImmediate(resolve));
      const settled = this.settled;
      const wanted = this.wanted();
      if (settled.length === 0 && wanted.length === 0) return;
      this.settled = [];
      try {
        const { taken, ended } = await this.database.transaction((manager) => settleAndTake(manager, settled, wanted));
        for (const { audit, dropped, delivery } of ended) {
          if (audit) this.audit.write(audit);
          if (dropped) routingMetrics.dropped.inc({ queue: delivery.queue });
        }
        this.begin(wanted, taken);
      } catch (error) {
        // What has been sent must not be sent again because its end could not be written.
        this.settled.push(...settled);
        for (const queue of wanted) this.queueOf(queue).woken = true;
        throw error;
      }
    }
  }

  private async look(): Promise<void> {
    this.lookAt = Date.now() + LOOK_MS;
    const due = await this.database.query<{ tenantId: string; queue: QueueName }>(
      'SELECT tenant_id AS "tenantId", queue FROM delivery_queues WHERE partition = ANY($1::int[]) AND next_due <= now()',
      [[...this.owned.keys()].filter((partition) => this.owns(partition))],
    );
    for (const key of due) this.queueOf(key).woken = true;
  }

  /** Queues with free places that have something, those that have waited longest first. */
  private wanted(): Wanted[] {
    const wanted: Wanted[] = [];
    if (this.stopping) return wanted;
    let places = AT_ONCE_HERE - this.running.size;
    for (const [key, queue] of Array.from(this.queues)) {
      if (wanted.length === QUEUES_AT_ONCE || places <= 0 || this.size > MAX_SIZE_HERE) break;
      const ahead = Math.min(queue.ended, MOST_AHEAD);
      const most = Math.min(AT_ONCE[queue.queue] + ahead - queue.running - queue.ready.length, places);
      if (!queue.woken) {
        if (queue.running === 0 && queue.ready.length === 0) this.queues.delete(key);
      } else if (most > 0 && this.owns(queue.partition)) {
        queue.woken = false;
        queue.ended = 0;
        places -= most;
        wanted.push({ tenantId: queue.tenantId, queue: queue.queue, most });
        // To the end of the line.
        this.queues.delete(key);
        this.queues.set(key, queue);
      }
    }
    return wanted;
  }

  private begin(wanted: readonly Wanted[], taken: readonly Delivery[]): void {
    const counts = new Map<string, number>();
    for (const delivery of taken) {
      const key = keyText(delivery);
      counts.set(key, (counts.get(key) ?? 0) + 1);
      const queue = this.queueOf(delivery);
      this.size += delivery.body.length;
      queue.ready.push(delivery);
      this.fill(queue);
    }
    // There may be more than there were places for.
    for (const queue of wanted) if (counts.get(keyText(queue)) === queue.most) this.queueOf(queue).woken = true;
  }

  /** Begins what is ready as far as there are places. */
  private fill(queue: Queue): void {
    while (queue.ready.length > 0 && (this.stopping || queue.running < AT_ONCE[queue.queue])) {
      const delivery = queue.ready.shift()!;
      if (this.stopping) this.settle(delivery, { again: { ms: 0, attempt: delivery.attempt } });
      else this.send(delivery, queue);
    }
  }

  private send(delivery: Delivery, queue: Queue): void {
    queue.running++;
    const sending = this.attempt(delivery, queue).then((outcome) => {
      queue.running--;
      queue.ended++;
      this.running.delete(sending);
      this.settle(delivery, outcome);
      this.fill(queue);
    });
    this.running.add(sending);
  }

  private settle(delivery: Delivery, outcome: Outcome): void {
    this.size -= delivery.body.length;
    this.settled.push({ delivery, ...outcome });
    this.work.wake();
  }

  private async measured({ kind }: Delivery, attempt: () => Promise<Attempted>): Promise<Outcome> {
    const end = routingMetrics.attemptSeconds.startTimer({ kind: kind! });
    let result: Attempted['result'] = 'error';
    try {
      const outcome = await attempt();
      ({ result } = outcome);
      return outcome;
    } finally {
      end();
      routingMetrics.attempts.inc({ kind: kind!, result });
    }
  }

  private async attempt(delivery: Delivery, { partition }: Queue): Promise<Outcome> {
    // Its policy has been deleted, and what waited for it goes.
    if (delivery.policyId === undefined) return POLICY_GONE;
    const signal = this.owned.get(partition)?.abort.signal ?? AbortSignal.abort();
    const span = this.bus.tracing.follow(`deliver ${delivery.kind}`, 'client', delivery.traceparent);
    span?.set({
      'orrery.tenant.id': delivery.tenantId,
      'orrery.policy.id': delivery.policyId,
      'orrery.delivery.id': delivery.messageId,
      'orrery.delivery.attempt': delivery.attempt + 1,
    });
    const traced = span ? { ...delivery, traceparent: span.traceparent } : delivery;
    try {
      const action = await this.actions.get(delivery.tenantId, delivery.actionId);
      const outcome = await this.measured(delivery, () => this.attempts[delivery.queue](traced, action, signal));
      if (outcome.status !== undefined) span?.set({ 'http.response.status_code': outcome.status });
      span?.end(outcome.again || outcome.succeeded === false || outcome.failed ? 'undelivered' : undefined);
      return outcome;
    } catch (error) {
      span?.end(error);
      if (error instanceof UnrenderableError) return POLICY_GONE;
      if (!(error instanceof RpcUnavailableError))
        this.bus.logger.error({ error, actionId: delivery.actionId }, 'a delivery failed by itself; trying again');
      return { again: { ms: OURS_MS, attempt: delivery.attempt } };
    }
  }
}
