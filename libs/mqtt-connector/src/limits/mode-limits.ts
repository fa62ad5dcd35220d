import type { LimitName } from '@orrery/core/limits';

/** How often something may be done in each window; counted for the connection, its API key or the whole account. */
export interface Rate {
  readonly limit: LimitName;
  readonly windowMs: number;
  readonly scope: 'connection' | 'key' | 'account';
}

export interface LimitedTraffic {
  /** In the order in which they are counted: what one of them refuses does not count for the next. */
  readonly rates: readonly Rate[];
  /** What happens to what is over the limit, for the audit log. */
  readonly effect: string;
}

/** What manual 23.3 limits in a mode. */
export interface ModeLimits {
  /** Concurrent connections of the account. */
  readonly connections: LimitName;
  /** Attempts to connect. */
  readonly connects?: { readonly perDeviceSecond: LimitName; readonly perAccountSecond: LimitName };
  readonly publications: LimitedTraffic;
  readonly subscribes?: LimitedTraffic;
}

export const SECOND_MS = 1000;
export const MINUTE_MS = 60_000;
export const HOUR_MS = 3_600_000;

export const DEVICE_LIMITS: ModeLimits = {
  connections: 'mqttDeviceConnections',
  connects: {
    perDeviceSecond: 'mqttDeviceConnectsPerDeviceSecond',
    perAccountSecond: 'mqttDeviceConnectsPerAccountSecond',
  },
  publications: {
    effect: 'Publications are dropped',
    rates: [
      { limit: 'mqttDevicePerConnectionMinute', windowMs: MINUTE_MS, scope: 'connection' },
      { limit: 'mqttDevicePerAccountHour', windowMs: HOUR_MS, scope: 'account' },
    ],
  },
  subscribes: {
    effect: 'Subscriptions are refused',
    rates: [{ limit: 'mqttDeviceSubscribesPerMinute', windowMs: MINUTE_MS, scope: 'connection' }],
  },
};

export const CONNECTOR_LIMITS: ModeLimits = {
  connections: 'mqttConnectorConnections',
  publications: {
    effect: 'Sessions that publish are closed',
    rates: [
      { limit: 'mqttConnectorPerKeyMinute', windowMs: MINUTE_MS, scope: 'key' },
      { limit: 'mqttConnectorPerAccountHour', windowMs: HOUR_MS, scope: 'account' },
    ],
  },
};

export const APPLICATION_LIMITS: ModeLimits = {
  connections: 'mqttApplicationConnections',
  publications: {
    effect: 'Sessions that publish are closed',
    rates: [
      { limit: 'mqttApplicationPerKeyMinute', windowMs: MINUTE_MS, scope: 'key' },
      { limit: 'mqttApplicationPerAccountHour', windowMs: HOUR_MS, scope: 'account' },
    ],
  },
};
