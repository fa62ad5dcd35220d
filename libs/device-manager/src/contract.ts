import { defineRpc } from '@orrery/core/bus';
import type { LimitValues } from '@orrery/core/limits';
import type { DeviceContext } from '@orrery/core/messages';

/** What a connector needs to know of a node: its interface, and the device that it belongs to. */
export interface ResolvedNode {
  enabled: boolean;
  device: DeviceContext;
}

/**
 * Finds the device of a node, and registers it when it is unknown and `autoRegister` is set (manual 6.5.3).
 * @throws DM_INTERFACE_NOT_FOUND without `autoRegister`; GENERIC_QUOTA_EXCEEDED_ERROR at the device limit;
 * GENERIC_INVALID_PARAMETER_ERROR when the node id can be no device's.
 */
export const resolveNode = defineRpc<
  { tenantId: string; connector: string; nodeId: string; autoRegister: boolean; limits: LimitValues },
  ResolvedNode
>('device-manager', 'resolveNode');

/** Kind of control event for devices: the header carries `DeviceChange`. */
export const DEVICE_CONTROL = 'device';

/** Something that a connector has cached of these nodes is no longer true. */
export interface DeviceChange {
  tenantId: string;
  deviceId: string;
  nodes: Array<{ connector: string; nodeId: string }>;
}

/** Kind of control event for groups: every cached node of the tenant may have another group path. */
export const GROUP_CONTROL = 'group';

export interface GroupChange {
  tenantId: string;
}

/**
 * Key in the lease bucket by which a connector instance shows that it lives. When it is gone, the sessions of that
 * instance end: their interfaces become OFFLINE.
 */
export const connectorLeaseKey = (connector: string, instance: string): string => `connector.${connector}.${instance}`;

/**
 * Type of event, on the partition of the device, by which event-processing tells the state of a device for an activity
 * rule: what the inventory then shows of it.
 */
export const RULE_ACTIVITY = 'ruleActivity';

/** Manual 17.2.7.3. Null ends the state: the rule is gone, or no longer targets the device. */
export interface ActivityStateEvent {
  type: typeof RULE_ACTIVITY;
  deviceId: string;
  ruleId: string;
  state: 'UNKNOWN' | 'ACTIVE' | 'SILENT' | null;
  /** ISO 8601. */
  timestamp: string;
}

/** Type of event, on the partition of the device, by which analytics tells what is known of a device's network. */
export const DEVICE_NETWORK = 'deviceNetwork';

/** Manual 9.2.3. */
export interface DeviceNetworkEvent {
  type: typeof DEVICE_NETWORK;
  deviceId: string;
  /** The ratio is from 0 to 1; null when it is no longer known. */
  lora: { lostMessagesRatio: number | null };
  timestamp: string;
}

/** Type of event, on the partition of the device, by which a connector tells what an external connector says of a node. */
export const NODE_STATUS = 'nodeStatus';

/** Manual 6.6.3. The numbers put statuses into an order: an older one changes nothing. */
export interface NodeStatusEvent {
  type: typeof NODE_STATUS;
  connector: string;
  nodeId: string;
  deviceId: string;
  status: 'ONLINE' | 'OFFLINE';
  /** Those that are absent stay as they are. */
  capabilities: Partial<Record<'command' | 'configuration' | 'resource', { available: boolean }>>;
  /** ISO 8601. */
  lastContact: string;
  /** Integers that are safe in JSON. */
  sessionSequenceId?: number;
  eventSequenceId?: number;
  /** Time of reception, ISO 8601. */
  timestamp: string;
}
