import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';

// Labels are names that the platform gives, of which there are few: never a tenant's, or what a user may choose.

/** Metrics of this process, in Prometheus' text format at `/metrics`. */
export const registry = new Registry();
collectDefaultMetrics({ register: registry });

/** Gauges whose values are written at each scrape, and only then. */
export const scrapedGauges: Array<Gauge<string>> = [];

const registers = [registry];
/** Upper bounds of times, in seconds. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** Upper bounds of how many something is done for at once. */
export const COUNTS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000];

/** What only grows; its name ends in `_total`. */
export const counter = <Label extends string = never>(
  name: `orrery_${string}_total`,
  help: string,
  labelNames: readonly Label[] = [],
): Counter<Label> => new Counter({ name, help, labelNames, registers });

/** What goes up and down. */
export const gauge = <Label extends string = never>(
  name: `orrery_${string}`,
  help: string,
  labelNames: readonly Label[] = [],
): Gauge<Label> => new Gauge({ name, help, labelNames, registers });

/** A gauge that `onScrape` writes. */
export function scrapedGauge<Label extends string = never>(
  name: `orrery_${string}`,
  help: string,
  labelNames: readonly Label[] = [],
): Gauge<Label> {
  const made = gauge(name, help, labelNames);
  scrapedGauges.push(made as unknown as Gauge<string>);
  return made;
}

/** How long something takes, or how much it is; the name ends in the unit. */
export const histogram = <Label extends string = never>(
  name: `orrery_${string}`,
  help: string,
  labelNames: readonly Label[] = [],
  buckets: readonly number[] = SECONDS,
): Histogram<Label> => new Histogram({ name, help, labelNames, buckets: [...buckets], registers });

export const metrics = {
  publishedMessages: counter('orrery_bus_published_total', 'Messages acknowledged by the bus', ['stream']),
  publishedEntries: counter('orrery_bus_entries_total', 'Entries acknowledged by the bus', ['stream']),
  ackSeconds: histogram('orrery_bus_ack_seconds', 'Time from publishing an entry to its acknowledgement', ['stream']),
  publishRetries: counter(
    'orrery_bus_publish_retries_total',
    'Entries published again; reason: full, no_stream, no_answer, other',
    ['stream', 'reason'],
  ),
  refusedMessages: counter(
    'orrery_bus_refused_total',
    'Messages that their publisher was told are not taken; reason: too_large, timeout, closing',
    ['stream', 'reason'],
  ),
  pendingMessages: scrapedGauge('orrery_bus_pending_messages', 'Messages waiting for the bus', ['stream']),
  partitions: gauge('orrery_bus_partitions', 'Partitions of the installation'),
  streamFill: scrapedGauge('orrery_stream_fill_ratio', 'How full a stream is; at 1 it refuses messages', [
    'stream',
    'partition',
  ]),
  streamOldest: scrapedGauge(
    'orrery_stream_oldest_seconds',
    'Age of the oldest entry of a stream, which the slowest of its readers has not handled or which is about to be freed',
    ['stream', 'partition'],
  ),
  readMessages: counter('orrery_reader_messages_total', 'Messages whose effect and position were committed', [
    'reader',
  ]),
  readBatchSeconds: histogram('orrery_reader_batch_seconds', 'Time of one batch of a reader', ['reader']),
  readBatchMessages: histogram('orrery_reader_batch_messages', 'Messages in a batch of a reader', ['reader'], COUNTS),
  failedBatches: counter('orrery_reader_failures_total', 'Batches that failed and are tried again', ['reader']),
  ownedPartitions: gauge('orrery_reader_partitions', 'Partitions that this instance owns', ['reader']),
  lagEntries: scrapedGauge('orrery_reader_lag_entries', 'Entries of an owned partition that are not handled yet', [
    'reader',
    'stream',
    'partition',
  ]),
  lagSeconds: scrapedGauge(
    'orrery_reader_lag_seconds',
    'Age of the oldest entry of an owned partition that is not handled yet; 0 when there is none',
    ['reader', 'stream', 'partition'],
  ),
  deadMessages: counter('orrery_reader_dead_total', 'Messages set aside because they could not be handled', ['reader']),
  leaseChanges: counter(
    'orrery_lease_changes_total',
    'Changes of what this instance holds; change: acquired, released to share, lost to others or to time',
    ['leases', 'change'],
  ),
  outboxRows: scrapedGauge(
    'orrery_outbox_rows',
    'What a schema has written and the bus has not taken (100,000 at most)',
    ['schema'],
  ),
  outboxOldest: scrapedGauge(
    'orrery_outbox_oldest_seconds',
    'For how long the oldest row of an outbox has been seen waiting; 0 when there is none',
    ['schema'],
  ),
  poolConnections: scrapedGauge('orrery_database_connections', 'Connections to PostgreSQL; state: idle, used', [
    'schema',
    'state',
  ]),
  poolWaiting: scrapedGauge('orrery_database_waiting', 'Who waits for a connection to PostgreSQL', ['schema']),
  jobRuns: counter('orrery_job_runs_total', 'Runs of repeated work; outcome: done, failed', ['job', 'outcome']),
  httpSeconds: histogram('orrery_http_request_seconds', 'Time of REST requests', ['method', 'route', 'status']),
  traceSpans: counter(
    'orrery_trace_spans_total',
    'Spans of traces; outcome: exported, failed (the collector did not take them), dropped',
    ['outcome'],
  ),
};
