import type { DataMessage, Location, MessageHeader, Metadata } from './data-message.js';
import { messageTime, newMessageId } from './message-id.js';
import { MAX_TAGS, type PublishedMessage } from './validation.js';

/** What enrichment takes from the inventory (manual 11.2.1). */
export interface DeviceContext {
  deviceId: string;
  defaultDataStreamId: string;
  tags: readonly string[];
  properties: Readonly<Record<string, string>>;
  group: { id: string; path: string };
  staticLocation?: { lat: number; lon: number; alt?: number };
  /** Encoding of the interface definition: wins over the message's own. */
  encoding?: string;
}

/** Where a message comes from. */
export interface MessageOrigin {
  tenantId: string;
  connector: string;
  network?: Record<string, unknown>;
  /** Where the network has found the device; also in `network` (manual 15.3.4). */
  networkLocation?: Location;
  device?: DeviceContext;
  apiKeyId?: string;
  /** See `MessageHeader`. */
  state?: MessageHeader['state'];
  traceparent?: string;
}

export interface BuiltMessage {
  header: MessageHeader;
  message: DataMessage;
  /** Device tags that did not fit into the ten of a message (MSG-006). */
  droppedTags: string[];
}

/** Builds the platform's message from what was published and enriches it with the device, in one pass. */
export function buildMessage(published: PublishedMessage, origin: MessageOrigin): BuiltMessage {
  const id = newMessageId();
  // Not the clock's, which may go back: who looks for a message by the time of its id finds it by this one too.
  const created = messageTime(id).toISOString();
  const { device } = origin;

  const metadata: Metadata = { connector: origin.connector };
  const source = device?.deviceId ?? published.metadata.source;
  if (source !== undefined) metadata.source = source;
  const encoding = device?.encoding ?? published.metadata.encoding;
  if (encoding !== undefined) metadata.encoding = encoding;
  let tags = published.tags;
  const droppedTags: string[] = [];
  // From here on the best source counts (manual 15.3.6.1): stages know better than the network and the device.
  let location: Location | undefined = published.location ?? origin.networkLocation;
  if (device) {
    metadata.group = device.group;
    if (published.location) metadata.transformation = { published: { location: published.location } };
    if (device.staticLocation) {
      // The static location outranks the published one (manual 15.3.6.1).
      location = { provider: 'static', ...device.staticLocation };
      metadata.device = { location };
    }
    if (device.tags.length > 0) {
      const merged = [...new Set([...published.tags, ...device.tags])];
      tags = merged.slice(0, MAX_TAGS);
      droppedTags.push(...merged.slice(MAX_TAGS));
    }
  }
  if (origin.network) metadata.network = origin.network;

  const streamId = published.streamId ?? device?.defaultDataStreamId;
  if (streamId === undefined) throw new TypeError('a message without device needs a streamId');
  const timestamp = published.timestamp ?? created;
  const message: DataMessage = {
    metadata,
    streamId,
    created,
    ...(device ? { extra: { ...device.properties } } : {}),
    ...(location ? { location } : {}),
    ...(published.model === undefined ? {} : { model: published.model }),
    id,
    ...(published.value === undefined ? {} : { value: published.value }),
    timestamp,
    tags,
  };
  const header: MessageHeader = {
    tenantId: origin.tenantId,
    id,
    streamId,
    timestamp,
    ...(source === undefined ? {} : { deviceId: source }),
    ...(origin.apiKeyId === undefined ? {} : { apiKeyId: origin.apiKeyId }),
    ...(published.binary ? { binary: true } : {}),
    ...(origin.state === undefined ? {} : { state: origin.state }),
    ...(origin.traceparent === undefined ? {} : { traceparent: origin.traceparent }),
  };
  return { header, message, droppedTags };
}

/** What decides the partition of a message: its device, or its stream when there is none. */
export const partitionKey = (header: Pick<MessageHeader, 'deviceId' | 'streamId'>): string =>
  header.deviceId ?? header.streamId;
