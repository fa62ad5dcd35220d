import { usage } from '../bench/processes.mjs';

const EVERY_MS = 5000;

/** @typedef {{ begin: number, peak: number, end: number }} Memory in MiB */

/**
 * Watches the memory of all processes and servers of a platform.
 *
 * @param {import('../platform.mjs').Platform} platform
 */
export function watchMemory(platform) {
  /** @type {Map<string, Memory>} */
  const memory = new Map();
  const look = () => {
    for (const [name, mib] of memoryOf(platform)) {
      const { begin = mib, peak = mib } = memory.get(name) ?? {};
      memory.set(name, { begin, peak: Math.max(peak, mib), end: mib });
    }
  };
  look();
  const timer = setInterval(look, EVERY_MS);
  return {
    /** @returns {Map<string, Memory>} */
    stop() {
      clearInterval(timer);
      look();
      return memory;
    },
  };
}

/**
 * MiB that each process and server has for itself at this moment; those that do not run are left out. PostgreSQL's is the
 * sum over its processes, without what they share.
 *
 * @param {import('../platform.mjs').Platform} platform
 * @returns {Map<string, number>}
 */
export function memoryOf({ processes, services }) {
  const pids = [
    ...processes.map(({ name, child }) => /** @type {const} */ ([name, child?.pid])),
    ...Object.entries(services.pids),
  ];
  const found = new Map();
  for (const [name, pid] of pids) {
    if (pid === undefined) continue;
    const { memoryMiB } = usage(pid);
    if (memoryMiB > 0) found.set(name, Math.round(memoryMiB));
  }
  return found;
}
