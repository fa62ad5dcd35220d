import { randomUUID } from 'node:crypto';
import type { AuditEntry } from '@orrery/core/audit';
import { copyRows } from '@orrery/core/database';
import { LIMITS } from '@orrery/core/limits';
import { partitionOf } from '@orrery/core/messages';
import type { EntityManager } from 'typeorm';
import type { DeliveredKind } from '../actions/action.js';
import { RECORD_ATTEMPTS, recordAttempts } from './attempts.js';
import type { Outcome } from './outcome.js';
import { COUNT_PUSHES, countPushes } from './push-days.js';

// What waits for something outside the platform is the rows of `deliveries`, by tenant and queue. Whoever changes them
// locks the row of the queue first, several queues in the order of tenants and names: `waiting` is therefore always the
// number of rows that nobody has tried, and nobody waits in a circle.

export type QueueName = 'push' | 'email' | 'sms';

const QUEUES: Record<DeliveredKind, QueueName> = {
  httpPush: 'push',
  azureEventHubs: 'push',
  emails: 'email',
  sms: 'sms',
};
const CALLED: Record<QueueName, string> = {
  push: 'httpPush and Azure Event Hubs requests',
  email: 'e-mails',
  sms: 'SMS',
};

export const queueOf = (kind: DeliveredKind): QueueName => QUEUES[kind];

/** The partition of a tenant's queues, by which their sender is found. */
export const queuePartition = (tenantId: string, partitions: number): number =>
  partitionOf(tenantId, 'deliveries', partitions);

export interface QueueKey {
  tenantId: string;
  queue: QueueName;
}

/** A message on its way to an action. */
export interface DeliveryArrival extends QueueKey {
  actionId: string;
  /** Id under which the message or event is stored; undefined when it is not. */
  storedId: string | undefined;
  /** The routed message or event. */
  body: string;
  /** W3C trace context of the message. */
  traceparent: string | undefined;
}

/** What a sender has taken. */
export interface Delivery extends QueueKey {
  seq: string;
  actionId: string;
  /** Undefined when the policy has been deleted. */
  policyId: string | undefined;
  /** Likewise. */
  kind: DeliveredKind | undefined;
  storedId: string | undefined;
  messageId: string;
  body: string;
  /** W3C trace context that the attempt belongs to. */
  traceparent: string | undefined;
  attempt: number;
}

/** A delivery that has been tried. */
export type Settled = { delivery: Delivery } & Outcome;

/** A queue with the most deliveries to take of it. */
export type Wanted = QueueKey & { most: number };

/** A sender that does not say for so long what has become of a delivery is given up: longer than any request takes. */
const TAKEN_SECONDS = 600;
const MAX_COPY_BYTES = 16 << 20;

const MAX_WAITING = LIMITS.httpPushBuffer.value;
/** Deliveries of a queue that are to be tried again. The manual has no bound for them, disks do. */
export const MAX_RETRYING = 100_000;

const columns = (keys: readonly QueueKey[]): [string[], string[]] => [
  keys.map(({ tenantId }) => tenantId),
  keys.map(({ queue }) => queue),
];

export const keyText = ({ tenantId, queue }: QueueKey): string => `${queue} ${tenantId}`;

/**
 * Puts messages into their queues, in order; the oldest of those that nobody has tried make room (manual 14.3.2.3).
 * @returns what was dropped, for metrics and the audit log once the transaction is committed.
 */
export async function enqueueDeliveries(
  manager: EntityManager,
  arrivals: readonly DeliveryArrival[],
  partitions: number,
): Promise<Array<{ queue: QueueName; count: number; entry: AuditEntry }>> {
  const counts = new Map<string, { key: QueueKey; count: number }>();
  for (const { tenantId, queue } of arrivals) {
    const key = { tenantId, queue };
    const entry = counts.get(keyText(key)) ?? { key, count: 0 };
    entry.count++;
    counts.set(keyText(key), entry);
  }
  const keys = [...counts.values()];
  const queues = (await manager.query(
    `INSERT INTO delivery_queues AS q (tenant_id, queue, partition, waiting, next_due)
     SELECT tenant_id, queue, partition, waiting, now()
     FROM unnest($1::text[], $2::text[], $3::int[], $4::int[]) AS v(tenant_id, queue, partition, waiting)
     ORDER BY tenant_id, queue
     ON CONFLICT (tenant_id, queue) DO UPDATE SET waiting = q.waiting + excluded.waiting, next_due = now()
     RETURNING tenant_id AS "tenantId", queue, waiting`,
    [
      ...columns(keys.map(({ key }) => key)),
      keys.map(({ key }) => queuePartition(key.tenantId, partitions)),
      keys.map(({ count }) => count),
    ],
  )) as Array<QueueKey & { waiting: number }>;
  await copyInParts(manager, arrivals);

  const dropped: Awaited<ReturnType<typeof enqueueDeliveries>> = [];
  for (const { tenantId, queue, waiting } of queues) {
    const excess = waiting - MAX_WAITING;
    if (excess <= 0) continue;
    await manager.query(
      `DELETE FROM deliveries WHERE tenant_id = $1 AND queue = $2 AND seq = ANY (ARRAY(
         SELECT seq FROM deliveries WHERE tenant_id = $1 AND queue = $2 AND attempt = 0 AND NOT taken
         ORDER BY seq LIMIT $3))`,
      [tenantId, queue, excess],
    );
    await manager.query('UPDATE delivery_queues SET waiting = $3 WHERE tenant_id = $1 AND queue = $2', [
      tenantId,
      queue,
      MAX_WAITING,
    ]);
    const entry: AuditEntry = {
      tenantId,
      level: 'error',
      category: 'notification',
      subcategory: queue === 'push' ? 'http' : queue,
      type: `${queue}_overflow`,
      description: `More than ${MAX_WAITING} ${CALLED[queue]} wait: the ${excess === 1 ? 'oldest was' : `${excess} oldest were`} dropped`,
      content: { dropped: excess, maximum: MAX_WAITING },
    };
    dropped.push({ queue, count: excess, entry });
  }
  return dropped;
}

