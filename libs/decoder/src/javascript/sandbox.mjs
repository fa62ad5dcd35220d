import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import quickjs from '@jitl/quickjs-wasmfile-release-sync';
import { newQuickJSWASMModuleFromVariant, newVariant } from 'quickjs-emscripten-core';
import { HARNESS, MAX_ERROR } from './harness.mjs';
import { threadTime } from './thread-time.mjs';

/**
 * @typedef {import('quickjs-emscripten-core').QuickJSContext} QuickJSContext
 * @typedef {import('quickjs-emscripten-core').QuickJSHandle} QuickJSHandle
 * @typedef {{ json: string } | { error: string }} Outcome
 */

// The package states the types of its CommonJS form.
const variant = /** @type {import('quickjs-emscripten-core').QuickJSSyncVariant} */ (/** @type {unknown} */ (quickjs));

/** Memory of a sandbox in pages of 64 KiB: what QuickJS wants at least, and twice that, 32 MiB. */
const INITIAL_PAGES = 256;
const MAX_PAGES = 512;
const PAGE = 65_536;
/** Bytes that a script may keep from payload to payload: the memory of a sandbox that is kept does not grow. */
const KEPT_MEMORY = 3 * 1_048_576;
/** Bytes of QuickJS's own stack. */
const MAX_STACK = 262_144;

/** Milliseconds of computing that a payload may take. */
const TIME_OUT = 50;
/** Milliseconds after which the system is asked whether it computes or waits, on a machine that has other things to do. */
const WALL_TIME_OUT = 400;
/** Most milliseconds between two questions of the interpreter that count as computing: they come many times in each. */
const MAX_STEP = 5;

/** Payloads after which a sandbox is not used any more, so that what its script leaves behind does not add up. */
const MAX_RUNS = 10_000;

/** Most levels of a result, as many as a message's value may have. */
const MAX_LEVELS = 1000;

/** @type {Promise<WebAssembly.Module> | undefined} */
let compiled;

function quickJs() {
  const path = createRequire(import.meta.url).resolve('@jitl/quickjs-wasmfile-release-sync/wasm');
  compiled ??= readFile(path).then((binary) => WebAssembly.compile(binary));
  return compiled;
}

/** Says why a script cannot be used. */
export class ScriptError extends Error {}

/**
 * A script of one decoder of one tenant, in an interpreter and a memory of its own: the interpreter's `setMemoryLimit` does
 * not count all it allocates, and an error in the interpreter itself must not lead to another tenant's data.
 */
export class Sandbox {
  /** Whether it can be used again. */
  usable = true;
  /** Milliseconds that the last run computed; 0 when it was too short to tell. */
  computed = 0;
  /** Milliseconds that the script computed before it was ready, as far as the interpreter saw them. */
  prepared = 0;
  /** Whether the last run was ended. */
  interrupted = false;

  runs = 0;
  started = 0;
  last = 0;
  /**
   * What the thread had computed when the run had taken long already.
   * @type {number | undefined}
   */
  late;

  /**
   * @param {QuickJSContext} context
   * @param {WebAssembly.Memory} memory
   * @param {() => void} beat
   */
  constructor(context, memory, beat) {
    this.context = context;
    this.memory = memory;
    this.beat = beat;
    context.runtime.setMaxStackSize(MAX_STACK);
    /** @type {QuickJSHandle} */
    this.harness = context.unwrapResult(context.evalCode(HARNESS, 'harness.js', { type: 'global' }));
    this.runFunction = context.getProp(this.harness, 'run');
    context.runtime.setInterruptHandler(() => this.interrupt());
  }

  /** Compiles the interpreter, once for all sandboxes. */
  static async prepare() {
    await quickJs();
  }

