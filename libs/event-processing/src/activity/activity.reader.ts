import { type Bus, NO_EFFECT, PartitionReader, type ReadItem } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import {
  DEVICE_ID,
  type DeviceLifecycleEvent,
  type EventHeader,
  type MessageHeader,
  messageTime,
} from '@orrery/core/messages';
import {
  DEVICE_PLACED,
  type DevicePlacedEvent,
  GROUPS_MOVED,
  NODE_STATUS,
  type NodeStatusEvent,
} from '@orrery/device-manager/contract';
import type { EntityManager } from 'typeorm';
import { ACTIVITY_READER } from '../contract.js';
import { activeAt, type Alarm, type Contact, SHORTEST_MS, TOLERANCE_MS } from './activity-state.js';
import { tenantsWithRules } from './activity-tenants.js';
import { delaysOf, STATE_COLUMNS, stateOf, type StateRow, writeStates } from './state-rows.js';
import { requestGroupSyncs } from './target-syncs.js';

/** What a device does beside sending data (manual 17.2.7.1): it connects, or answers. */
const ACTIVITIES: ReadonlySet<string> = new Set([
  'nodeConnected',
  NODE_STATUS,
  'commandResponse',
  'configurationResponse',
]);
const PLACEMENTS: ReadonlySet<string> = new Set([DEVICE_PLACED, 'deviceDeleted', GROUPS_MOVED]);
/** Alarms wait for minutes: rather one statement for many messages. */
const LINGER_MS = 200;

interface Active {
  tenantId: string;
  deviceId: string;
  contacts: Contact[];
}

type Placed = { tenantId: string } & (DevicePlacedEvent | DeviceLifecycleEvent);

/** What a batch says of the devices of tenants with activity rules. */
class Heard {
  readonly active = new Map<string, Active>();
  readonly placed = new Map<string, Placed>();
  readonly movedGroups = new Set<string>();
  private readonly now = Date.now();

  get silent(): boolean {
    return this.active.size + this.placed.size + this.movedGroups.size === 0;
  }

  /** @param at of the activity, epoch milliseconds. A clock that is ahead must not put an alarm off. */
  activity(tenantId: string, deviceId: string, at: number): void {
    // The source of an injected message may be any text.
    if (!(at > 0) || !DEVICE_ID.test(deviceId)) return;
    const time = Math.min(at, this.now);
    const key = `${tenantId} ${deviceId}`;
    const known = this.active.get(key);
    const contacts = known?.contacts ?? [];
    if (!known) this.active.set(key, { tenantId, deviceId, contacts });
    // No delay is shorter: only longer pauses can matter.
    const near = contacts.find(({ first, last }) => time > first - SHORTEST_MS && time < last + SHORTEST_MS);
    if (near) {
      near.first = Math.min(near.first, time);
      near.last = Math.max(near.last, time);
    } else contacts.push({ first: time, last: time });
  }

  event(header: EventHeader, body: string): void {
    const { tenantId, type } = header;
    if (type === GROUPS_MOVED) this.movedGroups.add(tenantId);
    else if (PLACEMENTS.has(type)) this.placed.set(`${tenantId} ${header.key}`, { ...JSON.parse(body), tenantId });
    else {
      const { deviceId, timestamp, status } = JSON.parse(body) as Partial<NodeStatusEvent>;
      if (deviceId === undefined || timestamp === undefined || status === 'OFFLINE') return;
      this.activity(tenantId, deviceId, Date.parse(timestamp));
    }
  }
}

/**
 * Keeps the states of devices for activity rules: their activity, and which devices the rules target. States and events
 * are written in the transaction that moves the positions.
 * @param targetsMoved is called when there is something to do for `TargetSyncs`.
 */
