import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

/**
 * @typedef {{ code: number | null, stdout: string, stderr: string }} Outcome
 * `code` is null when the command could not be run or was ended after `timeout`.
 */

/**
 * Runs a command to its end; never throws.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, cwd?: string, uid?: number, gid?: number, timeout?: number }} [options] timeout in ms
 * @returns {Promise<Outcome>}
 */
export function run(command, args, options = {}) {
  return new Promise((resolve) => {
    /** @type {import('node:child_process').ExecFileOptionsWithStringEncoding} */
    const settings = { ...options, encoding: 'utf8', killSignal: 'SIGKILL', maxBuffer: 64 * 1024 * 1024 };
    execFile(command, [...args], settings, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null;
      resolve({ code, stdout, stderr: code === null ? `${stderr}${error?.message ?? ''}` : stderr });
    });
  });
}

/**
 * The first executable of that name on PATH, or in the places where servers are installed and where an ordinary user's
 * PATH does not look.
 *
 * @param {string} name
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<string | undefined>}
 */
export async function findOnPath(name, env) {
  const folders = (env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  for (const folder of [...folders, '/usr/local/sbin', '/usr/sbin', '/opt/homebrew/bin']) {
    const file = join(folder, name);
    try {
      await access(file, constants.X_OK);
      return file;
    } catch {
      continue;
    }
  }
  return undefined;
}

/**
 * The first dotted number in a text: "nats-server: v2.10.27" gives "2.10.27".
 *
 * @param {string} text
 * @returns {string | undefined}
 */
export function versionIn(text) {
  return /\d+(?:\.\d+)+/.exec(text)?.[0];
}

/**
 * @param {string} version
 * @param {string} minimum
 * @returns {boolean}
 */
export function isAtLeast(version, minimum) {
  const have = version.split('.').map(Number);
  const want = minimum.split('.').map(Number);
  for (const [index, part] of want.entries()) {
    const other = have[index] ?? 0;
    if (other !== part) return other > part;
  }
  return true;
}

/**
 * The last lines of a command's or server's output, without passwords that stand in addresses.
 *
 * @param {string} text
 * @param {number} [lines]
 * @returns {string}
 */
export function tail(text, lines = 5) {
  return text
    .trim()
    .replaceAll(/\/\/[^/\s@]*@/g, '//***@')
    .split('\n')
    .slice(-lines)
    .join('\n');
}

/**
 * @param {unknown} error
 * @returns {string}
 */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
