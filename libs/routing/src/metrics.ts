import type { Database } from '@orrery/core/database';
import { counter, histogram, measuring, scrapedGauge } from '@orrery/core/telemetry';

export const routingMetrics = {
  attempts: counter(
    'orrery_push_attempts_total',
    'Attempts to deliver to what is outside. Result: success, client_error (HTTP 4xx or alike), server_error, timeout, connection, tls, refused (by the guard), invalid (no message can be made), limit, aborted, error',
    ['kind', 'result'],
  ),
  attemptSeconds: histogram('orrery_push_seconds', 'Time of an attempt to deliver to what is outside', ['kind']),
  dropped: counter('orrery_push_dropped_total', 'Deliveries that were dropped because too many wait', ['queue']),
  deliveriesWaiting: scrapedGauge('orrery_push_waiting', 'Deliveries that wait; state: new, retrying', [
    'queue',
    'state',
  ]),
  fifoMessages: counter(
    'orrery_fifo_messages_total',
    'Messages of FIFOs. Outcome: stored, delivered (acknowledged by a subscriber), overflow, too_large, expired, unwanted (without TTL and subscriber)',
    ['outcome'],
  ),
  fifoWaiting: scrapedGauge('orrery_fifo_waiting_messages', 'Messages in all FIFOs'),
  fifoBytes: scrapedGauge('orrery_fifo_waiting_bytes', 'Bytes in all FIFOs'),
};

// The first one is an increase only if there was a 0 before.
for (const queue of ['push', 'email', 'sms']) routingMetrics.dropped.inc({ queue }, 0);
for (const outcome of ['stored', 'delivered', 'overflow', 'too_large', 'expired', 'unwanted'])
  routingMetrics.fifoMessages.inc({ outcome }, 0);

/** What waits in the queues of all tenants. */
export const measuringQueues = (database: Database): ReturnType<typeof measuring> =>
  measuring(async () => {
    const [fifos] = await database.query<{ messages: string; bytes: string }>(
      'SELECT coalesce(sum(messages), 0) AS messages, coalesce(sum(bytes), 0) AS bytes FROM fifos',
    );
    const queues = await database.query<{ queue: string; waiting: string; retrying: string }>(
      `SELECT queue, coalesce(sum(q.waiting), 0) AS waiting, coalesce(sum(q.retrying), 0) AS retrying
       FROM unnest(ARRAY['push', 'email', 'sms']) AS queue LEFT JOIN delivery_queues q USING (queue) GROUP BY queue`,
    );
    return () => {
      routingMetrics.fifoWaiting.set(Number(fifos!.messages));
      routingMetrics.fifoBytes.set(Number(fifos!.bytes));
      for (const { queue, waiting, retrying } of queues) {
        routingMetrics.deliveriesWaiting.set({ queue, state: 'new' }, Number(waiting));
        routingMetrics.deliveriesWaiting.set({ queue, state: 'retrying' }, Number(retrying));
      }
    };
  });
