import type { Audit, AuditEntry } from '@orrery/core/audit';
import type { Database } from '@orrery/core/database';
import type { ActionPoliciesService } from '../action-policies/action-policies.service.js';

/** Days without consumption after which a FIFO's policies are suspended (manual 14.3.1). */
const UNCONSUMED_DAYS = 7;

export const suspensionEntry = (
  tenantId: string,
  actionPolicyId: string,
  fifoName: string,
  reason: string,
): AuditEntry => ({
  tenantId,
  level: 'error',
  category: 'notification',
  subcategory: 'fifo',
  type: 'action_policy_suspended',
  description: `An action policy was disabled: ${reason}`,
  source: { actionPolicyId, fifoName },
});

/** Suspends the policies whose FIFO nobody has consumed for 7 days while messages came. */
export async function suspendUnconsumed(
  database: Database,
  policies: ActionPoliciesService,
  audit: Audit,
): Promise<void> {
  const fifos = await database.query<{ tenant_id: string; name: string }>(
    `SELECT f.tenant_id, f.name FROM fifos f WHERE f.unconsumed_since <= now() - make_interval(days => $1) AND EXISTS (
       SELECT 1 FROM action_policies p WHERE p.tenant_id = f.tenant_id AND f.name = ANY(p.fifo_names) AND p.enabled
         AND p.active_since <= now() - make_interval(days => $1))`,
    [UNCONSUMED_DAYS],
  );
  for (const { tenant_id: tenantId, name } of fifos) {
    const suspension = `The FIFO "${name}" has not been consumed for ${UNCONSUMED_DAYS} consecutive days`;
    const ids = await database.transaction((manager) =>
      policies.suspend(manager, tenantId, [name], suspension, UNCONSUMED_DAYS),
    );
    for (const id of ids) audit.write(suspensionEntry(tenantId, id, name, suspension));
  }
}
