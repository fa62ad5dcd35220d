import { Audit } from '../audit/audit.js';
import type { Bus } from './bus.js';
import type { ReadItem } from './read-items.js';
import { deadSubject } from './streams.js';

/** Keeps a message that cannot be handled, with the reason, before its reader moves past it. */
export async function writeDeadLetter(bus: Bus, reader: string, item: ReadItem, error: unknown): Promise<void> {
  const reason = error instanceof Error ? error.message : String(error);
  bus.logger.error(
    { reader, stream: item.stream, partition: item.partition, seq: item.seq, error: reason },
    'a message was set aside',
  );
  const tenantId = tenantOf(item.header);
  await bus.js.publish(
    deadSubject(tenantId),
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
  if (tenantId !== undefined)
    new Audit(bus).write({
      tenantId,
      level: 'error',
      category: 'data',
      subcategory: reader,
      type: 'message_set_aside',
      description: 'A message could not be handled and was set aside',
      content: { seq: item.seq, stream: `${item.stream}_${item.partition}` },
    });
}

function tenantOf(header: string): string | undefined {
  try {
    const { tenantId } = JSON.parse(header) as { tenantId?: unknown };
    return typeof tenantId === 'string' ? tenantId : undefined;
  } catch {
    return undefined;
  }
}
