import { mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Client } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { build, installDependencies } from '../install.mjs';
import { startPlatform } from '../platform.mjs';
import { startElasticsearch } from '../services/elasticsearch.mjs';
import { freePort } from '../services/free-port.mjs';
import { Latencies } from './latencies.mjs';
import { liveIndexing } from './live-indexing.mjs';

// A year of messages: how fast they are stored, read by stream, indexed from the store and searched, on the embedded engine
// and on Elasticsearch where one can be had; then whether the index keeps up with the store while messages arrive. All
// requests go over HTTP, one at a time. Local only.

const { values: flags } = parseArgs({
  options: {
    messages: { type: 'string', default: '5000000' },
    devices: { type: 'string', default: '200' },
    rounds: { type: 'string', default: '50' },
    /** Of searches over everything, which take long. */
    'heavy-rounds': { type: 'string', default: '5' },
    engines: { type: 'string', default: 'embedded,elasticsearch' },
    /** Messages over MQTT, after what is above; 0 for none. */
    live: { type: 'string', default: '200000' },
  },
});
const MESSAGES = Number(flags.messages);
const DEVICES = Number(flags.devices);
const ROUNDS = Number(flags.rounds);
const HEAVY_ROUNDS = Number(flags['heavy-rounds']);
const LIVE = Number(flags.live);
const DAY_MS = 86_400_000;
const END = Date.now() - 60_000;
const BEGIN = END - 364 * DAY_MS;
const STEP = (END - BEGIN) / MESSAGES;
/** As the store writes them. */
const BATCH = 1000;
const KEY = 'bench-search-bench-search-bench-search';

installDependencies();
build();

/** @param {string} line */
const print = (line) => process.stdout.write(`${line}\n`);
/** @param {string} title @param {string} value */
const row = (title, value) => print(`${title.padEnd(64)} ${value}`);
/** @param {number} ms */
const shown = (ms) => `${ms.toFixed(ms < 100 ? 1 : 0)} ms`;

const dataDir = mkdtempSync(join(tmpdir(), 'orrery-bench-search-'));
mkdirSync(dataDir, { recursive: true });
const log = openSync(join(dataDir, 'orrery.log'), 'a');
const ports = await Promise.all(['HTTP', 'HTTPS', 'MQTT', 'MQTTS'].map(async (name) => [name, await freePort()]));
/** @type {NodeJS.ProcessEnv} */
const env = {
  ...process.env,
  ...Object.fromEntries(ports.map(([name, port]) => [`ORRERY_${name}_PORT`, String(port)])),
  ORRERY_BIND_ADDRESS: '127.0.0.1',
  ORRERY_BOOTSTRAP_API_KEY: KEY,
};
const { ELASTICSEARCH_URL: _given, ...withoutElasticsearch } = env;

