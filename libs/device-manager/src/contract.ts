import { defineRpc, type Rpc } from '@orrery/core/bus';
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

/**
 * Type of event, on the partition of the device: it is new, or has another name or group. Where it is, `targetedDevices`
 * tells: when the event is read, its group may have another path already.
 */
export const DEVICE_PLACED = 'devicePlaced';

export interface DevicePlacedEvent {
  type: typeof DEVICE_PLACED;
  deviceId: string;
  /** ISO 8601. */
  timestamp: string;
}

/**
 * Type of event, on the partition of the tenant's id: groups have other paths, and their devices with them, of which there
 * may be many: `targetedDevices` tells them.
 */
export const GROUPS_MOVED = 'groupsMoved';

export interface GroupsMovedEvent {
  type: typeof GROUPS_MOVED;
  /** ISO 8601. */
  timestamp: string;
}

/** A device as those see it who watch devices and groups. */
export interface PlacedDevice {
  deviceId: string;
  /** Null when it has none. */
  name: string | null;
  groupPath: string;
}

/** Devices by id, and all of a group, with those of the groups below it or without. */
export interface DeviceTargets {
  deviceIds: readonly string[];
  groupPaths: ReadonlyArray<{ path: string; includeSubPath: boolean }>;
}

/** The devices that are targeted, by id: at most `limit` after the id `after`, which is empty at first. */
export const targetedDevices = defineRpc<
  DeviceTargets & { tenantId: string; after: string; limit: number },
  PlacedDevice[]
>('device-manager', 'targetedDevices');

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

/** What nodes are asked to do, each with a capability of its own (manual 5.2.1.5). */
export type RequestKind = 'command' | 'configuration' | 'resource';

/** An event on the partition of a device: what a connector heard from or about one of its nodes. */
export interface NodeEvent {
  connector: string;
  nodeId: string;
  deviceId: string;
  /** Time of reception, ISO 8601. */
  timestamp: string;
}

export const NODE_STATUS = 'nodeStatus';

/** Manual 6.6.3. The numbers put statuses into an order: an older one changes nothing. */
export interface NodeStatusEvent extends NodeEvent {
  type: typeof NODE_STATUS;
  status: 'ONLINE' | 'OFFLINE';
  /** Those that are absent stay as they are. */
  capabilities: Partial<Record<RequestKind, { available: boolean }>>;
  /** ISO 8601. */
  lastContact: string;
  /** Integers that are safe in JSON. */
  sessionSequenceId?: number;
  eventSequenceId?: number;
}

/** A parameter of a configuration (manual 8.2.3.1). BINARY is base64. */
export interface ConfigurationParameter {
  type: 'INT32' | 'UINT32' | 'FLOAT' | 'STRING' | 'BINARY';
  value: number | string;
}

/**
 * What external connectors are asked to pass on to a node, in the form in which they get it (manual 6.6.5.1, 6.6.6.1,
 * 6.6.7.1).
 */
export interface NodeRequests {
  command: { id: string; nodeId: string; value?: unknown; ackMode: 'NONE' | 'NETWORK' | 'APPLICATIVE' };
  configuration: { nodeId: string; targetVersion: number; parameters: Record<string, ConfigurationParameter> };
  resource: {
    nodeId: string;
    resourceId: string;
    updateCorrelationId: string;
    sourceVersion: string;
    targetVersion: string;
    /** MD5 in hex digits and size in bytes of the file as it is. */
    delivery: { type: 'HTTP_DELIVERY'; uri: string; md5: string; size: number };
  };
}

/**
 * Sends a request to every external connector of the tenant that is subscribed to its kind. Answered by each instance of
 * the connector that could hand it to one of them; when nobody is subscribed, nobody answers.
 */
export const externalConnectorRequest: Rpc<NodeRequests[RequestKind], Record<string, never>> = {
  subject: 'downlink.x-connector',
};

/** Address of `externalConnectorRequest`. */
export const subscribedTo = (tenantId: string, kind: RequestKind): string => `${tenantId}.${kind}`;

