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

/** A server that ran for less does not get its next start at once. */
const STABLE_MS = 10_000;
const MAX_WAIT_MS = 10_000;

/**
 * @typedef {object} Server
 * @property {number} pid of the present process
 * @property {() => Promise<void>} stop
 *
 * @typedef {object} RunningServer one process of a server
 * @property {import('./processes.mjs').ProcessIdentity} identity
 * @property {Promise<string>} ended how it ended
 *
 * @typedef {object} ServerOptions
 * @property {string} title for messages
 * @property {string} service
 * @property {string} dataDir
 * @property {string} command
 * @property {readonly string[]} args
 * @property {import('node:child_process').SpawnOptions} [options]
 * @property {NodeJS.Signals} stopSignal
 * @property {() => Promise<unknown>} [prepare] called before each start, to remove what an earlier process left behind
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
 * Starts a server and waits until it answers. One that ends by itself is started again, in the same way, until it is
 * stopped. Its output goes to `<dataDir>/logs/<service>.log`.
 *
 * @param {ServerOptions} options
 * @returns {Promise<Server>}
 */
export async function startServer(options) {
  const { title, stopSignal, log } = options;
  const stopping = new AbortController();
  const { signal } = stopping;
  let current = await launch(options, 'w', signal);

  const keep = async () => {
    for (let began = Date.now(); ; began = Date.now()) {
      const how = await current.ended;
      if (signal.aborted) return;
      log(`${title} ended unexpectedly (${how}); starting it again`);
      for (let wait = Date.now() - began > STABLE_MS ? 0 : 500; ; wait = Math.min(2 * wait || 500, MAX_WAIT_MS)) {
        await sleep(wait, undefined, { signal }).catch(() => undefined);
        if (signal.aborted) return;
        try {
          current = await launch(options, 'a', signal);
          break;
        } catch (error) {
          if (!signal.aborted) log(messageOf(error));
        }
      }
      if (signal.aborted) await stopProcess(current.identity, stopSignal);
    }
  };
  const kept = keep();
  return {
    get pid() {
      return current.identity.pid;
    },
    async stop() {
      stopping.abort();
      await stopProcess(current.identity, stopSignal);
      await kept;
    },
  };
}

/**
 * Starts one process of a server and waits until it answers.
 *
 * @param {ServerOptions} server
 * @param {'w' | 'a'} flags of the log file
 * @param {AbortSignal} signal ends the process and the wait
 * @returns {Promise<RunningServer>}
 */
async function launch({ title, service, dataDir, command, args, options, stopSignal, ...hooks }, flags, signal) {
  await hooks.prepare?.();
  const logs = join(dataDir, 'logs');
  mkdirSync(logs, { recursive: true });
  const logFile = join(logs, `${service}.log`);
  const output = openSync(logFile, flags, 0o600);
  // A session of its own: Ctrl-C in the terminal reaches the platform alone, which stops its servers last.
  const [program, words] = await endingWithUs(command, args, stopSignal);
  const child = spawn(program, words, { ...options, detached: true, stdio: ['ignore', output, output] });
  closeSync(output);

  /** @type {string | undefined} */
  let how;
  /** @type {Promise<string>} */
  const ended = new Promise((resolve) => {
    /** @param {string} outcome */
    const onEnd = (outcome) => {
      resolve((how = outcome));
      if (child.pid !== undefined) running.delete(child.pid);
    };
    child.once('error', (error) => onEnd(error.message));
    child.once('exit', (code, exitSignal) => onEnd(exitSignal ?? `exit code ${code}`));
  });

  const logTail = () => tail(readFileSync(logFile, 'utf8'), 8);
  if (child.pid === undefined) throw new Error(`${title}: ${command} could not be started (${await ended}).`);
  running.set(child.pid, stopSignal);
  const identity = identify(child.pid);
  hooks.started(identity);

  for (const deadline = Date.now() + READY_MS; ; await sleep(20)) {
    if (how !== undefined)
      throw new Error(`${title} ended while starting (${how}); ${logFile} ends with:\n${logTail()}`);
    try {
      signal.throwIfAborted();
      await hooks.ready();
      return { identity, ended };
    } catch (error) {
      if (!signal.aborted && !(error instanceof Refused) && Date.now() < deadline) continue;
      await stopProcess(identity, stopSignal);
      throw new Error(`${title} does not answer: ${messageOf(error)}. ${logFile} ends with:\n${logTail()}`, {
        cause: error,
      });
    }
  }
}
