import { type Bus, PartitionReader, type ReadItem } from '@orrery/core/bus';
import { copyRows, type Database } from '@orrery/core/database';
import { type EventHeader, messageTime, type MessageHeader, storedEvent } from '@orrery/core/messages';
import { STORE_READER } from '../contract.js';

const COLUMNS = ['tenant_id', 'stream_id', 'timestamp', 'id', 'created', 'body', 'cause'];

type Row = readonly [string, string, string, string, Date, string, string | undefined];

const rowOf = ({ tenantId, streamId, timestamp, id }: MessageHeader, body: string, cause?: string): Row => [
  tenantId,
  streamId,
  timestamp,
  id,
  messageTime(id),
  body,
  cause,
];

/** Nothing for the events that are not stored. */
function rowsOf(item: ReadItem): Row[] {
  if (item.stream !== 'EVENTS') return [rowOf(item.headerAs<MessageHeader>(), item.body)];
  const eventHeader = item.headerAs<EventHeader>();
  const stored = storedEvent(eventHeader, item.body);
  return stored ? [rowOf(stored.header, JSON.stringify(stored.message), eventHeader.stored?.cause)] : [];
}

/** Stores what arrives on READY and the events of rules: one COPY per batch, in the transaction that moves the positions. */
export const messagesReader = (bus: Bus, database: Database): PartitionReader =>
  new PartitionReader(bus, {
    name: STORE_READER,
    streams: ['READY', 'EVENTS'],
    database,
    handle: (items, manager) => copyRows(manager, 'messages', COLUMNS, items.flatMap(rowsOf)),
  });