/** Type of event, on the partition of the tenant's id: an external connector takes requests of this kind from now on. */
export const REQUESTS_SUBSCRIBED = 'requestsSubscribed';

export interface RequestsSubscribedEvent {
  type: typeof REQUESTS_SUBSCRIBED;
  connector: string;
  kind: RequestKind;
  /** ISO 8601. */
  timestamp: string;
}

/** The answer to a command (manual 6.6.5.2). Whether there is such a command of the node has not been looked at. */
export interface CommandResponseEvent extends NodeEvent {
  type: 'commandResponse';
  id: string;
  response?: unknown;
}

/** Parameters that a request has set, or has not: their values are of the right type, whatever the range (6.6.6.2). */
export interface ConfigurationResponseEvent extends NodeEvent {
  type: 'configurationResponse';
  targetVersion: number;
  parameters: Record<string, ConfigurationParameter>;
}

/** Parameters as they are on the device (manual 6.6.6.3). */
export interface ConfigurationReportEvent extends NodeEvent {
  type: 'configurationReport';
  parameters: Record<string, ConfigurationParameter>;
}

/** An update of a resource has failed (manual 6.6.7.2). */
export interface ResourceFailureEvent extends NodeEvent {
  type: 'resourceFailure';
  updateCorrelationId: string;
  error: { code?: string; details?: string };
}

/** Versions that are on the device (manual 6.6.7.3). */
export interface ResourceReportEvent extends NodeEvent {
  type: 'resourceReport';
  resources: Record<string, { version: string }>;
}

/** What a node answers and reports, checked in itself. */
export type NodeReportEvent =
  | CommandResponseEvent
  | ConfigurationResponseEvent
  | ConfigurationReportEvent
  | ResourceFailureEvent
  | ResourceReportEvent;

/** Who logs in with an access key of its own: a device that has registered itself. */
export interface DeviceAccess {
  tenantId: string;
  /** SHA-256 of the access key, in hex digits. */
  keyHash: string;
  /** The API key by which it registered. */
  apiKeyId: string;
}

/**
 * Finds out who has this DEVICE_ID, which is the node id of its mqtt interface. Null: nobody. `DEVICE_CONTROL` tells when
 * what is cached of a node's access is no longer true, too.
 */
export const findDeviceAccess = defineRpc<{ id: string }, { access: DeviceAccess | null }>(
  'device-manager',
  'findDeviceAccess',
);

/** What a device changes of itself: all of it or nothing. */
export interface ChangeOfDevice {
  tenantId: string;
  deviceId: string;
  nodeId: string;
  limits: LimitValues;
  name?: string;
  firmwareVersion?: string;
  /** Added, or replaced. */
  property?: { name: string; value: string };
}

/** @throws GENERIC_INVALID_PARAMETER_ERROR, also at the limit of properties; DM_DEVICE_NOT_FOUND */
export const changeByDevice = defineRpc<ChangeOfDevice, Record<string, never>>('device-manager', 'changeByDevice');

export interface DeviceLicense {
  id: string;
  data: string;
  signature: string;
  /** What the device has to do, or has done last. */
  operation: 'add' | 'update' | 'remove';
  /** One more with each operation. */
  revision: number;
}

/** The licenses of a device, but those that it has removed. `DEVICE_CONTROL` tells of each operation. */
export const deviceLicenses = defineRpc<{ tenantId: string; deviceId: string }, DeviceLicense[]>(
  'device-manager',
  'deviceLicenses',
);

export const LICENSE_STATES = ['inuse', 'removed', 'error', 'done'] as const;

export interface LicenseReport {
  tenantId: string;
  deviceId: string;
  id: string;
  state: (typeof LICENSE_STATES)[number];
  error?: string;
}

/** What a device tells of a license. @throws NOT_FOUND; GENERIC_INVALID_PARAMETER_ERROR */
export const reportLicense = defineRpc<LicenseReport, Record<string, never>>('device-manager', 'reportLicense');
