import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'pg';
import { consumeFifo } from '../bench/fifo-consumer.mjs';
import { startLoad } from '../bench/mqtt-load.mjs';
import { accountOf, problemsOf } from './account.mjs';
import { Acknowledgements } from './acknowledgements.mjs';
import { until } from './cluster.mjs';

/**
 * @typedef {import('./account.mjs').Account} Account
 *
 * @typedef {object} TrafficOptions
 * @property {import('../platform.mjs').Platform} platform
 * @property {import('./servers.mjs').CalledServers} servers
 * @property {string} run name of what is made for it: letters, digits and -
 * @property {string} [apiKey] that of the platform's first start by default
 * @property {number} [rate] publications a second of all devices together
 * @property {number} [connections]
 * @property {number} [window] publications of a device that wait for their acknowledgements
 * @property {string} [pad] makes messages larger
 * @property {boolean} [stages] some messages are decoded, or transformed by a pipeline; they are by default
 * @property {number} [port] of MQTT; the platform's by default, behind which are all connectors
 *
 * @typedef {Awaited<ReturnType<typeof startTraffic>>} Traffic
 */

const HTTP_EVERY_MS = 100;
/** Devices of which the messages are pushed to the webhook, and devices of which they are decoded: one of so many. */
const ONE_OF = 10;
const ROLES = /** @type {const} */ ({ pushed: 1, decoded: 4 });
/** Numbers of what is sent over HTTP begin here. */
const HTTP_FROM = 1_000_000_000;
const STOP_MS = 120_000;

/**
 * Devices that publish, an HTTP client that injects, an application that consumes events, a webhook, a rule, a decoder and
 * a pipeline: what is acknowledged is counted, and followed to everything that it must come to. The rule fires for each
 * message, and each event goes to a FIFO that is consumed meanwhile; the messages themselves to one that is not.
 *
 * @param {TrafficOptions} options
 */
