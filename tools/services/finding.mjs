import { setTimeout as sleep } from 'node:timers/promises';
import { relative } from 'node:path';
import { findOnPath, isAtLeast, messageOf, run, versionIn } from './commands.mjs';
import { fetchPackage } from './debian.mjs';
import { pullImage, whyNoDocker } from './docker.mjs';
import { freePort } from './free-port.mjs';

/**
 * @typedef {'postgres' | 'nats' | 'redis'} Service
 * @typedef {'environment' | 'path' | 'docker' | 'embedded' | 'fetched'} Origin
 *
 * @typedef {object} Context
 * @property {string} dataDir absolute
 * @property {NodeJS.ProcessEnv} env
 * @property {(line: string) => void} log
 * @property {string} password
 * @property {number} [port] a free one unless given
 *
 * @typedef {object} Started
 * @property {Origin} source
 * @property {string} url
 * @property {string} detail
 * @property {number} [pid]
 * @property {() => Promise<void>} stop
 */

/**
 * @template T
 * @typedef {{ name: string, find: () => Promise<T> }} Way
 */

/**
 * @template T
 * @param {{ title: string, advice: string, ways: readonly Way<T>[] }} options
 * @returns {Promise<T>}
 */
export async function firstThatWorks({ title, advice, ways }) {
  const tried = [];
  for (const { name, find } of ways) {
    try {
      return await find();
    } catch (error) {
      tried.push(`  ${name}: ${messageOf(error)}`);
    }
  }
  throw new Error(`${title} could not be found or fetched.\n${tried.join('\n')}\n${advice}`);
}

/**
 * @typedef {{ source: 'path' | 'fetched', command: string, version: string, where: string, env: NodeJS.ProcessEnv }
 *   | { source: 'docker', version: string, where: string }} Program
 *
 * @typedef {object} Sought
 * @property {string} title
 * @property {string} name of the program and of its Debian package
 * @property {string} minimum version
 * @property {string} image for Docker
 * @property {Omit<import('./debian.mjs').Wanted, 'name' | 'check' | 'minimum'>} packaged
 * @property {string} advice what a person can do when nothing works
 */

/**
 * A server from PATH, a Docker image, or a Debian package, in this order.
 *
 * @param {Sought} sought
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<Program>}
 */
export function findProgram({ title, name, minimum, image, packaged, advice }, env) {
  /** @type {Way<Program>[]} */
  const ways = [
    {
      name: 'on PATH',
      find: async () => {
        const { command, version } = await serverOnPath({ name, minimum, env });
        return { source: 'path', command, version, where: command, env };
      },
    },
    {
      name: 'Docker',
      find: async () => {
        await requireDocker(env);
        await pullImage(image, env);
        return { source: 'docker', version: image.slice(image.indexOf(':') + 1), where: `Docker image ${image}` };
      },
    },
    {
      name: 'fetched',
      find: async () => {
        const fetched = await fetchPackage({ ...packaged, name, minimum, check: ['--version'] }, env);
        const { command, version, suite } = fetched;
        return { source: 'fetched', command, version, where: `package ${name} of ${suite}`, env: fetched.env };
      },
    },
  ];
  return firstThatWorks({ title: `${title} ${minimum} or newer`, advice, ways });
}

/**
 * @param {{ name: string, minimum: string, env: NodeJS.ProcessEnv }} wanted
 * @returns {Promise<{ command: string, version: string }>}
 */
async function serverOnPath({ name, minimum, env }) {
  const command = await findOnPath(name, env);
  if (!command) throw new Error(`no ${name}`);
  const { code, stdout, stderr } = await run(command, ['--version'], { env, timeout: 10_000 });
  const version = versionIn(stdout);
  if (code !== 0 || !version) throw new Error(`${command} does not run: ${stderr.trim()}`);
  if (!isAtLeast(version, minimum)) throw new Error(`${command} is ${version}, ${minimum} or newer is needed`);
  return { command, version };
}

/** @param {NodeJS.ProcessEnv} env */
export async function requireDocker(env) {
  const reason = await whyNoDocker(env);
  if (reason) throw new Error(reason);
}

/**
 * Starts on the given port or a free one. Another program can take a free port first, and after a crash PostgreSQL's
 * children need a moment to end: both are tried again for 10 s.
 *
 * @template T
 * @param {number | undefined} fixed
 * @param {(port: number) => Promise<T>} start
 * @returns {Promise<T>}
 */
export async function onPort(fixed, start) {
  for (const deadline = Date.now() + 10_000; ; await sleep(200)) {
    try {
      return await start(fixed ?? (await freePort()));
    } catch (error) {
      const again = fixed === undefined ? /(already|still) in use|already allocated/i : /still in use/i;
      if (!again.test(messageOf(error)) || Date.now() > deadline) throw error;
    }
  }
}

/**
 * @param {string} path
 * @returns {string} as a person in the working directory would write it
 */
export function shown(path) {
  const near = relative(process.cwd(), path);
  return near === '' || near.startsWith('..') ? path : near;
}
