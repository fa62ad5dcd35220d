import type { Database } from '@orrery/core/database';
import { In } from 'typeorm';
import { ActivityRule, ruleView } from './activity-rule.entity.js';
import { dueTime } from './activity-state.js';
import type { ActivityStateDto, MuteDto } from './activity-state.dto.js';
import { lockTenant } from './activity-tenants.js';
import { delaysOf, STATE_COLUMNS, stateOf, type StateRow } from './state-rows.js';

/** States of a device, of a rule, or of both; one of them at least. */
export interface StateSelection {
  deviceId: string | undefined;
  ruleId: string | undefined;
}

/** $1 is the tenant; absent parameters select nothing away. */
const SELECTED = `s.tenant_id = $1 AND ($2::text IS NULL OR s.device_id = $2) AND ($3::uuid IS NULL OR s.rule_id = $3)`;

/** What is known of devices for activity rules (manual 17.2.7.3). */
export class ActivityStatesService {
  constructor(private readonly database: Database) {}

  /** By device, those after the device `after`. */
  async list(
    tenantId: string,
    { deviceId, ruleId }: StateSelection,
    limit: number,
    after?: string,
  ): Promise<ActivityStateDto[]> {
    const rows = await this.database.query<StateRow>(
      `SELECT ${STATE_COLUMNS}
       FROM activity_states s JOIN activity_rules r ON r.tenant_id = s.tenant_id AND r.id = s.rule_id
       WHERE ${SELECTED} AND ($5::text IS NULL OR s.device_id > $5)
       ORDER BY s.device_id, r.created, r.id LIMIT $4`,
      [tenantId, deviceId ?? null, ruleId ?? null, limit, after ?? null],
    );
    const rules = await this.database.manager.findBy(ActivityRule, {
      tenantId,
      id: In([...new Set(rows.map((row) => row.rule_id))]),
    });
    const views = new Map(rules.map((rule) => [rule.id, ruleView(rule)]));
    return rows.flatMap((row) => {
      const activityRule = views.get(row.rule_id);
      return activityRule ? [toDto(row, activityRule)] : [];
    });
  }

  /**
   * MUTE: no alarm until the device has been active. RESET: the delay until the next alarm begins now.
   * @returns how many states there are.
   */
  setNextAlarm(
    tenantId: string,
    order: MuteDto['nextAlarmOrder'],
    { deviceId, ruleId }: StateSelection,
  ): Promise<number> {
    const set =
      order === 'MUTE'
        ? 'next_alarm = NULL'
        : `quiet_since = CASE WHEN s.state = 'SILENT' THEN s.quiet_since ELSE l.now END,
           next_alarm = CASE WHEN l.enabled
             THEN l.now + CASE WHEN s.state = 'SILENT' THEN l.repeat_ms ELSE l.delay_ms END * interval '1 millisecond' END`;
    return this.database.transaction(async (manager) => {
      await lockTenant(manager, tenantId);
      const [, count] = (await manager.query(
        `WITH l AS (
           SELECT s.rule_id, s.device_id, r.enabled, r.delay_ms, r.repeat_ms, $4::timestamptz AS now
           FROM activity_states s JOIN activity_rules r ON r.tenant_id = s.tenant_id AND r.id = s.rule_id
           WHERE ${SELECTED} AND s.rule_version = r.version
           ORDER BY s.device_id, s.rule_id FOR UPDATE OF s)
         UPDATE activity_states s SET ${set} FROM l
         WHERE s.tenant_id = $1 AND s.rule_id = l.rule_id AND s.device_id = l.device_id`,
        [tenantId, deviceId ?? null, ruleId ?? null, new Date().toISOString()],
      )) as [unknown, number];
      return count;
    });
  }
}

function toDto(row: StateRow, activityRule: ActivityStateDto['activityRule']): ActivityStateDto {
  const state = stateOf(row);
  const due = dueTime(state, delaysOf(row));
  return {
    activityRule,
    deviceId: row.device_id,
    state: state.state,
    ...(state.lastActivity === null ? {} : { lastActivity: new Date(state.lastActivity).toISOString() }),
    ...(due === null ? {} : { nextAlarm: new Date(due).toISOString() }),
    numberOfAlarmReminders: state.reminders,
  };
}
