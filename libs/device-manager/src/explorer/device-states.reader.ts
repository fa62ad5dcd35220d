import type { Audit } from '@orrery/core/audit';
import { type Bus, PartitionReader } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import {
  type DataMessage,
  DEVICE_ID,
  type EventHeader,
  type Location,
  type MessageHeader,
  messageTime,
  type NodeSessionEvent,
} from '@orrery/core/messages';
import type { EntityManager } from 'typeorm';
import {
  type ActivityStateEvent,
  DEVICE_NETWORK,
  type DeviceNetworkEvent,
  NODE_STATUS,
  type NodeStatusEvent,
  RULE_ACTIVITY,
} from '../contract.js';
import { TelemetryStates } from '../telemetry/telemetry-states.js';
import { isText } from '../text.js';
import { writeActivities } from './activities.js';

/** What a batch says about one device. */
interface Heard {
  tenantId: string;
  deviceId: string;
  /** Latest message or contact, epoch milliseconds. */
  communication: number;
  /** Messages in their order that may have a location. */
  located: Array<{ time: number; body: string }>;
  /** Null when it is no longer known. */
  lostMessagesRatio?: number | null;
}

/** Manual 9.1 allows seconds. */
const LINGER_MS = 200;

/**
 * Keeps what messages and connectors say of devices: one statement per batch, which touches each device once, so that a
 * device that sends often is not written more often for it.
 */
export const deviceStatesReader = (bus: Bus, database: Database, audit: Audit): PartitionReader =>
  new PartitionReader(bus, {
    name: 'device-manager-states',
    streams: ['READY', 'EVENTS'],
    database,
    maxItems: 5000,
    lingerMs: LINGER_MS,
    async handle(items, manager) {
      const heard = new HeardDevices();
      const telemetry = new TelemetryStates();
      const activities: Array<ActivityStateEvent & { tenantId: string }> = [];
      for (const item of items)
        if (item.stream === 'READY') {
          const header = item.headerAs<MessageHeader>();
          heard.message(header, item.body);
          telemetry.message(header, item.body);
        } else {
          const { tenantId, type } = item.headerAs<EventHeader>();
          if (type === 'nodeContact') heard.contact(tenantId, JSON.parse(item.body) as NodeSessionEvent);
          else if (type === NODE_STATUS) heard.status(tenantId, JSON.parse(item.body) as NodeStatusEvent);
          else if (type === DEVICE_NETWORK) heard.network(tenantId, JSON.parse(item.body) as DeviceNetworkEvent);
          else if (type === RULE_ACTIVITY)
            activities.push({ ...(JSON.parse(item.body) as ActivityStateEvent), tenantId });
        }
      const told = await telemetry.write(manager, audit);
      await writeActivities(manager, activities);
      await writeStates(manager, heard.devices());
      return told;
    },
  });

class HeardDevices {
  private readonly byKey = new Map<string, Heard>();

  devices(): Heard[] {
    return [...this.byKey.values()];
  }

  message({ tenantId, deviceId, id }: MessageHeader, body: string): void {
    // The source of an injected message may be any text.
    if (deviceId === undefined || !DEVICE_ID.test(deviceId)) return;
    const time = messageTime(id).getTime();
    const device = this.of(tenantId, deviceId);
    device.communication = Math.max(device.communication, time);
    if (body.includes('"location":')) device.located.push({ time, body });
  }

  contact(tenantId: string, { deviceId, timestamp }: NodeSessionEvent): void {
    this.communicated(tenantId, deviceId, Date.parse(timestamp));
  }

  /** External connectors tell any time of contact; none is later than when it was told. */
  status(tenantId: string, { deviceId, lastContact, timestamp }: NodeStatusEvent): void {
    this.communicated(tenantId, deviceId, Math.min(Date.parse(lastContact), Date.parse(timestamp)));
  }

  private communicated(tenantId: string, deviceId: string, time: number): void {
    if (Number.isNaN(time)) return;
    const device = this.of(tenantId, deviceId);
    device.communication = Math.max(device.communication, time);
  }

  network(tenantId: string, { deviceId, lora }: DeviceNetworkEvent): void {
    this.of(tenantId, deviceId).lostMessagesRatio = lora.lostMessagesRatio;
  }

  private of(tenantId: string, deviceId: string): Heard {
    const key = `${tenantId}\n${deviceId}`;
    let device = this.byKey.get(key);
    if (!device) {
      device = { tenantId, deviceId, communication: Number.NEGATIVE_INFINITY, located: [] };
      this.byKey.set(key, device);
    }
    return device;
  }
}

/** A longer provider, or one that cannot be stored, is left out: devices write what they like. */
const LONGEST_PROVIDER = 256;

interface Located {
  location: string;
  time: number;
}

/** The newest root location; messages that have none are passed over, and so is a static one, which the device has itself. */
function lastLocation({ located }: Heard): Located | undefined {
  for (const { time, body } of located.toReversed()) {
    const { location, metadata } = JSON.parse(body) as DataMessage;
    if (!location || metadata.device) continue;
    const { lat, lon, alt, accuracy, provider } = location;
    const named = isText(provider, 1, LONGEST_PROVIDER) ? { provider } : {};
    return { time, location: JSON.stringify({ lat, lon, alt, accuracy, ...named } satisfies Partial<Location>) };
  }
  return undefined;
}

const isoOf = (time: number | undefined): string | null =>
  time === undefined || !Number.isFinite(time) ? null : new Date(time).toISOString();

/** The newest wins, whatever comes late. Devices that are unknown, or deleted meanwhile, have no row. */
async function writeStates(manager: EntityManager, devices: Heard[]): Promise<void> {
  if (devices.length === 0) return;
  const locations = devices.map(lastLocation);
  await manager.query(
    `UPDATE device_states s SET
       last_communication = greatest(s.last_communication, v.communication),
       location = CASE WHEN v.located >= coalesce(s.located, '-infinity') THEN v.location ELSE s.location END,
       located = greatest(s.located, v.located),
       lora_lost_messages_ratio = CASE WHEN v.has_ratio THEN v.ratio ELSE s.lora_lost_messages_ratio END
     FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::jsonb[], $5::timestamptz[], $6::boolean[], $7::float8[])
       AS v (tenant_id, device_id, communication, location, located, has_ratio, ratio)
     WHERE s.tenant_id = v.tenant_id AND s.device_id = v.device_id
       AND (v.communication > s.last_communication OR v.located >= coalesce(s.located, '-infinity') OR v.has_ratio)`,
    [
      devices.map(({ tenantId }) => tenantId),
      devices.map(({ deviceId }) => deviceId),
      devices.map(({ communication }) => isoOf(communication)),
      locations.map((each) => each?.location ?? null),
      locations.map((each) => isoOf(each?.time)),
      devices.map(({ lostMessagesRatio }) => lostMessagesRatio !== undefined),
      devices.map(({ lostMessagesRatio }) => lostMessagesRatio ?? null),
    ],
  );
}
