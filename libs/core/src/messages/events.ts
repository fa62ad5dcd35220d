// What devices, rules and commands report on EVENTS. The body of an event is its routed shape (manual 15.4); what
// filters need beyond that shape travels in the header.

/** Header of every event. */
export interface EventHeader {
  tenantId: string;
  type: string;
  /** Decides the partition: the device for device events. */
  key: string;
  /** Context for trigger filters (manual 14.2.2), of the device that the event is about. */
  connectors?: string[];
  groupPath?: string;
  tags?: string[];
  /** W3C trace context of what the event comes from. */
  traceparent?: string;
  /** Of events that are stored too (manual 15.4.2): see `storedEvent`. */
  stored?: {
    /** Id of the stored message: given once, so that it is stored once. Its time is `created`. */
    id: string;
    /** Id of the data message that it comes from. */
    cause?: string;
    /** The rules in full, by their field in the event; in the routed event they have an id and a name only. */
    rules: Record<string, unknown>;
    /** Tags of the rule. */
    tags?: string[];
  };
}

/** Manual 15.4.3.1 and 15.4.3.2. */
export interface DeviceLifecycleEvent {
  type: 'deviceCreated' | 'deviceDeleted';
  version: 1;
  deviceId: string;
  timestamp: string;
}

/** Manual 15.4.3.3. */
export interface DeviceStatusEvent {
  type: 'deviceStatus';
  version: 1;
  deviceId: string;
  updatedInterface: {
    connector: string;
    nodeId: string;
    enabled: boolean;
    status: { current: string; previous: string };
  };
  timestamp: string;
}

/** What a connector reports about a node's session; device-manager turns it into interface state and `deviceStatus`. */
export interface NodeSessionEvent {
  type: 'nodeConnected' | 'nodeDisconnected' | 'nodeSubscribed' | 'nodeContact';
  connector: string;
  nodeId: string;
  deviceId: string;
  /** Unique per session; a report of a session that is no longer the current one is ignored. */
  sessionId: string;
  /** Connector instance that holds the session: when its lease expires, its sessions end. */
  instance: string;
  timestamp: string;
  /** Merged into the interface's `activity`. */
  activity?: Record<string, unknown>;
  /** Replaces the named capabilities of the interface. */
  capabilities?: Record<string, { available: boolean; version?: number }>;
}