/** @param {string} url */
const clientOf = (url) => ({
  /** @param {string} path @param {unknown} [body] */
  async call(path, body) {
    const response = await fetch(url + path, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { 'x-api-key': KEY, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
    return JSON.parse(text);
  },
});

/** @param {string} title @param {number} rounds @param {(n: number) => Promise<unknown>} work */
async function measure(title, rounds, work) {
  const latencies = new Latencies();
  try {
    await work(0);
    for (let n = 0; n < rounds; n++) {
      const began = performance.now();
      await work(n);
      latencies.add(performance.now() - began);
    }
  } catch (error) {
    row(title, String(error instanceof Error ? error.message : error).slice(0, 200));
    return;
  }
  const { p50, p95 } = latencies.percentiles;
  row(title, `p50 ${shown(p50)}, p95 ${shown(p95)}`);
}

/** @param {number} time @param {number} n */
const idOf = (time, n) => time.toString(16).padStart(12, '0') + (n >>> 0).toString(16).padStart(12, '0');
/** @param {number} n */
const streamOf = (n) => `urn:lo:nsid:bench:device-${String(n % DEVICES).padStart(4, '0')}`;

/** @param {string} tenantId @param {number} n @returns {string} a row of COPY */
function stored(tenantId, n) {
  const time = Math.floor(BEGIN + n * STEP);
  const [id, created] = [idOf(time, n), new Date(time).toISOString()];
  const device = n % DEVICES;
  const body = {
    metadata: { connector: 'mqtt', source: streamOf(n), group: { id: 'root', path: '/' } },
    streamId: streamOf(n),
    created,
    location: { lat: 43 + (device % 50) / 10, lon: (device % 70) / 10 },
    model: 'weather_v0',
    id,
    value: {
      temperature: Math.round(Math.sin(n / 1000) * 2000 + device) / 100,
      humidity: (n * 7) % 100,
      status: ['ok', 'low', 'high'][n % 3],
      charging: n % 5 === 0,
    },
    timestamp: created,
    tags: [`site${device % 20}`],
  };
  return `${[tenantId, body.streamId, created, id, created, JSON.stringify(body)].join('\t')}\n`;
}

/** @param {Client} sql @param {string} tenantId */
async function fill(sql, tenantId) {
  for (
    let month = new Date(BEGIN);
    month.getTime() <= END + 32 * DAY_MS;
    month.setUTCMonth(month.getUTCMonth() + 1, 1)
  ) {
    const from = new Date(Date.UTC(month.getUTCFullYear(), month.getUTCMonth(), 1));
    const to = new Date(Date.UTC(month.getUTCFullYear(), month.getUTCMonth() + 1, 1));
    const name = `messages_${from.toISOString().slice(0, 7).replace('-', '_')}`;
    await sql.query(
      `CREATE TABLE IF NOT EXISTS ${name} PARTITION OF messages FOR VALUES FROM ('${from.toISOString()}') TO ('${to.toISOString()}')`,
    );
  }
  let writing = 0;
  for (let start = 0; start < MESSAGES; start += BATCH) {
    let text = '';
    for (let n = start; n < Math.min(start + BATCH, MESSAGES); n++) text += stored(tenantId, n);
    const began = performance.now();
    await new Promise((resolve, reject) => {
      const copy = sql.query(copyFrom('COPY messages (tenant_id, stream_id, timestamp, id, created, body) FROM STDIN'));
      copy.once('error', reject).once('finish', () => resolve(undefined));
      copy.end(text);
    });
    writing += performance.now() - began;
  }
  row('stored, in transactions of 1000', `${Math.round(MESSAGES / (writing / 1000))} messages/s`);
}

/** What a schema takes on disk, with its indexes. @param {Client} sql @param {string} schema */
async function bytesPerMessage(sql, schema) {
  const { rows } = await sql.query(
    `SELECT sum(pg_total_relation_size(oid))::float8 AS bytes FROM pg_class WHERE relkind = 'r' AND relnamespace = $1::regnamespace`,
    [schema],
  );
  return `${Math.round(rows[0].bytes / MESSAGES)} bytes a message`;
}

const day = { gte: new Date(END - DAY_MS).toISOString(), lt: new Date(END).toISOString() };
const grouped = {
  streams: {
    terms: { field: 'streamId', size: 200 },
    aggs: {
      hours: {
        date_histogram: { field: 'timestamp', calendar_interval: 'day' },
        aggs: { temperature: { stats: { field: '@weather_v0.value.temperature' } } },
      },
    },
  },
};
const histogram = {
  days: {
    date_histogram: { field: 'timestamp', calendar_interval: 'day' },
    aggs: { temperature: { stats: { field: '@weather_v0.value.temperature' } } },
  },
};
const lastValues = {
  streams: {
    terms: { field: 'streamId', size: DEVICES },
    aggs: { last: { top_hits: { size: 1, sort: [{ timestamp: 'desc' }] } } },
  },
};
const SEARCH = '/api/v1/data/search';

/** @param {ReturnType<typeof clientOf>} api */
async function searches({ call }) {
  /** @param {object} body */
  const search = (body) => call(SEARCH, body);
  await measure('newest 10 of a stream', ROUNDS, (n) =>
    search({ query: { term: { streamId: streamOf(n) } }, sort: [{ timestamp: 'desc' }] }),
  );
  await measure('stats of a stream and a day', ROUNDS, (n) =>
    search({
      size: 0,
      query: { bool: { filter: [{ term: { streamId: streamOf(n) } }, { range: { timestamp: day } }] } },
      aggs: { temperature: { stats: { field: '@weather_v0.value.temperature' } } },
    }),
  );
  await measure('terms, date_histogram, stats over one day', ROUNDS, () =>
    search({ size: 0, query: { range: { timestamp: day } }, aggs: grouped }),
  );
  await measure('tags with a filter on the value, one day', ROUNDS, () =>
    search({
      size: 0,
      query: {
        bool: {
          filter: [{ range: { timestamp: day } }, { range: { '@weather_v0.value.temperature': { gte: 15 } } }],
        },
      },
      aggs: { tags: { terms: { field: 'tags' } } },
    }),
  );
  await measure('last value of every stream', HEAVY_ROUNDS, () => search({ size: 0, aggs: lastValues }));
  await measure('date_histogram, stats over everything', HEAVY_ROUNDS, () => search({ size: 0, aggs: histogram }));
  await measure('terms, stats over everything', HEAVY_ROUNDS, () =>
    search({
      size: 0,
      aggs: {
        streams: {
          terms: { field: 'streamId', size: 200 },
          aggs: { temperature: { stats: { field: '@weather_v0.value.temperature' } } },
        },
      },
    }),
  );
  await measure('terms, date_histogram by month, stats over everything', HEAVY_ROUNDS, () =>
    search({
      size: 0,
      aggs: {
        status: {
          terms: { field: '@weather_v0.value.status' },
          aggs: {
            months: {
              date_histogram: { field: 'timestamp', calendar_interval: 'month' },
              aggs: { temperature: { stats: { field: '@weather_v0.value.temperature' } } },
            },
          },
        },
      },
    }),
  );
}

/** @param {ReturnType<typeof clientOf>} api */
async function index({ call }) {
  const began = performance.now();
  const { id } = await call(`${SEARCH}/reindexings`, {});
  for (;;) {
    const { status, indexed } = await call(`${SEARCH}/reindexings/${id}`);
    if (status !== 'RUNNING') {
      row('indexed from the store', `${Math.round(indexed / ((performance.now() - began) / 1000))} messages/s`);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

/** @param {import('../platform.mjs').Platform} platform @param {Record<string, number>} pids */
async function live(platform, pids) {
  const result = await liveIndexing({ platform, apiKey: KEY, messages: LIVE, pids });
  const { acknowledged, storedRate, indexedRate, cpu, counts } = result;
  const ratio = (indexedRate / storedRate).toFixed(2);
  row(
    `live: ${acknowledged} messages over MQTT`,
    `stored ${Math.round(storedRate)}/s, indexed ${Math.round(indexedRate)}/s (${ratio} of the store's rate)`,
  );
  const each = Object.entries(cpu).map(([name, microseconds]) => `${name} ${microseconds.toFixed(0)} µs`);
  row('live: CPU time per message', each.join(', '));
  const missing = counts.stored - counts.indexed;
  row('live: counted', `stored ${counts.stored}, indexed ${counts.indexed}${missing === 0 ? '' : ': NOT ALL OF THEM'}`);
}

/** @param {string} engine @param {NodeJS.ProcessEnv} own @param {boolean} first @param {number} [pid] of the engine */
async function run(engine, own, first, pid) {
  const platform = await startPlatform({ dataDir, env: own, output: log });
  const api = clientOf(platform.httpUrl);
  try {
    if (first) {
      await api.call('/api/v0/data/streams/first', { value: {} });
      const sql = new Client({
        connectionString: platform.services.databaseUrl,
        options: '-c search_path=store,public -c timezone=UTC',
      });
      await sql.connect();
      let tenantId;
      while (!tenantId) tenantId = (await sql.query('SELECT tenant_id FROM messages LIMIT 1')).rows[0]?.tenant_id;
      await fill(sql, tenantId);
      await sql.query('ANALYZE messages');
      row('on disk, with its indexes', await bytesPerMessage(sql, 'store'));
      await sql.end();
      for (const limit of [100, 1000])
        await measure(`page of ${limit} of a stream`, ROUNDS * 4, (n) =>
          api.call(
            `/api/v0/data/streams/${streamOf(n * 7)}?limit=${limit}&timeRange=,${new Date(END - (n % 300) * DAY_MS).toISOString()}`,
          ),
        );
    }
    print(`\n${engine}`);
    await index(api);
    if (engine === 'embedded') {
      const sql = new Client({ connectionString: platform.services.databaseUrl });
      await sql.connect();
      row('index on disk', await bytesPerMessage(sql, 'search'));
      await sql.end();
    }
    // What is indexed is found a moment later.
    await new Promise((resolve) => setTimeout(resolve, 3000));
    print(`counted: ${JSON.stringify(await api.call(`${SEARCH}/counts`))}`);
    await searches(api);
    if (LIVE > 0) await live(platform, pid === undefined ? {} : { [engine]: pid });
  } finally {
    await platform.stop();
  }
}

print(`${MESSAGES} messages of ${DEVICES} devices over 364 days\n`);
try {
  const engines = String(flags.engines).split(',');
  if (engines.includes('embedded')) await run('embedded', withoutElasticsearch, true);
  if (engines.includes('elasticsearch')) {
    const elasticsearch = await startElasticsearch({ dataDir, log: print, env: process.env });
    if (elasticsearch)
      try {
        const own = { ...env, ELASTICSEARCH_URL: elasticsearch.url, ORRERY_SEARCH_INDEX: `bench-${Date.now()}` };
        await run('Elasticsearch', own, !engines.includes('embedded'), elasticsearch.pid);
      } finally {
        await elasticsearch.stop();
      }
  }
} finally {
  rmSync(dataDir, { recursive: true, force: true });
}
