import type { Database } from '@orrery/core/database';

/** Rows of one statement: whoever else wants them does not wait long. */
const MAX_ROWS = 5000;

/**
 * Guards that have expired are kept for a day: a reader that is late still needs them for messages that arrived before.
 * Guards and states of deleted rules go at once. Rows that a reader works with are left for the next time.
 */
export async function removeLeftovers(database: Database): Promise<void> {
  const orphaned = (kind: string, id: string): string =>
    `NOT EXISTS (SELECT 1 FROM rules r WHERE r.tenant_id = t.tenant_id AND r.kind = '${kind}' AND r.id = t.${id})`;
  await removeFrom(database, 'firing_guards', `t.expires < now() - interval '1 day'`);
  await removeFrom(database, 'firing_guards', orphaned('firing', 'firing_rule_id'));
  await removeFrom(database, 'states', orphaned('state', 'rule_id'));
}

async function removeFrom(database: Database, table: string, condition: string): Promise<void> {
  for (let removed = MAX_ROWS; removed === MAX_ROWS;)
    removed = await database.transaction(async (manager) => {
      const [, count] = (await manager.query(
        `DELETE FROM ${table} WHERE ctid = ANY(ARRAY(
           SELECT t.ctid FROM ${table} t WHERE ${condition} LIMIT ${MAX_ROWS} FOR UPDATE SKIP LOCKED))`,
      )) as [unknown, number];
      return count;
    });
}
