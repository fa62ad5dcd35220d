import type { ReadItem } from '@orrery/core/bus';
import {
  type DataMessage,
  type EventHeader,
  type MessageHeader,
  storedEvent,
  type StoredEvent,
} from '@orrery/core/messages';
import type { IndexedDocument } from '../search-engine.js';

/** A message of READY, or an event that is stored too; undefined for those that are only routed. */
export function documentOf({ stream, header, body }: ReadItem): IndexedDocument | undefined {
  if (stream === 'EVENTS') {
    const stored = storedEvent(JSON.parse(header) as EventHeader, body);
    return stored && toDocument(stored.header.tenantId, stored.message);
  }
  return toDocument((JSON.parse(header) as MessageHeader).tenantId, JSON.parse(body) as DataMessage);
}

/** A stored message as it is indexed: what it does not have is null (manual 15.2.3). */
export function toDocument(tenantId: string, message: DataMessage | StoredEvent['message']): IndexedDocument {
  const { id, created, model, location } = message;
  return {
    tenantId,
    id,
    created,
    ...(model ? { model } : {}),
    source: {
      extra: null,
      model: null,
      value: null,
      ...message,
      location: location ? { provider: null, alt: null, accuracy: null, ...location } : null,
    },
  };
}
