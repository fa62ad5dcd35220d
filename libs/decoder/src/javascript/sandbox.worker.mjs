import { parentPort, workerData } from 'node:worker_threads';
import { LRUCache } from 'lru-cache';
import { BEATS, JOB } from './progress.mjs';
import { Sandbox, ScriptError } from './sandbox.mjs';
import { threadName, threadTime } from './thread-time.mjs';

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
/** Milliseconds from which it is asked how much of a run was computing: single operations are not seen by the interpreter. */
const NOTEWORTHY = 5;
/** Milliseconds from which a run counts as computing where the system does not tell. */
const LONG_OPERATION = 100;
/** Milliseconds that the start of a script may take, in the time of this thread, before it counts. */
const START = 30;
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
// It takes longer than scripts may on a machine that has other things to do.
await Sandbox.prepare();
port.postMessage(threadName());

/**
 * @param {string} script
 * @returns {Promise<{ problem?: string, cost: number }>}
 */
async function check(script) {
  asked = threadTime();
  const measure = stopwatch();
  try {
    const { prepared } = await Sandbox.create(script, beat);
    return { cost: costOfStart(measure(prepared), prepared) };
  } catch (error) {
    return { problem: reasonOf(error), cost: Math.max(measure(0), RENEWAL) };
  }
}

/**
 * Sandboxes take time of their own.
 * @param {number} taken
 * @param {number} seen
 */
function costOfStart(taken, seen) {
  return taken > START ? taken : seen;
}

/** The time of this thread when it was last asked for, which takes as long as a usual run. */
let asked = threadTime();

/** Measures from now on. The answer takes what the interpreter has seen, and is in milliseconds of computing. */
function stopwatch() {
  const started = performance.now();
  return (/** @type {number} */ seen) => {
    const elapsed = performance.now() - started;
    if (elapsed < NOTEWORTHY) return seen;
    const before = asked;
    asked = threadTime();
    if (before === undefined || asked === undefined) return elapsed > LONG_OPERATION ? elapsed : seen;
    return Math.max(seen, Math.min(elapsed, asked - before));
  };
}

/**
 * Answers the first jobs of a chunk, at least one.
 * @param {Chunk} chunk
 * @returns {Promise<Answer[]>}
 */
async function run({ scripts, jobs }) {
  const answers = [];
  asked = threadTime();
  const began = performance.now();
  for (const [index, { key, payload }] of jobs.entries()) {
    Atomics.store(progress, JOB, index);
    beat();
    const started = performance.now();
    const { outcome, cost } = await decode(key, /** @type {string} */ (scripts.get(key)), payload);
    const now = performance.now();
    const kept = sandboxes.has(key);
    answers.push({ ...outcome, cost: kept ? cost : now - started + RENEWAL });
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
  let cost = 0;
  if (sandbox === undefined) {
    const measure = stopwatch();
    try {
      sandbox = await Sandbox.create(script, beat);
    } catch (error) {
      return { outcome: { error: reasonOf(error) }, cost: 0 };
    }
    cost = costOfStart(measure(sandbox.prepared), sandbox.prepared);
    makeRoom(key);
    sandboxes.set(key, sandbox);
  }
  const measure = stopwatch();
  const outcome = sandbox.run(payload);
  if (!sandbox.usable) sandboxes.delete(key);
  return { outcome, cost: cost + measure(sandbox.computed) };
}

/**
 * Where there is none left, a tenant that has half of the sandboxes gives up one of its own.
 * @param {string} key
 */
function makeRoom(key) {
  if (sandboxes.size < MAX_SANDBOXES) return;
  const tenant = tenantOf(key);
  const own = [...sandboxes.rkeys()].filter((other) => tenantOf(other) === tenant);
  if (own.length >= MAX_SANDBOXES / 2) sandboxes.delete(/** @type {string} */ (own[0]));
}

/** @param {string} key the JSON of tenant and decoder */
const tenantOf = (key) => /** @type {[string, string]} */ (JSON.parse(key))[0];

/** @param {unknown} error */
function reasonOf(error) {
  if (error instanceof ScriptError) return error.message;
  throw error;
}
