import { parentPort, workerData } from 'node:worker_threads';
import { LRUCache } from 'lru-cache';
import { BEATS, JOB } from './progress.mjs';
import { Sandbox, ScriptError } from './sandbox.mjs';

/**
 * What the worker is asked: to run scripts, which are given by their keys, on payloads, or to look at a script.
 * @typedef {{ scripts: Map<string, string>, jobs: Array<{ key: string, payload: string }> }} Chunk
 * @typedef {{ check: string }} Check
 *
 * What it answers for a payload: JSON text or an error, and the milliseconds that it counts.
 * @typedef {{ json: string, cost: number } | { error: string, cost: number }} Answer
 */

/** Sandboxes that are kept: each takes half a megabyte, and four at most. */
const MAX_SANDBOXES = 100;
/** Milliseconds after which the answers so far are sent, and the other jobs left to be asked again. */
const TURN = 10;
/** Milliseconds from which a run counts as computing even if the interpreter did not see it. */
const LONG_OPERATION = 100;
/** Milliseconds that a new sandbox counts, for the script that needs one where others keep theirs. */
const RENEWAL = 5;

/** @type {LRUCache<string, Sandbox>} */
const sandboxes = new LRUCache({ max: MAX_SANDBOXES });
/** For the other side, which ends this thread when it does not go on. */
const progress = new Int32Array(workerData);
const beat = () => void Atomics.add(progress, BEATS, 1);
const port = /** @type {import('node:worker_threads').MessagePort} */ (parentPort);

port.on('message', (/** @type {Chunk | Check} */ message) => {
  void ('check' in message ? check(message.check) : run(message)).then((answer) => port.postMessage(answer));
});
port.postMessage('ready');

/**
 * @param {string} script
 * @returns {Promise<{ problem?: string }>}
 */
async function check(script) {
  try {
    await Sandbox.create(script, beat);
    return {};
  } catch (error) {
    return { problem: reasonOf(error) };
  }
}

/**
 * Answers the first jobs of a chunk, at least one.
 * @param {Chunk} chunk
 * @returns {Promise<Answer[]>}
 */
async function run({ scripts, jobs }) {
  const answers = [];
  const began = performance.now();
  for (const [index, { key, payload }] of jobs.entries()) {
    Atomics.store(progress, JOB, index);
    beat();
    const started = performance.now();
    const { outcome, computed } = await decode(key, /** @type {string} */ (scripts.get(key)), payload);
    const now = performance.now();
    const elapsed = now - started;
    const kept = sandboxes.has(key);
    answers.push({ ...outcome, cost: kept ? (elapsed > LONG_OPERATION ? elapsed : computed) : elapsed + RENEWAL });
    if (now - began > TURN) break;
  }
  return answers;
}

/**
 * @param {string} key
 * @param {string} script
 * @param {string} payload
 */
async function decode(key, script, payload) {
  let sandbox = sandboxes.get(key);
  if (sandbox === undefined) {
    try {
      sandbox = await Sandbox.create(script, beat);
    } catch (error) {
      return { outcome: { error: reasonOf(error) }, computed: 0 };
    }
    sandboxes.set(key, sandbox);
  }
  const outcome = sandbox.run(payload);
  if (!sandbox.usable) sandboxes.delete(key);
  return { outcome, computed: sandbox.computed };
}

/** @param {unknown} error */
function reasonOf(error) {
  if (error instanceof ScriptError) return error.message;
  throw error;
}
