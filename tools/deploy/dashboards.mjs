import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * @typedef {{ title: string, unit: string, queries: Array<[expression: string, legend: string]>, about?: string }} Panel
 * @typedef {{ uid: string, title: string, rows: Array<{ title: string, panels: Panel[] }> }} Dashboard
 */

const RATE = '[$__rate_interval]';
/** @param {string} metric @param {string} [more] labels */
const of = (metric, more = '') => `${metric}{platform="orrery",job=~"$job"${more}}`;
/** @param {string} metric @param {string} by */
const rate = (metric, by) => `sum by (${by}) (rate(${of(metric)}${RATE}))`;
/** @param {string} metric @param {string} by */
const most = (metric, by) => `max by (${by}) (${of(metric)})`;
/** @param {number} quantile @param {string} metric @param {string} by */
const quantile = (quantile, metric, by) =>
  `histogram_quantile(${quantile}, sum by (${by}, le) (rate(${of(`${metric}_bucket`)}${RATE})))`;

/** @type {Dashboard[]} */
const DASHBOARDS = [
  {
    uid: 'orrery-messages',
    title: 'Orrery: messages',
    rows: [
      {
        title: 'In',
        panels: [
          {
            title: 'MQTT sessions',
            unit: 'short',
            queries: [[`sum by (mode) (${of('orrery_mqtt_sessions')})`, '{{mode}}']],
          },
          {
            title: 'Time until a PUBACK, p50 and p99',
            unit: 's',
            about: 'From reading a publication to writing its answer.',
            queries: [
              [`histogram_quantile(0.5, ${rate('orrery_mqtt_puback_seconds_bucket', 'le')})`, 'p50'],
              [`histogram_quantile(0.99, ${rate('orrery_mqtt_puback_seconds_bucket', 'le')})`, 'p99'],
            ],
          },
          {
            title: 'Over a limit',
            unit: 'cps',
            about: 'Publications and subscriptions of MQTT clients.',
            queries: [[rate('orrery_mqtt_limited_total', 'limit'), '{{limit}}']],
          },
          {
            title: 'What clients do wrong',
            unit: 'cps',
            about: 'As the audit logs of their tenants tell it.',
            queries: [[rate('orrery_mqtt_problems_total', 'type'), '{{type}}']],
          },
          {
            title: 'Messages acknowledged by the bus',
            unit: 'cps',
            about: 'A PUBACK or an HTTP 2xx follows.',
            queries: [[rate('orrery_bus_published_total', 'stream'), '{{stream}}']],
          },
          {
            title: 'Messages in an entry',
            unit: 'short',
            about: 'Many share one write to disk when there is much to do.',
            queries: [
              [
                `${rate('orrery_bus_published_total', 'stream')} / ${rate('orrery_bus_entries_total', 'stream')}`,
                '{{stream}}',
              ],
            ],
          },
          {
            title: 'Time until the bus acknowledges, p50 and p99',
            unit: 's',
            about: 'Of an entry: NATS writes it to disk, on most of its servers.',
            queries: [
              [quantile(0.5, 'orrery_bus_ack_seconds', 'stream'), '{{stream}} p50'],
              [quantile(0.99, 'orrery_bus_ack_seconds', 'stream'), '{{stream}} p99'],
            ],
          },
          {
            title: 'Messages waiting for the bus',
            unit: 'short',
            queries: [[`sum by (job, stream) (${of('orrery_bus_pending_messages')})`, '{{job}} {{stream}}']],
          },
          {
            title: 'Entries published again',
            unit: 'cps',
            about: 'Refused by a full stream, or not answered.',
            queries: [[rate('orrery_bus_publish_retries_total', 'stream, reason'), '{{stream}} {{reason}}']],
          },
          {
            title: 'Messages refused',
            unit: 'cps',
            about: 'Their publishers were told so: nothing is lost without a word.',
            queries: [[rate('orrery_bus_refused_total', 'stream, reason'), '{{stream}} {{reason}}']],
          },
          {
            title: 'How full the streams are',
            unit: 'percentunit',
            about: 'The fullest partition. At 100 % publishers are refused.',
            queries: [[most('orrery_stream_fill_ratio', 'stream'), '{{stream}}']],
          },
          {
            title: 'Oldest entry of the streams',
            unit: 's',
            about: 'Not handled by the slowest reader, also when that does not run.',
            queries: [[most('orrery_stream_oldest_seconds', 'stream'), '{{stream}}']],
          },
        ],
      },
      {
        title: 'Readers',
        panels: [
          {
            title: 'Lag',
            unit: 's',
            about: 'Age of the oldest entry that is not handled yet, in the partition that is furthest behind.',
            queries: [[most('orrery_reader_lag_seconds', 'reader'), '{{reader}}']],
          },
          {
            title: 'Entries behind',
            unit: 'short',
            about: 'Not handled yet, of all partitions that somebody owns.',
            queries: [[`sum by (reader, stream) (${of('orrery_reader_lag_entries')})`, '{{reader}} {{stream}}']],
          },
          {
            title: 'Ten partitions that are furthest behind',
            unit: 'short',
            queries: [
              [
                `topk(10, ${most('orrery_reader_lag_entries', 'reader, stream, partition')})`,
                '{{reader}} {{stream}}_{{partition}}',
              ],
            ],
          },
          {
            title: 'Messages handled',
            unit: 'cps',
            queries: [[rate('orrery_reader_messages_total', 'reader'), '{{reader}}']],
          },
          {
            title: 'Time of a batch, p50 and p99',
            unit: 's',
            queries: [
              [quantile(0.5, 'orrery_reader_batch_seconds', 'reader'), '{{reader}} p50'],
              [quantile(0.99, 'orrery_reader_batch_seconds', 'reader'), '{{reader}} p99'],
            ],
          },
          {
            title: 'Messages in a batch, p50 and p99',
            unit: 'short',
            queries: [
              [quantile(0.5, 'orrery_reader_batch_messages', 'reader'), '{{reader}} p50'],
              [quantile(0.99, 'orrery_reader_batch_messages', 'reader'), '{{reader}} p99'],
            ],
          },
          {
            title: 'Batches that failed',
            unit: 'cps',
            about: 'They are tried again; the log says why.',
            queries: [[rate('orrery_reader_failures_total', 'reader'), '{{reader}}']],
          },
          {
            title: 'Partitions owned',
            unit: 'short',
            about: 'Each reader owns all partitions of the installation together.',
            queries: [
              [`sum by (reader, instance) (${of('orrery_reader_partitions')})`, '{{reader}} {{instance}}'],
              [`max(${of('orrery_bus_partitions')})`, 'partitions'],
            ],
          },
          {
            title: 'Leases that changed hands',
            unit: 'short',
            queries: [
              [`sum by (leases, change) (increase(${of('orrery_lease_changes_total')}[5m]))`, '{{leases}} {{change}}'],
            ],
          },
          {
            title: 'Messages set aside',
            unit: 'short',
            queries: [[`sum by (reader) (increase(${of('orrery_reader_dead_total')}[5m]))`, '{{reader}}']],
          },
        ],
      },
    ],
  },
  {
    uid: 'orrery-effects',
    title: 'Orrery: rules, FIFOs, deliveries, stages, searches',
    rows: [
      {
        title: 'Rules',
        panels: [
          {
            title: 'Evaluations',
            unit: 'cps',
            queries: [[`sum(rate(${of('orrery_rules_evaluations_total')}${RATE}))`, 'evaluations']],
          },
          {
            title: 'Time of evaluation of a batch, p50 and p99',
            unit: 's',
            about: 'Without the database.',
            queries: [
              [`histogram_quantile(0.5, ${rate('orrery_rules_evaluation_seconds_bucket', 'le')})`, 'p50'],
              [`histogram_quantile(0.99, ${rate('orrery_rules_evaluation_seconds_bucket', 'le')})`, 'p99'],
            ],
          },
          {
            title: 'Events of rules, and failures',
            unit: 'cps',
            queries: [
              [rate('orrery_rules_firings_total', 'type'), '{{type}}'],
              [`sum(rate(${of('orrery_rules_failures_total')}${RATE}))`, 'failures'],
            ],
          },
        ],
      },
      {
        title: 'FIFOs',
        panels: [
          {
            title: 'Messages in and out',
            unit: 'cps',
            queries: [[rate('orrery_fifo_messages_total', 'outcome'), '{{outcome}}']],
          },
          {
            title: 'Messages in all FIFOs',
            unit: 'short',
            queries: [[`max(${of('orrery_fifo_waiting_messages')})`, 'messages']],
          },
          {
            title: 'Bytes in all FIFOs',
            unit: 'bytes',
            queries: [[`max(${of('orrery_fifo_waiting_bytes')})`, 'bytes']],
          },
        ],
      },
      {
        title: 'Deliveries: webhooks, Event Hubs, e-mail, SMS',
        panels: [
          {
            title: 'Attempts',
            unit: 'cps',
            about: 'An HTTP 2xx is a success; others are tried again or given up.',
            queries: [[rate('orrery_push_attempts_total', 'kind, result'), '{{kind}} {{result}}']],
          },
          {
            title: 'Time of an attempt, p50 and p99',
            unit: 's',
            queries: [
              [quantile(0.5, 'orrery_push_seconds', 'kind'), '{{kind}} p50'],
              [quantile(0.99, 'orrery_push_seconds', 'kind'), '{{kind}} p99'],
            ],
          },
          {
            title: 'Waiting',
            unit: 'short',
            queries: [[most('orrery_push_waiting', 'queue, state'), '{{queue}} {{state}}']],
          },
          {
            title: 'Dropped, because too many wait',
            unit: 'short',
            queries: [[`sum by (queue) (increase(${of('orrery_push_dropped_total')}[15m]))`, '{{queue}}']],
          },
        ],
      },
      {
        title: 'Decoders and pipelines',
        panels: [
          {
            title: 'Messages at the decoder',
            unit: 'cps',
            queries: [[rate('orrery_decoder_messages_total', 'outcome'), '{{outcome}}']],
          },
          {
            title: 'Time of decoding up to 50 messages, p50 and p99',
            unit: 's',
            queries: [
              [`histogram_quantile(0.5, ${rate('orrery_decoder_seconds_bucket', 'le')})`, 'p50'],
              [`histogram_quantile(0.99, ${rate('orrery_decoder_seconds_bucket', 'le')})`, 'p99'],
            ],
          },
          {
            title: 'Messages at pipelines',
            unit: 'cps',
            queries: [[rate('orrery_pipeline_messages_total', 'outcome'), '{{outcome}}']],
          },
          {
            title: 'Time of the steps of a pipeline, p50 and p99',
            unit: 's',
            queries: [
              [`histogram_quantile(0.5, ${rate('orrery_pipeline_seconds_bucket', 'le')})`, 'p50'],
              [`histogram_quantile(0.99, ${rate('orrery_pipeline_seconds_bucket', 'le')})`, 'p99'],
            ],
          },
          {
            title: 'Messages that wait for a pipeline',
            unit: 'short',
            queries: [[`max(${of('orrery_pipeline_waiting_messages')})`, 'messages']],
          },
        ],
      },
      {
        title: 'Searches',
        panels: [
          {
            title: 'Searches',
            unit: 'reqps',
            queries: [[rate('orrery_search_seconds_count', 'outcome'), '{{outcome}}']],
          },
          {
            title: 'Time of searches, p50 and p99',
            unit: 's',
            queries: [
              [quantile(0.5, 'orrery_search_seconds', 'outcome'), '{{outcome}} p50'],
              [quantile(0.99, 'orrery_search_seconds', 'outcome'), '{{outcome}} p99'],
            ],
          },
          {
            title: 'Documents given to the index at once, p50 and p99',
            unit: 'short',
            queries: [
              [`histogram_quantile(0.5, ${rate('orrery_search_index_documents_bucket', 'le')})`, 'p50'],
              [`histogram_quantile(0.99, ${rate('orrery_search_index_documents_bucket', 'le')})`, 'p99'],
            ],
          },
          {
            title: 'Time of indexing them, p50 and p99',
            unit: 's',
            queries: [
              [`histogram_quantile(0.5, ${rate('orrery_search_index_seconds_bucket', 'le')})`, 'p50'],
              [`histogram_quantile(0.99, ${rate('orrery_search_index_seconds_bucket', 'le')})`, 'p99'],
            ],
          },
          {
            title: 'Refused documents, and failures of the index',
            unit: 'cps',
            queries: [
              [`sum(rate(${of('orrery_search_refused_total')}${RATE}))`, 'refused'],
              [`sum(rate(${of('orrery_search_index_failures_total')}${RATE}))`, 'failures'],
            ],
          },
        ],
      },
    ],
  },
  {
    uid: 'orrery-processes',
    title: 'Orrery: REST and processes',
    rows: [
      {
        title: 'REST',
        panels: [
          {
            title: 'Requests',
            unit: 'reqps',
            queries: [[rate('orrery_http_request_seconds_count', 'job, status'), '{{job}} {{status}}']],
          },
          {
            title: 'Time of requests, p50 and p99',
            unit: 's',
            queries: [
              [quantile(0.5, 'orrery_http_request_seconds', 'job'), '{{job}} p50'],
              [quantile(0.99, 'orrery_http_request_seconds', 'job'), '{{job}} p99'],
            ],
          },
          {
            title: 'Ten slowest operations, p99',
            unit: 's',
            queries: [
              [`topk(10, ${quantile(0.99, 'orrery_http_request_seconds', 'method, route')})`, '{{method}} {{route}}'],
            ],
          },
        ],
      },
      {
        title: 'PostgreSQL',
        panels: [
          {
            title: 'Waiting for a connection',
            unit: 'short',
            queries: [[`sum by (schema, instance) (${of('orrery_database_waiting')})`, '{{schema}} {{instance}}']],
          },
          {
            title: 'Connections in use',
            unit: 'short',
            queries: [[`sum by (schema, state) (${of('orrery_database_connections')})`, '{{schema}} {{state}}']],
          },
          {
            title: 'Rows in outboxes',
            unit: 'short',
            about: 'Written with their effects, and not on the bus yet.',
            queries: [[most('orrery_outbox_rows', 'schema'), '{{schema}}']],
          },
          {
            title: 'Oldest row of outboxes',
            unit: 's',
            queries: [[most('orrery_outbox_oldest_seconds', 'schema'), '{{schema}}']],
          },
          {
            title: 'Repeated work that failed',
            unit: 'short',
            queries: [[`sum by (job) (increase(${of('orrery_job_runs_total', ',outcome="failed"')}[15m]))`, '{{job}}']],
          },
        ],
      },
      {
        title: 'Processes',
        panels: [
          {
            title: 'CPU',
            unit: 'percentunit',
            queries: [[rate('process_cpu_seconds_total', 'job, instance'), '{{job}} {{instance}}']],
          },
          { title: 'Memory', unit: 'bytes', queries: [[of('process_resident_memory_bytes'), '{{job}} {{instance}}']] },
          {
            title: 'Lag of the event loop, p99',
            unit: 's',
            queries: [[of('nodejs_eventloop_lag_p99_seconds'), '{{job}} {{instance}}']],
          },
          {
            title: 'Time in garbage collection',
            unit: 'percentunit',
            queries: [[rate('nodejs_gc_duration_seconds_sum', 'job, instance'), '{{job}} {{instance}}']],
          },
          {
            title: 'Open files and connections',
            unit: 'short',
            queries: [[of('process_open_fds'), '{{job}} {{instance}}']],
          },
          {
            title: 'Spans of traces',
            unit: 'cps',
            about: 'Dropped: too many waited for the collector. Failed: it did not take them.',
            queries: [[rate('orrery_trace_spans_total', 'outcome'), '{{outcome}}']],
          },
        ],
      },
    ],
  },
];

