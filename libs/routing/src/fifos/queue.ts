import type { AuditEntry } from '@orrery/core/audit';
import { copyRows } from '@orrery/core/database';
import type { EntityManager } from 'typeorm';
import { routingMetrics } from '../metrics.js';
import { MAX_MESSAGE_TTL } from './fifo.dto.js';

// The queue of a FIFO is its rows in fifo_messages. Whoever changes them locks the row of the FIFO first, several FIFOs
// in the order of their ids: sequence numbers therefore become visible in their order, the sums of the FIFO are always
// those of its rows, and nobody waits in a circle. Rows are deleted by their place, which that lock keeps: a queue is long
// or empty in a moment, and with estimates of another moment a join would read all of it.

/** Bytes that a stored message counts beyond its payload (FIF-005). */
const OVERHEAD = 100;

const MAX_COPY_BYTES = 16 << 20;
/** So few rows are written faster by one INSERT than by a COPY, which takes two round trips more. */
const MAX_INSERT_ROWS = 50;
const MAX_INSERT_BYTES = 64 << 10;
const COLUMNS = ['fifo_id', 'seq', 'size', 'expires', 'body', 'traceparent'];

type Row = [fifoId: number, seq: number, size: number, expires: Date, body: string, traceparent: string | undefined];

/** A message of a queue, as it is delivered. */
export interface QueuedMessage {
  seq: number;
  body: string;
  /** Of the body. */
  bytes: number;
  /** W3C trace context. */
  traceparent?: string | undefined;
}

/** What the dispatcher of a FIFO is told once its queue has changed. */
export interface FifoWake {
  id: number;
  /** Everything up to this number has left the queue. */
  droppedTo?: number;
  /** The new messages, in the order of their numbers and without a gap; not known to another process. */
  added?: QueuedMessage[];
}

/** A message on its way into a FIFO. */
export interface Arrival {
  tenantId: string;
  fifoName: string;
  body: string;
  /** W3C trace context of the message. */
  traceparent?: string | undefined;
}

/** What the row of a FIFO is to say. */
interface Sum {
  id: number;
  messages: number;
  bytes: number;
  nextSeq: number;
}

interface LockedFifo {
  id: number;
  tenant_id: string;
  name: string;
  partition: number;
  max_length_bytes: string;
  message_ttl: number;
  messages: string;
  bytes: string;
  next_seq: string;
  consumers: number;
}

export interface Enqueued {
  /** The FIFOs that have new messages, by partition. */
  wakes: Map<number, FifoWake[]>;
  /** What was dropped, for the audit log once the transaction is committed. */
  dropped: AuditEntry[];
  /** False for the arrivals whose FIFO does not exist. */
  found: boolean[];
  /** For metrics, likewise. */
  counts: Record<'stored' | 'overflow' | 'too_large' | 'unwanted', number>;
}

const noCounts = (): Enqueued['counts'] => ({ stored: 0, overflow: 0, too_large: 0, unwanted: 0 });

/** After the commit. */
export function countEnqueued({ counts }: Enqueued): void {
  for (const [outcome, count] of Object.entries(counts))
    if (count > 0) routingMetrics.fifoMessages.inc({ outcome }, count);
}

const keyOf = (tenantId: string, name: string): string => `${tenantId}\n${name}`;

/** Seconds that a row is kept. With a TTL of 0 a row exists only while there is a consumer, and waits for it. */
export const keptSeconds = (messageTtl: number): number => (messageTtl === 0 ? MAX_MESSAGE_TTL : messageTtl);

