import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build, installDependencies } from '../install.mjs';
import { startPlatform } from '../platform.mjs';
import { freePort } from '../services/free-port.mjs';

// Foreign MQTT software against the platform: the tests of Eclipse Paho's testing suite that apply, in MQTT 3.1.1 and 5.
// Needs python3 and a checkout of https://github.com/eclipse/paho.mqtt.testing, which is cloned unless --paho names one.
// What mosquitto_pub, mosquitto_sub and mqtt.js must be able to do is part of `npm test`.

const { values: flags } = parseArgs({ options: { paho: { type: 'string' } } });

const dataDir = mkdtempSync(join(tmpdir(), 'orrery-interop-'));
let checkout = flags.paho;
if (!checkout) {
  checkout = join(dataDir, 'paho');
  const { status } = spawnSync(
    'git',
    ['clone', '--quiet', '--depth', '1', 'https://github.com/eclipse/paho.mqtt.testing', checkout],
    { stdio: 'inherit' },
  );
  if (status !== 0) throw new Error('the Paho testing suite could not be cloned: name a checkout with --paho <folder>');
}
if (!existsSync(join(checkout, 'interoperability')))
  throw new Error(`${checkout} is no checkout of paho.mqtt.testing: it has no folder interoperability`);

installDependencies();
build();

/** @param {string} config @returns {Promise<boolean>} whether all that apply pass */
const paho = (config) =>
  new Promise((resolve, reject) => {
    spawn('python3', ['tools/interop/paho.py', config], { stdio: 'inherit' })
      .once('error', reject)
      .once('exit', (code) => resolve(code === 0));
  });

const env = {
  ...process.env,
  ORRERY_BIND_ADDRESS: '127.0.0.1',
  ORRERY_LOG_LEVEL: 'warn',
  ORRERY_HTTP_PORT: String(await freePort()),
  ORRERY_HTTPS_PORT: String(await freePort()),
  ORRERY_MQTT_PORT: String(await freePort()),
  ORRERY_MQTTS_PORT: String(await freePort()),
};
let passed = true;
try {
  const platform = await startPlatform({ dataDir, env, output: 'ignore' });
  try {
    for (const version of [4, 5]) {
      console.log(`Paho's tests of MQTT ${version === 4 ? '3.1.1' : '5'}:`);
      passed =
        (await paho(
          JSON.stringify({
            checkout,
            version,
            host: 'localhost',
            port: platform.mqttsPort,
            ca: platform.caFile,
            apiUrl: platform.httpUrl,
            apiKey: platform.apiKey,
          }),
        )) && passed;
    }
  } finally {
    await platform.stop();
  }
} finally {
  rmSync(dataDir, { recursive: true, force: true });
}
process.exit(passed ? 0 : 1);
