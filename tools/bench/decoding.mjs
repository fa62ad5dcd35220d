import { mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Client } from 'pg';
import { build, installDependencies } from '../install.mjs';
import { startPlatform } from '../platform.mjs';
import { freePort } from '../services/free-port.mjs';
import { startLoad } from './mqtt-load.mjs';
import { watchUsage } from './processes.mjs';

// How fast payloads are decoded: by the engines alone, in one core, and on their whole way from MQTT to the store, beside
// the same messages that name no decoder. Bounded in time; local only.

const { values: flags } = parseArgs({
  options: {
    messages: { type: 'string', default: '60000' },
    rounds: { type: 'string', default: '3' },
    short: { type: 'boolean', default: false },
  },
});
const MESSAGES = flags.short ? 10_000 : Number(flags.messages);
const ROUNDS = flags.short ? 1 : Number(flags.rounds);
const SECONDS = flags.short ? 1 : 3;
const CONNECTIONS = 100;
const BATCH = 200;

installDependencies();
build();

const built = new URL('../../libs/decoder/dist/', import.meta.url);
const { compileDecoder } = await import(new URL('decoders/compiled-decoder.js', built).href);
const { DecodingEngine } = await import(new URL('decoders/decoding-engine.js', built).href);
const { JavaScriptRunner } = await import(new URL('javascript/javascript-runner.js', built).href);

const FORMAT = 'ushort pressure; short temperature; int counter; ubyte battery; ubyte[3] flags;';
/** 12 bytes. @param {number} n */
const binaryPayload = (n) =>
  `2783${(n & 0xffff).toString(16).padStart(4, '0')}${n.toString(16).padStart(8, '0')}64010203`;
const COLUMNS = [
  { name: 'unit', jsonType: 'STRING' },
  { name: 'temperature', jsonType: 'NUMERIC' },
  { name: 'pressure', jsonType: 'NUMERIC' },
  { name: 'counter', jsonType: 'NUMERIC' },
  { name: 'normal', jsonType: 'BOOLEAN' },
];
// 60 lines, as decoders of trackers have them.
const SCRIPT = `
var TYPES = {
  1: 'HEARTBEAT',
  2: 'POSITION',
  3: 'ALARM'
};
var FLAGS = ['moving', 'charging', 'button', 'tamper'];
function bytesOf(hex) {
  var bytes = [];
  for (var i = 0; i < hex.length; i += 2) {
    bytes.push(parseInt(hex.substr(i, 2), 16));
  }
  return bytes;
}
function unsigned(bytes, from, count) {
  var value = 0;
  for (var i = 0; i < count; i++) {
    value = value * 256 + bytes[from + i];
  }
  return value;
}
function signed(bytes, from, count) {
  var value = unsigned(bytes, from, count);
  var limit = Math.pow(2, 8 * count - 1);
  return value >= limit ? value - 2 * limit : value;
}
function flagsOf(byte) {
  var flags = {};
  FLAGS.forEach(function (name, bit) {
    flags[name] = (byte >> bit & 1) === 1;
  });
  return flags;
}
function batteryOf(byte) {
  if (byte === 0xff) {
    return { known: false };
  }
  return {
    known: true,
    level: Math.round(byte / 2.54),
    low: byte < 40
  };
}
function round(value, digits) {
  var factor = Math.pow(10, digits);
  return Math.round(value * factor) / factor;
}
function decode(payload) {
  var bytes = bytesOf(payload);
  if (bytes.length < 12) {
    throw new Error('12 bytes expected');
  }
  return {
    type: TYPES[bytes[9]] || 'UNKNOWN',
    pressure: round(unsigned(bytes, 0, 2) / 10, 1),
    temperature: round(signed(bytes, 2, 2) / 100, 2),
    counter: unsigned(bytes, 4, 4),
    battery: batteryOf(bytes[8]),
    flags: flagsOf(bytes[10])
  };
}`;

const shown = (/** @type {number} */ rate) => `${Math.round(rate).toLocaleString('en')}/s`;
/** @param {number[]} values */
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

/** Decodes a second of messages as the stage does: in batches. */
async function engines() {
  const runner = new JavaScriptRunner();
  const engine = new DecodingEngine(runner);
  /** @type {Array<[string, 'binary' | 'csv' | 'javascript', object, string | null, (n: number) => string]>} */
  const cases = [
    ['binary, 12 bytes, 5 fields', 'binary', { format: FORMAT }, null, binaryPayload],
    [
      'the same with a template of two computations',
      'binary',
      { format: FORMAT },
      '{"pressure": "{{pressure}}/10", "temperature": "{{temperature}}/100", "counter": {{counter}}}',
      binaryPayload,
    ],
    ['CSV, 5 columns', 'csv', { columns: COLUMNS }, null, (n) => `celsius,${n / 100},10115,${n},true`],
    ['JavaScript, 60 lines', 'javascript', { script: SCRIPT }, null, binaryPayload],
  ];
  /** @type {Record<string, number>} */
  const rates = {};
  for (const [title, kind, definition, template, payload] of cases) {
    const decoder = compileDecoder(kind, definition, template);
    /** @param {number} from */
    const batch = (from) =>
      Array.from({ length: BATCH }, (_, i) => ({
        decoder,
        tenantId: 'bench',
        key: kind,
        payload: payload(from + i),
        stored: true,
      }));
    /** @param {number} seconds */
    const run = async (seconds) => {
      let count = 0;
      const began = performance.now();
      while (performance.now() - began < seconds * 1000) {
        const outcomes = await engine.decode(batch(count));
        const failed = outcomes.find((/** @type {unknown} */ outcome) => outcome instanceof Error);
        if (failed) throw failed;
        count += outcomes.length;
      }
      return (count * 1000) / (performance.now() - began);
    };
    await run(0.5);
    rates[title] = Math.round(await run(SECONDS));
    console.log(`${title}: ${shown(rates[title])}`);
  }
  await runner.close();
  return rates;
}

