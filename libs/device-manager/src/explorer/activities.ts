import type { EntityManager } from 'typeorm';
import type { ActivityStateEvent } from '../contract.js';

export const ACTIVITY_STATES = ['SILENT', 'ACTIVE', 'UNKNOWN'] as const;

/**
 * Writes the last state of each device and rule, and what the states of a device amount to (manual 9.2.3). To be called
 * before rows of `device_states` are locked: whoever changes a device locks its row first, and then that of its state.
 */
export async function writeActivities(
  manager: EntityManager,
  events: Array<ActivityStateEvent & { tenantId: string }>,
): Promise<void> {
  if (events.length === 0) return;
  // Devices that are unknown, or deleted meanwhile, have no row; the lock lets none go before its states are written.
  const devices = (await manager.query(
    `SELECT d.tenant_id, d.id
     FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[]) AS k (tenant_id, id)) k
     JOIN devices d ON d.tenant_id = k.tenant_id AND d.id = k.id
     ORDER BY d.tenant_id, d.id FOR KEY SHARE OF d`,
    [events.map(({ tenantId }) => tenantId), events.map(({ deviceId }) => deviceId)],
  )) as Array<{ tenant_id: string; id: string }>;
  const known = new Set(devices.map((device) => `${device.tenant_id}\n${device.id}`));
  const last = [
    ...new Map(events.map((each) => [`${each.tenantId}\n${each.deviceId}\n${each.ruleId}`, each])).values(),
  ].filter(({ tenantId, deviceId }) => known.has(`${tenantId}\n${deviceId}`));
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
  await manager.query(
    `INSERT INTO activities (tenant_id, device_id, rule_id, state, updated) SELECT * FROM ${given} WHERE v.state IS NOT NULL
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
