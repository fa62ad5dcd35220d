import { mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build, installDependencies } from '../install.mjs';
import { startPlatform } from '../platform.mjs';
import { freePort } from '../services/free-port.mjs';
import { makeRules } from './matching-rules.mjs';
import { startLoad } from './mqtt-load.mjs';
import { watchUsage } from './processes.mjs';
import { handledBy } from './readers.mjs';

// What rules cost: the same messages with 0, 10 and 50 matching rules of the account, of which one fires for each hundredth
// message. A run ends when every acknowledged message has been stored and evaluated. On one machine; local only.

const { values: flags } = parseArgs({
  options: { seconds: { type: 'string', default: '10' }, 'skip-build': { type: 'boolean', default: false } },
});
const RULES = [0, 10, 50];
const CONNECTIONS = 100;
/** Readers that a message must have passed. */
const READERS = ['store', 'event-processing'];

if (!flags['skip-build']) {
  installDependencies();
  build();
}

const sleep = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));
const dataDir = mkdtempSync(join(tmpdir(), 'orrery-bench-'));
/** @type {Array<{ rules: number, rate: number, acknowledgedRate: number }>} */
const results = [];
try {
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
  const apiKey = /** @type {string} */ (platform.apiKey);
  const processing = platform.processes.find(({ name }) => name === 'processing');
  /** @param {string} path @param {object} body @returns {Promise<{ id: string }>} */
  const post = async (path, body) => {
    const response = await fetch(platform.httpUrl + path, {
      method: 'POST',
      headers: { 'x-api-key': apiKey, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return /** @type {Promise<{ id: string }>} */ (response.json());
  };
  /** Messages and events that each reader has handled. */
  const handled = async () => {
    const counts = await handledBy(platform.processes);
    return READERS.map((reader) => counts[reader] ?? 0);
  };
  try {
    let made = 0;
    for (const rules of RULES) {
      await makeRules(post, made, rules);
      made = rules;
      /** @param {number} seconds */
      const run = async (seconds) => {
        const before = await handled();
        const began = performance.now();
        const watch = watchUsage({ processing: processing?.child?.pid ?? 0 });
        const { acknowledged, seconds: sending } = await startLoad({
          port: platform.mqttPort,
          connections: CONNECTIONS,
          window: 50,
          durationMs: seconds * 1000,
          device: (i) => ({ clientId: `bench-${i}`, username: 'json+device', password: apiKey, topic: 'dev/data' }),
          payload: (n) =>
            JSON.stringify({ value: { n, t: 21.5, h: 47.1, pad: 'x'.repeat(150) }, tags: ['bench'], model: 'bench' }),
        }).done;
        const deadline = Date.now() + 180_000;
        while ((await handled()).some((count, i) => count - (before[i] ?? 0) < acknowledged)) {
          if (Date.now() > deadline) throw new Error('not everything was evaluated within three minutes');
          await sleep(50);
        }
        const all = (performance.now() - began) / 1000;
        return {
          rules,
          rate: Math.round(acknowledged / all),
          acknowledgedRate: Math.round(acknowledged / sending),
          cores: watch()['processing']?.cores ?? 0,
        };
      };
      await run(3);
      const result = await run(Number(flags.seconds));
      results.push(result);
      const ratio = result.rate / (results[0]?.rate ?? 1);
      console.log(
        `${String(rules).padStart(2)} rules: ${result.rate} messages/s stored and evaluated (${ratio.toFixed(2)} of none), ${result.rate * rules} evaluations/s, ${result.acknowledgedRate} acknowledged/s, processing ${result.cores.toFixed(2)} cores`,
      );
    }
  } finally {
    await platform.stop();
  }
  mkdirSync('test-results', { recursive: true });
  writeFileSync('test-results/bench-rules.json', JSON.stringify(results, null, 2));
} finally {
  rmSync(dataDir, { recursive: true, force: true });
}
process.exit(0);
