import { type Bus, PartitionReader } from '@orrery/core/bus';
import { copyRows, type Database } from '@orrery/core/database';
import { messageTime, type MessageHeader } from '@orrery/core/messages';
import { STORE_READER } from '../contract.js';

const COLUMNS = ['tenant_id', 'stream_id', 'timestamp', 'id', 'created', 'body'];

/** Stores what arrives on READY: one COPY per batch, in the transaction that moves the positions. */
export const messagesReader = (bus: Bus, database: Database): PartitionReader =>
  new PartitionReader(bus, {
    name: STORE_READER,
    streams: ['READY'],
    database,
    async handle(items, manager) {
      const rows = items.map(({ header, body }) => {
        const { tenantId, streamId, timestamp, id } = JSON.parse(header) as MessageHeader;
        return [tenantId, streamId, timestamp, id, messageTime(id), body] as const;
      });
      await copyRows(manager, 'messages', COLUMNS, rows);
    },
  });
