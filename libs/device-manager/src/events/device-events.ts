import { controlSubject, streamSubject } from '@orrery/core/bus';
import type { OutboxItem } from '@orrery/core/database';
import {
  type DeviceLifecycleEvent,
  type DeviceStatusEvent,
  type EventHeader,
  partitionOf,
} from '@orrery/core/messages';
import {
  DEVICE_CONTROL,
  DEVICE_PLACED,
  type DeviceChange,
  type DevicePlacedEvent,
  GROUPS_MOVED,
  type GroupsMovedEvent,
} from '../contract.js';
import type { InterfaceStatus } from '../connectors/connector.js';

/** The device that an event is about, as trigger filters see it (manual 14.2.2). */
export interface EventDevice {
  tenantId: string;
  id: string;
  connectors: string[];
  groupPath: string;
  tags: string[];
}

const eventItem = (partitions: number, header: EventHeader, event: object): OutboxItem => ({
  subject: streamSubject('EVENTS', partitionOf(header.tenantId, header.key, partitions)),
  header: JSON.stringify(header),
  body: JSON.stringify(event),
});

const deviceEvent = (
  partitions: number,
  { id: key, ...context }: EventDevice,
  event: DeviceLifecycleEvent | DeviceStatusEvent,
): OutboxItem => eventItem(partitions, { type: event.type, key, ...context }, event);

export const lifecycleEvent = (
  partitions: number,
  device: EventDevice,
  type: DeviceLifecycleEvent['type'],
  at: Date,
): OutboxItem =>
  deviceEvent(partitions, device, { type, version: 1, deviceId: device.id, timestamp: at.toISOString() });

export const placedEvent = (partitions: number, tenantId: string, deviceId: string, at: Date): OutboxItem =>
  eventItem(partitions, { tenantId, type: DEVICE_PLACED, key: deviceId }, {
    type: DEVICE_PLACED,
    deviceId,
    timestamp: at.toISOString(),
  } satisfies DevicePlacedEvent);

export const groupsMovedEvent = (partitions: number, tenantId: string, at: Date): OutboxItem =>
  eventItem(partitions, { tenantId, type: GROUPS_MOVED, key: tenantId }, {
    type: GROUPS_MOVED,
    timestamp: at.toISOString(),
  } satisfies GroupsMovedEvent);

export interface StatusChange {
  connector: string;
  nodeId: string;
  enabled: boolean;
  previous: InterfaceStatus;
  current: InterfaceStatus;
  /** ISO 8601. */
  timestamp: string;
}

export const statusEvent = (partitions: number, device: EventDevice, change: StatusChange): OutboxItem =>
  deviceEvent(partitions, device, {
    type: 'deviceStatus',
    version: 1,
    deviceId: device.id,
    updatedInterface: {
      connector: change.connector,
      nodeId: change.nodeId,
      enabled: change.enabled,
      status: { current: change.current, previous: change.previous },
    },
    timestamp: change.timestamp,
  });

/** Tells connectors that what they have cached of these nodes is no longer true. */
export const changeNotice = (change: DeviceChange): OutboxItem => ({
  subject: controlSubject(DEVICE_CONTROL),
  header: JSON.stringify(change),
  body: '{}',
});
