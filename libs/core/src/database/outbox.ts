import type { EntityManager } from 'typeorm';
import type { Database } from './database.js';

/** Something to publish once the transaction that writes it has been committed. */
export interface OutboxItem {
  /** Subject of the stream: `events.<partition>` or `control.<kind>`. */
  subject: string;
  header: string;
  body: string;
}

/** Channel that wakes the relay of a schema. */
export const outboxChannel = (schema: string): string => `outbox_${schema.replaceAll('-', '_')}`;

/** Writes items into the outbox of the current transaction; the service's relay publishes them in this order. */
export async function writeOutbox(manager: EntityManager, items: readonly OutboxItem[]): Promise<void> {
  if (items.length === 0) return;
  await manager.query(
    `INSERT INTO outbox (subject, header, body) SELECT * FROM unnest($1::text[], $2::text[], $3::text[])`,
    [items.map((item) => item.subject), items.map((item) => item.header), items.map((item) => item.body)],
  );
  await manager.query(`SELECT pg_notify('outbox_' || replace(current_schema(), '-', '_'), '')`);
}

/** What may wait in an outbox before those who fill it wait too. */
const MAX_ROWS = 10_000;
const MAX_BYTES = 64 << 20;

/** True while much waits to be published: the streams that it goes to are full, or the bus is away. */
export async function outboxIsFull(database: Database): Promise<boolean> {
  const [row] = await database.query<{ full: boolean }>(
    `SELECT count(*) >= $1 OR coalesce(sum(pg_column_size(body)), 0) >= $2 AS full
     FROM (SELECT body FROM outbox LIMIT $1::int) head`,
    [MAX_ROWS, MAX_BYTES],
  );
  return row!.full;
}
