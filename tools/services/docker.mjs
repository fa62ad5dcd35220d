import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { run, tail } from './commands.mjs';

/** @type {Promise<string | undefined> | undefined} */
let answer;

/**
 * Whether a Docker engine answers within 3 s; asked once a process.
 *
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<string | undefined>} the reason why not
 */
export function whyNoDocker(env) {
  answer ??= run('docker', ['info', '--format', '{{.ServerVersion}}'], { env, timeout: 3000 }).then(
    ({ code, stdout, stderr }) => {
      if (code === 0 && stdout.trim() !== '') return undefined;
      return stderr.includes('ENOENT') ? 'Docker is not installed' : 'no Docker engine answered within 3 s';
    },
  );
  return answer;
}

/**
 * @param {string} image
 * @param {NodeJS.ProcessEnv} env
 */
export async function pullImage(image, env) {
  const present = await run('docker', ['image', 'inspect', image], { env, timeout: 10_000 });
  if (present.code === 0) return;
  const pulled = await run('docker', ['pull', '--quiet', image], { env, timeout: 300_000 });
  if (pulled.code !== 0) throw new Error(`docker pull ${image} failed: ${tail(pulled.stderr, 2)}`);
}

/**
 * The name is the same at every start on a data directory, so that a container left behind can be found.
 *
 * @param {string} service
 * @param {string} dataDir
 * @returns {string}
 */
export function containerName(service, dataDir) {
  return `orrery-${service}-${createHash('sha256').update(resolve(dataDir)).digest('hex').slice(0, 12)}`;
}

/**
 * @param {string} name
 * @param {NodeJS.ProcessEnv} env
 */
export async function removeContainer(name, env) {
  await run('docker', ['rm', '--force', name], { env, timeout: 30_000 });
}

/**
 * Arguments of a `docker run` that stays in the foreground and passes signals on: the container lives and ends with it.
 *
 * @param {{ name: string, port: number, containerPort: number, folder: string, image: string,
 *   options?: readonly string[], command: readonly string[], user?: string }} container `folder` is mounted at /data
 * @returns {string[]}
 */
export function dockerRun({ name, port, containerPort, folder, image, options = [], command, user = ourselves() }) {
  const publish = ['--publish', `127.0.0.1:${port}:${containerPort}`, '--volume', `${resolve(folder)}:/data`];
  const as = user === undefined ? [] : ['--user', user];
  return ['run', '--rm', '--name', name, ...publish, ...as, ...options, image, ...command];
}

/** As root the images change to a user of their own; else the files must stay ours. */
function ourselves() {
  const uid = process.getuid?.() ?? 0;
  return uid === 0 ? undefined : `${uid}:${process.getgid?.() ?? uid}`;
}
