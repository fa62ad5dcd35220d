import { defineRpc } from '@orrery/core/bus';
import { partitionOf } from '@orrery/core/messages';

// How a connector consumes a FIFO. Each FIFO belongs to a partition, each partition to one dispatcher: the routing
// instance that holds its lease. Requests go to the partition; deliveries go to the connector instance.
//
//   connector ── fifoSubscribe ──▶ dispatcher      SUBACK once it answered
//   connector ◀── fifo.deliver.<instance> ── dispatcher   unacknowledged messages within `window` and `windowBytes`, and
//                                                         what comes next, up to `ahead`
//   connector ── fifoAck ──▶ dispatcher            repeated until it answers: the messages leave the FIFO
//   connector ── fifoHeartbeat ──▶ dispatcher      every second; names the subscriptions it does not know
//
// A dispatcher that takes a partition over knows no subscription. It says so on `fifo.hello`, and connectors
// subscribe again, naming the messages that they hold without acknowledgement, so that these are not delivered twice.
// A connector that does not take a delivery or falls silent loses its subscriptions, and what they held goes back to
// its original place.
//
// `window` messages at a time would make a subscriber wait for the dispatcher, however busy that is. The only subscriber of
// a FIFO therefore gets ahead what it will soon have acknowledged so many others for. When it stops acknowledging or another one
// comes, the dispatcher takes back, in its original place, what the connector has not passed on.

/** The partition of a FIFO, by which its dispatcher is asked. */
export const fifoPartition = (tenantId: string, fifoName: string, partitions: number): number =>
  partitionOf(tenantId, `fifo/${fifoName}`, partitions);

export interface FifoSubscription {
  /** Unique per subscription of a session. */
  subscription: string;
  tenantId: string;
  fifoName: string;
  /** Connector instance that deliveries go to. */
  instance: string;
  /** Most messages without acknowledgement. */
  window: number;
  /** Most bytes of their text, unless it is a single message; no bound when absent. */
  windowBytes?: number;
  /** Most messages beyond the window that the connector keeps until there is room in it. */
  ahead?: number;
  /** True when a message counts as acknowledged once it is delivered (MQTT QoS 0). */
  autoAck: boolean;
  /** When it subscribes again: sequence numbers that it has and whose acknowledgement has not been answered. */
  held: number[];
}

export interface FifoSubscribed {
  fifoId: number;
  /** A dispatcher has one term for as long as it has the partition. */
  term: string;
  /**
   * Of what the subscription said that it holds: the rest has left the FIFO, or was given to another one meanwhile, and is not
   * passed on any more. Absent when the dispatcher may be a former one.
   */
  kept?: number[];
}

/**
 * Answered by the partition's dispatcher; safe to repeat. Deliveries may follow the answer at once.
 * @throws NOT_FOUND when the tenant has no such FIFO.
 */
export const fifoSubscribe = defineRpc<FifoSubscription, FifoSubscribed>('routing', 'fifoSubscribe');

/** What the subscriptions held goes back. Unknown subscriptions are ignored. */
export const fifoUnsubscribe = defineRpc<{ subscriptions: string[] }, Record<string, never>>(
  'routing',
  'fifoUnsubscribe',
);

/** Acknowledged messages leave the FIFO. Safe to repeat. */
export const fifoAck = defineRpc<
  { acks: Array<{ subscription: string; fifoId: number; seqs: number[] }> },
  Record<string, never>
>('routing', 'fifoAck');

/**
 * Names all subscriptions of the instance in this partition. A dispatcher drops a subscription that has not been
 * named for `FIFO_SILENCE_MS`.
 */
export const fifoHeartbeat = defineRpc<{ instance: string; subscriptions: string[] }, { unknown: string[] }>(
  'routing',
  'fifoHeartbeat',
);

export const FIFO_HEARTBEAT_MS = 1000;
export const FIFO_SILENCE_MS = 5000;

/** Kind of control event for FIFOs: the header carries `FifoChange`. Subscriptions of a deleted FIFO end. */
export const FIFO_CONTROL = 'fifo';

export interface FifoChange {
  tenantId: string;
  fifoId: number;
  fifoName: string;
  change: 'deleted';
}

/**
 * Puts a message into a FIFO. Any routing instance answers.
 * @throws NOT_FOUND; GENERIC_INVALID_PARAMETER_ERROR when the text holds a NUL character, which PostgreSQL cannot keep.
 */
export const fifoPublish = defineRpc<{ tenantId: string; fifoName: string; body: string }, Record<string, never>>(
  'routing',
  'fifoPublish',
);

/** Broadcast by a dispatcher that took over: `{partition}`. */
export const FIFO_HELLO = 'fifo.hello';

/**
 * Deliveries for a connector instance: a request whose data is an entry (`encodeEntry`) with a `FifoDeliveryHeader`
 * per message, answered with `FifoDeliveryReply` as soon as the messages are taken over. Or with a `FifoRecallHeader` and no
 * body, after all that it was delivered.
 */
export const fifoDeliverSubject = (instance: string): string => `fifo.deliver.${instance}`;

export interface FifoDeliveryHeader {
  subscription: string;
  seq: number;
  /**
   * The message that this dispatcher delivered to the subscription before; absent from the first one. When the connector has
   * not got that, it takes nothing that comes after: the subscription is gone, and all of it comes again in its order.
   */
  after?: number;
  /** True when the text holds line breaks: the body is a JSON string of it, since an entry's body is one line. */
  quoted?: true;
  /** W3C trace context of the delivery. */
  traceparent?: string;
}

/** Asks the connector to forget what it keeps ahead for a subscription. */
export interface FifoRecallHeader {
  recall: string;
  /** Of the dispatcher: a former one that wakes up late has nothing to recall. */
  term: string;
}

export interface FifoDeliveryReply {
  /** Subscriptions that no longer exist: what was delivered to them was not taken. */
  gone: string[];
  /** Of a subscription with a recall: all that it still holds. Everything else that it was delivered is not passed on. */
  kept?: number[];
}

// How the SMS connector gets the SMS of action policies: it takes some, hands them to the network, and says that they are
// sent. What it has not said so for `SMS_TAKEN_MS` is given out again, so that none is lost.

export interface WaitingSms {
  id: string;
  tenantId: string;
  /** With the country code, and + when the tenant wrote one. */
  phoneNumber: string;
  text: string;
  /** ISO 8601 */
  created: string;
}

/** The oldest, at most `limit`. Any routing instance answers. */
export const takeSms = defineRpc<{ limit: number }, { sms: WaitingSms[] }>('routing', 'takeSms');

/** They leave the queue. Safe to repeat. */
export const smsSent = defineRpc<{ ids: string[] }, Record<string, never>>('routing', 'smsSent');

export const SMS_TAKEN_MS = 60_000;

/** Broadcast when SMS have come; some may have been missed, so connectors also ask from time to time. */
export const SMS_WAITING = 'sms.waiting';
