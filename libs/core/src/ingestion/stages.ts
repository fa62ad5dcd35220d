import type { EntityManager } from 'typeorm';
import { stagesSubject, streamSubject } from '../bus/index.js';
import { type OutboxItem, writeOutbox } from '../database/index.js';
import { type EntryItem, type MessageFilter, type MessageHeader, packItems, type Stage } from '../messages/index.js';

/**
 * Says which messages of a tenant visit a stage: those that pass one of the filters; to be called in the transaction of
 * whatever changes them. Connectors follow within milliseconds, so the stage itself decides again what it does.
 * @param tenantId `public` for filters that hold for every tenant.
 */
export const writeStageFilters = (
  manager: EntityManager,
  stage: Stage,
  tenantId: string,
  filters: readonly MessageFilter[],
): Promise<void> =>
  writeOutbox(manager, [{ subject: stagesSubject(stage, tenantId), header: '{}', body: JSON.stringify(filters) }]);

/** Bytes of the rows of the outbox that hold messages. */
const MAX_ROW_BYTES = 256 << 10;

/** A message as it leaves a stage: the header as it came, and the body as it goes. */
export interface Forwarded {
  header: MessageHeader;
  body: string;
}

/**
 * Sends messages from a stage to their next one, or to READY, within the transaction of the stage's own effect. The order
 * within a partition is kept.
 */
export const forward = (manager: EntityManager, partition: number, messages: readonly Forwarded[]): Promise<void> =>
  forwardAll(manager, new Map([[partition, messages]]));

/** The same for messages of several partitions at once. */
export async function forwardAll(
  manager: EntityManager,
  byPartition: ReadonlyMap<number, readonly Forwarded[]>,
): Promise<void> {
  const rows: OutboxItem[] = [];
  for (const [partition, messages] of byPartition) rows.push(...packed(partition, messages));
  await writeOutbox(manager, rows);
}

function packed(partition: number, messages: readonly Forwarded[]): OutboxItem[] {
  const rows: OutboxItem[] = [];
  const open = new Map<string, { items: EntryItem[]; bytes: number }>();
  const close = (subject: string): void => {
    const packed = open.get(subject);
    if (packed) rows.push({ subject, ...packItems(packed.items) });
    open.delete(subject);
  };
  for (const { header, body } of messages) {
    const { stages: [next, ...after] = [], ...rest } = header;
    const subject = streamSubject(next ?? 'READY', partition);
    const item = { header: JSON.stringify(after.length > 0 ? { ...rest, stages: after } : rest), body };
    const bytes = item.header.length + body.length;
    let packed = open.get(subject);
    if (packed && packed.bytes + bytes > MAX_ROW_BYTES) {
      close(subject);
      packed = undefined;
    }
    if (packed) packed.items.push(item);
    else open.set(subject, (packed = { items: [item], bytes: 0 }));
    packed.bytes += bytes;
  }
  for (const subject of open.keys()) close(subject);
  return rows;
}
