import { streamSubject } from '@orrery/core/bus';
import { type OutboxItem, writeOutbox } from '@orrery/core/database';
import { type EventHeader, newMessageId, partitionOf } from '@orrery/core/messages';
import { type ActivityStateEvent, RULE_ACTIVITY } from '@orrery/device-manager/contract';
import { type EntityManager, In } from 'typeorm';
import type { DeviceActivityEvent } from '../contract.js';
import { ActivityRule, ruleView } from './activity-rule.entity.js';
import { type ActivityState, type Alarm, type SilentDelays, unknownSince } from './activity-state.js';

/** A row of `activity_states`, s, with what it needs of its rule, r. */
export const STATE_COLUMNS = `s.tenant_id, s.rule_id, s.device_id, s.device_name, s.group_path, s.rule_version, s.state,
  s.last_activity, s.quiet_since, s.next_alarm, s.reminders, r.version, r.changed, r.enabled, r.delay_ms, r.repeat_ms`;

export interface StateRow {
  tenant_id: string;
  rule_id: string;
  device_id: string;
  device_name: string | null;
  group_path: string;
  rule_version: number;
  state: ActivityState['state'];
  last_activity: Date | null;
  quiet_since: Date;
  next_alarm: Date | null;
  reminders: number;
  version: number;
  changed: Date;
  enabled: boolean;
  delay_ms: string;
  repeat_ms: string | null;
}

export const delaysOf = (row: StateRow): SilentDelays => ({
  delayMs: Number(row.delay_ms),
  repeatMs: row.repeat_ms === null ? null : Number(row.repeat_ms),
});

/** The state in force: a change of the rule has made it UNKNOWN, also when that is not yet written. */
export const stateOf = (row: StateRow): ActivityState =>
  row.rule_version === row.version
    ? {
        state: row.state,
        lastActivity: row.last_activity?.getTime() ?? null,
        quietSince: row.quiet_since.getTime(),
        nextAlarm: row.next_alarm?.getTime() ?? null,
        reminders: row.reminders,
      }
    : {
        ...unknownSince(row.changed.getTime(), row.enabled, delaysOf(row)),
        lastActivity: row.last_activity?.getTime() ?? null,
      };

export interface ChangedState {
  row: StateRow;
  next: ActivityState;
  alarms: Alarm[];
}

const iso = (time: number | null): string | null => (time === null ? null : new Date(time).toISOString());

/** Writes any number of locked rows in one statement, and their events with them. */
export async function writeStates(
  manager: EntityManager,
  partitions: number,
  changed: readonly ChangedState[],
): Promise<void> {
  if (changed.length === 0) return;
  const column = <Value>(of: (each: ChangedState) => Value): Value[] => changed.map(of);
  await manager.query(
    `UPDATE activity_states s SET rule_version = v.version, state = v.state, last_activity = v.last_activity,
       quiet_since = v.quiet_since, next_alarm = v.next_alarm, reminders = v.reminders
     FROM unnest($1::text[], $2::uuid[], $3::text[], $4::integer[], $5::text[], $6::timestamptz[], $7::timestamptz[],
       $8::timestamptz[], $9::integer[])
       AS v (tenant_id, rule_id, device_id, version, state, last_activity, quiet_since, next_alarm, reminders)
     WHERE s.tenant_id = v.tenant_id AND s.rule_id = v.rule_id AND s.device_id = v.device_id`,
    [
      column(({ row }) => row.tenant_id),
      column(({ row }) => row.rule_id),
      column(({ row }) => row.device_id),
      column(({ row }) => row.version),
      column(({ next }) => next.state),
      column(({ next }) => iso(next.lastActivity)),
      column(({ next }) => iso(next.quietSince)),
      column(({ next }) => iso(next.nextAlarm)),
      column(({ next }) => next.reminders),
    ],
  );
  const events = new StateEvents(partitions);
  const rules = await rulesOf(
    manager,
    changed.filter(({ alarms }) => alarms.length > 0),
  );
  for (const { row, next, alarms } of changed) {
    for (const alarm of alarms) events.alarm(row, rules.get(row.rule_id)!, alarm);
    if (next.state !== row.state) events.state(row, next.state);
  }
  await writeOutbox(manager, events.items);
}

async function rulesOf(manager: EntityManager, changed: ChangedState[]): Promise<Map<string, ActivityRule>> {
  if (changed.length === 0) return new Map();
  const ids = new Set(changed.map(({ row }) => row.rule_id));
  const tenantIds = new Set(changed.map(({ row }) => row.tenant_id));
  const rules = await manager.findBy(ActivityRule, { tenantId: In([...tenantIds]), id: In([...ids]) });
  return new Map(rules.map((rule) => [rule.id, rule]));
}

type StateKey = Pick<StateRow, 'tenant_id' | 'rule_id' | 'device_id'>;

/** Events about states, for the outbox. */
export class StateEvents {
  readonly items: OutboxItem[] = [];
  private readonly timestamp = new Date().toISOString();

  constructor(private readonly partitions: number) {}

  /** What the inventory shows; null when the rule does not target the device any more. */
  state(
    { tenant_id: tenantId, rule_id: ruleId, device_id: deviceId }: StateKey,
    state: ActivityStateEvent['state'],
  ): void {
    const event: ActivityStateEvent = { type: RULE_ACTIVITY, deviceId, ruleId, state, timestamp: this.timestamp };
    this.add({ tenantId, type: RULE_ACTIVITY, key: deviceId }, event);
  }

  /** Manual 15.4.2.4. */
  alarm(
    { tenant_id: tenantId, device_id: deviceId, device_name: name, group_path: groupPath }: StateRow,
    rule: ActivityRule,
    alarm: Alarm,
  ): void {
    const event: DeviceActivityEvent = {
      type: 'deviceActivity',
      version: 1,
      deviceId,
      deviceAdditionalInfo: { ...(name === null ? {} : { deviceName: name }), groupPath },
      activityRule: { id: rule.id, name: rule.name },
      state: alarm.state,
      previousState: alarm.previousState,
      timestamp: new Date(alarm.timestamp).toISOString(),
      numberOfAlarmReminders: alarm.reminders,
    };
    const stored = {
      id: newMessageId(),
      rules: { activityRule: ruleView(rule) },
      ...(rule.tags === null ? {} : { tags: rule.tags }),
    };
    this.add({ tenantId, type: event.type, key: deviceId, stored }, event);
  }

  private add(header: EventHeader, event: object): void {
    this.items.push({
      subject: streamSubject('EVENTS', partitionOf(header.tenantId, header.key, this.partitions)),
      header: JSON.stringify(header),
      body: JSON.stringify(event),
    });
  }
}