  /**
   * @param {string} script
   * @param {() => void} beat called from time to time while a script runs
   * @throws {ScriptError}
   */
  static async create(script, beat) {
    const memory = new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum: MAX_PAGES });
    const sandbox = new Sandbox(await newContext(memory), memory, beat);
    sandbox.load(script);
    return sandbox;
  }

  /** @param {string} script */
  load(script) {
    const { context } = this;
    try {
      this.start();
      this.call('setTime', context.newNumber(Date.now()));
      this.evaluate(script, 'script').dispose();
      // A constant or a class would be no property of the global object.
      const decode = this.evaluate("typeof decode === 'function' ? decode : undefined", 'decode');
      if (context.typeof(decode) !== 'function')
        throw new ScriptError('the script defines no function decode(payload)');
      this.prepared = this.computed;
      this.start();
      this.call('seal', decode);
      if (this.hasGrown()) throw new ScriptError(`the script keeps more than ${KEPT_MEMORY} bytes in memory`);
    } catch (error) {
      if (error instanceof ScriptError) throw error;
      throw new ScriptError('the script nests too deeply, or needs too much memory');
    }
  }

  /**
   * @param {string} name
   * @param {QuickJSHandle} argument
   */
  call(name, argument) {
    const { context } = this;
    context.unwrapResult(context.callMethod(this.harness, name, [argument])).dispose();
  }

  /**
   * @param {string} code
   * @param {string} name
   */
  evaluate(code, name) {
    const { context } = this;
    const result = context.evalCode(code, `${name}.js`, { type: 'global' });
    if (!result.error) return result.value;
    if (this.interrupted) throw new ScriptError(`the script takes more than ${TIME_OUT} ms to start`);
    throw new ScriptError(describe(context.dump(result.error)));
  }

  /**
   * What the script makes of a payload.
   * @param {string} payload
   * @returns {Outcome}
   */
  run(payload) {
    this.start();
    this.usable = ++this.runs < MAX_RUNS;
    try {
      return this.decode(payload);
    } catch {
      // The interpreter itself gave up, such as when its own stack was too small: it is not to be trusted any more.
      this.usable = false;
      return { error: 'the script nests too deeply, or needs too much memory' };
    } finally {
      if (this.hasGrown()) this.usable = false;
    }
  }

  /**
   * @param {string} payload
   * @returns {Outcome}
   */
  decode(payload) {
    const { context } = this;
    // Texts go in as C strings of UTF-8, which have no NUL and no half characters.
    const encoded = /\0|\p{Surrogate}/u.test(payload);
    const text = context.newString(encoded ? JSON.stringify(payload) : payload);
    const time = context.newNumber(Date.now());
    const result = context.callFunction(this.runFunction, context.undefined, [
      text,
      encoded ? context.true : context.false,
      time,
    ]);
    text.dispose();
    time.dispose();
    if (result.error) {
      this.usable = false;
      return this.interrupted ? { error: `the script took more than ${TIME_OUT} ms` } : { error: 'decode failed' };
    }
    const answer = context.getString(result.value);
    result.value.dispose();
    if (answer.startsWith('!')) return { error: answer.slice(1) };
    if (isDeep(answer)) return { error: `decode returned more than ${MAX_LEVELS} levels` };
    return { json: answer };
  }

  /** Whether the script keeps, or kept for a while, more than it may. */
  hasGrown() {
    return this.memory.buffer.byteLength > INITIAL_PAGES * PAGE;
  }

  start() {
    this.beat();
    this.interrupted = false;
    this.computed = 0;
    this.started = performance.now();
    this.last = this.started;
    this.late = undefined;
  }

  /** Asked by the interpreter every few thousand steps. */
  interrupt() {
    this.beat();
    const now = performance.now();
    // A longer time is one in which this thread had to wait, or a single long operation, which the other limit ends.
    this.computed += Math.min(now - this.last, MAX_STEP);
    this.last = now;
    this.interrupted = this.computed > TIME_OUT || (now - this.started > WALL_TIME_OUT && !this.waits());
    return this.interrupted;
  }

  /** Whether a run that takes long waits for the machine, as far as the system tells. */
  waits() {
    const time = threadTime();
    if (time === undefined) return false;
    this.late ??= time;
    return time - this.late <= TIME_OUT;
  }
}

/**
 * Whether JSON text has more levels than messages may have: what reads it goes level by level into itself.
 * @param {string} json
 */
function isDeep(json) {
  if (json.length <= 2 * MAX_LEVELS) return false;
  let level = 0;
  for (const [bracket] of json.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"|[[{\]}]/g)) {
    if (bracket === '{' || bracket === '[') level++;
    else if (bracket === '}' || bracket === ']') level--;
    if (level > MAX_LEVELS) return true;
  }
  return false;
}

/** @param {WebAssembly.Memory} memory */
async function newContext(memory) {
  const custom = newVariant(variant, { wasmModule: await quickJs(), wasmMemory: memory });
  /** @type {((size: number) => number) | undefined} */
  let allocate;
  const module = await newQuickJSWASMModuleFromVariant({
    ...custom,
    importModuleLoader: async () => {
      const load = /** @type {() => Promise<import('quickjs-emscripten-core').QuickJSEmscriptenModule>} */ (
        await custom.importModuleLoader()
      );
      return async () => {
        const loaded = await load();
        allocate = loaded._malloc;
        return loaded;
      };
    },
  });
  const context = module.newContext();
  // Takes what would be free beyond what a script may keep, so that more shows as growth. It is never touched.
  const used = /** @type {(size: number) => number} */ (allocate)(16);
  /** @type {(size: number) => number} */ (allocate)(INITIAL_PAGES * PAGE - used - KEPT_MEMORY);
  return context;
}

/**
 * Where and why a script does not compile, or what it threw.
 * @param {unknown} error
 */
function describe(error) {
  if (typeof error !== 'object' || error === null || !('message' in error))
    return `the script threw ${String(error).slice(0, MAX_ERROR)}`;
  const { name, message, stack } = /** @type {Record<string, unknown>} */ (error);
  const [, line, column] = /script\.js:(\d+):(\d+)/.exec(String(stack)) ?? [];
  const place = line === undefined ? '' : `line ${line}, column ${column}: `;
  return `${place}${String(name)}: ${String(message)}`.slice(0, MAX_ERROR);
}
