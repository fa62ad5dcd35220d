import type { EntityManager } from 'typeorm';
import type { Database } from '../database/index.js';
import { bucketKeys, purgeKey } from './bucket-keys.js';
import type { Bus } from './bus.js';
import { REGISTRY_BUCKET, streamName, type PartitionedStream } from './streams.js';

/** How far a reader is in one stream. */
export interface Position {
  seq: number;
  epoch: number;
  streamCreated: string;
  /** Highest entry number per origin, and when it was seen. */
  origins: Record<string, [number: number, seenAt: number]>;
}

/** Another instance owns these streams now: nothing was written. */
export class FencedError extends Error {
  constructor(readonly streams: string[]) {
    super(`another instance owns ${streams.join(', ')}`);
  }
}

/** An origin that has not published for so long no longer exists: a process that still repeats an entry is seen. */
const ORIGIN_KEPT_MS = 7 * 24 * 3600 * 1000;

/** Leaves out the origins that no longer exist, once there are many: each restart of a publisher makes a new one. */
export function keptOrigins(origins: Position['origins'], many = 64): Position['origins'] {
  const entries = Object.entries(origins);
  if (entries.length < many) return { ...origins };
  return Object.fromEntries(entries.filter(([, [, seenAt]]) => Date.now() - seenAt < ORIGIN_KEPT_MS));
}

/** Takes the position over: from here on, every transaction of an earlier owner fails. @throws FencedError */
export async function fence(
  bus: Bus,
  database: Database,
  reader: string,
  stream: string,
  epoch: number,
): Promise<Position> {
  const { created } = await bus.jsm.streams.info(stream);
  const streamCreated = `${created} ${bus.leaseGeneration}`;
  const rows = await takeOver(database, bus.options.leaseTtlMs, [reader, stream, streamCreated, epoch]);
  const row = rows[0];
  if (!row) throw new FencedError([stream]);
  return { seq: Number(row.seq), epoch, streamCreated, origins: keptOrigins(row.origins, 0) };
}

type PositionRow = { seq: string; origins: Position['origins'] };

/** An earlier owner that was paused in a transaction holds the row: its transaction is ended before the next try. */
async function takeOver(database: Database, leaseTtlMs: number, parameters: unknown[]): Promise<PositionRow[]> {
  try {
    return await database.transaction(async (manager) => {
      await manager.query(`SET LOCAL lock_timeout = ${Math.ceil(leaseTtlMs / 4)}`);
      return (await manager.query(TAKE_OVER, parameters)) as PositionRow[];
    });
  } catch (error) {
    const { code, driverError } = error as { code?: unknown; driverError?: { code?: unknown } };
    if ((driverError?.code ?? code) === LOCK_NOT_AVAILABLE) await endPausedTransactions(database, leaseTtlMs);
    throw error;
  }
}

const LOCK_NOT_AVAILABLE = '55P03';

// In the midst of a COPY no time-out of PostgreSQL applies: a session waits for its paused client, locks and all.
async function endPausedTransactions(database: Database, leaseTtlMs: number): Promise<void> {
  await database.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
       AND wait_event = 'ClientRead' AND xact_start < clock_timestamp() - $1 * interval '1 millisecond'
       AND state_change < clock_timestamp() - $1 * interval '1 millisecond'`,
    [leaseTtlMs],
  );
}

const TAKE_OVER = `INSERT INTO positions AS p (reader, stream, stream_created, seq, epoch) VALUES ($1, $2, $3, 0, $4)
     ON CONFLICT (reader, stream) DO UPDATE SET
       epoch = $4,
       stream_created = $3,
       seq = CASE WHEN split_part(p.stream_created, ' ', 1) = split_part($3, ' ', 1) THEN p.seq ELSE 0 END
     WHERE p.epoch <= $4 OR p.stream_created <> $3
     RETURNING seq, origins`;

/** Moves positions within the transaction of the effect. @throws FencedError which rolls the effect back. */
export async function movePositions(
  manager: EntityManager,
  reader: string,
  moved: Array<[stream: string, position: Position]>,
): Promise<void> {
  const rows = (await manager.query(
    `WITH v AS (SELECT * FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[]) AS v(stream, seq, epoch, origins, created)),
     m AS (UPDATE positions p SET seq = v.seq, epoch = v.epoch, origins = v.origins::jsonb FROM v
       WHERE p.reader = $1 AND p.stream = v.stream AND p.stream_created = v.created AND p.epoch <= v.epoch AND p.seq < v.seq
       RETURNING p.stream)
     SELECT stream FROM m`,
    [
      reader,
      moved.map(([stream]) => stream),
      moved.map(([, position]) => position.seq),
      moved.map(([, position]) => position.epoch),
      moved.map(([, position]) => JSON.stringify(position.origins)),
      moved.map(([, position]) => position.streamCreated),
    ],
  )) as Array<{ stream: string }>;
  if (rows.length === moved.length) return;
  const done = new Set(rows.map((row) => row.stream));
  throw new FencedError(moved.map(([stream]) => stream).filter((stream) => !done.has(stream)));
}

const registryKey = (stream: string, reader: string): string => `reader.${stream}.${reader}`;

/**
 * Registers the reader with its committed positions: streams are purged up to the lowest one of all registered
 * readers. A stream without a known position is registered at 0, so that nothing is purged before its first read.
 */
export async function reportPositions(
  bus: Bus,
  reader: string,
  streams: PartitionedStream[],
  committed: Map<string, number>,
): Promise<void> {
  if (committed.size > 0) {
    for (const [stream, seq] of committed) await bus.registry.put(registryKey(stream, reader), String(seq));
    return;
  }
  for (const base of streams)
    for (let partition = 0; partition < bus.partitions; partition++)
      await bus.registry.create(registryKey(streamName(base, partition), reader), '0').catch(() => undefined);
}

/** Forgets a reader whose service is removed for good: its positions no longer hold the streams back. */
export async function deregisterReader(bus: Bus, reader: string): Promise<void> {
  for (const key of await bucketKeys(bus, REGISTRY_BUCKET, `reader.*.${reader}`))
    await purgeKey(bus, REGISTRY_BUCKET, key);
}

/**
 * Purges each partitioned stream up to the lowest position of its registered readers.
 * @param purged what earlier calls purged: streams that have not moved since are left alone.
 * @returns entries purged.
 */
export async function purgeRead(bus: Bus, purged = new Map<string, number>()): Promise<number> {
  const lowest = new Map<string, number>();
  // All of them: a reader that was missing here would lose messages.
  for (const key of await bucketKeys(bus, REGISTRY_BUCKET, 'reader.>')) {
    const stream = key.split('.')[1]!;
    const entry = await bus.registry.get(key);
    if (entry?.operation !== 'PUT') continue;
    lowest.set(stream, Math.min(lowest.get(stream) ?? Number.MAX_SAFE_INTEGER, Number(entry.string())));
  }
  let count = 0;
  for (const [stream, seq] of lowest) {
    if (seq <= (purged.get(stream) ?? 0)) continue;
    count += (await bus.jsm.streams.purge(stream, { seq: seq + 1 })).purged;
    purged.set(stream, seq);
  }
  return count;
}
