import { readFileSync, readlinkSync } from 'node:fs';

/**
 * Milliseconds that a thread has computed, where the system tells: those in which it had to wait are not its doing.
 * @param {string} [thread] by its name, else this one.
 */
export function threadTime(thread = 'thread-self') {
  try {
    return Number(readFileSync(`/proc/${thread}/schedstat`, 'latin1').split(' ')[0]) / 1e6;
  } catch {
    return undefined;
  }
}

/** The name of this thread for others of the process, where the system has names. */
export function threadName() {
  try {
    return readlinkSync('/proc/thread-self');
  } catch {
    return undefined;
  }
}
