import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { parseArgs } from 'node:util';
import { Client } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { Latencies } from './latencies.mjs';

// Fills the inventory of one account of a running platform by COPY, then measures over HTTP what it is like to work
// with it. The account must have no limits; what is loaded stays, and can be measured again.

const { values: flags } = parseArgs({
  options: {
    devices: { type: 'string', default: '200000' },
    rounds: { type: 'string', default: '200' },
    // Printed by an earlier run with as many devices: nothing is loaded.
    loaded: { type: 'string' },
    url: { type: 'string', default: 'http://127.0.0.1:8080' },
    'api-key': { type: 'string', default: process.env.ORRERY_API_KEY ?? '' },
    'database-url': { type: 'string', default: process.env.DATABASE_URL ?? '' },
  },
});
const DEVICES = Number(flags.devices);
const ROUNDS = Number(flags.rounds);
/** Requests that read much, as statistics do. */
const HEAVY_ROUNDS = Math.max(5, Math.ceil(ROUNDS / 10));
const GROUPS = 100;
const CHUNK = 5000;
const BASE = '/api/v1/deviceMgt';
if (!flags['api-key'] || !flags['database-url'])
  throw new Error(
    '--api-key and --database-url (or ORRERY_API_KEY and DATABASE_URL) name the account and its database',
  );