// One COPY, unless many policies multiply large messages: its text is built in memory.
async function copyInParts(manager: EntityManager, arrivals: readonly DeliveryArrival[]): Promise<void> {
  let from = 0;
  let size = 0;
  for (const [i, { body }] of arrivals.entries()) {
    size += body.length;
    if (size < MAX_COPY_BYTES && i < arrivals.length - 1) continue;
    await copyRows(
      manager,
      'deliveries',
      ['tenant_id', 'queue', 'action_id', 'message_id', 'stored_id', 'body', 'traceparent'],
      arrivals
        .slice(from, i + 1)
        .map((each) => [
          each.tenantId,
          each.queue,
          each.actionId,
          randomUUID(),
          each.storedId,
          each.body,
          each.traceparent,
        ]),
    );
    from = i + 1;
    size = 0;
  }
}

/**
 * Notes what has become of deliveries and takes what is due next, in one transaction.
 * @returns what it has taken, and which of the settled ones have ended: also those of which too many are tried again.
 */
export async function settleAndTake(
  manager: EntityManager,
  settled: readonly Settled[],
  wanted: readonly Wanted[],
): Promise<{ taken: Delivery[]; ended: Settled[] }> {
  const queues = new Map<string, Change>();
  for (const { tenantId, queue } of [...settled.map(({ delivery }) => delivery), ...wanted])
    queues.set(keyText({ tenantId, queue }), { tenantId, queue, waiting: 0, retrying: 0 });
  // A crash of the database may forget that pushes have been sent, which then come again with the same id.
  const fast = settled.every(({ delivery }) => delivery.queue === 'push');
  const rows = (await manager.query(
    `SELECT q.tenant_id AS "tenantId", q.queue, q.retrying, set_config('synchronous_commit', $3, true)
     FROM delivery_queues q JOIN unnest($1::text[], $2::text[]) AS v(tenant_id, queue) USING (tenant_id, queue)
     ORDER BY q.tenant_id, q.queue FOR UPDATE OF q`,
    [...columns([...queues.values()]), fast ? 'off' : 'on'],
  )) as Array<QueueKey & { retrying: number }>;
  const retrying = new Map(rows.map((row) => [keyText(row), row.retrying]));

  const ended: Settled[] = [];
  const again: Settled[] = [];
  for (const each of settled) {
    const key = keyText(each.delivery);
    const sums = queues.get(key)!;
    const before = each.delivery.attempt > 0;
    // What is given back untried waits as it did before.
    if (each.again?.attempt === 0) sums.waiting++;
    const full = !before && (each.again?.attempt ?? 0) > 0 && (retrying.get(key) ?? 0) + sums.retrying >= MAX_RETRYING;
    if (!each.again || full) {
      ended.push(full ? { ...each, again: undefined, dropped: true } : each);
      if (before) sums.retrying--;
    } else {
      again.push(each);
      if (!before && each.again.attempt > 0) sums.retrying++;
    }
  }
  const taken = await change(manager, ended, again, wanted);
  for (const delivery of taken) if (delivery.fresh) queues.get(keyText(delivery))!.waiting--;
  const changes = [...queues.values()];
  // An empty queue is empty, whatever two senders at once may have counted while one of them did not know of the other.
  await manager.query(
    `WITH counted AS (${COUNT_PUSHES})
     UPDATE delivery_queues q SET next_due = v.due,
       waiting = CASE WHEN v.due IS NULL THEN 0 ELSE greatest(0, q.waiting + v.waiting) END,
       retrying = CASE WHEN v.due IS NULL THEN 0 ELSE greatest(0, q.retrying + v.retrying) END
     FROM (
       SELECT v.*, (SELECT min(due) FROM deliveries d WHERE d.tenant_id = v.tenant_id AND d.queue = v.queue) AS due
       FROM unnest($1::text[], $2::text[], $3::int[], $4::int[]) AS v(tenant_id, queue, waiting, retrying)) v
     WHERE q.tenant_id = v.tenant_id AND q.queue = v.queue`,
    [
      ...columns(changes),
      changes.map(({ waiting }) => waiting),
      changes.map((each) => each.retrying),
      ...countPushes(ended),
    ],
  );
  return { taken, ended };
}

