import type { EntryItem } from '@orrery/core/messages';
import type { FifoDeliveryHeader } from '../contract.js';
import type { QueuedMessage } from '../fifos/queue.js';

export interface Delivery extends EntryItem {
  subscription: string;
  seq: number;
  autoAck: boolean;
}

/** Of one request to a connector, unless a single message is larger. */
const MAX_REQUEST_BYTES = 4 << 20;

export function deliveryOf(
  { id, autoAck, delivered }: { id: string; autoAck: boolean; delivered?: number },
  { seq, body, traceparent }: QueuedMessage,
): Delivery {
  const quoted = body.includes('\n');
  const header: FifoDeliveryHeader = {
    subscription: id,
    seq,
    ...(delivered === undefined ? {} : { after: delivered }),
    ...(quoted ? { quoted } : {}),
    ...(traceparent === undefined ? {} : { traceparent }),
  };
  return {
    subscription: id,
    seq,
    autoAck,
    header: JSON.stringify(header),
    body: quoted ? JSON.stringify(body) : body,
  };
}

/** What one request carries: quoting makes a text up to six times as long as it is stored. */
export function inParts(deliveries: readonly Delivery[]): Delivery[][] {
  const parts: Delivery[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const delivery of deliveries) {
    const size = Buffer.byteLength(delivery.header) + Buffer.byteLength(delivery.body);
    bytes += size;
    if (bytes > MAX_REQUEST_BYTES) {
      parts.push([]);
      bytes = size;
    }
    parts.at(-1)!.push(delivery);
  }
  return parts;
}
