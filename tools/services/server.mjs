import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, run, tail } from './commands.mjs';
import { identify, stopProcess } from './processes.mjs';

// A database that recovers after a crash with a long log needs its time.
const READY_MS = 120_000;

/** An answer that waiting cannot change, such as a refused password. */
export class Refused extends Error {}

/**
 * @typedef {object} Server
 * @property {import('./processes.mjs').ProcessIdentity} identity
 * @property {() => Promise<void>} stop
 *
 * @typedef {object} ServerOptions
 * @property {string} title for messages
 * @property {string} service
 * @property {string} dataDir
 * @property {string} command
 * @property {readonly string[]} args
 * @property {import('node:child_process').SpawnOptions} [options]
 * @property {NodeJS.Signals} stopSignal
 * @property {() => Promise<void>} ready rejects while the server does not answer yet
 * @property {(identity: import('./processes.mjs').ProcessIdentity) => void} started called before anything is awaited
 * @property {(line: string) => void} log
 */

/** @type {Map<number, NodeJS.Signals>} */
const running = new Map();

process.on('exit', () => {
  for (const [pid, signal] of running) {
    try {
      process.kill(pid, signal);
    } catch {
      continue;
    }
  }
});

/**
 * Linux can signal a process when its parent ends, however that ends; where it cannot, the exit handler above and the
 * next start on the data directory remain.
 *
 * @type {Promise<boolean> | undefined}
 */
let canFollow;

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {NodeJS.Signals} signal
 * @returns {Promise<[string, string[]]>}
 */
async function endingWithUs(command, args, signal) {
  canFollow ??= run('setpriv', ['--pdeathsig=TERM', 'true']).then(({ code }) => code === 0);
  return (await canFollow)
    ? ['setpriv', [`--pdeathsig=${signal.slice(3)}`, '--', command, ...args]]
    : [command, [...args]];
}

/**
 * Starts a server and waits until it answers. Its output goes to `<dataDir>/logs/<service>.log`.
 *
 * @param {ServerOptions} server
 * @returns {Promise<Server>}
 */
export async function startServer({ title, service, dataDir, command, args, options, stopSignal, ...hooks }) {
  const logs = join(dataDir, 'logs');
  mkdirSync(logs, { recursive: true });
  const logFile = join(logs, `${service}.log`);
  const output = openSync(logFile, 'w', 0o600);
  // A session of its own: Ctrl-C in the terminal reaches the platform alone, which stops its servers last.
  const [program, words] = await endingWithUs(command, args, stopSignal);
  const child = spawn(program, words, { ...options, detached: true, stdio: ['ignore', output, output] });
  closeSync(output);

  /** @type {string | undefined} */
  let ended;
  let stopping = false;
  let answered = false;
  /** @param {string} how */
  const onEnd = (how) => {
    ended ??= how;
    if (child.pid !== undefined) running.delete(child.pid);
    if (answered && !stopping) hooks.log(`${title} ended unexpectedly (${how}); its log is ${logFile}`);
  };
  child.once('error', (error) => onEnd(error.message));
  child.once('exit', (code, signal) => onEnd(signal ?? `exit code ${code}`));

  const logTail = () => tail(readFileSync(logFile, 'utf8'), 8);
  if (child.pid === undefined) {
    await sleep(0);
    throw new Error(`${title}: ${command} could not be started (${ended ?? 'no process'}).`);
  }
  running.set(child.pid, stopSignal);
  const identity = identify(child.pid);
  hooks.started(identity);

  const stop = async () => {
    stopping = true;
    if (ended === undefined) await stopProcess(identity, stopSignal);
  };
  for (const deadline = Date.now() + READY_MS; ; await sleep(20)) {
    if (ended !== undefined)
      throw new Error(`${title} ended while starting (${ended}); ${logFile} ends with:\n${logTail()}`);
    try {
      await hooks.ready();
      break;
    } catch (error) {
      if (!(error instanceof Refused) && Date.now() < deadline) continue;
      await stop();
      throw new Error(`${title} does not answer: ${messageOf(error)}. ${logFile} ends with:\n${logTail()}`, {
        cause: error,
      });
    }
  }
  answered = true;
  return { identity, stop };
}