/** @param {string} method @param {string} path @param {unknown} [body] */
async function call(method, path, body) {
  const response = await fetch(flags.url + path, {
    method,
    headers: { 'x-api-key': flags['api-key'], 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text === '' ? undefined : JSON.parse(text);
}

const began = Date.now().toString(36);
const run = flags.loaded ?? began;
const STATUSES = ['ONLINE', 'OFFLINE', 'OFFLINE', 'REGISTERED'];
const NONE = JSON.stringify(
  Object.fromEntries(['command', 'configuration', 'resource', 'twin'].map((name) => [name, { available: false }])),
);
/** Spreads whole numbers, the same ones each time. @param {number} n */
const spread = (n) => Math.imul(n, 2_654_435_761) >>> 0;
/** @param {number} n */
const idOf = (n) => `urn:lo:nsid:bench${run}:${String(n).padStart(8, '0')}`;
/** @param {number} n */
const serialOf = (n) => spread(n).toString(16).padStart(8, '0');

const sql = new Client({
  connectionString: flags['database-url'],
  options: '-c search_path=device_manager,public -c timezone=UTC',
});
await sql.connect();

/** @param {string} table @param {string[]} columns @param {(n: number) => Array<string | null>} row */
async function copy(table, columns, row) {
  async function* chunks() {
    for (let start = 0; start < DEVICES; start += CHUNK) {
      let text = '';
      for (let n = start; n < Math.min(start + CHUNK, DEVICES); n++)
        text += `${row(n)
          .map((value) => value ?? '\\N')
          .join('\t')}\n`;
      yield Buffer.from(text);
    }
  }
  await pipeline(Readable.from(chunks()), sql.query(copyFrom(`COPY ${table} (${columns.join(', ')}) FROM STDIN`)));
}

/** @param {string} title @param {() => Promise<unknown>} work */
async function timed(title, work) {
  const began = performance.now();
  await work();
  console.log(`${title.padEnd(52)} ${((performance.now() - began) / 1000).toFixed(1)} s`);
}

async function load() {
  /** @type {string[]} */
  const groups = [];
  for (let n = 0; n < GROUPS; n++)
    groups.push((await call('POST', `${BASE}/groups`, { pathNode: `bench-${run}-${n}` })).id);
  // The account of the key is that of what it registers.
  const own = idOf(DEVICES);
  await call('POST', `${BASE}/devices`, { id: own });
  const { rows } = await sql.query('SELECT tenant_id FROM devices WHERE id = $1', [own]);
  const tenantId = rows[0].tenant_id;
  const now = Date.now();
  // An index of all parts of all texts is made ten times faster at once than row by row.
  const { rows: indexes } = await sql.query(
    `SELECT indexdef FROM pg_indexes WHERE schemaname = 'device_manager' AND indexname = 'devices_by_grams'`,
  );
  await sql.query('DROP INDEX devices_by_grams');
  try {
    await timed(`load ${DEVICES} devices`, () =>
      copy(
        'devices',
        [
          'tenant_id',
          'id',
          'name',
          'default_data_stream_id',
          'tags',
          'properties',
          'group_id',
          'static_location',
          'created',
          'updated',
        ],
        (n) => {
          const at = new Date(now - n * 1000).toISOString();
          const location = JSON.stringify({ lat: 42 + (spread(n) % 9000) / 1000, lon: (spread(n + 7) % 8000) / 1000 });
          const properties = JSON.stringify({ model: `m${n % 50}`, serial: serialOf(n) });
          return [
            tenantId,
            idOf(n),
            `Sensor ${serialOf(n + 1)}`,
            idOf(n),
            `{tag${n % 1000},site${n % 7}}`,
            properties,
            groups[n % GROUPS],
            n % 3 === 0 ? location : null,
            at,
            at,
          ];
        },
      ),
    );
  } finally {
    await timed('index their texts', () => sql.query(indexes[0].indexdef));
  }
  await timed('load their interfaces', () =>
    copy(
      'interfaces',
      [
        'tenant_id',
        'connector',
        'node_id',
        'device_id',
        'enabled',
        'status',
        'definition',
        'capabilities',
        'last_contact',
        'created',
        'updated',
      ],
      (n) => {
        const at = new Date(now - n * 1000).toISOString();
        const nodeId = `bench-${run}-${n}`;
        const [connector, definition] =
          n % 4 === 0 ? ['x-connector', JSON.stringify({ nodeId })] : ['mqtt', JSON.stringify({ clientId: nodeId })];
        return [
          tenantId,
          connector ?? '',
          nodeId,
          idOf(n),
          't',
          STATUSES[n % 4] ?? '',
          definition ?? '',
          NONE,
          at,
          at,
          at,
        ];
      },
    ),
  );
  await timed('give them a last communication and positions', () =>
    sql.query(
      `UPDATE device_states SET last_communication = now() - random() * interval '10 days', located = now(),
         location = jsonb_build_object('lat', 42 + random() * 9, 'lon', random() * 8, 'provider', 'gps')
       WHERE tenant_id = $1`,
      [tenantId],
    ),
  );
  await sql.query('UPDATE device_counts SET devices = devices + $2 WHERE tenant_id = $1', [tenantId, DEVICES]);
  await timed('vacuum, as autovacuum will', async () => {
    for (const table of ['devices', 'interfaces', 'device_states', 'device_interfaces', 'groups'])
      await sql.query(`VACUUM ANALYZE ${table}`);
  });
}

/** @param {string} title @param {number} rounds @param {(n: number) => Promise<unknown>} request */
async function measure(title, rounds, request) {
  for (let n = 0; n < Math.min(5, rounds); n++) await request(n);
  const latencies = new Latencies();
  for (let n = 0; n < rounds; n++) {
    const began = performance.now();
    await request(n + 5);
    latencies.add(performance.now() - began);
  }
  const { p50, p95, p99 } = latencies.percentiles;
  const shown = [p50, p95, p99].map((ms) => ms.toFixed(1).padStart(8)).join(' ');
  console.log(`${title.padEnd(52)} ${shown} ms`);
}

/** A device somewhere among all. @param {number} n */
const some = (n) => spread(n) % DEVICES;
/** @param {unknown} body */
const search = (body) => call('POST', `${BASE}/explorer/search`, body);
/** @param {unknown} groupBy @param {object} [more] */
const stats = (groupBy, more = {}) => call('POST', `${BASE}/explorer/stats`, { groupBy, ...more });
/** @param {string} queryString */
const filters = (queryString) => ({ filters: { queryString } });

if (flags.loaded === undefined) await load();
console.log(`\nmeasure again: --loaded ${run} --devices ${DEVICES}`);
console.log(`\n${''.padEnd(52)}      p50      p95      p99`);
await measure('register a device with an interface', ROUNDS, (n) => {
  const name = `new-${began}-${n}`;
  return call('POST', `${BASE}/devices`, {
    id: `urn:lo:nsid:bench${run}:${name}`,
    name: `Sensor ${name}`,
    tags: ['bench'],
    properties: { serial: serialOf(n) },
    interfaces: [{ connector: 'mqtt', definition: { clientId: name } }],
  });
});
await measure('read a device', ROUNDS, (n) => call('GET', `${BASE}/devices/${idOf(some(n))}`));
for (const [tag, sort] of [
  ['tag7', 'name'],
  ['tag7', '-created'],
  ['site3', 'id'],
  ['site3', '-created'],
  ['site3', 'name'],
])
  await measure(`list ${tag}, sort=${sort}`, ROUNDS, () => call('GET', `${BASE}/devices?tags=${tag}&sort=${sort}`));
for (const sort of ['name', '-name', 'group', '-updated', 'interfaces.status', '-interfaces.status'])
  await measure(`list, sort=${sort}`, ROUNDS, () => call('GET', `${BASE}/devices?sort=${sort}`));
await measure('list site3, sort=interfaces.enabled', ROUNDS, () =>
  call('GET', `${BASE}/devices?tags=site3&sort=interfaces.enabled`),
);
await measure('list, sort=-interfaces.lastContact', HEAVY_ROUNDS, () =>
  call('GET', `${BASE}/devices?sort=-interfaces.lastContact`),
);

await measure('search everything', ROUNDS, () => search({}));
await measure('search after a bookmark', ROUNDS, (n) => search({ bookmark: [idOf(some(n))] }));
await measure('search a word of one device', ROUNDS, (n) => search({ query: serialOf(some(n)) }));
await measure('search part of a word', ROUNDS, (n) => search({ query: serialOf(some(n)).slice(1, 5) }));
await measure('search a word of all devices', ROUNDS, () => search({ query: 'ensor' }));
await measure('search a word of none', ROUNDS, () => search({ query: 'nosuchword' }));
await measure('search two words', ROUNDS, (n) => search({ query: `${serialOf(some(n))} m7` }));
await measure('search a word of all, the newest first', ROUNDS, () => search({ query: 'ensor', sort: ['-created'] }));
await measure('search two words of all, by relevance', HEAVY_ROUNDS, () =>
  search({ query: 'ensor m7', sort: ['-relevance'] }),
);
await measure('search by tag', ROUNDS, (n) => search(filters(`tags==tag${n % 1000}`)));
await measure('search by status', ROUNDS, () => search(filters('interfaces.status==ONLINE')));
await measure('search by connector and tag', ROUNDS, (n) =>
  search(filters(`interfaces.connector==x-connector and tags==tag${(n % 250) * 4}`)),
);
await measure('search by a property', ROUNDS, (n) => search(filters(`property.serial==${serialOf(some(n))}`)));
await measure('search by group', ROUNDS, (n) => search(filters(`group.path==/bench-${run}-${n % GROUPS}`)));
await measure('search in a box', ROUNDS, (n) => {
  const [lat, lon] = [42 + (n % 80) / 10, (n % 70) / 10];
  return search({ filters: { geoBounds: { topLeft: { lat: lat + 0.1, lon }, bottomRight: { lat, lon: lon + 0.1 } } } });
});
for (const sort of [
  'name',
  '-created',
  '-updated',
  '-lastCommunication',
  'group.path',
  'interfaces.status',
  '-interfaces.enabled',
])
  await measure(`search, sort ${sort}`, ROUNDS, () => search({ sort: [sort] }));
await measure('search, sort -interfaces.status, after a bookmark', ROUNDS, (n) =>
  search({ sort: ['-interfaces.status'], bookmark: ['OFFLINE', idOf(some(n))] }),
);
await measure('search by tag, sort -interfaces.status', ROUNDS, (n) =>
  search({ ...filters(`tags==tag${n % 1000}`), sort: ['-interfaces.status'] }),
);
await measure('search, sort -interfaces.lastContact', HEAVY_ROUNDS, () =>
  search({ sort: ['-interfaces.lastContact'] }),
);

await measure('stats without groups', HEAVY_ROUNDS, () => stats(undefined));
for (const field of ['tags', 'group.path', 'description'])
  await measure(`stats by ${field}`, HEAVY_ROUNDS, () => stats({ field }));
await measure('stats by the list of connectors', HEAVY_ROUNDS, () => stats({ compositeField: 'connectors' }));
for (const field of ['status', 'connector', 'definition.profile'])
  await measure(`stats by interfaces ${field}`, HEAVY_ROUNDS, () => stats({ interfaces: { field } }));
await measure('stats by interfaces status of a tag', HEAVY_ROUNDS, () =>
  stats({ interfaces: { field: 'status' } }, filters('tags==tag7')),
);
await measure('stats by interfaces status of a site', HEAVY_ROUNDS, () =>
  stats({ interfaces: { field: 'status' } }, filters('tags==site3')),
);
await measure('stats by properties key', HEAVY_ROUNDS, () => stats({ properties: { field: 'key' } }));
await measure('stats by properties value of one key', HEAVY_ROUNDS, () =>
  stats({ properties: { field: 'value', filter: { key: 'model' } } }),
);
await measure('stats by properties value', 5, () => stats({ properties: { field: 'value' } }));
for (const precision of [3, 5])
  await measure(`stats by position, precision ${precision}`, HEAVY_ROUNDS, () => stats({ location: { precision } }));
await measure('stats by position and interfaces status', 5, () =>
  stats({ location: { precision: 3, groupBy: { interfaces: { field: 'status' } } } }),
);
await measure('stats by tags and group.path', 5, () => stats({ field: 'tags', groupBy: { field: 'group.path' } }));
await sql.end();
