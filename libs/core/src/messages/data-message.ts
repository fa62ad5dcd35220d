/** Geographic position (manual 15.3.1): degrees, metres above sea level, metres of accuracy. */
export interface Location {
  lat: number;
  lon: number;
  alt?: number;
  accuracy?: number;
  provider?: string;
}

/** What is known about the origin of a message (manual 15.2.1). */
export interface Metadata {
  connector: string;
  source?: string;
  encoding?: string;
  group?: { id: string; path: string };
  network?: Record<string, unknown>;
  device?: { location: Location };
  /** What stages have done (manual 15.3.8). A message that no stage has handled has none of it. */
  transformation?: {
    published?: { location: Location };
    /** `split` only in the messages of a split decoder; their `network` stays with rank 0. */
    decoder?: { location?: Location; split?: { rank: number } };
    /** Of what an external transformation returned. */
    external?: { location: Location };
    pipeline?: { id: string; success: boolean };
  };
}

/** The one message type of the platform, as stored and returned (manual 15.2.1). Routed copies add `type` and `version`. */
export interface DataMessage {
  id: string;
  streamId: string;
  timestamp: string;
  created: string;
  model?: string;
  value?: Record<string, unknown>;
  location?: Location;
  tags: string[];
  extra?: Record<string, string>;
  metadata: Metadata;
}

/** Travels beside a message, so that most readers need not parse the message itself. */
export interface MessageHeader {
  tenantId: string;
  id: string;
  streamId: string;
  /** ISO 8601, UTC, milliseconds. */
  timestamp: string;
  /** `metadata.source`, when the message comes from a device. */
  deviceId?: string;
  apiKeyId?: string;
  /** Of telemetry (`v1/device/DEVICE_ID/telemetry`): what its value does with the current state of the device. */
  state?: 'merged' | 'replaced';
  /** Published as bytes, of which the payload is the hexadecimal notation (manual 6.5.5.2). */
  binary?: true;
  /** W3C trace context of whoever sent the message. */
  traceparent?: string;
  /** Stages that come after the one whose stream the message is in; absent when it is READY after that. */
  stages?: Stage[];
}

/** Where a message may be changed between its arrival and READY, in this order. */
export const STAGES = ['DECODE', 'TRANSFORM'] as const;
export type Stage = (typeof STAGES)[number];

/** Characters that a stream id must not contain (manual 15.2.1), and control characters. */
export const FORBIDDEN_STREAM_ID = /['"\\;{}() ]|\p{Cc}/u;

/** Device identifier (manual 5.2.1.1). */
export const DEVICE_ID = /^urn:lo:nsid:([\w-]{1,128}):([:\w-]{1,128})$/;
