import type { Audit } from '@orrery/core/audit';
import type { Database } from '@orrery/core/database';
import type { ActionPoliciesService } from '../action-policies/action-policies.service.js';
import type { Delivery } from './delivery-queue.js';
import type { Outcome } from './outcome.js';

/** Days, and percentage of failed pushes in each of them, after which a policy is suspended (manual 14.3.2.2). */
const FAILING_DAYS = 7;
const FAILING_PERCENT = 90;

/** A statement that adds to the counts of the day; its parameters begin at $5. */
export const COUNT_PUSHES = `
  INSERT INTO push_days AS p (tenant_id, policy_id, day, pushes, failed)
  SELECT tenant_id, policy_id, (now() AT TIME ZONE 'UTC')::date, pushes, failed
  FROM unnest($5::text[], $6::uuid[], $7::int[], $8::int[]) AS v(tenant_id, policy_id, pushes, failed)
  ON CONFLICT (tenant_id, policy_id, day)
    DO UPDATE SET pushes = p.pushes + excluded.pushes, failed = p.failed + excluded.failed`;

/** Counts the pushes that have ended, by policy. @returns the parameters of `COUNT_PUSHES`. */
export function countPushes(ended: ReadonlyArray<{ delivery: Delivery } & Outcome>): unknown[][] {
  const counts = new Map<string, { tenantId: string; policyId: string; pushes: number; failed: number }>();
  for (const { delivery, succeeded } of ended) {
    const { tenantId, policyId } = delivery;
    if (succeeded === undefined || policyId === undefined) continue;
    const count = counts.get(policyId) ?? { tenantId, policyId, pushes: 0, failed: 0 };
    count.pushes++;
    if (!succeeded) count.failed++;
    counts.set(policyId, count);
  }
  const rows = [...counts.values()];
  return [
    rows.map(({ tenantId }) => tenantId),
    rows.map(({ policyId }) => policyId),
    rows.map(({ pushes }) => pushes),
    rows.map(({ failed }) => failed),
  ];
}

/** Suspends the policies of whose pushes too many failed in each of the last 7 whole days. */
export async function suspendFailing(database: Database, policies: ActionPoliciesService, audit: Audit): Promise<void> {
  const failing = await database.query<{ tenant_id: string; policy_id: string; percent: number; since: Date }>(
    `SELECT tenant_id, policy_id, floor(100.0 * sum(failed) / sum(pushes))::int AS percent,
       ((now() AT TIME ZONE 'UTC')::date - $1::int)::timestamp AT TIME ZONE 'UTC' AS since
     FROM push_days
     WHERE day >= (now() AT TIME ZONE 'UTC')::date - $1::int AND day < (now() AT TIME ZONE 'UTC')::date
       AND failed * 100 > pushes * $2::int
     GROUP BY tenant_id, policy_id HAVING count(*) = $1`,
    [FAILING_DAYS, FAILING_PERCENT],
  );
  for (const { tenant_id: tenantId, policy_id: policyId, percent, since } of failing) {
    const suspension = `More than ${FAILING_PERCENT}% of its pushes failed on each of ${FAILING_DAYS} consecutive days (${percent}% in all)`;
    if (!(await policies.suspendOne(tenantId, policyId, suspension, since))) continue;
    audit.write({
      tenantId,
      level: 'error',
      category: 'notification',
      subcategory: 'http',
      type: 'action_policy_suspended',
      description: `An action policy was disabled: ${suspension}`,
      source: { actionPolicyId: policyId },
    });
  }
  await database.query('DELETE FROM push_days WHERE day < now() - make_interval(days => $1)', [FAILING_DAYS + 7]);
}

/** Removes what nothing waits for any more: actions of policies that were changed, and counts of days that are over. */
export async function removeRetired(database: Database): Promise<void> {
  await database.query(
    `DELETE FROM delivered_actions WHERE retired < now() - interval '1 day'
       AND id NOT IN (SELECT DISTINCT action_id FROM deliveries)`,
  );
  await database.query(`DELETE FROM emissions WHERE day < now() - interval '2 days'`);
}
