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
export function documentOf(item: ReadItem): IndexedDocument | undefined {
  if (item.stream === 'EVENTS') {
    const stored = storedEvent(item.headerAs<EventHeader>(), item.body);
    return stored && toDocument(stored.header.tenantId, stored.message);
  }
  return storedDocument(item.headerAs<MessageHeader>().tenantId, item.body);
}

/** @param text a message as the store keeps it, JSON. */
export const storedDocument = (tenantId: string, text: string): IndexedDocument =>
  toDocument(tenantId, JSON.parse(text) as DataMessage, text);

function toDocument(tenantId: string, message: DataMessage | StoredEvent['message'], text?: string): IndexedDocument {
  const { id, created, model } = message;
  const source = message as unknown as Record<string, unknown>;
  return { tenantId, id, created, source, ...(model ? { model } : {}), ...(text === undefined ? {} : { text }) };
}
