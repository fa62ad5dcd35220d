import { fork, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Client } from 'pg';
import { build, installDependencies } from '../install.mjs';
import { startPlatform } from '../platform.mjs';
import { freePort } from '../services/free-port.mjs';
import { findMosquittoBroker } from '../services/mosquitto.mjs';
import { consumeFifo } from './fifo-consumer.mjs';
import { Latencies } from './latencies.mjs';
import { makeRules } from './matching-rules.mjs';
import { startLoad } from './mqtt-load.mjs';
import { usage, watchUsage } from './processes.mjs';
import { handledBy } from './readers.mjs';

// Orrery and, in the same run on the same machine, what a team would build instead: Mosquitto with a script that
// batches into Postgres. Messages are 250 bytes of JSON, QoS 1, from 100 connections. Orrery has ten rules, of which one
// fires for each hundredth message, and a policy that puts each into a FIFO. Bounded in time; local only.

const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '120' },
    rate: { type: 'string', default: '10000' },
    short: { type: 'boolean', default: false },
    'skip-baseline': { type: 'boolean', default: false },
    /** A process of each service instead of two of all. */
    separate: { type: 'boolean', default: false },
    replicas: { type: 'string', default: '1' },
  },
});
const SECONDS = flags.short ? 15 : Number(flags.seconds);
const BURST_SECONDS = flags.short ? 8 : 20;
const QUIET_SECONDS = flags.short ? 8 : 20;
const CONNECTIONS = 100;
const IDLE = 1000;
const RULES = 10;
/** Readers of every message, besides those that only keep states; all but the rules read events too. */
const READERS = { store: 'stored', routing: 'routed', 'event-processing': 'evaluated', search: 'indexed' };
/** One event for so many messages. */
const FIRES = 100;

installDependencies();
build();

/** 250 bytes with the number and the time of the publication. @param {number} n @param {number} at */
function payload(n, at) {
  const body = { value: { n, t0: at, t: 21.532, h: 47.1, b: 3.71, r: -71, pad: '' }, tags: ['bench'] };
  body.value.pad = 'x'.repeat(250 - JSON.stringify(body).length);
  return JSON.stringify(body);
}
const now = () => performance.timeOrigin + performance.now();
/** @param {number} ms */
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
/** @param {{ p50: number, p99: number, p999: number }} percentiles */
const shown = ({ p50, p99, p999 }) => `${p50.toFixed(1)} / ${p99.toFixed(1)} / ${p999.toFixed(1)} ms`;

/**
 * Latency from publication to the committed row, seen by asking Postgres every three milliseconds for recent rows.
 * @param {Client} sql @param {string} query of the bodies created since $1
 */
function watchStored(sql, query) {
  const latencies = new Latencies();
  const seen = new Set();
  const began = now();
  let running = true;
  const done = (async () => {
    for (let since = Date.now(); running;) {
      const asked = Date.now();
      const { rows } = await sql.query({ name: 'recent', text: query, values: [new Date(since - 60)] });
      const at = now();
      for (const { body } of rows) {
        const [, n, t0] = /"n": ?(\d+), ?"t0": ?([\d.]+)/.exec(body) ?? [];
        // Of this phase alone.
        if (seen.has(n) || Number(t0) < began) continue;
        seen.add(n);
        latencies.add(at - Number(t0));
      }
      since = asked;
      await sleep(3);
    }
  })();
  return {
    latencies,
    async stop() {
      await sleep(500);
      running = false;
      await done;
    },
  };
}

const dataDir = mkdtempSync(join(tmpdir(), 'orrery-bench-'));
/** @type {Record<string, unknown>} */
const report = { machine: { node: process.version }, seconds: SECONDS };

