import { findOnPath } from './commands.mjs';
import { fetchPackage } from './debian.mjs';
import { firstThatWorks } from './finding.mjs';
import { dirname, join } from 'node:path';

/** @typedef {{ log: (line: string) => void, env?: NodeJS.ProcessEnv }} Options */

/**
 * Mosquitto's command line clients, from PATH or fetched. Run them with `env`: it has their library path.
 *
 * @param {Options} options
 * @returns {Promise<{ pub: string, sub: string, env: NodeJS.ProcessEnv }>}
 */
export async function findMosquittoClients({ log, env = process.env }) {
  return firstThatWorks({
    title: 'mosquitto_pub and mosquitto_sub',
    advice: 'Install them (apt install mosquitto-clients, brew install mosquitto).',
    ways: [
      {
        name: 'on PATH',
        find: async () => {
          const pub = await findOnPath('mosquitto_pub', env);
          const sub = await findOnPath('mosquitto_sub', env);
          if (!pub || !sub) throw new Error('not there');
          log(`Mosquitto clients: ${dirname(pub)}`);
          return { pub, sub, env };
        },
      },
      {
        name: 'fetched',
        find: async () => {
          const wanted = { name: 'mosquitto-clients', command: 'usr/bin/mosquitto_pub', check: ['--help'] };
          const fetched = await fetchPackage(wanted, env);
          log(`Mosquitto clients ${fetched.version}: package mosquitto-clients of ${fetched.suite}`);
          return { pub: fetched.command, sub: join(dirname(fetched.command), 'mosquitto_sub'), env: fetched.env };
        },
      },
    ],
  });
}

/**
 * The Mosquitto broker, from PATH or fetched; it is not started. Run it with `env`: it has its library path.
 *
 * @param {Options} options
 * @returns {Promise<{ broker: string, env: NodeJS.ProcessEnv }>}
 */
export async function findMosquittoBroker({ log, env = process.env }) {
  return firstThatWorks({
    title: 'The Mosquitto broker',
    advice: 'Install it (apt install mosquitto, brew install mosquitto).',
    ways: [
      {
        name: 'on PATH',
        find: async () => {
          const broker = await findOnPath('mosquitto', env);
          if (!broker) throw new Error('not there');
          log(`Mosquitto broker: ${broker}`);
          return { broker, env };
        },
      },
      {
        name: 'fetched',
        find: async () => {
          const wanted = { name: 'mosquitto', command: 'usr/sbin/mosquitto', check: ['-h'] };
          const fetched = await fetchPackage(wanted, env);
          log(`Mosquitto broker ${fetched.version}: package mosquitto of ${fetched.suite}`);
          return { broker: fetched.command, env: fetched.env };
        },
      },
    ],
  });
}
