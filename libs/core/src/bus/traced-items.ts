import { DEVICE_ID, type EntryItem } from '../messages/index.js';
import type { SpanAttributes } from '../telemetry/index.js';

/** What the spans of messages and events say of them, by their headers. A source that is no device may be any text. */
export function describeMessage(header: Record<string, unknown>): SpanAttributes {
  const { tenantId, stored, type, key, deviceId = key } = header;
  const { id, cause } = { ...header, ...(stored as { id?: unknown; cause?: unknown } | undefined) };
  return {
    ...(typeof tenantId === 'string' ? { 'orrery.tenant.id': tenantId } : {}),
    ...(typeof id === 'string' ? { 'messaging.message.id': id } : {}),
    // Of the message that a rule has made the event of.
    ...(typeof cause === 'string' ? { 'orrery.event.cause': cause } : {}),
    ...(typeof type === 'string' ? { 'orrery.event.type': type } : {}),
    ...(typeof deviceId === 'string' && DEVICE_ID.test(deviceId) ? { 'orrery.device.id': deviceId } : {}),
  };
}

/** The same for what a reader reads, `count` of them together. */
export const describeRead =
  (reader: string, count: number) =>
  (
    { stream, partition }: EntryItem & { stream: string; partition: number },
    header: Record<string, unknown>,
  ): SpanAttributes => ({
    'messaging.system': 'nats',
    'messaging.operation.type': 'process',
    'messaging.destination.name': stream,
    'messaging.destination.partition.id': String(partition),
    'messaging.consumer.group.name': reader,
    'messaging.batch.message_count': count,
    ...describeMessage(header),
  });