/** Puts messages into their FIFOs, in order, dropping the oldest of a FIFO that is full (manual 16.2.1.5). */
export async function enqueue(manager: EntityManager, arrivals: readonly Arrival[]): Promise<Enqueued> {
  if (arrivals.length === 0) return { wakes: new Map(), dropped: [], found: [], counts: noCounts() };
  const names = new Map(arrivals.map(({ tenantId, fifoName }) => [keyOf(tenantId, fifoName), { tenantId, fifoName }]));
  const fifos = (await manager.query(
    `SELECT f.id, f.tenant_id, f.name, f.partition, f.max_length_bytes, f.message_ttl, f.messages, f.bytes, f.next_seq, f.consumers
     FROM fifos f JOIN unnest($1::text[], $2::text[]) AS v(tenant_id, name) USING (tenant_id, name)
     ORDER BY f.id FOR UPDATE OF f`,
    [[...names.values()].map((each) => each.tenantId), [...names.values()].map((each) => each.fifoName)],
  )) as LockedFifo[];
  const byName = new Map(fifos.map((fifo) => [keyOf(fifo.tenant_id, fifo.name), { fifo, arrived: [] as Arrival[] }]));
  const found = arrivals.map((arrival) => {
    const target = byName.get(keyOf(arrival.tenantId, arrival.fifoName));
    target?.arrived.push(arrival);
    return target !== undefined;
  });

  const wakes = new Map<number, FifoWake[]>();
  const dropped: AuditEntry[] = [];
  const counts = noCounts();
  const rows: Row[] = [];
  const sums: Sum[] = [];
  for (const { fifo, arrived } of byName.values()) {
    const sum = {
      id: fifo.id,
      messages: Number(fifo.messages),
      bytes: Number(fifo.bytes),
      nextSeq: Number(fifo.next_seq),
    };
    sums.push(sum);
    if (fifo.message_ttl === 0 && fifo.consumers === 0) {
      counts.unwanted += arrived.length;
      continue;
    }
    const { kept, bytes, tooLarge, pushedOut } = fit(arrived, Number(fifo.max_length_bytes));
    let overflow = pushedOut;
    const wake: FifoWake = { id: fifo.id, added: [] };
    const excess = sum.bytes + bytes - Number(fifo.max_length_bytes);
    if (excess > 0 && kept.length > 0) {
      const gone = await dropOldest(manager, fifo.id, excess);
      sum.messages -= gone.messages;
      sum.bytes -= gone.bytes;
      overflow += gone.messages;
      wake.droppedTo = gone.last;
    }
    const expires = new Date(Date.now() + keptSeconds(fifo.message_ttl) * 1000);
    for (const { body, traceparent, size } of kept) {
      const seq = sum.nextSeq++;
      rows.push([fifo.id, seq, size, expires, body, traceparent]);
      wake.added!.push({ seq, body, bytes: size - OVERHEAD, traceparent });
    }
    sum.messages += kept.length;
    sum.bytes += bytes;
    counts.stored += kept.length;
    counts.overflow += overflow;
    counts.too_large += tooLarge.length;
    for (const size of tooLarge)
      dropped.push(
        dropEntry(
          fifo,
          'fifo_message_too_large',
          `A message of ${size} bytes is larger than the FIFO "${fifo.name}" and was dropped`,
        ),
      );
    if (overflow > 0)
      dropped.push(
        dropEntry(
          fifo,
          'fifo_overflow',
          `The FIFO "${fifo.name}" is full: its ${overflow} oldest message${overflow === 1 ? ' was' : 's were'} dropped`,
        ),
      );
    if (kept.length > 0) wakes.set(fifo.partition, [...(wakes.get(fifo.partition) ?? []), wake]);
  }
  if (sums.length > 0) await write(manager, sums, rows);
  return { wakes, dropped, found, counts };
}

const SET_SUMS = `UPDATE fifos f SET messages = v.messages, bytes = v.bytes, next_seq = v.next_seq,
    unconsumed_since = coalesce(f.unconsumed_since, now())
  FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[]) AS v(id, messages, bytes, next_seq) WHERE f.id = v.id`;

async function write(manager: EntityManager, sums: readonly Sum[], rows: readonly Row[]): Promise<void> {
  const parameters: unknown[] = [
    sums.map((sum) => sum.id),
    sums.map((sum) => sum.messages),
    sums.map((sum) => sum.bytes),
    sums.map((sum) => sum.nextSeq),
  ];
  const bytes = rows.reduce((sum, [, , size]) => sum + size, 0);
  if (rows.length > MAX_INSERT_ROWS || bytes > MAX_INSERT_BYTES) {
    await manager.query(SET_SUMS, parameters);
    await copyInParts(manager, rows);
    return;
  }
  for (const column of COLUMNS.keys()) parameters.push(rows.map((row) => row[column]));
  await manager.query(
    `WITH summed AS (${SET_SUMS})
     INSERT INTO fifo_messages (${COLUMNS.join(', ')})
     SELECT * FROM unnest($5::int[], $6::bigint[], $7::int[], $8::timestamptz[], $9::text[], $10::text[])`,
    parameters,
  );
}

// One COPY, unless many policies multiply large messages: its text is built in memory.
async function copyInParts(manager: EntityManager, rows: readonly Row[]): Promise<void> {
  let from = 0;
  let bytes = 0;
  for (const [i, [, , size]] of rows.entries()) {
    bytes += size;
    if (bytes < MAX_COPY_BYTES && i < rows.length - 1) continue;
    await copyRows(manager, 'fifo_messages', COLUMNS, rows.slice(from, i + 1));
    from = i + 1;
    bytes = 0;
  }
}

