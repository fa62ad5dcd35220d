import { mkdir, readdir, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { claim } from './claim.mjs';
import { containerName, dockerRun, removeContainer } from './docker.mjs';
import { findProgram, onPort, shown } from './finding.mjs';
import { exchangeLines } from './line-protocol.mjs';
import { Refused, startServer } from './server.mjs';

const IMAGE = 'nats:2.11-alpine';
const USER = 'orrery';
const GIB = 1024 ** 3;

/** @type {import('./finding.mjs').Sought} */
const SOUGHT = {
  title: 'NATS',
  name: 'nats-server',
  minimum: '2.10.23',
  image: IMAGE,
  packaged: { command: 'usr/sbin/nats-server', newerSuites: ['trixie'] },
  advice:
    'Set NATS_URL=nats://user:password@host:4222 to use a server of yours, or put nats-server on PATH ' +
    '(https://github.com/nats-io/nats-server/releases), or start Docker.',
};

/**
 * @typedef {object} Users other users than the one that the password is for
 * @property {string} user the one that the password is for
 * @property {string} authorization the block of that name of the configuration; its variables come from `env`
 *
 * @param {import('./finding.mjs').Context & { users?: Users }} context
 * @returns {Promise<import('./finding.mjs').Started>}
 */
export async function startNats({ dataDir, env, log, password, port: fixed, users }) {
  const user = users?.user ?? USER;
  const authorization = users?.authorization ?? `authorization { user: ${USER}, password: "${password}" }`;
  const service = 'nats';
  const stopSignal = 'SIGTERM';
  const found = await findProgram(SOUGHT, env);
  const held = await claim({ dataDir, service, stopSignal, env });
  try {
    const folder = join(dataDir, service);
    const store = join(folder, 'store');
    await mkdir(store, { recursive: true, mode: 0o700 });
    const container = found.source === 'docker' ? containerName(service, dataDir) : undefined;
    const maxFileStore = await fileStoreLimit(store);

    return await onPort(fixed, async (port) => {
      const config = join(folder, 'nats.conf');
      const place = container
        ? { host: '0.0.0.0', port: 4222, store: '/data/store' }
        : { host: '127.0.0.1', port, store };
      await writeFile(config, natsConfig({ ...place, authorization, maxFileStore }), { mode: 0o600 });
      const launch =
        found.source === 'docker'
          ? { command: 'docker', args: natsContainer(container ?? '', port, folder, authorization), options: { env } }
          : { command: found.command, args: ['--config', config], options: { env: found.env } };
      const server = await startServer({
        ...launch,
        title: 'NATS',
        service,
        dataDir,
        stopSignal,
        log,
        prepare: async () => container && removeContainer(container, env),
        started: (identity) => held.record({ server: identity, container }),
        ready: () => natsAnswers(port, user, password),
      });
      return {
        source: found.source,
        url: `nats://${user}:${password}@127.0.0.1:${port}`,
        detail: `NATS ${found.version}: ${found.where}, port ${port}, data ${shown(folder)}`,
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
 * @param {{ host: string, port: number, store: string, authorization: string, maxFileStore: number }} options
 * @returns {string}
 */
function natsConfig({ host, port, store, authorization, maxFileStore }) {
  return `server_name: orrery
listen: "${host}:${port}"
max_payload: 8MB
${authorization}
jetstream {
  store_dir: ${JSON.stringify(store)}
  max_file_store: ${maxFileStore}
  # A message is acknowledged only when it is on disk.
  sync_interval: always
}
`;
}

/**
 * What streams may reserve, in bytes: 64 GiB, or 80 % of what the disk can give them where that is less.
 *
 * @param {string} store
 * @returns {Promise<number>}
 */
async function fileStoreLimit(store) {
  const { bavail, bsize } = await statfs(store);
  let used = 0;
  for (const entry of await readdir(store, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) used += (await stat(join(entry.parentPath ?? entry.path, entry.name))).size;
  }
  // 0 would mean "not set" to NATS.
  return Math.max(64 * 1024 ** 2, Math.min(64 * GIB, Math.floor((bavail * bsize + used) * 0.8)));
}

/**
 * @param {string} name
 * @param {number} port
 * @param {string} folder
 * @param {string} authorization
 * @returns {string[]}
 */
function natsContainer(name, port, folder, authorization) {
  const command = ['--config', '/data/nats.conf'];
  // Without a value Docker takes it from its own environment.
  const options = [...authorization.matchAll(/: \$(\w+)/g)].map(([, variable]) => `--env=${variable}`);
  return dockerRun({ name, port, containerPort: 4222, folder, image: IMAGE, options, command });
}

/**
 * @param {number} port
 * @param {string} user
 * @param {string} password
 * @returns {Promise<void>}
 */
function natsAnswers(port, user, password) {
  const connect = JSON.stringify({
    verbose: false,
    pedantic: false,
    user,
    pass: password,
    lang: 'node',
    version: '1',
  });
  let greeted = false;
  return exchangeLines({
    port,
    request: `CONNECT ${connect}\r\nPING\r\n`,
    accepts(line) {
      if (line.startsWith('-ERR')) throw new Refused(line.slice(5));
      greeted ||= line.startsWith('INFO {');
      return greeted && line === 'PONG';
    },
  });
}
