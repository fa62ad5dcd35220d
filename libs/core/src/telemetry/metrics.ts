import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';

/** Metrics of this process, in Prometheus' text format at `/metrics`. */
export const registry = new Registry();
collectDefaultMetrics({ register: registry });

const seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export const metrics = {
  publishedMessages: new Counter({
    name: 'orrery_bus_published_total',
    help: 'Messages acknowledged by the bus',
    labelNames: ['stream'],
    registers: [registry],
  }),
  publishedEntries: new Counter({
    name: 'orrery_bus_entries_total',
    help: 'Entries acknowledged by the bus',
    labelNames: ['stream'],
    registers: [registry],
  }),
  publishRetries: new Counter({
    name: 'orrery_bus_publish_retries_total',
    help: 'Entries published again after a refusal or a time-out',
    labelNames: ['stream'],
    registers: [registry],
  }),
  pendingMessages: new Gauge({
    name: 'orrery_bus_pending_messages',
    help: 'Messages waiting for the bus',
    labelNames: ['stream'],
    registers: [registry],
  }),
  readMessages: new Counter({
    name: 'orrery_reader_messages_total',
    help: 'Messages whose effect and position were committed',
    labelNames: ['reader'],
    registers: [registry],
  }),
  readBatchSeconds: new Histogram({
    name: 'orrery_reader_batch_seconds',
    help: 'Time of one batch of a reader',
    labelNames: ['reader'],
    buckets: seconds,
    registers: [registry],
  }),
  ownedPartitions: new Gauge({
    name: 'orrery_reader_partitions',
    help: 'Partitions that this instance owns',
    labelNames: ['reader'],
    registers: [registry],
  }),
  deadMessages: new Counter({
    name: 'orrery_reader_dead_total',
    help: 'Messages set aside because they could not be handled',
    labelNames: ['reader'],
    registers: [registry],
  }),
  sessions: new Gauge({
    name: 'orrery_mqtt_sessions',
    help: 'Open MQTT sessions',
    labelNames: ['mode'],
    registers: [registry],
  }),
  httpSeconds: new Histogram({
    name: 'orrery_http_request_seconds',
    help: 'Time of REST requests',
    labelNames: ['method', 'route', 'status'],
    buckets: seconds,
    registers: [registry],
  }),
};