/** What of a batch a FIFO of this size can hold at all: the newest messages, without those larger than the FIFO. */
function fit(
  arrived: readonly Arrival[],
  maxBytes: number,
): {
  kept: Array<{ body: string; traceparent: string | undefined; size: number }>;
  bytes: number;
  tooLarge: number[];
  pushedOut: number;
} {
  const sized = arrived.map(({ body, traceparent }) => ({
    body,
    traceparent,
    size: Buffer.byteLength(body) + OVERHEAD,
  }));
  const tooLarge = sized.filter(({ size }) => size > maxBytes).map(({ size }) => size);
  const kept = tooLarge.length === 0 ? sized : sized.filter(({ size }) => size <= maxBytes);
  let bytes = 0;
  let first = kept.length;
  while (first > 0 && bytes + kept[first - 1]!.size <= maxBytes) bytes += kept[--first]!.size;
  return { kept: first === 0 ? kept : kept.slice(first), bytes, tooLarge, pushedOut: first };
}

const dropEntry = (fifo: LockedFifo, type: string, description: string): AuditEntry => ({
  tenantId: fifo.tenant_id,
  level: 'error',
  category: 'notification',
  subcategory: 'fifo',
  type,
  description,
  source: { fifoName: fifo.name },
  content: { maxLengthBytes: Number(fifo.max_length_bytes) },
});

/**
 * Removes the oldest messages of a locked FIFO until at least `excess` bytes are free. The sums are the caller's.
 * @returns with `last`, the highest number that is gone; 0 when none is.
 */
export async function dropOldest(
  manager: EntityManager,
  fifoId: number,
  excess: number,
): Promise<{ messages: number; bytes: number; last: number }> {
  // No message is smaller than its overhead, which bounds how many are looked at.
  const [gone] = (await manager.query(
    `WITH oldest AS (
       SELECT ctid, sum(size) OVER (ORDER BY seq) - size AS before
       FROM (SELECT ctid, seq, size FROM fifo_messages WHERE fifo_id = $1 ORDER BY seq LIMIT $3) AS head),
     gone AS (
       DELETE FROM fifo_messages WHERE ctid = ANY (ARRAY(SELECT ctid FROM oldest WHERE before < $2)) RETURNING seq, size)
     SELECT count(*) AS messages, coalesce(sum(size), 0) AS bytes, coalesce(max(seq), 0) AS last FROM gone`,
    [fifoId, excess, Math.ceil(excess / OVERHEAD)],
  )) as Array<{ messages: string; bytes: string; last: string }>;
  return { messages: Number(gone!.messages), bytes: Number(gone!.bytes), last: Number(gone!.last) };
}

/**
 * Removes messages by number, within a transaction; those that are gone already are ignored.
 * @param consumed true when a subscriber acknowledged them: the FIFO then counts as consumed (manual 14.3.1).
 */
export async function removeMessages(
  manager: EntityManager,
  messages: ReadonlyArray<{ fifoId: number; seq: number }>,
  consumed: boolean,
): Promise<void> {
  // Two statements: the second one sees all that the lock waited for.
  await manager.query('SELECT FROM fifos WHERE id = ANY($1::int[]) ORDER BY id FOR UPDATE', [
    [...new Set(messages.map((message) => message.fifoId))],
  ]);
  const ranges = rangesOf(messages);
  await manager.query(
    `WITH gone AS (
       DELETE FROM fifo_messages WHERE ctid = ANY (ARRAY(
         SELECT m.ctid FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS v(fifo_id, first, last),
           LATERAL (SELECT ctid FROM fifo_messages WHERE fifo_id = v.fifo_id AND seq BETWEEN v.first AND v.last OFFSET 0) m))
       RETURNING fifo_id, size)
     UPDATE fifos f SET messages = f.messages - g.messages, bytes = f.bytes - g.bytes,
       unconsumed_since = CASE WHEN NOT $4 THEN f.unconsumed_since WHEN f.messages > g.messages THEN now() END
     FROM (SELECT fifo_id, count(*) AS messages, sum(size) AS bytes FROM gone GROUP BY fifo_id) g WHERE f.id = g.fifo_id`,
    [ranges.map(({ fifoId }) => fifoId), ranges.map(({ first }) => first), ranges.map(({ last }) => last), consumed],
  );
}

/** Numbers without a gap as one range. */
function rangesOf(
  messages: ReadonlyArray<{ fifoId: number; seq: number }>,
): Array<{ fifoId: number; first: number; last: number }> {
  const ranges: Array<{ fifoId: number; first: number; last: number }> = [];
  for (const { fifoId, seq } of messages.toSorted((a, b) => a.fifoId - b.fifoId || a.seq - b.seq)) {
    const range = ranges.at(-1);
    if (range?.fifoId === fifoId && seq <= range.last + 1) range.last = seq;
    else ranges.push({ fifoId, first: seq, last: seq });
  }
  return ranges;
}