async function orrery() {
  const env = {
    ...process.env,
    ORRERY_BIND_ADDRESS: '127.0.0.1',
    ORRERY_LOG_LEVEL: 'warn',
    ORRERY_HTTP_PORT: String(await freePort()),
    ORRERY_HTTPS_PORT: String(await freePort()),
    ORRERY_MQTT_PORT: String(await freePort()),
    ORRERY_MQTTS_PORT: String(await freePort()),
  };
  const platform = await startPlatform({
    dataDir,
    env,
    separate: flags.separate,
    replicas: Number(flags.replicas),
    output: openSync(join(dataDir, 'orrery.log'), 'a'),
  });
  const sql = new Client({ connectionString: platform.services.databaseUrl });
  await sql.connect();
  const apiKey = /** @type {string} */ (platform.apiKey);
  /** @param {string} path @param {unknown} body */
  const post = async (path, body) => {
    const response = await fetch(platform.httpUrl + path, {
      method: 'POST',
      headers: { 'x-api-key': apiKey, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return /** @type {Promise<{ id: string }>} */ (response.json());
  };
  const pids = Object.fromEntries([
    ...platform.processes.map(({ name, child }) => [name, child?.pid ?? 0]),
    ...Object.entries(platform.services.pids),
  ]);
  try {
    await post('/api/v0/topics/fifo', { name: 'bench', maxLengthBytes: 1_000_000_000 });
    await post('/api/v1/event2action/actionPolicies', {
      enabled: true,
      triggers: { dataMessage: { version: 1 } },
      actions: { fifoPublish: [{ fifoName: 'bench' }] },
    });
    await makeRules(post, 0, RULES);

    /** @type {Latencies} */
    let fifo = new Latencies();
    let delivered = 0;
    await consumeFifo({
      port: platform.mqttsPort,
      ca: readFileSync(platform.caFile),
      apiKey,
      fifo: 'bench',
      onMessage: (message) => {
        delivered++;
        const at = message.indexOf('"t0":');
        fifo.add(now() - Number.parseFloat(message.toString('latin1', at + 5, at + 30)));
      },
    });
    const device = (/** @type {number} */ i) => ({
      clientId: `bench-${i}`,
      username: 'json+device',
      password: apiKey,
      topic: 'dev/data',
    });
    // Without the events of the rules, which are stored too.
    const count = async () =>
      Number(
        (await sql.query(`SELECT count(*) n FROM store.messages WHERE stream_id LIKE 'urn:lo:nsid:mqtt:%'`)).rows[0].n,
      );

    /** @param {string} title @param {Partial<import('./mqtt-load.mjs').LoadOptions>} options @param {boolean} [stored] */
    const phase = async (title, options, stored = false) => {
      const [storedBefore, deliveredBefore] = [await count(), delivered];
      const [handledBefore, began] = [await handledBy(platform.processes), performance.now()];
      fifo = new Latencies();
      const puback = new Latencies();
      const watch = watchUsage({ ...pids, 'load generator': process.pid });
      const watcher = stored ? watchStored(sql, 'SELECT body FROM store.messages WHERE created >= $1') : undefined;
      const load = startLoad({
        port: platform.mqttPort,
        connections: CONNECTIONS,
        window: 50,
        device,
        payload,
        onAck: (_n, ms) => puback.add(ms),
        ...options,
      });
      const { sent, acknowledged, seconds } = await load.done;
      await watcher?.stop();
      /** @type {Record<string, number>} messages a second from the first publication until the last one was handled */
      const rates = {};
      const deadline = Date.now() + 180_000;
      while (Date.now() < deadline && (Object.keys(rates).length < 4 || delivered - deliveredBefore < acknowledged)) {
        const handled = await handledBy(platform.processes);
        for (const [reader, name] of Object.entries(READERS)) {
          const events = reader === 'event-processing' ? 0 : Math.floor(acknowledged / FIRES);
          if ((handled[reader] ?? 0) - (handledBefore[reader] ?? 0) >= acknowledged + events)
            rates[name] ??= Math.round((acknowledged * 1000) / (performance.now() - began));
        }
        await sleep(50);
      }
      const whole = (performance.now() - began) / 1000;
      const used = watch();
      const result = {
        sent,
        acknowledged,
        rate: Math.round(acknowledged / seconds),
        stored: (await count()) - storedBefore,
        delivered: delivered - deliveredBefore,
        puback: puback.percentiles,
        fifo: fifo.percentiles,
        ...(watcher ? { toStored: watcher.latencies.percentiles } : {}),
        rates,
        drainedAfterMs: Math.round((whole - seconds) * 1000),
        used,
      };
      console.log(
        `\nOrrery, ${title}: ${result.rate} acknowledged/s, ${acknowledged} acknowledged, ${result.stored} stored, ${result.delivered} delivered`,
      );
      console.log(
        `  to PUBACK ${shown(result.puback)}; to FIFO consumer ${shown(result.fifo)}${result.toStored ? `; to stored ${shown(result.toStored)}` : ''} (p50 / p99 / p99.9)`,
      );
      console.log(
        `  from the first to the last, per second: ${Object.entries(rates)
          .map(([name, rate]) => `${name} ${rate}`)
          .join(', ')}`,
      );
      for (const [name, { cores, memoryMiB, growthMiB }] of Object.entries(used))
        console.log(
          `  ${name.padEnd(16)} ${cores.toFixed(2)} cores, ${((cores * whole * 1e6) / acknowledged).toFixed(0)} µs per message, ${memoryMiB.toFixed(0)} MiB (${growthMiB >= 0 ? '+' : ''}${growthMiB.toFixed(0)})`,
        );
      return result;
    };

    const edge = pids['edge'] ?? pids['mqtt-connector'] ?? pids['mqtt-connector-1'] ?? 0;
    const before = usage(edge).memoryMiB;
    const idle = startLoad({
      port: platform.mqttPort,
      connections: IDLE,
      window: 1,
      total: IDLE,
      rate: 200,
      device: (i) => ({ clientId: `idle-${i}`, username: 'json+device', password: apiKey, topic: 'dev/data' }),
      payload,
    });
    while (
      (await sql.query(`SELECT count(*) n FROM device_manager.interfaces WHERE status = 'ONLINE'`)).rows[0].n < IDLE
    )
      await sleep(100);
    const perConnection = ((usage(edge).memoryMiB - before) * 1024) / IDLE;
    idle.stop();
    await idle.done;
    console.log(`  memory per idle connection: ${perConnection.toFixed(1)} KiB`);
    Object.assign(report, { idleKiB: perConnection });

    report['orrery'] = {
      warmUp: await phase('warm-up', { rate: 2000, durationMs: 5000 }),
      quiet: await phase('500/s', { rate: 500, durationMs: QUIET_SECONDS * 1000 }, true),
      sustained: await phase(`${flags.rate}/s for ${SECONDS} s`, {
        rate: Number(flags.rate),
        durationMs: SECONDS * 1000,
      }),
      burst: await phase('as fast as it goes', { durationMs: BURST_SECONDS * 1000 }),
    };
    const { rows } = await sql.query(
      `SELECT count(*) - count(DISTINCT (body::json->'value'->>'n', body::json->'value'->>'t0')) AS twice
       FROM store.messages WHERE stream_id LIKE 'urn:lo:nsid:mqtt:%'`,
    );
    console.log(`  messages stored twice: ${rows[0].twice}`);
  } finally {
    await sql.end();
    await platform.stop();
  }
}

async function baseline() {
  const { broker, env } = await findMosquittoBroker({ log: () => undefined });
  const { startServices } = await import('../services/index.mjs');
  const services = await startServices({ dataDir, log: () => undefined, only: ['postgres'] });
  const port = await freePort();
  const config = join(dataDir, 'mosquitto.conf');
  writeFileSync(
    config,
    `listener ${port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n${process.getuid?.() === 0 ? 'user root\n' : ''}`,
  );
  const mosquitto = spawn(broker, ['-c', config], { env, stdio: 'ignore' });
  await sleep(500);
  const script = fork('tools/bench/baseline.mjs', [String(port), services.databaseUrl]);
  await new Promise((resolve) => script.once('message', resolve));
  const sql = new Client({ connectionString: services.databaseUrl });
  await sql.connect();
  const count = async () => Number((await sql.query('SELECT coalesce(max(id), 0) n FROM baseline')).rows[0].n);
  try {
    const device = (/** @type {number} */ i) => ({ clientId: `bench-${i}`, topic: `dev/bench-${i}` });
    /** @param {string} title @param {Partial<import('./mqtt-load.mjs').LoadOptions>} options @param {boolean} [stored] */
    const phase = async (title, options, stored = false) => {
      const before = await count();
      const [puback, began] = [new Latencies(), performance.now()];
      const watch = watchUsage({
        mosquitto: mosquitto.pid ?? 0,
        script: script.pid ?? 0,
        postgres: services.pids.postgres ?? 0,
      });
      const watcher = stored ? watchStored(sql, 'SELECT body::text body FROM baseline WHERE created >= $1') : undefined;
      const { acknowledged, seconds } = await startLoad({
        port,
        connections: CONNECTIONS,
        window: 50,
        device,
        payload,
        onAck: (_n, ms) => puback.add(ms),
        ...options,
      }).done;
      await watcher?.stop();
      const deadline = Date.now() + 60_000;
      while (Date.now() < deadline && (await count()) - before < acknowledged) await sleep(50);
      const whole = (performance.now() - began) / 1000;
      const used = watch();
      const result = {
        acknowledged,
        rate: Math.round(acknowledged / seconds),
        stored: (await count()) - before,
        storedRate: Math.round(((await count()) - before) / whole),
        puback: puback.percentiles,
        ...(watcher ? { toStored: watcher.latencies.percentiles } : {}),
        used,
      };
      console.log(
        `\nMosquitto and a script, ${title}: ${result.rate} acknowledged/s, ${acknowledged} acknowledged, ${result.stored} stored`,
      );
      console.log(
        `  to PUBACK ${shown(result.puback)}${result.toStored ? `; to stored ${shown(result.toStored)}` : ''}; stored ${result.storedRate} a second from the first to the last`,
      );
      for (const [name, { cores }] of Object.entries(used))
        console.log(
          `  ${name.padEnd(16)} ${cores.toFixed(2)} cores, ${((cores * whole * 1e6) / acknowledged).toFixed(0)} µs per message`,
        );
      return result;
    };
    await sql.query('CREATE INDEX ON baseline (created)');
    report['baseline'] = {
      quiet: await phase('500/s', { rate: 500, durationMs: QUIET_SECONDS * 1000 }, true),
      burst: await phase('as fast as it goes', { durationMs: BURST_SECONDS * 1000 }),
    };
  } finally {
    await sql.end();
    script.kill();
    mosquitto.kill();
    await services.stop();
  }
}

try {
  await orrery();
  if (!flags['skip-baseline']) {
    await baseline();
    const { orrery: ours, baseline: theirs } = /** @type {any} */ (report);
    console.log(
      `\nOrrery to Mosquitto and a script, as fast as it goes: acknowledged ${(ours.burst.rate / theirs.burst.rate).toFixed(2)}, stored ${(ours.burst.rates.stored / theirs.burst.storedRate).toFixed(2)}`,
    );
  }
  mkdirSync('test-results', { recursive: true });
  writeFileSync('test-results/bench.json', JSON.stringify(report, null, 2));
  console.log('\nAll figures: test-results/bench.json');
} finally {
  rmSync(dataDir, { recursive: true, force: true });
}
process.exit(0);
