import type { Database } from '@orrery/core/database';
import { routingMetrics } from '../metrics.js';
import { removeMessages } from './queue.js';

const BATCH = 5000;

/**
 * Removes the messages that nobody consumed within the TTL of their FIFO; until then they are only not delivered. The
 * messages of a FIFO expire in their order, so that looking at the oldest is enough.
 */
export async function removeExpired(database: Database): Promise<void> {
  for (;;) {
    const rows = await database.query<{ fifo_id: number; seq: string }>(
      `SELECT f.id AS fifo_id, m.seq FROM fifos f,
         LATERAL (SELECT seq, expires FROM fifo_messages WHERE fifo_id = f.id ORDER BY seq LIMIT ${BATCH}) m
       WHERE f.messages > 0 AND m.expires <= now()
         AND (SELECT expires FROM fifo_messages WHERE fifo_id = f.id ORDER BY seq LIMIT 1) <= now()
       LIMIT ${BATCH}`,
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
