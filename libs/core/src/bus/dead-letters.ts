import type { Bus } from './bus.js';
import type { ReadItem } from './partition-reader.js';
import { DEAD_SUBJECT } from './streams.js';

/** Keeps a message that cannot be handled, with the reason, before its reader moves past it. */
export async function writeDeadLetter(bus: Bus, reader: string, item: ReadItem, error: unknown): Promise<void> {
  const reason = error instanceof Error ? error.message : String(error);
  bus.logger.error(
    { reader, stream: item.stream, partition: item.partition, seq: item.seq, error: reason },
    'a message was set aside',
  );
  await bus.js.publish(
    DEAD_SUBJECT,
    JSON.stringify({
      reader,
      stream: item.stream,
      partition: item.partition,
      seq: item.seq,
      error: reason,
      failed: new Date().toISOString(),
      header: item.header,
      body: item.body,
    }),
  );
}
