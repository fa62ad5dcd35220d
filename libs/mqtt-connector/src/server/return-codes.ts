/** Return codes of CONNACK in MQTT 3.x (manual 6.4). */
export const Refusal = {
  ProtocolVersion: 0x01,
  Identifier: 0x02,
  Unavailable: 0x03,
  Credentials: 0x04,
  NotAuthorized: 0x05,
} as const;
export type Refusal = (typeof Refusal)[keyof typeof Refusal];

/** The same as reason codes of MQTT 5. */
export const REFUSAL_REASONS: Record<Refusal, number> = { 1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87 };

/** Why the server ends a session, does not open it, or refuses a packet, as reason codes of MQTT 5. */
export const Reason = {
  Unspecified: 0x80,
  Malformed: 0x81,
  ProtocolError: 0x82,
  ImplementationSpecific: 0x83,
  NotAuthorized: 0x87,
  // 0x88 is for CONNACK alone.
  ServerBusy: 0x89,
  ShuttingDown: 0x8b,
  BadAuthenticationMethod: 0x8c,
  KeepAliveTimeout: 0x8d,
  SessionTakenOver: 0x8e,
  PacketIdentifierNotFound: 0x92,
  TopicAliasInvalid: 0x94,
  PacketTooLarge: 0x95,
  MessageRateTooHigh: 0x96,
  QuotaExceeded: 0x97,
  AdministrativeAction: 0x98,
  PayloadFormatInvalid: 0x99,
  ConnectionRateExceeded: 0x9f,
  SubscriptionIdentifiersNotSupported: 0xa1,
} as const;
export type Reason = (typeof Reason)[keyof typeof Reason];

/** Return code of SUBACK for a filter that cannot be subscribed (manual 16.2.2.3): MQTT 3.1 knows no failure. */
export const subscribeFailure = (protocolVersion: number): number => (protocolVersion === 3 ? 0x01 : 0x80);
