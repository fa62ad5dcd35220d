import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build, installDependencies } from '../install.mjs';
import { startPlatform } from '../platform.mjs';
import { freePort } from '../services/free-port.mjs';
import { findMosquittoBroker } from '../services/mosquitto.mjs';
import { Latencies } from './latencies.mjs';
import { startLoad } from './mqtt-load.mjs';
import { usage } from './processes.mjs';

// The MQTT endpoint beside Mosquitto and aedes in one run on one machine: acknowledged QoS 1 publications of 50 clients
// with 1 and 20 unacknowledged each, and what connections cost. Orrery acknowledges what is on disk and stores it
// meanwhile; the others acknowledge what is in memory. Bounded in time; local only.

const { values: flags } = parseArgs({
  options: { seconds: { type: 'string', default: '10' }, idle: { type: 'string', default: '15000' } },
});
const CLIENTS = 50;
const WINDOWS = [1, 20];
const IDLE = Number(flags.idle);

installDependencies();
build();

const payload = (/** @type {number} */ n) =>
  JSON.stringify({ value: { n, t: 21.532, h: 47.1, b: 3.71, r: -71, pad: 'x'.repeat(180) } });
const sleep = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** @type {Map<string, Map<number, number>>} acknowledged a second, by broker and window */
const rates = new Map();
/** @type {Record<string, unknown>} */
const report = {};

/** @param {string} name @param {number} port @param {import('./mqtt-load.mjs').LoadOptions['device']} device */
async function publications(name, port, device) {
  /** @type {Map<number, number>} */
  const own = new Map();
  rates.set(name, own);
  for (const window of WINDOWS) {
    const options = { port, connections: CLIENTS, window, device, payload };
    await startLoad({ ...options, durationMs: 2000 }).done;
    const puback = new Latencies();
    const { acknowledged, seconds } = await startLoad({
      ...options,
      durationMs: Number(flags.seconds) * 1000,
      onAck: (_n, ms) => puback.add(ms),
    }).done;
    const { p50, p99, p999 } = puback.percentiles;
    const rate = Math.round(acknowledged / seconds);
    own.set(window, rate);
    report[`${name}, window ${window}`] = { rate, p50, p99, p999 };
    console.log(
      `${name.padEnd(10)} window ${String(window).padStart(2)}: ${rate} acknowledged/s, ${p50.toFixed(2)} / ${p99.toFixed(2)} / ${p999.toFixed(2)} ms (p50 / p99 / p99.9)`,
    );
  }
}

/** @param {number} port @param {string} apiKey @param {number} edge @param {string} what */
async function idle(port, apiKey, edge, what) {
  const before = usage(edge).memoryMiB;
  const child = fork('tools/bench/idle-connections.mjs', [String(port), String(IDLE), apiKey]);
  const [{ seconds }] = /** @type {[{ seconds: number }]} */ (
    await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(() => {
        throw new Error('the connections could not be opened');
      }),
    ])
  );
  await sleep(3000);
  const kib = ((usage(edge).memoryMiB - before) * 1024) / IDLE;
  const rate = Math.round(IDLE / seconds);
  console.log(`Orrery     ${IDLE} ${what}: ${rate} connections/s, ${kib.toFixed(1)} KiB of memory per idle connection`);
  const closed = once(child, 'exit');
  child.kill();
  await closed;
  return { rate, kib };
}

const dataDir = mkdtempSync(join(tmpdir(), 'orrery-bench-'));
try {
  const aedes = fork('tools/bench/aedes.mjs');
  const [port] = /** @type {[number]} */ (await once(aedes, 'message'));
  const broker = (/** @type {number} */ i) => ({ clientId: `bench-${i}`, topic: `dev/bench-${i}` });
  await publications('aedes', port, broker);
  aedes.kill();

  const mosquittoPort = await freePort();
  const config = join(dataDir, 'mosquitto.conf');
  writeFileSync(
    config,
    `listener ${mosquittoPort} 127.0.0.1\nallow_anonymous true\n${process.getuid?.() === 0 ? 'user root\n' : ''}`,
  );
  const found = await findMosquittoBroker({ log: () => undefined });
  const mosquitto = spawn(found.broker, ['-c', config], { env: found.env, stdio: 'ignore' });
  await sleep(500);
  await publications('Mosquitto', mosquittoPort, broker);
  mosquitto.kill();

  const platform = await startPlatform({
    dataDir,
    env: {
      ...process.env,
      ORRERY_BIND_ADDRESS: '127.0.0.1',
      ORRERY_LOG_LEVEL: 'warn',
      ORRERY_HTTP_PORT: String(await freePort()),
      ORRERY_HTTPS_PORT: String(await freePort()),
      ORRERY_MQTT_PORT: String(await freePort()),
      ORRERY_MQTTS_PORT: String(await freePort()),
    },
    output: openSync(join(dataDir, 'orrery.log'), 'a'),
  });
  try {
    const apiKey = /** @type {string} */ (platform.apiKey);
    const edge = platform.processes.find(({ name }) => name === 'edge')?.child?.pid ?? 0;
    const first = await idle(platform.mqttPort, apiKey, edge, 'new devices');
    const again = await idle(platform.mqttPort, apiKey, edge, 'known devices');
    await publications('Orrery', platform.mqttPort, (i) => ({
      clientId: `bench-${i}`,
      username: 'json+device',
      password: apiKey,
      topic: 'dev/data',
    }));
    report['idle'] = { first, again };
  } finally {
    await platform.stop();
  }
  for (const window of WINDOWS) {
    const rate = (/** @type {string} */ name) => rates.get(name)?.get(window) ?? 0;
    console.log(
      `window ${window}: Orrery acknowledges ${(rate('Orrery') / rate('aedes')).toFixed(2)} of aedes' and ${(rate('Orrery') / rate('Mosquitto')).toFixed(2)} of Mosquitto's publications`,
    );
  }
  mkdirSync('test-results', { recursive: true });
  writeFileSync('test-results/bench-mqtt.json', JSON.stringify(report, null, 2));
  console.log('All figures: test-results/bench-mqtt.json');
} finally {
  rmSync(dataDir, { recursive: true, force: true });
}
process.exit(0);
