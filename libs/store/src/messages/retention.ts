import { type Bus, callRpc } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import { longestKept } from '@orrery/identity/contract';

const MONTHS_AHEAD = 3;
const DAY_MS = 24 * 3600 * 1000;

const month = (date: Date, offset: number): Date =>
  new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + offset, 1));
const partitionName = (from: Date): string => `messages_${from.toISOString().slice(0, 7).replace('-', '_')}`;

/** Makes the partitions of this and the next months. Safe to run on several instances at once. */
export async function ensurePartitions(database: Database, now = new Date()): Promise<void> {
  for (let offset = -1; offset <= MONTHS_AHEAD; offset++) {
    const from = month(now, offset);
    await database.transaction(async (manager) => {
      await manager.query(`SELECT pg_advisory_xact_lock(hashtext('store.partitions'))`);
      await manager.query(
        `CREATE TABLE IF NOT EXISTS ${partitionName(from)} PARTITION OF messages FOR VALUES FROM ('${from.toISOString()}') TO ('${month(from, 1).toISOString()}')`,
      );
    });
  }
}

/**
 * Drops the months of which every message is older than any tenant's offer keeps it.
 * @throws RpcUnavailableError when identity can't be asked.
 */
export async function dropExpiredPartitions(bus: Bus, database: Database): Promise<void> {
  const { days } = await callRpc(bus, longestKept, { limit: 'dataDays' });
  if (days === null) return;
  const oldest = new Date(Math.max(0, Date.now() - days * DAY_MS));
  const partitions = await database.query<{ name: string }>(
    `SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'messages'::regclass`,
  );
  const expired = partitions
    .map(({ name }) => name)
    .filter((name) => {
      const parts = /^messages_(\d{4})_(\d{2})$/.exec(name);
      return parts && new Date(Date.UTC(Number(parts[1]), Number(parts[2]), 1)) <= oldest;
    });
  for (const name of expired) await database.query(`DROP TABLE ${name}`);
}
