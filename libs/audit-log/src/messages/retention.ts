import type { Database } from '@orrery/core/database';
import { LIMITS } from '@orrery/core/limits';

/** Days that a message is kept (manual 23.3): searches leave out what is older and not deleted yet. */
export const KEPT_DAYS = LIMITS.auditDays.value;

/** Deletes what is too old, and of each tenant the oldest beyond the number that is kept (manual 23.3). */
export async function deleteExpired(database: Database, kept: number = LIMITS.auditMessages.value): Promise<void> {
  await database.query('DELETE FROM messages WHERE timestamp < now() - make_interval(days => $1)', [KEPT_DAYS]);
  const crowded = await database.query<{ tenant_id: string }>(
    'SELECT tenant_id FROM messages GROUP BY tenant_id HAVING count(*) > $1',
    [kept],
  );
  for (const { tenant_id } of crowded)
    await database.query(
      `DELETE FROM messages USING (
         SELECT timestamp, id FROM messages WHERE tenant_id = $1 ORDER BY timestamp DESC, id DESC OFFSET $2 LIMIT 1
       ) AS newest_beyond
       WHERE tenant_id = $1 AND (messages.timestamp, messages.id) <= (newest_beyond.timestamp, newest_beyond.id)`,
      [tenant_id, kept],
    );
}
