import type { Database } from '@orrery/core/database';
import { routingMetrics } from '../metrics.js';
import { removeMessages } from './queue.js';

const BATCH = 5000;

/** Removes the messages that nobody consumed within the TTL of their FIFO; until then they are only not delivered. */
export async function removeExpired(database: Database): Promise<void> {
  for (;;) {
    const rows = await database.query<{ fifo_id: number; seq: string }>(
      `SELECT fifo_id, seq FROM fifo_messages WHERE expires <= now() ORDER BY expires LIMIT ${BATCH}`,
    );
    if (rows.length === 0) return;
    await database.transaction((manager) =>
      removeMessages(
        manager,
        rows.map((row) => ({ fifoId: row.fifo_id, seq: Number(row.seq) })),
        false,
      ),
    );
    routingMetrics.fifoMessages.inc({ outcome: 'expired' }, rows.length);
    if (rows.length < BATCH) return;
  }
}
