import { setTimeout as sleep } from 'node:timers/promises';

/**
 * @typedef {import('./cluster.mjs').Cluster} Cluster
 * @typedef {import('./cluster.mjs').Server} Server
 * @typedef {import('../fuzz/random.mjs').Random} Random
 *
 * @typedef {object} Surroundings
 * @property {Cluster} cluster
 * @property {import('./traffic.mjs').Traffic} traffic
 * @property {import('./servers.mjs').CalledServers} servers
 * @property {number} leaseTtlMs
 *
 * @typedef {object} Fault
 * @property {string} name
 * @property {string} what for people
 * @property {(surroundings: Surroundings, random: Random) => Promise<void>} run ends when what was broken works again
 */

/** Services that read the streams of the bus, each partition by one of their processes. */
const READERS = ['store', 'search', 'routing', 'event-processing', 'decoder', 'pipeline'];
/** Messages a second that fill a stream of ORRERY_STREAM_MAX_BYTES soon. */
const FILLING_RATE = 3000;
/** PostgreSQL would wait with SIGTERM until every client has gone, which ours never do. @type {Record<Server, NodeJS.Signals>} */
const ORDERLY = { nats: 'SIGTERM', postgres: 'SIGINT', redis: 'SIGTERM' };
/** Shorter than the retries of a push that come soon: 5 seconds, three times (manual 14.3.2.2). */
const BROKEN_WEBHOOK_MS = 10_000;

/** @param {Random} random @param {number} from @param {number} to milliseconds */
const between = (random, from, to) => from + random.integer(to - from);

/** @param {string} service @returns {Fault} */
const kill = (service) => ({
  name: `kill-${service}`,
  what: `kill -9 of each process of ${service}, one after the other or nearly at once`,
  async run({ cluster }, random) {
    const names = cluster.instances(service).map(({ name }) => name);
    if (random.chance(0.5)) names.reverse();
    const atOnce = random.chance(0.5);
    const pause = between(random, 0, 1500);
    /** @type {Promise<void>[]} */
    const killed = [];
    for (const [i, name] of names.entries()) {
      if (i > 0) await (atOnce ? sleep(pause) : Promise.all(killed));
      killed.push(cluster.kill(name));
    }
    await Promise.all(killed);
  },
});

/** @param {string} service @returns {Fault} */
const freeze = (service) => ({
  name: `freeze-${service}`,
  what: `SIGSTOP of one process of ${service}, which owns partitions, past its leases; then SIGCONT`,
  async run({ cluster, leaseTtlMs }, random) {
    const { name } = random.pick(cluster.instances(service));
    await cluster.freeze([name], () => sleep(leaseTtlMs * (1.2 + random.integer(20) / 10)));
    await cluster.ready();
  },
});

/** @param {Server} server @param {'kill' | 'end'} how @returns {Fault} */
const endServer = (server, how) => ({
  name: `${how}-${server}`,
  what: how === 'kill' ? `kill -9 of ${server}, up to three times in a row` : `an orderly restart of ${server}`,
  async run({ cluster }, random) {
    const times = how === 'kill' ? 1 + random.integer(3) : 1;
    for (let i = 0; i < times; i++) await cluster.endServers([server], how === 'kill' ? 'SIGKILL' : ORDERLY[server]);
    await cluster.ready();
  },
});

/** @param {'fails' | 'hangs' | 'closed'} mode @param {string} what @returns {Fault} */
const breakWebhook = (mode, what) => ({
  name: `webhook-${mode}`,
  what: `the webhook ${what} for ${BROKEN_WEBHOOK_MS / 1000} seconds`,
  async run({ servers }) {
    await servers.setMode(mode);
    await sleep(BROKEN_WEBHOOK_MS);
    await servers.setMode('works');
  },
});

/** @type {Fault} */
const scale = {
  name: 'scale',
  what: 'a further process of a service that reads the bus, which then ends: partitions move',
  async run({ cluster }, random) {
    const reader = random.pick(READERS);
    const replicas = cluster.instances(reader).length;
    await cluster.platform.scale(reader, replicas + 1);
    await sleep(between(random, 1000, 5000));
    await cluster.platform.scale(reader, replicas);
  },
};

/** @type {Fault} */
const power = {
  name: 'power-loss',
  what: 'kill -9 of nats-server and PostgreSQL at the same moment',
  async run({ cluster }) {
    await cluster.endServers(['nats', 'postgres']);
    await cluster.ready();
  },
};

/** @type {Fault} */
const fillStreams = {
  name: 'full-streams',
  what: `SIGSTOP of all processes of a reader, and ${FILLING_RATE} messages a second, until the bus takes nothing more; then SIGCONT`,
  async run({ cluster, traffic }, random) {
    const reader = random.pick(READERS.slice(0, 4));
    const blocked = between(random, 1000, 6000);
    traffic.setRate(FILLING_RATE);
    try {
      await cluster.freeze(
        cluster.instances(reader).map(({ name }) => name),
        () => traffic.blocked(blocked),
      );
    } finally {
      traffic.setRate();
    }
    await cluster.ready();
  },
};

/** Everything that can be broken in a platform with a process for each service. @param {Cluster} cluster @returns {Fault[]} */
export function faultsOf(cluster) {
  const services = cluster.services;
  return [
    ...services.map(kill),
    ...READERS.filter((reader) => services.includes(reader)).map(freeze),
    .../** @type {const} */ (['nats', 'postgres', 'redis']).flatMap((server) => [
      endServer(server, 'kill'),
      endServer(server, 'end'),
    ]),
    scale,
    fillStreams,
    power,
    breakWebhook('fails', 'answers 500'),
    breakWebhook('hangs', 'takes requests and does not answer'),
    breakWebhook('closed', 'refuses connections'),
  ];
}