export async function startTraffic({
  platform,
  servers,
  run,
  apiKey = /** @type {string} */ (platform.apiKey),
  rate = 500,
  connections = 20,
  window = 20,
  pad = '',
  stages = true,
  port = platform.mqttPort,
}) {
  const url = platform.httpUrl;
  const httpStream = `${run}-http`;
  const devices = Array.from({ length: connections }, (_, i) => `urn:lo:nsid:mqtt:${run}-${i}`);
  /** @param {number} i @param {keyof typeof ROLES} role */
  const is = (i, role) => i % ONE_OF === ROLES[role];
  /** @param {number} i */
  const isDecoded = (i) => stages && is(i, 'decoded');
  const database = new Pool({ connectionString: platform.services.databaseUrl, max: 1 });
  database.on('error', () => undefined);
  /** @param {string} text @param {unknown[]} parameters */
  const query = async (text, parameters) => (await database.query(text, parameters)).rows;

  /** @type {Array<() => Promise<unknown>>} */
  const made = [];
  /** @param {string} method @param {string} path @param {object} [body] */
  const call = async (method, path, body) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { 'x-api-key': apiKey, ...(body ? { 'content-type': 'application/json' } : {}) },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return /** @type {{ id: string }} */ (text === '' ? {} : JSON.parse(text));
  };
  /** @param {string} path @param {object} body @param {string} [key] by which it is deleted, its id by default */
  const make = async (path, body, key) => {
    const { id } = await call('POST', path, body);
    made.unshift(() => call('DELETE', `${path}/${key ?? id}`));
    return id;
  };
  await make('/api/v0/topics/fifo', { name: run, maxLengthBytes: 2_000_000_000 }, run);
  await make('/api/v0/topics/fifo', { name: `${run}-events`, maxLengthBytes: 2_000_000_000 }, `${run}-events`);
  const decoder = { encoding: run, enabled: true, format: 'int n;', template: '{"decoded": {{n}}}' };
  await make('/api/v0/decoders/binary', decoder);
  await make('/api/v0/pipelines', {
    name: run,
    priorityLevel: 1,
    enabled: true,
    filter: { tags: [[`${run}-transformed`]] },
    steps: [{ type: 'externalTransformation', url: servers.transformUrl }],
  });
  const matching = await make('/api/v0/eventprocessing/matching-rule', {
    name: run,
    enabled: true,
    dataPredicate: { in: [run, { var: 'tags' }] },
  });
  const firing = await make('/api/v0/eventprocessing/firing-rule', {
    name: run,
    enabled: true,
    matchingRuleIds: [matching],
    firingType: 'ALWAYS',
  });
  /** @param {object} triggers @param {object} actions */
  const policy = (triggers, actions) =>
    make('/api/v1/event2action/actionPolicies', { enabled: true, triggers, actions });
  await policy({ dataMessage: { version: 1, filter: { tags: [[run]] } } }, { fifoPublish: [{ fifoName: run }] });
  await policy(
    { matchingFired: { version: 1, filter: { ruleIds: [firing] } } },
    { fifoPublish: [{ fifoName: `${run}-events` }] },
  );
  await policy(
    { dataMessage: { version: 1, filter: { tags: [[`${run}-pushed`]] } } },
    { httpPush: [{ webhookUrl: servers.pushUrl(run), retryOnFailure: true }] },
  );

  /** @type {Set<number>} */
  const acknowledged = new Set();
  const acknowledgements = new Acknowledgements(connections);
  /** Acknowledged of those that are stored without another stage before. */
  let direct = 0;
  const load = startLoad({
    port,
    connections,
    window,
    rate,
    device: (i) => ({ clientId: `${run}-${i}`, username: 'json+device', password: apiKey, topic: 'dev/data' }),
    payload: (n, _now, i) => {
      const tags = [run];
      if (is(i, 'pushed')) tags.push(`${run}-pushed`);
      const encoded = isDecoded(i);
      return JSON.stringify({
        value: { n, run, ...(pad ? { pad } : {}), ...(encoded ? { payload: n.toString(16).padStart(8, '0') } : {}) },
        tags,
        ...(encoded ? { metadata: { encoding: run } } : {}),
      });
    },
    onAck: (n, _latency, i) => {
      acknowledged.add(n);
      if (!isDecoded(i)) direct++;
      acknowledgements.add(i);
    },
  });

  let stopped = false;
  const http = { published: 0, refused: 0 };
  const posting = (async () => {
    for (; !stopped; await sleep(HTTP_EVERY_MS)) {
      const n = HTTP_FROM + http.published++;
      const status = await fetch(`${url}/api/v0/data/streams/${httpStream}`, {
        method: 'POST',
        headers: { 'x-api-key': apiKey, 'content-type': 'application/json' },
        // Few enough for a pipeline, which calls its server for one after the other of a stream.
        body: JSON.stringify({ value: { n, run }, tags: stages ? [run, `${run}-transformed`] : [run] }),
        signal: AbortSignal.timeout(30_000),
      }).then(
        (response) => response.text().then(() => response.status),
        () => undefined,
      );
      if (status === 202) acknowledged.add(n);
      else http.refused++;
    }
  })();

  // One connection at a time, as an application has.
  /** @type {import('./account.mjs').Entry[]} */
  const events = [];
  const ca = readFileSync(platform.caFile);
  let closed = false;
  /** @type {() => void} */
  let hangUp = () => undefined;
  const consuming = (async () => {
    while (!closed) {
      let gone = () => {};
      const end = new Promise((resolve) => (gone = () => resolve(undefined)));
      const consumer = await consumeFifo({
        port: platform.mqttsPort,
        ca,
        apiKey,
        fifo: `${run}-events`,
        clientId: `${run}-events`,
        onMessage: (payload) => {
          const { data } = JSON.parse(payload.toString()).matchingContext;
          events.push({ n: data.value.n, source: sourceOf(data) });
        },
        onClose: gone,
      }).catch(() => undefined);
      if (consumer) {
        hangUp = consumer.close;
        if (!closed) await end;
        consumer.close();
      }
      if (!closed) await sleep(100);
    }
  })();

  /** What is stored of it, and what has become of each. @returns {Promise<import('./account.mjs').StoredRow[]>} */
  const storedRows = async () => {
    const rows = await query(
      `SELECT (m.body::json #>> '{value,n}')::int AS n, m.stream_id AS source,
         m.body::json #>> '{value,decoded}' AS decoded, m.body::json #>> '{value,transformed}' AS transformed,
         EXISTS (SELECT FROM search.documents d WHERE d.tenant_id = m.tenant_id AND d.id = m.id) AS indexed, e.*
       FROM store.messages m, LATERAL (
         SELECT count(*)::int AS events, count(d.id)::int AS events_indexed FROM store.messages e
         LEFT JOIN search.documents d ON d.tenant_id = e.tenant_id AND d.id = e.id
         WHERE e.tenant_id = m.tenant_id AND e.cause = m.id) e
       WHERE m.stream_id = ANY($1)`,
      [[...devices, httpStream]],
    );
    const index = new Map(devices.map((device, i) => [device, i]));
    return rows.map(({ decoded, transformed, ...row }) => {
      const i = index.get(row.source) ?? -1;
      return {
        ...row,
        ordered: i >= 0,
        pushed: is(i, 'pushed'),
        decodable: i < 0 ? stages : isDecoded(i),
        decoded: i < 0 ? transformed === 'true' : decoded === String(row.n),
      };
    });
  };
  const fifoRows = () =>
    query(
      `SELECT (body::json #>> '{value,n}')::int AS n, coalesce(body::json #>> '{metadata,source}', body::json ->> 'streamId') AS source FROM routing.fifo_messages
       WHERE fifo_id = (SELECT id FROM routing.fifos WHERE name = $1) ORDER BY seq`,
      [run],
    );
  /** @returns {Promise<Account>} of this moment */
  const account = async () => {
    const published = load.sent + http.published;
    return accountOf({
      published,
      refused: published - acknowledged.size,
      acknowledged: new Set(acknowledged),
      stored: await storedRows(),
      fifo: await fifoRows(),
      events: [...events],
      pushes: servers.pushes(run),
    });
  };
  /** Messages that are in the FIFO. @returns {Promise<number>} */
  const waiting = async () =>
    Number((await query('SELECT messages FROM routing.fifos WHERE name = $1', [run]))[0].messages);

  const stop = async () => {
    if (stopped) return;
    stopped = true;
    load.stop();
    await Promise.race([load.done, sleep(STOP_MS, undefined, { ref: false })]);
    await posting;
  };
  return {
    run,
    httpStream,
    acknowledgements,
    get acknowledged() {
      return acknowledged.size;
    },
    /** Publications of devices. */
    get published() {
      return load.sent;
    },
    /** @param {number} [next] the first one when absent */
    setRate: (next = rate) => load.setRate(next),
    /**
     * Waits until no device whose messages nobody decodes has had one acknowledged for so long.
     *
     * @param {number} quietMs
     * @param {number} [timeoutMs]
     */
    async blocked(quietMs, timeoutMs = 300_000) {
      let last = direct;
      let since = Date.now();
      await until(
        () => {
          if (last !== direct) [last, since] = [direct, Date.now()];
          return Date.now() - since > quietMs;
        },
        'messages are still acknowledged',
        timeoutMs,
      );
    },
    /** Waits until so many more have been acknowledged. @param {number} more */
    async flows(more = 300) {
      const from = acknowledged.size;
      await until(() => acknowledged.size >= from + more, `${more} more messages were not acknowledged`);
    },
    /** Waits until every device has heard of a message again. @param {number} [timeoutMs] */
    async flowsForAll(timeoutMs = 300_000) {
      const from = Date.now();
      await until(
        () => acknowledgements.allSince(from),
        'not every device has a message acknowledged again',
        timeoutMs,
      );
    },
    /** Waits until everything acknowledged so far is in the store and in the FIFO. */
    async settled() {
      const expected = [...acknowledged];
      for (const rows of [storedRows, fifoRows])
        await until(async () => {
          const there = new Set((await rows()).map(({ n }) => n));
          return expected.every((n) => there.has(n));
        }, 'what was acknowledged is not in the store and in the FIFO');
    },
    stop,
    account,
    /**
     * Stops, waits until everything has come where it must, and says what has become of it. What does not come although
     * nothing else has come for so long is told by `problemsOf`.
     *
     * @param {number} [quietMs]
     */
    async settle(quietMs = 60_000) {
      await stop();
      /** @type {Account | undefined} */
      let last;
      /** @type {unknown} */
      let failure = new Error('the platform did not answer');
      for (let changed = Date.now(); Date.now() - changed < quietMs;) {
        const began = Date.now();
        try {
          const now = await account();
          if (problemsOf(now).length === 0) return now;
          if (JSON.stringify(now) !== JSON.stringify(last)) changed = Date.now();
          last = now;
        } catch (error) {
          failure = error;
        }
        // A look costs the database time that the platform needs to get there.
        await sleep(Math.max(250, 2 * (Date.now() - began)));
      }
      if (!last) throw failure;
      return last;
    },
    /**
     * Consumes what is in the FIFO, which nothing has disturbed: it must come once, in order.
     *
     * @param {number} expected
     * @param {number} [timeoutMs]
     * @returns {Promise<import('./account.mjs').Entry[]>} what came
     */
    async consume(expected, timeoutMs = 300_000) {
      /** @type {import('./account.mjs').Entry[]} */
      const delivered = [];
      const consumer = await consumeFifo({
        port: platform.mqttsPort,
        ca,
        apiKey,
        fifo: run,
        clientId: `${run}-messages`,
        onMessage: (payload) => {
          const message = JSON.parse(payload.toString());
          delivered.push({ n: message.value.n, source: sourceOf(message) });
        },
      });
      try {
        await until(
          async () => delivered.length >= expected && (await waiting()) === 0,
          () => `${delivered.length} of ${expected} messages were delivered from the FIFO`,
          timeoutMs,
        );
      } finally {
        consumer.close();
      }
      return delivered;
    },
    /** Stops, and deletes what was made for it. */
    async close() {
      await stop();
      closed = true;
      hangUp();
      await consuming;
      for (const remove of made) await remove();
      await database.end();
    },
  };
}

/** The stream of a routed message, which does not name that of a device. @param {{ metadata?: { source?: string }, streamId?: string }} message */
const sourceOf = ({ metadata, streamId }) => metadata?.source ?? streamId ?? '';
