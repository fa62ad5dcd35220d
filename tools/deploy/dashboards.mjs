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
            title: 'Messages waiting for the bus',
            unit: 'short',
            queries: [[`sum by (job, stream) (${of('orrery_bus_pending_messages')})`, '{{job}} {{stream}}']],
          },
          {
            title: 'Entries published again',
            unit: 'cps',
            about: 'Refused by a full stream, or not answered.',
            queries: [[rate('orrery_bus_publish_retries_total', 'stream'), '{{stream}}']],
          },
        ],
      },
      {
        title: 'Readers',
        panels: [
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
            title: 'Messages in a batch',
            unit: 'short',
            queries: [
              [
                `${rate('orrery_reader_messages_total', 'reader')} / ${rate('orrery_reader_batch_seconds_count', 'reader')}`,
                '{{reader}}',
              ],
            ],
          },
          {
            title: 'Partitions owned',
            unit: 'short',
            queries: [[`sum by (reader, instance) (${of('orrery_reader_partitions')})`, '{{reader}} {{instance}}']],
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
