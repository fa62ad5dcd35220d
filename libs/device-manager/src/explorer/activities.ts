import type { EntityManager } from 'typeorm';
import type { ActivityStateEvent } from '../contract.js';

export const ACTIVITY_STATES = ['SILENT', 'ACTIVE', 'UNKNOWN'] as const;

/** Writes the last state of each device and rule, and what the states of a device amount to (manual 9.2.3). */
export async function writeActivities(
  manager: EntityManager,
  events: Array<ActivityStateEvent & { tenantId: string }>,
): Promise<void> {
  if (events.length === 0) return;
  const last = [
    ...new Map(events.map((each) => [`${each.tenantId}\n${each.deviceId}\n${each.ruleId}`, each])).values(),
  ];
  const parameters = [
    last.map(({ tenantId }) => tenantId),
    last.map(({ deviceId }) => deviceId),
    last.map(({ ruleId }) => ruleId),
    last.map(({ state }) => state),
    last.map(({ timestamp }) => timestamp),
  ];
  const given = `unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[]) AS v (tenant_id, device_id, rule_id, state, updated)`;
  await manager.query(
    `DELETE FROM activities a USING ${given}
     WHERE v.state IS NULL AND a.tenant_id = v.tenant_id AND a.device_id = v.device_id AND a.rule_id = v.rule_id`,
    parameters,
  );
  // The rows of the devices are locked: none of them is deleted between the look and the insertion.
  await manager.query(
    `WITH known AS (
       SELECT v.* FROM ${given} JOIN devices d ON d.tenant_id = v.tenant_id AND d.id = v.device_id
       WHERE v.state IS NOT NULL FOR KEY SHARE OF d)
     INSERT INTO activities (tenant_id, device_id, rule_id, state, updated) SELECT * FROM known
     ON CONFLICT (tenant_id, device_id, rule_id) DO UPDATE SET state = excluded.state, updated = excluded.updated`,
    parameters,
  );
  await manager.query(
    `UPDATE device_states s SET activity_state = (
       SELECT a.state FROM activities a WHERE a.tenant_id = s.tenant_id AND a.device_id = s.device_id
       ORDER BY array_position($3::text[], a.state) LIMIT 1)
     FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[]) AS k (tenant_id, device_id)) k
     WHERE s.tenant_id = k.tenant_id AND s.device_id = k.device_id`,
    [parameters[0], parameters[1], ACTIVITY_STATES],
  );
}
