import { defineRpc } from '@orrery/core/bus';

/** Name of the service, by which others find it. */
export const SERVICE = 'search';

/** Name of the index's reader: others wait for its positions. */
export const SEARCH_READER = 'search';

/** A stream that a device sends to. */
export interface DeviceStream {
  streamId: string;
  /** Messages of the device in the stream, as far as they are indexed. */
  count: number;
  /** Arrival of the last one; ISO 8601. */
  lastUpdate: string;
}

/** Streams of the messages of a device that arrived since `from` (ISO 8601), the latest first. */
export const streamsOfDevice = defineRpc<
  { tenantId: string; deviceId: string; from: string; limit: number },
  { streams: DeviceStream[] }
>(SERVICE, 'streamsOfDevice');
