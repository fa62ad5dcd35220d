import { mkdtempSync, openSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build, installDependencies } from '../install.mjs';
import { startPlatform } from '../platform.mjs';
import { freePort } from '../services/free-port.mjs';
import { Latencies } from './latencies.mjs';
import { startLoad } from './mqtt-load.mjs';
import { watchUsage } from './processes.mjs';

// From an MQTT publication to the webhook that an action policy pushes it to, on one machine; local only.

const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    rate: { type: 'string', default: '500' },
    /** Milliseconds that the webhook takes. */
    takes: { type: 'string', default: '0' },
    'skip-build': { type: 'boolean', default: false },
  },
});
const RATE = Number(flags.rate);
const CONNECTIONS = 100;

if (!flags['skip-build']) {
  installDependencies();
  build();
}

const now = () => performance.timeOrigin + performance.now();
/** @param {number} ms */
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
/** @param {{ p50: number, p99: number, p999: number }} percentiles */
const shown = ({ p50, p99, p999 }) => `${p50.toFixed(1)} / ${p99.toFixed(1)} / ${p999.toFixed(1)} ms`;

let latencies = new Latencies();
/** @type {Set<string>} */
const pushes = new Set();
let repeated = 0;
const webhook = createServer((request, response) => {
  /** @type {Buffer[]} */
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const { n, t0 } = JSON.parse(Buffer.concat(chunks).toString());
    latencies.add(now() - t0);
    if (pushes.has(`${n} ${t0}`)) repeated++;
    pushes.add(`${n} ${t0}`);
    setTimeout(() => response.end(), Number(flags.takes));
  });
});
await new Promise((resolve) => webhook.listen(0, '127.0.0.1', () => resolve(undefined)));
const port = /** @type {import('node:net').AddressInfo} */ (webhook.address()).port;

const dataDir = mkdtempSync(join(tmpdir(), 'orrery-bench-'));
const env = {
  ...process.env,
  ORRERY_BIND_ADDRESS: '127.0.0.1',
  ORRERY_LOG_LEVEL: 'warn',
  ORRERY_HTTP_PORT: String(await freePort()),
  ORRERY_HTTPS_PORT: String(await freePort()),
  ORRERY_MQTT_PORT: String(await freePort()),
  ORRERY_MQTTS_PORT: String(await freePort()),
  ORRERY_WEBHOOK_ALLOW: `127.0.0.1:${port}`,
};
try {
  const platform = await startPlatform({ dataDir, env, output: openSync(join(dataDir, 'orrery.log'), 'a') });
  try {
    const apiKey = /** @type {string} */ (platform.apiKey);
    const response = await fetch(`${platform.httpUrl}/api/v1/event2action/actionPolicies`, {
      method: 'POST',
      headers: { 'x-api-key': apiKey, 'content-type': 'application/json' },
      body: JSON.stringify({
        enabled: true,
        triggers: { dataMessage: { version: 1 } },
        actions: { httpPush: [{ webhookUrl: `http://127.0.0.1:${port}/`, jsonPath: 'value', retryOnFailure: true }] },
      }),
    });
    if (!response.ok) throw new Error(`the policy: ${response.status} ${await response.text()}`);
    /** @param {string} title @param {number} seconds */
    const phase = async (title, seconds) => {
      latencies = new Latencies();
      pushes.clear();
      const pids = Object.fromEntries([
        ...platform.processes.map(({ name, child }) => [name, child?.pid ?? 0]),
        ...Object.entries(platform.services.pids),
      ]);
      const watch = watchUsage(pids);
      const puback = new Latencies();
      const { acknowledged } = await startLoad({
        port: platform.mqttPort,
        connections: CONNECTIONS,
        window: 50,
        rate: RATE,
        durationMs: seconds * 1000,
        device: (i) => ({ clientId: `bench-${i}`, username: 'json+device', password: apiKey, topic: 'dev/data' }),
        onAck: (_n, ms) => puback.add(ms),
        payload: (n, at) => JSON.stringify({ value: { n, t0: at, pad: 'x'.repeat(200) } }),
      }).done;
      const used = watch();
      const deadline = Date.now() + 60_000;
      while (pushes.size < acknowledged && Date.now() < deadline) await sleep(20);
      console.log(
        `\n${title}, ${RATE}/s: ${acknowledged} acknowledged, ${pushes.size} pushed, ${repeated} of them again`,
      );
      console.log(
        `  publication to PUBACK ${shown(puback.percentiles)}; to webhook ${shown(latencies.percentiles)} (p50 / p99 / p99.9)`,
      );
      for (const [name, { cores }] of Object.entries(used))
        console.log(`  ${name.padEnd(16)} ${cores.toFixed(2)} cores`);
    };
    await phase('warm-up', 5);
    await phase('measured', Number(flags.seconds));
  } finally {
    await platform.stop();
  }
} finally {
  webhook.closeAllConnections();
  webhook.close();
  rmSync(dataDir, { recursive: true, force: true });
}
process.exit(0);
