import { randomInt } from 'node:crypto';
import { mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { seeded } from '../fuzz/random.mjs';
import { build, installDependencies } from '../install.mjs';
import { startPlatform } from '../platform.mjs';
import { freePort } from '../services/free-port.mjs';
import { problemsOf } from './account.mjs';
import { Cluster } from './cluster.mjs';
import { faultsOf } from './faults.mjs';
import { watchMemory } from './memory.mjs';
import { planOf } from './plan.mjs';
import { startCalledServers } from './servers.mjs';
import { startTraffic } from './traffic.mjs';

// Two processes of each service under load, while everything that can end ends. At the end every message that was
// acknowledged must have come to everything that it must come to, once.

const { values: flags } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    /** The same seed repeats the same faults in the same order. */
    seed: { type: 'string' },
    /** Names, separated by commas; all when absent. */
    faults: { type: 'string' },
    rate: { type: 'string', default: '500' },
    /** Keeps the data directory with the logs, which a run that went wrong does anyway. */
    keep: { type: 'boolean', default: false },
    'skip-build': { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (flags.help) {
  console.log(`npm run chaos [-- --minutes 10 --seed 1 --faults kill-store,power-loss --rate 500 --keep --skip-build]

Runs two processes of each service under load and breaks them, the servers and the webhook. Tells what became of
every message; ends with 1 when one that was acknowledged is lost, doubled, out of order, not indexed or not evaluated.
A seed repeats the faults of an earlier run.`);
  process.exit(0);
}
const seconds = positive('minutes', flags.minutes) * 60;
const rate = positive('rate', flags.rate);
const seed = flags.seed === undefined ? randomInt(2 ** 31) : positive('seed', flags.seed, 0);
/** As configured unless set. */
const LEASE_TTL_MS = 6000;
/** What has not come is missing when nothing at all has come for so long: pushes are tried again after five minutes. */
const QUIET_MS = 320_000;

if (!flags['skip-build']) {
  installDependencies();
  build();
}

const began = Date.now();
const clock = () => {
  const passed = Math.round((Date.now() - began) / 1000);
  return `${String(Math.floor(passed / 60)).padStart(2)}:${String(passed % 60).padStart(2, '0')}`;
};
const say = (/** @type {string} */ line) => console.log(`${clock()}  ${line}`);

const dataDir = mkdtempSync(join(tmpdir(), 'orrery-chaos-'));
const logFile = join(dataDir, 'orrery.log');
const servers = await startCalledServers();
/** @type {string[]} */
const problems = [];
/** @type {import('../platform.mjs').Platform | undefined} */
let platform;
/** @type {Promise<import('../platform.mjs').Platform> | undefined} */
let starting;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.once(signal, () => {
    console.log('\nstopping ...');
    // What is being started is stopped once it is there.
    void Promise.resolve(starting)
      .then((started) => started?.stop())
      .finally(() => process.exit(130));
  });
try {
  const { DATABASE_URL: _d, NATS_URL: _n, REDIS_URL: _r, ELASTICSEARCH_URL: _e, ...inherited } = process.env;
  starting = startPlatform({
    dataDir,
    separate: true,
    replicas: 2,
    output: openSync(logFile, 'a'),
    env: {
      ...inherited,
      ORRERY_BIND_ADDRESS: '127.0.0.1',
      ORRERY_HTTP_PORT: String(await freePort()),
      ORRERY_HTTPS_PORT: String(await freePort()),
      ORRERY_MQTT_PORT: String(await freePort()),
      ORRERY_MQTTS_PORT: String(await freePort()),
      ORRERY_LEASE_TTL_MS: String(LEASE_TTL_MS),
      // The smallest streams there are, so that they can be filled.
      ORRERY_STREAM_MAX_BYTES: String(1 << 20),
      ORRERY_LOG_LEVEL: 'info',
      ORRERY_WEBHOOK_ALLOW: servers.allow,
    },
  });
  platform = await starting;
  await run(platform);
} catch (error) {
  problems.push(`The run could not go on: ${error instanceof Error ? error.message : String(error)}`);
} finally {
  await platform?.stop();
  await servers.close();
}

for (const problem of problems) console.log(`WRONG: ${problem}`);
if (problems.length === 0 && !flags.keep) rmSync(dataDir, { recursive: true, force: true });
else console.log(`\nLogs: ${logFile}, ${join(dataDir, 'logs')}`);
console.log(problems.length === 0 ? '\nNothing that was acknowledged is missing.' : `Again with: --seed ${seed}`);
process.exit(problems.length === 0 ? 0 : 1);

/** @param {import('../platform.mjs').Platform} running */
async function run(running) {
  const cluster = new Cluster(running);
  const all = faultsOf(cluster);
  const names = flags.faults?.split(',').map((name) => name.trim()) ?? all.map(({ name }) => name);
  const unknown = names.filter((name) => !all.some((fault) => fault.name === name));
  if (unknown.length > 0)
    throw new Error(`no fault ${unknown.join(', ')}: expected some of ${all.map(({ name }) => name).join(', ')}`);
  const plan = planOf(seed, names, seconds);
  say(
    `seed ${seed}: ${plan.length} faults in ${seconds / 60} minutes, ${running.processes.length} processes, ${rate} messages/s`,
  );

  const traffic = await startTraffic({ platform: running, servers, run: 'chaos', rate });
  await traffic.flows(3 * rate);
  const memory = watchMemory(running);
  const start = Date.now();
  for (const { name, at, seed: own } of plan) {
    const fault = /** @type {import('./faults.mjs').Fault} */ (all.find((each) => each.name === name));
    await sleep(Math.max(0, start + at * 1000 - Date.now()));
    const from = Date.now();
    try {
      await fault.run({ cluster, traffic, servers, leaseTtlMs: LEASE_TTL_MS }, seeded(own));
      await traffic.flowsForAll();
    } catch (error) {
      problems.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
    const { all: nobody, one } = traffic.acknowledgements.longestSince(from);
    say(
      `${name.padEnd(24)} took ${inSeconds(Date.now() - from)}; without any acknowledgement ${inSeconds(nobody)}, a device without one ${inSeconds(one)}`,
    );
  }
  await sleep(Math.max(0, start + seconds * 1000 - Date.now()));
  const longest = traffic.acknowledgements.longestSince(0).all;
  await traffic.stop();
  say('no more is sent; waiting for what is under way');
  const account = await traffic.settle(QUIET_MS);
  say('the account');
  problems.push(...problemsOf(account));
  for (const name of cluster.endedByThemselves) problems.push(`${name} ended by itself; its log says why.`);
  const used = memory.stop();

  const lines = [
    ['published', account.published],
    ['acknowledged', account.acknowledged],
    ['refused, or cut off before the answer', account.refused],
    ['stored', account.stored],
    ['  more than once', account.storedTwice],
    ['  lost: acknowledged and not stored', account.lost],
    ['indexed, with their events', account.indexed],
    ['evaluated once', account.evaluated],
    ['  more than once', account.evaluatedTwice],
    ['not decoded or transformed', account.notDecoded],
    ['in the FIFO', account.inFifo],
    ['  more than once', account.fifoTwice],
    ['  out of the order of their device', account.fifoDisorder],
    ['events delivered from their FIFO', account.events],
    ['  again, after a connection or its dispatcher was gone', account.eventsAgain],
    ['  out of the order of their device', account.eventsDisorder],
    ['pushed to the webhook', account.pushed],
    ['  again', account.pushedAgain],
    ['longest time without any acknowledgement', inSeconds(longest)],
  ];
  console.log();
  for (const [what, count] of lines) console.log(`${String(what).padEnd(56)} ${String(count).padStart(10)}`);
  console.log('\nMiB of memory                 begin   peak    end');
  for (const [name, { begin, peak, end }] of used)
    console.log(`${name.padEnd(28)} ${[begin, peak, end].map((mib) => String(mib).padStart(6)).join(' ')}`);
  mkdirSync('test-results', { recursive: true });
  writeFileSync(
    'test-results/chaos.json',
    JSON.stringify(
      { seed, seconds, rate, plan, account, longestPauseMs: longest, memory: Object.fromEntries(used), problems },
      null,
      2,
    ),
  );
  // Deleting takes what stays in the FIFO with it.
  await traffic.close();
}

/** @param {number} ms */
function inSeconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}

/** @param {string} name @param {string} text @param {number} [least] */
function positive(name, text, least = Number.MIN_VALUE) {
  const number = Number(text);
  if (Number.isFinite(number) && number >= least) return number;
  console.error(`--${name}: a number is expected, not ${text}`);
  process.exit(2);
}