const WIDTH = 8;
const HEIGHT = 8;
const datasource = { type: 'prometheus', uid: '${datasource}' };

/** @param {Dashboard} dashboard */
function grafana({ uid, title, rows }) {
  let id = 0;
  let y = 0;
  const panels = rows.flatMap((row) => {
    const header = {
      id: ++id,
      type: 'row',
      title: row.title,
      collapsed: false,
      panels: [],
      gridPos: { h: 1, w: 24, x: 0, y },
    };
    y += 1;
    const made = row.panels.map(({ title: name, unit, queries, about }, i) => ({
      id: ++id,
      type: 'timeseries',
      title: name,
      ...(about === undefined ? {} : { description: about }),
      datasource,
      gridPos: { h: HEIGHT, w: WIDTH, x: (i % 3) * WIDTH, y: y + Math.floor(i / 3) * HEIGHT },
      fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
      options: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
      targets: queries.map(([expr, legendFormat], at) => ({
        refId: String.fromCharCode(65 + at),
        datasource,
        expr,
        legendFormat,
      })),
    }));
    y += Math.ceil(row.panels.length / 3) * HEIGHT;
    return [header, ...made];
  });
  const job = {
    name: 'job',
    type: 'query',
    datasource,
    query: 'label_values(process_start_time_seconds{platform="orrery"}, job)',
    refresh: 2,
    includeAll: true,
    multi: true,
    allValue: '.*',
    current: { text: 'All', value: '$__all' },
  };
  return {
    uid,
    title,
    tags: ['orrery'],
    schemaVersion: 39,
    editable: true,
    refresh: '30s',
    time: { from: 'now-3h', to: 'now' },
    templating: { list: [{ name: 'datasource', type: 'datasource', query: 'prometheus' }, job] },
    panels,
  };
}

/** The dashboards of deploy/grafana, by file. @returns {Record<string, string>} */
export const dashboards = () =>
  Object.fromEntries(
    DASHBOARDS.map((each) => [
      `deploy/grafana/${each.uid.replace('orrery-', '')}.json`,
      `${JSON.stringify(grafana(each), null, 2)}\n`,
    ]),
  );

// Run as a program it writes them.
if (process.argv[1] === import.meta.filename)
  for (const [path, text] of Object.entries(dashboards()))
    writeFileSync(join(import.meta.dirname, '../..', path), text);