export function activityReader(bus: Bus, database: Database, targetsMoved: () => void): PartitionReader {
  return new PartitionReader(bus, {
    name: ACTIVITY_READER,
    streams: ['READY', 'EVENTS'],
    database,
    maxItems: 5000,
    lingerMs: LINGER_MS,
    async handle(items, manager) {
      const heard = await hear(items, manager);
      if (heard.silent) return NO_EFFECT;
      if (heard.movedGroups.size > 0) await requestGroupSyncs(manager, [...heard.movedGroups].toSorted(), new Date());
      await notePlaced(manager, [...heard.placed.values()]);
      await applyActivity(manager, bus.partitions, [...heard.active.values()]);
      return heard.movedGroups.size + heard.placed.size > 0 ? targetsMoved : undefined;
    },
  });
}

async function hear(items: ReadItem[], manager: EntityManager): Promise<Heard> {
  const headers = items.map((item) => item.headerAs<MessageHeader | EventHeader>());
  const heard = new Heard();
  const tenants = await tenantsWithRules(manager, new Set(headers.map(({ tenantId }) => tenantId)));
  if (tenants.size === 0) return heard;
  headers.forEach((header, i) => {
    if (!tenants.has(header.tenantId)) return;
    if ('type' in header) {
      if (ACTIVITIES.has(header.type) || PLACEMENTS.has(header.type)) heard.event(header, items[i]!.body);
    } else if (header.deviceId !== undefined)
      heard.activity(header.tenantId, header.deviceId, messageTime(header.id).getTime());
  });
  return heard;
}

/** The inventory is asked of them later: many at once, and for what is so then. */
async function notePlaced(manager: EntityManager, placed: Placed[]): Promise<void> {
  if (placed.length === 0) return;
  await manager.query(
    `INSERT INTO activity_placed AS p (tenant_id, device_id, since)
     SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS v (tenant_id, device_id, since) ORDER BY 1, 2
     ON CONFLICT (tenant_id, device_id) DO UPDATE SET seq = DEFAULT`,
    [
      placed.map(({ tenantId }) => tenantId),
      placed.map(({ deviceId }) => deviceId),
      placed.map(({ timestamp }) => timestamp),
    ],
  );
}

async function applyActivity(manager: EntityManager, partitions: number, active: Active[]): Promise<void> {
  if (active.length === 0) return;
  const rows = (await manager.query(
    // States first: a tenant may have many more rules than the few that target a device.
    `WITH s AS MATERIALIZED (
       SELECT s.* FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS v (tenant_id, device_id, last)
       JOIN activity_states s ON s.tenant_id = v.tenant_id AND s.device_id = v.device_id
       WHERE s.state <> 'ACTIVE' OR s.next_alarm IS NULL OR v.last >= s.quiet_since + $4 * interval '1 millisecond'
       ORDER BY s.tenant_id, s.device_id, s.rule_id FOR UPDATE OF s)
     SELECT ${STATE_COLUMNS} FROM s JOIN activity_rules r ON r.tenant_id = s.tenant_id AND r.id = s.rule_id
     WHERE r.enabled AND s.rule_version <= r.version
     ORDER BY s.tenant_id, s.device_id, s.rule_id`,
    [
      active.map(({ tenantId }) => tenantId),
      active.map(({ deviceId }) => deviceId),
      active.map(({ contacts }) => new Date(Math.max(...contacts.map(({ last }) => last))).toISOString()),
      TOLERANCE_MS,
    ],
  )) as StateRow[];
  const byDevice = new Map(active.map((each) => [`${each.tenantId} ${each.deviceId}`, each.contacts]));
  const changed = rows.map((row) => {
    let next = stateOf(row);
    const alarms: Alarm[] = [];
    const contacts = byDevice.get(`${row.tenant_id} ${row.device_id}`)!.toSorted((a, b) => a.first - b.first);
    for (const contact of contacts) {
      const step = activeAt(next, delaysOf(row), contact);
      next = step.next;
      alarms.push(...step.alarms);
    }
    return { row, next, alarms };
  });
  await writeStates(manager, partitions, changed);
}