async function wholeWay() {
  const dataDir = mkdtempSync(join(tmpdir(), 'orrery-bench-'));
  const env = {
    ...process.env,
    ORRERY_BIND_ADDRESS: '127.0.0.1',
    ORRERY_LOG_LEVEL: 'warn',
    ORRERY_HTTP_PORT: String(await freePort()),
    ORRERY_HTTPS_PORT: String(await freePort()),
    ORRERY_MQTT_PORT: String(await freePort()),
    ORRERY_MQTTS_PORT: String(await freePort()),
  };
  const platform = await startPlatform({ dataDir, env, output: openSync(join(dataDir, 'orrery.log'), 'a') });
  const sql = new Client({ connectionString: platform.services.databaseUrl });
  await sql.connect();
  const apiKey = /** @type {string} */ (platform.apiKey);
  try {
    for (const [kind, definition] of [
      ['binary', { format: FORMAT }],
      ['javascript', { script: SCRIPT }],
    ]) {
      const response = await fetch(`${platform.httpUrl}/api/v0/decoders/${kind}`, {
        method: 'POST',
        headers: { 'x-api-key': apiKey, 'content-type': 'application/json' },
        body: JSON.stringify({ encoding: `bench ${kind}`, enabled: true, .../** @type {object} */ (definition) }),
      });
      if (!response.ok) throw new Error(`${kind}: ${response.status} ${await response.text()}`);
    }
    const pids = Object.fromEntries([
      ...platform.processes.map(({ name, child }) => [name, child?.pid ?? 0]),
      ...Object.entries(platform.services.pids),
    ]);
    /** @param {string} [condition] */
    const count = async (condition = 'true') =>
      Number((await sql.query(`SELECT count(*) n FROM store.messages WHERE ${condition}`)).rows[0].n);
    /** Messages a second from the first publication until the last is stored. @param {string | undefined} encoding */
    const phase = async (encoding, total = MESSAGES) => {
      // Counting takes time away from what is measured: as little as possible.
      await sql.query('TRUNCATE store.messages');
      const watch = watchUsage({ ...pids, 'load generator': process.pid });
      const began = performance.now();
      const { acknowledged } = await startLoad({
        port: platform.mqttPort,
        connections: CONNECTIONS,
        window: 50,
        total,
        device: (i) => ({ clientId: `bench-${i}`, username: 'json+device', password: apiKey, topic: 'dev/data' }),
        payload: (n) =>
          JSON.stringify({ value: { payload: binaryPayload(n) }, metadata: { encoding: encoding ?? 'none' } }),
      }).done;
      const deadline = Date.now() + 120_000;
      let stored = await count();
      while (stored < acknowledged && Date.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        stored = await count();
      }
      const rate = (acknowledged * 1000) / (performance.now() - began);
      const used = watch();
      const decoded = await count(`body LIKE '%"counter":%'`);
      if (stored !== acknowledged || decoded !== (encoding ? acknowledged : 0))
        throw new Error(`${acknowledged} acknowledged, ${stored} stored, ${decoded} decoded`);
      return { rate, used };
    };
    for (const encoding of [undefined, 'bench binary', 'bench javascript']) await phase(encoding, 5000);
    /** @type {Record<string, number[]>} */
    const rates = { plain: [], binary: [], javascript: [] };
    for (let round = 0; round < ROUNDS; round++)
      for (const [name, list] of Object.entries(rates)) {
        const { rate, used } = await phase(name === 'plain' ? undefined : `bench ${name}`);
        list.push(rate);
        const cores = Object.entries(used).map(([process, { cores: each }]) => `${process} ${each.toFixed(2)}`);
        console.log(`MQTT to stored, ${name}: ${shown(rate)} (cores: ${cores.join(', ')})`);
      }
    const plain = median(/** @type {number[]} */ (rates['plain']));
    const ratios = Object.fromEntries(Object.entries(rates).map(([name, list]) => [name, median(list) / plain]));
    for (const name of ['binary', 'javascript'])
      console.log(`MQTT to stored, ${name} against not encoded: ${ratios[name]?.toFixed(2)}`);
    return { rates, ratios };
  } finally {
    await sql.end();
    await platform.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

const report = { machine: { node: process.version }, engines: await engines(), wholeWay: await wholeWay() };
mkdirSync('test-results', { recursive: true });
writeFileSync('test-results/bench-decoding.json', JSON.stringify(report, null, 2));
console.log('\nAll figures: test-results/bench-decoding.json');
process.exit(0);
