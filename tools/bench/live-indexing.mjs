import { startLoad } from './mqtt-load.mjs';
import { usage } from './processes.mjs';
import { handledBy } from './readers.mjs';

const CONNECTIONS = 100;
/** Before what is measured: devices are made, compilers get warm. */
const WARM_UP = 5000;
const TIMEOUT_MS = 600_000;
const sleep = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * @typedef {object} LiveIndexing
 * @property {number} acknowledged messages, all of which were stored and indexed
 * @property {number} storedRate messages/s, from the first publication to the last one in the store
 * @property {number} indexedRate the same for the index
 * @property {Record<string, number>} cpu microseconds of each process per message
 * @property {{ stored: number, indexed: number }} counts of messages that arrived meanwhile, warm-up included
 */

/**
 * Messages over MQTT, as many as are taken, with the readers of the store and of the index at work.
 *
 * @param {object} options
 * @param {import('../platform.mjs').Platform} options.platform
 * @param {string} options.apiKey
 * @param {number} options.messages
 * @param {Record<string, number>} options.pids further processes whose CPU time is wanted
 * @returns {Promise<LiveIndexing>}
 */
export async function liveIndexing({ platform, apiKey, messages, pids }) {
  /** Messages that both readers have handled. */
  const handled = async () => {
    const { store = 0, search = 0 } = await handledBy(platform.processes);
    return { stored: store, indexed: search };
  };
  const counts = async (/** @type {string} */ from) => {
    const url = `${platform.httpUrl}/api/v1/data/search/counts?from=${from}`;
    const response = await fetch(url, { headers: { 'x-api-key': apiKey } });
    if (!response.ok) throw new Error(`counts: ${response.status} ${await response.text()}`);
    return /** @type {Promise<{ stored: number, indexed: number }>} */ (response.json());
  };
  const cpu = () => {
    const all = {
      ...pids,
      ...Object.fromEntries(platform.processes.map(({ name, child }) => [name, child?.pid ?? 0])),
    };
    return Object.fromEntries(Object.entries(all).map(([name, pid]) => [name, usage(pid).cpuSeconds]));
  };
  /** @param {number} total */
  const load = async (total) => {
    const before = await handled();
    const cpuBefore = cpu();
    const began = performance.now();
    const sending = startLoad({
      port: platform.mqttPort,
      connections: CONNECTIONS,
      window: 50,
      total,
      device: (i) => ({ clientId: `live-${i}`, username: 'json+device', password: apiKey, topic: 'dev/data' }),
      payload: (n) =>
        JSON.stringify({
          model: 'live_v0',
          value: {
            temperature: (n % 400) / 10,
            humidity: n % 100,
            status: n % 3 ? 'ok' : 'low',
            charging: n % 5 === 0,
          },
          location: { lat: 43 + (n % 50) / 10, lon: (n % 70) / 10 },
          tags: [`site${n % 20}`],
        }),
    });
    let acknowledged = Infinity;
    void sending.done.then((done) => (acknowledged = done.acknowledged));
    let [storedAt, indexedAt] = [0, 0];
    while (!storedAt || !indexedAt) {
      if (performance.now() - began > TIMEOUT_MS) throw new Error('not everything was indexed within ten minutes');
      await sleep(50);
      const { stored, indexed } = await handled();
      const now = performance.now();
      if (!storedAt && stored - before.stored >= acknowledged) storedAt = now;
      if (!indexedAt && indexed - before.indexed >= acknowledged) indexedAt = now;
    }
    const rate = (/** @type {number} */ end) => acknowledged / ((end - began) / 1000);
    const cpuAfter = cpu();
    const each = Object.keys(cpuAfter).map((name) => [
      name,
      (((cpuAfter[name] ?? 0) - (cpuBefore[name] ?? 0)) / acknowledged) * 1e6,
    ]);
    return { acknowledged, storedRate: rate(storedAt), indexedRate: rate(indexedAt), cpu: Object.fromEntries(each) };
  };
  const from = new Date().toISOString();
  await load(WARM_UP);
  const result = await load(messages);
  // What is indexed is found a moment later.
  let found = await counts(from);
  for (let n = 0; n < 60 && found.indexed !== found.stored; n++) {
    await sleep(500);
    found = await counts(from);
  }
  return { ...result, counts: found };
}
