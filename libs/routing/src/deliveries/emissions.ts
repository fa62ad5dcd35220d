import type { EntityManager } from 'typeorm';
import type { QueueKey } from './delivery-queue.js';

/** What may be sent now of so many, and whether it is the first time today that the limit is met. */
export interface Allowance {
  allowed: number;
  /** True for one caller a day. */
  report: boolean;
}

/** Counts mails and SMS of a tenant in the present day, UTC, exactly over all instances (manual 23.3). */
export async function countEmissions(
  manager: EntityManager,
  { tenantId, queue }: QueueKey,
  points: number,
  limit: number,
): Promise<Allowance> {
  await manager.query(
    `INSERT INTO emissions (tenant_id, queue, day, count) VALUES ($1, $2, (now() AT TIME ZONE 'UTC')::date, 0)
     ON CONFLICT DO NOTHING`,
    [tenantId, queue],
  );
  const [row] = (await manager.query(
    `SELECT count, reported FROM emissions
     WHERE tenant_id = $1 AND queue = $2 AND day = (now() AT TIME ZONE 'UTC')::date FOR UPDATE`,
    [tenantId, queue],
  )) as Array<{ count: number; reported: boolean }>;
  const allowed = Math.max(0, Math.min(points, limit - row!.count));
  const report = allowed < points && !row!.reported;
  await manager.query(
    `UPDATE emissions SET count = count + $3, reported = reported OR $4
     WHERE tenant_id = $1 AND queue = $2 AND day = (now() AT TIME ZONE 'UTC')::date`,
    [tenantId, queue, allowed, report],
  );
  return { allowed, report };
}
