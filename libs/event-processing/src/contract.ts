/** Name of the service, by which others find it. */
export const SERVICE = 'event-processing';

/** Name of the reader of data messages: others wait for its positions. */
export const RULES_READER = 'event-processing';

/** Name of the reader that keeps the activity of devices: others wait for its positions. */
export const ACTIVITY_READER = 'event-processing-activity';

interface RuleReference {
  id: string;
  name?: string;
}

/** A data message as it is told of in events: without `id` and `created`. */
export type EventData = { type: 'dataMessage'; version: 1 } & Record<string, unknown>;

/** Manual 15.4.2.2. */
export interface MatchingFiredEvent {
  type: 'matchingFired';
  version: 1;
  tenantId: string;
  timestamp: string;
  firingRule: RuleReference;
  matchingContext: { tenantId: string; timestamp: string; matchingRule: RuleReference; data: EventData };
}

/** Manual 15.4.2.3. */
export interface StateChangeEvent {
  type: 'stateChange';
  version: 1;
  tenantId: string;
  stateKey: string;
  /** Null when it is the first state of the key. */
  previousState: string | number | boolean | null;
  newState: string | number | boolean;
  timestamp: string;
  stateProcessingRuleId: string;
  stateProcessingRule: RuleReference;
  data: EventData;
}

/** Manual 15.4.2.4. */
export interface DeviceActivityEvent {
  type: 'deviceActivity';
  version: 1;
  deviceId: string;
  /** A device without a name has none here either. */
  deviceAdditionalInfo: { deviceName?: string; groupPath: string };
  activityRule: { id: string; name: string };
  state: 'ACTIVE' | 'SILENT';
  previousState: 'UNKNOWN' | 'ACTIVE' | 'SILENT';
  /** When it was so. After a pause of the platform that may be long before it was sent. */
  timestamp: string;
  numberOfAlarmReminders: number;
}
