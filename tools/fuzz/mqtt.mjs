import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { parseArgs } from 'node:util';
import { createWebSocketStream, WebSocket } from 'ws';
import { build, installDependencies } from '../install.mjs';
import { startPlatform } from '../platform.mjs';
import { freePort } from '../services/free-port.mjs';
import { connected, fuzzMqtt } from './mqtt-fuzz.mjs';
import { startLoad } from '../bench/mqtt-load.mjs';

/** What objects may take more in the last quarter than in the second; caches fill in the first. */
const MAX_GROWTH_BYTES = 32 << 20;
/** Garbage is collected the more often the less there may be; whoever needs more ends, which is noticed. */
const HEAP_MIB = 256;
const SAMPLES = 40;

const { values } = parseArgs({
  options: {
    packets: { type: 'string', default: '200000' },
    seed: { type: 'string', default: '1' },
    'no-build': { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help) {
  console.log(`npm run fuzz [-- --packets N] [--seed N] [--no-build]

Sends spoiled MQTT sessions of all modes to the whole platform, over TCP, TLS and WebSocket. Fails when a connection
does not end, a process ends or logs an error, memory grows, or a device cannot publish afterwards.`);
  process.exit(0);
}
const packets = Number(values.packets);
const seed = Number(values.seed);
if (!Number.isInteger(packets) || packets < 1 || !Number.isInteger(seed)) {
  console.error('--packets and --seed: expected whole numbers, packets from 1');
  process.exit(1);
}
if (!values['no-build']) {
  installDependencies();
  build();
}

const dataDir = mkdtempSync(join(tmpdir(), 'orrery-fuzz-'));
const logFile = join(dataDir, 'orrery.log');
const ports = { http: await freePort(), https: await freePort(), mqtt: await freePort(), mqtts: await freePort() };
const platform = await startPlatform({
  dataDir,
  output: openSync(logFile, 'a'),
  env: {
    ...process.env,
    ORRERY_BIND_ADDRESS: '127.0.0.1',
    ORRERY_HTTP_PORT: String(ports.http),
    ORRERY_HTTPS_PORT: String(ports.https),
    ORRERY_MQTT_PORT: String(ports.mqtt),
    ORRERY_MQTTS_PORT: String(ports.mqtts),
    ORRERY_LOG_LEVEL: 'info',
    NODE_OPTIONS: `--max-old-space-size=${HEAP_MIB}`,
  },
});
const key = /** @type {string} */ (platform.apiKey);
/** @type {string[]} */
const problems = [];

/** Bytes that the process which serves MQTT holds: all together, and objects alone. */
async function memory() {
  const text = await (await fetch(`${platform.httpUrl}/metrics`)).text();
  /** @param {string} name */
  const metric = (name) => Number(new RegExp(`^${name} (\\S+)`, 'm').exec(text)?.[1]);
  return { resident: metric('process_resident_memory_bytes'), heap: metric('nodejs_heap_size_used_bytes') };
}

/** @param {number} bytes */
const mebibytes = (bytes) => Math.round(bytes / (1 << 20));

/** @param {boolean} secure */
async function open(secure) {
  const host = '127.0.0.1';
  if (!secure) return connected(connect(ports.mqtt, host));
  if (Math.random() < 0.5)
    return connected(connectTls({ port: ports.mqtts, host, rejectUnauthorized: false }), 'secureConnect');
  const webSocket = new WebSocket(`wss://${host}:${ports.https}/mqtt`, 'mqtt', { rejectUnauthorized: false });
  await new Promise((resolve, reject) => webSocket.once('open', resolve).once('error', reject));
  return createWebSocketStream(webSocket, { allowHalfOpen: false });
}

try {
  await fetch(`${platform.httpUrl}/api/v0/topics/fifo`, {
    method: 'POST',
    headers: { 'x-api-key': key, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'fuzz' }),
  });
  const began = Date.now();
  /** What is held each time, least when garbage has just been collected. @type {number[]} */
  const heaps = [];
  let next = 0;
  const sent = await fuzzMqtt({
    open,
    key,
    seed,
    packets,
    onProgress: (count) => {
      if (count < next) return;
      next += packets / SAMPLES;
      const sample = heaps.push(Number.POSITIVE_INFINITY) - 1;
      void memory().then(({ resident, heap }) => {
        heaps[sample] = heap;
        if (sample % 4 === 0)
          console.log(`${count} packets: ${mebibytes(resident)} MiB, ${mebibytes(heap)} MiB of objects`);
      });
    },
  });
  heaps.push((await memory()).heap);
  /** @param {number} n */
  const quarter = (n) => Math.min(...heaps.slice((heaps.length * (n - 1)) / 4, (heaps.length * n) / 4));
  console.log(`${sent.packets} packets of ${sent.sessions} sessions in ${Math.round((Date.now() - began) / 1000)} s`);
  if (quarter(4) - quarter(2) > MAX_GROWTH_BYTES)
    problems.push(`objects grew from ${mebibytes(quarter(2))} to ${mebibytes(quarter(4))} MiB under the same load`);

  const device = { clientId: 'afterwards', username: 'json+device', password: key, topic: 'dev/data' };
  const load = startLoad({
    port: ports.mqtt,
    connections: 1,
    window: 1,
    total: 10,
    durationMs: 10_000,
    device: () => device,
    payload: (n) => JSON.stringify({ v: { n } }),
  });
  const { acknowledged } = await load.done;
  if (acknowledged !== 10) problems.push(`a device got ${acknowledged} of 10 publications acknowledged afterwards`);
  for (const { name, starts } of platform.processes)
    if (starts > 1) problems.push(`${name} ended and was started again ${starts - 1} times`);
} catch (error) {
  problems.push(String(error));
} finally {
  await platform.stop();
}
const errors = readFileSync(logFile, 'utf8')
  .split('\n')
  .filter((line) => /"level":(50|60)/.test(line) || (line !== '' && !line.startsWith('{')));
problems.push(...errors.slice(0, 20).map((line) => `logged: ${line}`));
rmSync(dataDir, { recursive: true, force: true });
for (const problem of problems) console.error(problem);
console.log(problems.length === 0 ? 'no problem found' : `seed ${seed}: ${problems.length} problems`);
process.exit(problems.length === 0 ? 0 : 1);
