import { existsSync } from 'node:fs';
import { chown, mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Client } from 'pg';
import { claim } from './claim.mjs';
import { messageOf, run, tail } from './commands.mjs';
import { containerName, dockerRun, removeContainer } from './docker.mjs';
import { onPort, shown } from './finding.mjs';
import { findPostgres } from './postgres-binaries.mjs';
import { startOf } from './processes.mjs';
import { Refused, startServer } from './server.mjs';
import { unprivilegedUser } from './unprivileged-user.mjs';

const USER = 'orrery';
const DATABASE = 'orrery';
// Above every system's highest pid.
const NO_PROCESS = '99999999';
const SETTINGS = ['-c', 'max_connections=500'];

/**
 * @typedef {import('./finding.mjs').Context} Context
 * @typedef {import('./postgres-binaries.mjs').Binaries} Binaries
 * @typedef {import('./unprivileged-user.mjs').UnprivilegedUser} UnprivilegedUser
 */

/**
 * @param {Context} context
 * @returns {Promise<import('./finding.mjs').Started>}
 */
export async function startPostgres({ dataDir, env, log, password, port: fixed }) {
  const service = 'postgres';
  // PostgreSQL's fast shutdown: it ends sessions. SIGTERM would wait for them.
  const stopSignal = 'SIGINT';
  const folder = join(dataDir, service);
  await mkdir(dataDir, { recursive: true });
  const user = await unprivilegedUser({
    title: 'PostgreSQL',
    folder,
    paths: [dataDir, import.meta.dirname],
    stopSignal,
    variable: 'DATABASE_URL',
  });
  const major = await dataMajor(folder);
  const found = await findPostgres({ user, env, major });
  const held = await claim({ dataDir, service, stopSignal, env });
  try {
    const container = found.source === 'docker' ? containerName(service, dataDir) : undefined;
    if (container) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
    } else if (found.source !== 'docker') {
      await initialise({ folder, found, user, password, env });
    }

    return await onPort(fixed, async (port) => {
      const server = await startServer({
        ...(found.source === 'docker'
          ? postgresContainer({ name: container ?? '', port, folder, image: found.image, password, env })
          : postgresProcess({ found, user, folder, port, env })),
        title: 'PostgreSQL',
        service,
        dataDir,
        stopSignal,
        log,
        async prepare() {
          if (container) await removeContainer(container, env);
          await disownPid(folder);
        },
        started: (identity) => held.record({ server: identity, container }),
        ready: () => postgresAnswers(port, password),
      });
      return {
        source: found.source,
        url: `postgres://${USER}:${password}@127.0.0.1:${port}/${DATABASE}`,
        detail: `PostgreSQL ${found.version}: ${found.where}, port ${port}, data ${shown(folder)}`,
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
 * @param {string} folder
 * @returns {Promise<string | undefined>} the major version that wrote the data; undefined where there is none yet
 */
async function dataMajor(folder) {
  try {
    return (await readFile(join(folder, 'PG_VERSION'), 'utf8')).trim();
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    if (code === 'ENOENT') return undefined;
    throw new Error(`${folder} cannot be read (${code}): it belongs to another user.`, { cause: error });
  }
}

/**
 * Makes the cluster beside its place and renames it, so that an interrupted start leaves nothing half made.
 *
 * @param {{ folder: string, found: Binaries, user: UnprivilegedUser, password: string, env: NodeJS.ProcessEnv }} options
 */
async function initialise({ folder, found, user, password, env }) {
  const parent = dirname(folder);
  for (const name of await readdir(parent)) {
    if (name.startsWith('postgres.new-')) await rm(join(parent, name), { recursive: true, force: true });
  }
  if (existsSync(join(folder, 'PG_VERSION'))) return;

  const scratch = await mkdtemp(join(parent, 'postgres.new-'));
  const passwordFile = join(scratch, 'password');
  const cluster = join(scratch, 'cluster');
  await mkdir(cluster, { mode: 0o700 });
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  if (user.uid !== undefined && user.gid !== undefined) {
    for (const path of [scratch, passwordFile, cluster]) await chown(path, user.uid, user.gid);
  }
  // The same order and case rules on every machine; before 17 they come from the C library, where macOS has no C.UTF-8.
  const locale =
    Number.parseInt(found.version, 10) >= 17
      ? ['--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C']
      : [`--locale=${process.platform === 'darwin' ? 'en_US.UTF-8' : 'C.UTF-8'}`];
  const [command, args, options] = user.command(found.initdb, [
    `--pgdata=${cluster}`,
    `--username=${USER}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    ...locale,
  ]);
  const made = await run(command, args, { ...options, env: { ...env, LC_MESSAGES: 'C' }, timeout: 120_000 });
  try {
    if (made.code !== 0) throw new Error(`initdb failed: ${tail(made.stderr)}`);
    await rename(cluster, folder);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/**
 * After a crash the pid in postmaster.pid can be a zombie or, since pids are reused, another program: PostgreSQL would
 * take either for a running server. The file must stay, because from its other lines PostgreSQL knows whether children
 * of the old server still use the data; so only the pid is replaced.
 *
 * @param {string} folder
 */
async function disownPid(folder) {
  const file = join(folder, 'postmaster.pid');
  const text = await readFile(file, 'utf8').catch(() => '');
  const pid = Number.parseInt(text, 10);
  if (!(pid > 0)) return;
  if (startOf(pid) !== undefined && (await commandLine(pid)).includes(folder)) {
    throw new Error(`${folder} is in use by a PostgreSQL server that was started by hand (process ${pid}): stop it.`);
  }
  await writeFile(file, text.replace(/^\d+/, NO_PROCESS));
}

/**
 * @param {number} pid
 * @returns {Promise<string>}
 */
async function commandLine(pid) {
  if (process.platform === 'linux') return readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return (await run('ps', ['-o', 'command=', '-p', String(pid)])).stdout;
}

/**
 * @param {{ found: Binaries, user: UnprivilegedUser, folder: string, port: number, env: NodeJS.ProcessEnv }} options
 */
function postgresProcess({ found, user, folder, port, env }) {
  const [command, args, options] = user.command(found.postgres, [
    `-D${folder}`,
    `-p${port}`,
    ...['listen_addresses=127.0.0.1', 'unix_socket_directories='].flatMap((setting) => ['-c', setting]),
    ...SETTINGS,
  ]);
  return { command, args, options: { ...options, env: { ...env, LC_MESSAGES: 'C' } } };
}

/**
 * @param {{ name: string, port: number, folder: string, image: string, password: string, env: NodeJS.ProcessEnv }} options
 */
function postgresContainer({ name, port, folder, image, password, env }) {
  const variables = { PGDATA: '/data', POSTGRES_USER: USER, POSTGRES_DB: DATABASE };
  const args = dockerRun({
    name,
    port,
    containerPort: 5432,
    folder,
    image,
    options: [
      '--shm-size=256m',
      ...Object.entries(variables).map(([variable, value]) => `--env=${variable}=${value}`),
      // Without a value Docker takes it from its own environment: other users see arguments, but not that.
      '--env=POSTGRES_PASSWORD',
    ],
    command: ['postgres', ...SETTINGS],
  });
  return { command: 'docker', args, options: { env: { ...env, POSTGRES_PASSWORD: password } } };
}

/**
 * Connects to the database, which is created where it is missing.
 *
 * @param {number} port
 * @param {string} password
 */
async function postgresAnswers(port, password) {
  try {
    await query({ port, password, database: DATABASE, text: 'SELECT 1' });
  } catch (error) {
    const { code } = /** @type {{ code?: string }} */ (error);
    // 28P01: wrong password, 28000: no such user, 3D000: no such database.
    if (code === '28P01' || code === '28000') {
      const reason = `${messageOf(error)}; the data directory was made with another service-passwords.json`;
      throw new Refused(reason, { cause: error });
    }
    if (code !== '3D000') throw error;
    await query({ port, password, database: 'postgres', text: `CREATE DATABASE ${DATABASE}` });
  }
}

/**
 * @param {{ port: number, password: string, database: string, text: string }} options
 */
async function query({ port, password, database, text }) {
  const client = new Client({
    host: '127.0.0.1',
    port,
    user: USER,
    password,
    database,
    ssl: false,
    connectionTimeoutMillis: 5000,
  });
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query(text);
  } finally {
    await client.end();
  }
}
