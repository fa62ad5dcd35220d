import { resolve } from 'node:path';
import { messageOf } from './commands.mjs';
import { servicePasswords } from './credentials.mjs';
import { startNats } from './nats.mjs';
import { startPostgres } from './postgres.mjs';
import { startRedis } from './redis.mjs';

/**
 * @typedef {import('./finding.mjs').Service} Service
 * @typedef {import('./finding.mjs').Origin} Origin
 * @typedef {{ service: Service, source: Origin, detail: string }} Choice `detail` is the logged line
 *
 * @typedef {object} Services
 * @property {string} databaseUrl `postgres://user:password@host:port/database`; empty when not in `only`
 * @property {string} natsUrl `nats://user:password@host:port`; empty when not in `only`
 * @property {string} redisUrl `redis://:password@host:port`; empty when not in `only`
 * @property {Choice[]} chosen
 * @property {() => Promise<void>} stop stops what was started here; may be called twice
 * @property {Partial<Record<Service, number>>} pids of the servers that were started here, at this moment
 *
 * @typedef {object} ServicesOptions
 * @property {string} dataDir where the servers keep their data, logs and passwords
 * @property {(line: string) => void} log gets a line for each service: what was chosen, and where it is
 * @property {NodeJS.ProcessEnv} [env]
 * @property {readonly Service[]} [only]
 * @property {Partial<Record<Service, number>>} [ports] free ones by default
 */

const KNOWN = {
  postgres: { title: 'PostgreSQL', variable: 'DATABASE_URL', start: startPostgres },
  nats: { title: 'NATS', variable: 'NATS_URL', start: startNats },
  redis: { title: 'Redis', variable: 'REDIS_URL', start: startRedis },
};

/**
 * Gives each service as the environment names it, or finds or fetches a server and starts it on 127.0.0.1. Resolves when
 * all answer; when one fails the others are stopped and the error says what was tried and what can be done.
 *
 * The servers are not in this process's terminal group: Ctrl-C does not reach them, `stop` does. Should the process end
 * without it, Linux stops them; elsewhere an end by signal leaves them to the next start on the directory. A server that
 * ends by itself is started again, on its port and data.
 *
 * @param {ServicesOptions} options
 * @returns {Promise<Services>}
 */
export async function startServices({
  dataDir,
  log,
  env = process.env,
  only = ['postgres', 'nats', 'redis'],
  ports = {},
}) {
  const folder = resolve(dataDir);
  /** @param {Service} service @returns {Promise<import('./finding.mjs').Started & { service: Service }>} */
  const provide = async (service) => {
    const { title, variable, start } = KNOWN[service];
    const given = env[variable];
    if (given) {
      const detail = `${title}: ${variable} from the environment, ${hostsOf(given)}`;
      log(detail);
      return { service, source: 'environment', url: given, detail, stop: async () => undefined };
    }
    const password = servicePasswords(folder)[service];
    const started = await start({ dataDir: folder, env, log, password, port: ports[service] });
    log(started.detail);
    return Object.assign(started, { service });
  };

  const outcomes = await Promise.allSettled(only.map(provide));
  const started = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  /** @type {Promise<void> | undefined} */
  let stopped;
  const stop = () => (stopped ??= Promise.all(started.map((one) => one.stop())).then(() => undefined));

  const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
  if (failures.length > 0) {
    await stop();
    throw new Error(failures.map(messageOf).join('\n\n'), { cause: failures[0] });
  }
  /** @param {Service} service */
  const urlOf = (service) => started.find((one) => one.service === service)?.url ?? '';
  return {
    databaseUrl: urlOf('postgres'),
    natsUrl: urlOf('nats'),
    redisUrl: urlOf('redis'),
    chosen: started.map(({ service, source, detail }) => ({ service, source, detail })),
    stop,
    get pids() {
      return Object.fromEntries(started.flatMap(({ service, pid }) => (pid === undefined ? [] : [[service, pid]])));
    },
  };
}

/**
 * Hosts alone: the rest of an address can hold a password.
 *
 * @param {string} addresses one, or several separated by commas
 * @returns {string}
 */
function hostsOf(addresses) {
  return addresses
    .split(',')
    .map((address) => /^(?:\w+:\/\/)?(?:[^@/]*@)?([^/?]+)/.exec(address.trim())?.[1] ?? 'an address')
    .join(', ');
}
