import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { claim } from './claim.mjs';
import { containerName, dockerRun, removeContainer } from './docker.mjs';
import { findProgram, onPort, shown } from './finding.mjs';
import { exchangeLines } from './line-protocol.mjs';
import { Refused, startServer } from './server.mjs';

const IMAGE = 'redis:7-alpine';

/** @type {import('./finding.mjs').Sought} */
const SOUGHT = {
  title: 'Redis',
  name: 'redis-server',
  minimum: '6.2',
  image: IMAGE,
  packaged: { command: 'usr/bin/redis-server' },
  advice:
    'Set REDIS_URL=redis://:password@host:6379 to use a server of yours, or install redis-server ' +
    '(apt install redis-server, brew install redis), or start Docker.',
};

/**
 * @param {import('./finding.mjs').Context} context
 * @returns {Promise<import('./finding.mjs').Started>}
 */
export async function startRedis({ dataDir, env, log, password, port: fixed }) {
  const service = 'redis';
  const stopSignal = 'SIGTERM';
  const found = await findProgram(SOUGHT, env);
  const held = await claim({ dataDir, service, stopSignal, env });
  try {
    const folder = join(dataDir, service);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const container = found.source === 'docker' ? containerName(service, dataDir) : undefined;

    return await onPort(fixed, async (port) => {
      const config = join(folder, 'redis.conf');
      const place = container ? { host: '0.0.0.0', port: 6379, folder: '/data' } : { host: '127.0.0.1', port, folder };
      await writeFile(config, redisConfig({ ...place, password }), { mode: 0o600 });
      const launch =
        found.source === 'docker'
          ? { command: 'docker', args: redisContainer(container ?? '', port, folder), options: { env } }
          : // Redis refuses to start in a locale that is not installed.
            { command: found.command, args: [config], options: { env: { ...found.env, LC_ALL: 'C' } } };
      const server = await startServer({
        ...launch,
        title: 'Redis',
        service,
        dataDir,
        stopSignal,
        log,
        prepare: async () => container && removeContainer(container, env),
        started: (identity) => held.record({ server: identity, container }),
        ready: () => redisAnswers(port, password),
      });
      return {
        source: found.source,
        url: `redis://:${password}@127.0.0.1:${port}`,
        detail: `Redis ${found.version}: ${found.where}, port ${port}, data ${shown(folder)}`,
        get pid() {
          return server.pid;
        },
        async stop() {
          await server.stop();
          held.release();
        },
      };
    });
  } catch (error) {
    held.release();
    throw error;
  }
}

/**
 * @param {{ host: string, port: number, folder: string, password: string }} options
 * @returns {string}
 */
function redisConfig({ host, port, folder, password }) {
  return `bind ${host}
port ${port}
requirepass ${password}
dir ${JSON.stringify(folder)}
daemonize no
save ""
appendonly yes
# BullMQ loses jobs when Redis may evict keys.
maxmemory-policy noeviction
`;
}

/**
 * @param {string} name
 * @param {number} port
 * @param {string} folder
 * @returns {string[]}
 */
function redisContainer(name, port, folder) {
  const command = ['redis-server', '/data/redis.conf'];
  return dockerRun({ name, port, containerPort: 6379, folder, image: IMAGE, command });
}

/**
 * @param {number} port
 * @param {string} password
 * @returns {Promise<void>}
 */
function redisAnswers(port, password) {
  return exchangeLines({
    port,
    request: `AUTH ${password}\r\nPING\r\n`,
    accepts(line) {
      if (line.startsWith('-WRONGPASS')) throw new Refused(line.slice(1));
      return line === '+PONG';
    },
  });
}