interface Change extends QueueKey {
  waiting: number;
  retrying: number;
}

interface TakenRow {
  tenant_id: string;
  queue: QueueName;
  seq: string;
  action_id: string;
  message_id: string;
  stored_id: string | null;
  body: string;
  traceparent: string | null;
  attempt: number;
  fresh: boolean;
  policy_id: string | null;
  kind: DeliveredKind | null;
}

// One statement: what is removed or put back is due later than now, and not among what it takes.
async function change(
  manager: EntityManager,
  ended: readonly Settled[],
  again: readonly Settled[],
  wanted: readonly Wanted[],
): Promise<Array<Delivery & { fresh: boolean }>> {
  const gone = ended.map(({ delivery }) => delivery);
  const rows = (await manager.query(
    `WITH gone AS (
       DELETE FROM deliveries d USING unnest($1::text[], $2::text[], $3::bigint[]) AS v(tenant_id, queue, seq)
       WHERE d.tenant_id = v.tenant_id AND d.queue = v.queue AND d.seq = v.seq),
     back AS (
       UPDATE deliveries d SET taken = false, attempt = v.attempt, due = now() + v.ms * interval '1 millisecond'
       FROM unnest($4::text[], $5::text[], $6::bigint[], $7::int[], $8::int[]) AS v(tenant_id, queue, seq, attempt, ms)
       WHERE d.tenant_id = v.tenant_id AND d.queue = v.queue AND d.seq = v.seq),
     due AS (
       SELECT d.* FROM unnest($9::text[], $10::text[], $11::int[]) AS v(tenant_id, queue, most), LATERAL (
         SELECT tenant_id, queue, seq, NOT taken AND attempt = 0 AS fresh FROM deliveries d
         WHERE d.tenant_id = v.tenant_id AND d.queue = v.queue AND d.due <= now()
         ORDER BY d.due, d.seq LIMIT v.most) d),
     recorded AS (${RECORD_ATTEMPTS}),
     taken AS (
       UPDATE deliveries d SET taken = true, due = now() + make_interval(secs => $12)
       FROM due WHERE d.tenant_id = due.tenant_id AND d.queue = due.queue AND d.seq = due.seq
       RETURNING d.*, due.fresh)
     SELECT t.tenant_id, t.queue, t.seq, t.action_id, t.message_id, t.stored_id, t.body, t.traceparent, t.attempt, t.fresh,
       a.policy_id, a.kind
     FROM taken t LEFT JOIN delivered_actions a ON a.tenant_id = t.tenant_id AND a.id = t.action_id
     ORDER BY t.seq`,
    [
      ...columns(gone),
      gone.map(({ seq }) => seq),
      ...columns(again.map(({ delivery }) => delivery)),
      again.map(({ delivery }) => delivery.seq),
      again.map((each) => each.again!.attempt),
      again.map((each) => each.again!.ms),
      ...columns(wanted),
      wanted.map(({ most }) => most),
      TAKEN_SECONDS,
      ...recordAttempts(ended, again),
    ],
  )) as TakenRow[];
  return rows.map((row) => ({
    tenantId: row.tenant_id,
    queue: row.queue,
    seq: row.seq,
    actionId: row.action_id,
    policyId: row.policy_id ?? undefined,
    kind: row.kind ?? undefined,
    storedId: row.stored_id ?? undefined,
    messageId: row.message_id,
    body: row.body,
    traceparent: row.traceparent ?? undefined,
    attempt: row.attempt,
    fresh: row.fresh,
  }));
}

/** What the last sender of a partition has taken and not settled is due at once: it is gone. */
export async function releasePartition(manager: EntityManager, partition: number): Promise<void> {
  await manager.query('SELECT FROM delivery_queues WHERE partition = $1 ORDER BY tenant_id, queue FOR UPDATE', [
    partition,
  ]);
  await manager.query(
    `WITH back AS (
       UPDATE deliveries d SET taken = false, due = now() FROM delivery_queues q
       WHERE q.partition = $1 AND d.tenant_id = q.tenant_id AND d.queue = q.queue AND d.taken
       RETURNING d.tenant_id, d.queue, d.attempt)
     UPDATE delivery_queues q SET waiting = q.waiting + b.untried, next_due = now()
     FROM (SELECT tenant_id, queue, count(*) FILTER (WHERE attempt = 0)::int AS untried FROM back GROUP BY tenant_id, queue) b
     WHERE q.tenant_id = b.tenant_id AND q.queue = b.queue`,
    [partition],
  );
}
