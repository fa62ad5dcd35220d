import type { PlacedDevice } from '@orrery/device-manager/contract';
import type { EntityManager } from 'typeorm';
import type { ActivityRule } from './activity-rule.entity.js';
import type { StateEvents } from './state-rows.js';

export type TargetTest = (device: PlacedDevice) => boolean;

/** Whether the device is one that the rule targets, by its id or its group (manual 17.2.7.2). */
export function compileTargets({ targets }: ActivityRule): TargetTest {
  const ids = new Set(targets.deviceIds);
  const groups = targets.groupPaths ?? [];
  const paths = new Set(groups.map(({ path }) => path));
  const above = new Set(groups.filter((each) => each.includeSubPath).map(({ path }) => path));
  return ({ deviceId, groupPath }) =>
    ids.has(deviceId) ||
    paths.has(groupPath) ||
    (above.size > 0 && ancestorsOf(groupPath).some((path) => above.has(path)));
}

/** `/`, `/a` and `/a/b` of `/a/b/c`. */
function ancestorsOf(path: string): string[] {
  const ancestors = path === '/' ? [] : ['/'];
  for (let slash = path.indexOf('/', 1); slash > 0; slash = path.indexOf('/', slash + 1))
    ancestors.push(path.slice(0, slash));
  return ancestors;
}

export interface Target {
  device: PlacedDevice;
  rule: ActivityRule;
  partition: number;
  /** When it became one. */
  since: Date;
}

export interface KnownTarget {
  tenant_id: string;
  rule_id: string;
  device_id: string;
  rule_version: number;
  state: string;
}

const keyOf = (tenantId: string, ruleId: string, deviceId: string): string => `${tenantId} ${ruleId} ${deviceId}`;

/**
 * Makes states those of the targets: those that are no targets any more go, and targets that have no state, or one for an
 * earlier version of their rule, are UNKNOWN. The tenants are locked.
 * @param known all states, locked, that there are of these devices, or of these and others for one rule.
 */
export async function replaceTargets(
  manager: EntityManager,
  events: StateEvents,
  known: readonly KnownTarget[],
  targets: readonly Target[],
): Promise<void> {
  const before = new Map(known.map((row) => [keyOf(row.tenant_id, row.rule_id, row.device_id), row]));
  for (const { rule, device } of targets) {
    const key = keyOf(rule.tenantId, rule.id, device.deviceId);
    const row = before.get(key);
    if (!row || (row.rule_version !== rule.version && row.state !== 'UNKNOWN'))
      events.state({ tenant_id: rule.tenantId, rule_id: rule.id, device_id: device.deviceId }, 'UNKNOWN');
    before.delete(key);
  }
  const gone = [...before.values()];
  for (const row of gone) events.state(row, null);
  if (gone.length > 0)
    await manager.query(
      `DELETE FROM activity_states s USING unnest($1::text[], $2::uuid[], $3::text[]) AS v (tenant_id, rule_id, device_id)
       WHERE s.tenant_id = v.tenant_id AND s.rule_id = v.rule_id AND s.device_id = v.device_id`,
      [gone.map((row) => row.tenant_id), gone.map((row) => row.rule_id), gone.map((row) => row.device_id)],
    );
  await writeTargets(manager, targets);
}

async function writeTargets(manager: EntityManager, targets: readonly Target[]): Promise<void> {
  if (targets.length === 0) return;
  const column = <Value>(of: (target: Target) => Value): Value[] => targets.map(of);
  await manager.query(
    `INSERT INTO activity_states AS s (tenant_id, rule_id, device_id, partition, device_name, group_path, rule_version,
       state, quiet_since, next_alarm)
     SELECT v.tenant_id, v.rule_id, v.device_id, v.partition, v.name, v.path, r.version, 'UNKNOWN', v.since,
       CASE WHEN r.enabled THEN v.since + r.delay_ms * interval '1 millisecond' END
     FROM unnest($1::text[], $2::uuid[], $3::text[], $4::smallint[], $5::text[], $6::text[], $7::timestamptz[])
       AS v (tenant_id, rule_id, device_id, partition, name, path, since)
     JOIN activity_rules r ON r.tenant_id = v.tenant_id AND r.id = v.rule_id
     ORDER BY v.tenant_id, v.device_id, v.rule_id
     ON CONFLICT (tenant_id, rule_id, device_id) DO UPDATE SET
       device_name = EXCLUDED.device_name,
       group_path = EXCLUDED.group_path,
       rule_version = EXCLUDED.rule_version,
       state = CASE WHEN s.rule_version = EXCLUDED.rule_version THEN s.state ELSE EXCLUDED.state END,
       quiet_since = CASE WHEN s.rule_version = EXCLUDED.rule_version THEN s.quiet_since ELSE EXCLUDED.quiet_since END,
       next_alarm = CASE WHEN s.rule_version = EXCLUDED.rule_version THEN s.next_alarm ELSE EXCLUDED.next_alarm END,
       reminders = CASE WHEN s.rule_version = EXCLUDED.rule_version THEN s.reminders ELSE 0 END
     WHERE s.rule_version <> EXCLUDED.rule_version OR s.group_path <> EXCLUDED.group_path
       OR s.device_name IS DISTINCT FROM EXCLUDED.device_name`,
    [
      column(({ rule }) => rule.tenantId),
      column(({ rule }) => rule.id),
      column(({ device }) => device.deviceId),
      column(({ partition }) => partition),
      column(({ device }) => device.name),
      column(({ device }) => device.groupPath),
      column(({ since }) => since.toISOString()),
    ],
  );
}
