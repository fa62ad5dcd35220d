import { readFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * @typedef {{ pid: number, started: string }} ProcessIdentity
 * A pid alone is reused by the operating system; together with the time the process started it is unique.
 */

const GRACE_MS = 10_000;

/**
 * @param {number} pid
 * @returns {string | undefined} when the process started, in the operating system's own form; undefined when it is gone
 */
export function startOf(pid) {
  try {
    if (process.platform !== 'linux') {
      return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim() || undefined;
    }
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // proc(5): the name stands in parentheses and may hold blanks; state is field 3, start time field 22.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/**
 * @param {number} pid
 * @returns {ProcessIdentity}
 */
export function identify(pid) {
  return { pid, started: startOf(pid) ?? 'gone' };
}

/**
 * @param {ProcessIdentity} identity
 * @returns {boolean}
 */
export function isAlive({ pid, started }) {
  return startOf(pid) === started;
}

/**
 * Sends the signal, and SIGKILL when the process is still there after 10 s. Resolves when it is gone.
 *
 * @param {ProcessIdentity} identity
 * @param {NodeJS.Signals} signal
 */
export async function stopProcess(identity, signal) {
  for (const next of [signal, /** @type {const} */ ('SIGKILL')]) {
    if (!isAlive(identity)) return;
    try {
      process.kill(identity.pid, next);
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ESRCH') return;
      throw new Error(`Process ${identity.pid} cannot be stopped: it belongs to another user.`, { cause: error });
    }
    for (const end = Date.now() + GRACE_MS; Date.now() < end; await sleep(20)) if (!isAlive(identity)) return;
  }
  throw new Error(`Process ${identity.pid} is still running ${GRACE_MS / 1000} s after SIGKILL.`);
}
