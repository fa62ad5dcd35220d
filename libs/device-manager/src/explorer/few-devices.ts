import type { Database } from '@orrery/core/database';

/**
 * So many devices are found first, and then put into order. Of more, a page is found sooner by reading devices in their
 * order until it is full; of a few, that could read them all, as PostgreSQL does not know which ones come late.
 */
const FEW = 5000;

/** True when PostgreSQL expects to find a few. @param from SQL of devices with what the condition uses */
export async function expectsFew(database: Database, from: string, where: string, values: unknown[]): Promise<boolean> {
  const [row] = await database.query<{ 'QUERY PLAN': Array<{ Plan: { 'Plan Rows': number } }> }>(
    `EXPLAIN (FORMAT JSON) SELECT FROM ${from} WHERE ${where}`,
    values,
  );
  return row!['QUERY PLAN'][0]!.Plan['Plan Rows'] <= FEW;
}
