import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { identify, isAlive, stopProcess } from './processes.mjs';
import { removeContainer } from './docker.mjs';

/**
 * @typedef {import('./processes.mjs').ProcessIdentity} ProcessIdentity
 * @typedef {{ owner: ProcessIdentity, server?: ProcessIdentity, container?: string }} Claimed
 *
 * @typedef {object} Claim
 * @property {(server: { server: ProcessIdentity, container?: string }) => void} record
 * @property {() => void} release
 */

/**
 * Takes a service's part of the data directory for this process. A server left running by a process that died is stopped
 * first; a living owner is an error, because two servers on one directory destroy it.
 *
 * @param {{ dataDir: string, service: string, stopSignal: NodeJS.Signals, env: NodeJS.ProcessEnv }} options
 * @returns {Promise<Claim>}
 */
export async function claim({ dataDir, service, stopSignal, env }) {
  mkdirSync(dataDir, { recursive: true });
  const file = join(dataDir, `${service}.lock`);
  /** @type {Claimed} */
  const mine = { owner: identify(process.pid) };
  while (!create(file, mine)) {
    const other = read(file);
    if (other && isAlive(other.owner)) {
      const who = other.owner.pid === process.pid ? 'this process' : `process ${other.owner.pid}`;
      throw new Error(`${join(dataDir, service)} is in use by ${who}: stop it, or choose another data directory.`);
    }
    if (other?.server) await stopProcess(other.server, stopSignal);
    if (other?.container) await removeContainer(other.container, env);
    rmSync(file, { force: true });
  }
  return {
    record(server) {
      const next = `${file}.${process.pid}`;
      writeFileSync(next, JSON.stringify({ ...mine, ...server }), { mode: 0o600 });
      renameSync(next, file);
    },
    release: () => rmSync(file, { force: true }),
  };
}

/**
 * Linking a finished file is atomic: nobody can see a lock without its content.
 *
 * @param {string} file
 * @param {Claimed} content
 * @returns {boolean} false when somebody holds it
 */
function create(file, content) {
  const made = `${file}.${process.pid}`;
  writeFileSync(made, JSON.stringify(content), { mode: 0o600 });
  try {
    linkSync(made, file);
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(made, { force: true });
  }
}

/**
 * @param {string} file
 * @returns {Claimed | undefined}
 */
function read(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}
