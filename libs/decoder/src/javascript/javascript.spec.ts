import { DefinitionError } from '../decoding.js';
import { ComputingBudget } from './computing-budget.js';
import { JavaScriptRunner, type ScriptJob, type ScriptResult } from './javascript-runner.js';

let runner: JavaScriptRunner;
let tenants = 0;

beforeAll(() => {
  runner = new JavaScriptRunner();
});

afterAll(() => runner.close());

/** A job of a tenant that has no other. */
const job = (script: string, payload = '', key = 'k'): ScriptJob => ({
  tenantId: `t${tenants++}`,
  key,
  script,
  payload,
});

async function run(script: string, payload?: string): Promise<ScriptResult> {
  return (await runner.run([job(script, payload)]))[0]!;
}

/** What `decode` returns when its body is given. */
const decoded = (body: string, payload?: string): Promise<ScriptResult> => run(`function decode(p){${body}}`, payload);

async function problem(script: string): Promise<string> {
  try {
    await runner.check(script, `t${tenants++}`);
  } catch (error) {
    if (error instanceof DefinitionError) return error.message;
    throw error;
  }
  return 'none';
}

const GOOD = 'function decode(p){return {n:parseInt(p,16)};}';
/** A job of an account whose scripts are always good. */
const good = (payload: string): ScriptJob => ({ tenantId: 'good', key: 'k', script: GOOD, payload });
const LOOP = 'function decode(p){for(;;);}';
/** Long operations without a chance to interrupt them. */
const STUCK = 'function decode(p){var s="a".repeat(1<<22),k=0;for(;;)k+=s.indexOf("b");}';

describe('scripts of decoders', () => {
  it('give what decode returns, as its JSON has it', async () => {
    expect(await run(GOOD, '0A')).toEqual({ fields: { n: 10 } });
    expect(await run('const decode = (p) => ({ ...{ p }, list: [p?.length ?? 0] });', 'é😀')).toEqual({
      fields: { p: 'é😀', list: [3] },
    });
    expect(await run('var decode = function () { return [{ value: { a: 1 } }, 2]; };')).toEqual({
      fields: [{ value: { a: 1 } }, 2],
    });
    const odd =
      'return {u:undefined,f:function(){},nan:NaN,inf:1/0,d:new Date(0),nested:Object.create({no:1},{yes:{value:1,enumerable:true}})}';
    expect(await decoded(odd)).toEqual({
      fields: { nan: null, inf: null, d: '1970-01-01T00:00:00.000Z', nested: { yes: 1 } },
    });
    const proto = await decoded('return JSON.parse(\'{"__proto__":{"x":1},"constructor":2}\')');
    expect(JSON.stringify(proto)).toBe('{"fields":{"__proto__":{"x":1},"constructor":2}}');
  });

  it('get the payload as it is, whatever characters it has', async () => {
    for (const payload of ['', 'a\0b', '\ud800x\udc00', '"\\\n\u2028', '!', '\u{10FFFF}', 'x'.repeat(1_000_000)]) {
      const result = await decoded('return {p:p,n:p.length}', payload);
      expect(result).toEqual({ fields: { p: payload, n: payload.length } });
    }
  });

  it('answer in the order of the jobs, each with its own script', async () => {
    const scripts = [0, 1, 2, 3, 4].map((i) => `function decode(p){return {r:p*10+${i}};}`);
    const jobs = Array.from({ length: 1000 }, (_, i) => ({
      tenantId: 'ordered',
      key: `k${i % 5}`,
      script: scripts[i % 5]!,
      payload: String(i),
    }));
    const halves = await Promise.all([runner.run(jobs.slice(0, 500)), runner.run(jobs.slice(500))]);
    expect(halves.flat()).toEqual(jobs.map((_, i) => ({ fields: { r: i * 10 + (i % 5) } })));
    expect(await runner.run([])).toEqual([]);
  });

  it.each([
    ['throw 1', 'decode threw 1'],
    ['throw new Error("bad frame " + p)', 'decode threw Error: bad frame x'],
    ['throw {toString: function () { throw 1; }}', 'decode threw an object without text'],
    ['throw "a".repeat(1e6)', /^decode threw a{200}$/],
    ['return 3', 'decode returned no object but number'],
    ['return "{}"', 'decode returned no object but string'],
    ['return null', 'decode returned no object but null'],
    ['', 'decode returned no object but undefined'],
    ['return decode', 'decode returned no object but function'],
    ['return Promise.resolve({})', 'decode returned no object but promise'],
    ['return (async function () { return {}; })()', 'decode returned no object but promise'],
    ['return (function* () { yield 1; })()', 'decode returned no object but generator'],
    ['return new Map([[1, 2]])', 'decode returned no object but map'],
    ['return {toJSON: function () { return 1; }}', 'decode returned no object'],
    ['return {toJSON: function () { return undefined; }}', 'decode returned no object'],
    ['return {b: 1n}', /^decode threw TypeError/],
    ['var a = {}; a.a = a; return a', /^decode threw TypeError: circular/],
    ['return {get a() { throw new Error("got"); }}', 'decode threw Error: got'],
    ['return new Proxy({}, {ownKeys: function () { throw new Error("trap"); }})', 'decode threw Error: trap'],
    ['return new Proxy({}, {ownKeys: function () { for (;;); }})', 'the script took more than 50 ms'],
    ['return {toJSON: function () { for (;;); }}', 'the script took more than 50 ms'],
    ['return {a: "x".repeat(1048576)}', 'decode returned more than 1048576 characters of JSON|more than 50 ms'],
    // Writing it may take its time too.
    ['var a = []; a.length = 1e6; return a', 'decode returned more than 1048576 characters of JSON|more than 50 ms'],
    ['return require("fs")', /^decode threw ReferenceError/],
    ['return process.env', /^decode threw ReferenceError/],
    ['return fetch("http://127.0.0.1")', /^decode threw ReferenceError/],
    ['setTimeout(decode, 1)', /^decode threw ReferenceError/],
    ['return import("fs")', 'decode returned no object but promise'],
    ['return nosuch.field', /^decode threw ReferenceError: .*nosuch/],
    ['return Symbol()', 'decode returned no object but symbol'],
  ])('fail alone: %s', async (body, message) => {
    const results = await runner.run([good('1'), job(`function decode(p){${body}}`, 'x'), good('2')]);
    expect(results[0]).toEqual({ fields: { n: 1 } });
    expect(results[1]).toEqual({ error: expect.stringMatching(message) });
    expect(results[2]).toEqual({ fields: { n: 2 } });
  });

  it.each([
    ['an endless loop', 'for (;;);', 'the script took more than 50 ms'],
    ['a loop that catches', 'for (;;) try { for (;;); } catch (e) {} finally { continue; }', 'more than 50 ms'],
    ['backtracking', 'return {r: /(a+)+$/.test("a".repeat(40) + "b")}', 'more than 50 ms'],
    ['nested counts', 'return {r: /(?:(?:(?:a?){100}){100}){100}b/.test("a".repeat(100))}', 'more than 50 ms'],
    ['a doubled text', 'var s = "a"; for (;;) s += s;', 'decode threw'],
    ['a growing array', 'var a = []; for (;;) a.push(new Array(1000).fill(1));', 'out of memory|took'],
    ['a huge array', 'new Array(1e9).fill(0)', 'out of memory|took'],
    ['a huge buffer', 'new ArrayBuffer(4e9)', 'decode threw'],
    ['recursion', 'return decode(p)', 'stack overflow|too deeply'],
    [
      'recursion by text',
      'var o = {toString: function () { return "" + o; }}; return "" + o',
      'stack overflow|too deeply',
    ],
    ['nested JSON', 'return JSON.parse("[".repeat(200000))', 'decode threw|too deeply'],
    ['nested code', 'eval("(".repeat(100000))', 'decode threw|too deeply'],
    [
      'a nested result',
      'var a = []; for (var i = 0; i < 5000; i++) a = [a]; return a',
      'decode returned more than 1000 levels',
    ],
    ['large integers', 'var x = 3n; for (;;) x *= x;', 'decode threw|took'],
  ])('are ended: %s', async (_, body, message) => {
    const results = await runner.run([good('1'), job(`function decode(p){${body}}`), good('2')]);
    expect(results[1]).toEqual({ error: expect.stringMatching(message) });
    expect([results[0], results[2]]).toEqual([{ fields: { n: 1 } }, { fields: { n: 2 } }]);
  });

  it('are ended with their thread when nothing else ends them, and delay others no longer than that', async () => {
    const started = process.cpuUsage();
    const [mixed, others] = await Promise.all([
      runner.run([good('1'), job(STUCK), good('2')]),
      runner.run(Array.from({ length: 40 }, () => job(GOOD, '3', 'other'))),
    ]);
    expect(mixed).toEqual([{ fields: { n: 1 } }, { error: 'the script took too long' }, { fields: { n: 2 } }]);
    expect(others).toEqual(Array.from({ length: 40 }, () => ({ fields: { n: 3 } })));
    // 500 ms of computing, a new thread, and 40 sandboxes.
    expect(process.cpuUsage(started).user).toBeLessThan(20_000_000);
  });

  it('that take too long again and again are not run for a while, and others of the account are', async () => {
    const tenantId = 'greedy';
    const jobs = Array.from({ length: 200 }, (_, i) => ({
      tenantId,
      key: i % 2 ? 'good' : 'loop',
      script: i % 2 ? GOOD : LOOP,
      payload: 'ff',
    }));
    const results = await runner.run(jobs);
    expect(results.filter((result) => 'fields' in result)).toHaveLength(100);
    const errors = results.flatMap((result) => ('error' in result ? [result.error] : []));
    const refused = errors.filter((error) => error.startsWith('the script was not run'));
    expect(refused.length).toBeGreaterThan(50);
    expect(errors[0]).toBe('the script took more than 50 ms');
    expect(await run(LOOP)).toEqual({ error: 'the script took more than 50 ms' });
  });

  it('that need a new sandbox each time are bounded as well', async () => {
    const script = `if (Date.now() > 0) throw new Error('not now'); ${GOOD}`;
    const jobs = Array.from({ length: 300 }, () => ({ tenantId: 'renewing', key: 'k', script, payload: '' }));
    const results = (await runner.run(jobs)) as Array<{ error: string }>;
    expect(results[0]!.error).toMatch(/not now/);
    expect(results.at(-1)!.error).toMatch(/^the script was not run/);
  });

  it('are no new ones for ever', async () => {
    // Time that goes by gives more to compute.
    const timeless = new JavaScriptRunner(new ComputingBudget(() => 0));
    // As by another revision, or another test, each time: so many that their beginnings alone are too much, however fast
    // the machine is.
    const revisions = (tenantId: string, script: string): ScriptJob[] =>
      Array.from({ length: 220 }, (_, i) => ({ tenantId, key: `k${i}`, script, payload: '1' }));
    const natively = 'function decode(p){var s="a".repeat(1<<20);for(var i=0;i<200;i++)s.indexOf("b");return {}}';
    for (const script of [LOOP, `for(var i=0;i<600000;i++);${GOOD}`, natively]) {
      const results = await timeless.run(revisions(`revises ${script}`, script));
      expect(results.at(-1)).toEqual({ error: expect.stringMatching(/^the script was not run/) });
      expect(await timeless.run([good('1')])).toEqual([{ fields: { n: 1 } }]);
    }
    await Promise.allSettled(Array.from({ length: 200 }, () => timeless.check('for (;;);', 'checks')));
    await expect(timeless.check(GOOD, 'checks')).rejects.toThrow('the script was not run');
    await timeless.check(GOOD, 'checks little');
    await timeless.close();
  });

  it('do not lose their sandbox to a tenant with many decoders', async () => {
    const script = 'var runs = 0; function decode(p) { return { runs: ++runs }; }';
    const neighbour = { tenantId: 'neighbour', key: 'k', script, payload: '' };
    const many = Array.from({ length: 120 }, (_, i) => ({ tenantId: 'many', key: `k${i}`, script, payload: '' }));
    const own = new JavaScriptRunner(new ComputingBudget(() => 0));
    expect(await own.run([neighbour])).toEqual([{ fields: { runs: 1 } }]);
    const results = await own.run(many);
    expect(await own.run([neighbour, many[0]!, many.at(-1)!])).toEqual([
      { fields: { runs: 2 } },
      { fields: { runs: 1 } },
      { fields: { runs: 2 } },
    ]);
    expect(results).toHaveLength(120);
    await own.close();
  });

  it('see nothing of what others left behind', async () => {
    const leave = `var mine = 0;
      function decode(p) {
        var seen = { seen: globalThis.left || null, count: ++mine, polluted: ({}).polluted || null };
        globalThis.left = p;
        try { Object.prototype.polluted = p; } catch (e) {}
        return seen;
      }`;
    const clean = { fields: { seen: null, count: 1, polluted: null } };
    const same = { tenantId: 'a', key: 'k', script: leave, payload: 'secret of a' };
    expect(await runner.run([same])).toEqual([clean]);
    expect(
      await runner.run([
        { ...same, tenantId: 'b' },
        { ...same, key: 'k2' },
      ]),
    ).toEqual([clean, clean]);
    // Names that join to the same text are not the same.
    expect(
      await runner.run([
        { ...same, tenantId: 'a k', key: '' },
        { ...same, tenantId: 'a","k' },
      ]),
    ).toEqual([clean, clean]);
  });

  it('cannot be changed for later payloads by what the language provides', async () => {
    const script = `Number.prototype.hex = function () { return this.toString(16); };
      function Frame(p) { this.toString = function () { return 'frame ' + p; }; this.constructor = 'own'; }
      Frame.prototype.toString = function () { return 'none'; };
      function decode(p) {
        if (p === 'hostile') {
          var names = ['__proto__', 'constructor'], o = {};
          o[names[0]].polluted = 'yes';
          o[names[1]].prototype.polluted = 'yes';
          Array.prototype.map = null; String.prototype.split = null; Object.keys = null;
          Array.prototype.push = function () { throw 1; };
          JSON.stringify = function () { return '{"forged":1}'; }; JSON = null;
          Object.getPrototypeOf(function* () {}).next = null;
          decode = null;
        }
        var e = new Error('x'); e.name = 'Own'; e.message = 'text';
        var f = new Frame(p);
        return { polluted: {}.polluted || null, hex: (255).hex(), own: f + '', c: f.constructor, e: String(e),
          list: 'a,b'.split(',').map(function (x) { return x + x; }), keys: Object.keys({ k: 1 }) };
      }`;
    const fields = (p: string) => ({
      fields: {
        polluted: null,
        hex: 'ff',
        own: `frame ${p}`,
        c: 'own',
        e: 'Own: text',
        list: ['aa', 'bb'],
        keys: ['k'],
      },
    });
    const jobs = ['first', 'hostile', 'later'].map((payload) => ({ tenantId: 'frozen', key: 'k', script, payload }));
    expect(await runner.run(jobs)).toEqual([fields('first'), fields('hostile'), fields('later')]);
  });

  it('reach nothing outside of the sandbox by constructors', async () => {
    const body = `var g = decode.constructor.constructor('return this')();
      return { same: g === globalThis, names: ['process', 'require', 'Buffer', 'WebAssembly', 'fetch', 'setTimeout', 'console', 'WeakRef',
        'SharedArrayBuffer', 'Atomics', 'performance', 'print', 'std', 'os'].filter(function (n) { return n in g; }) };`;
    expect(await decoded(body)).toEqual({ fields: { same: true, names: [] } });
  });

  it('have a clock that stands still while they run', async () => {
    const before = Date.now();
    const result = await decoded(`var t = Date.now(), d = new Date();
      for (var i = 0; i < 200000; i++);
      return { t: t, still: Date.now() === t && +new Date() === t && +d === t, fixed: new Date(2020, 0, 1) instanceof Date,
        iso: new Date('2026-11-22T01:02:03Z').toISOString(), utc: Date.UTC(2026, 10, 22), text: typeof Date(),
        name: Date.name, same: d.constructor === Date, real: +new d.constructor() === t };`);
    const { t, ...fields } = (result as { fields: { t: number } }).fields;
    expect(t).toBeGreaterThanOrEqual(before);
    expect(t).toBeLessThanOrEqual(Date.now());
    const utc = Date.UTC(2026, 10, 22);
    expect(fields).toEqual({
      still: true,
      fixed: true,
      iso: '2026-11-22T01:02:03.000Z',
      utc,
      text: 'string',
      name: 'Date',
      same: true,
      real: true,
    });
  });

  it('lose what they keep before it is much', async () => {
    const script = 'var kept = []; function decode(p) { kept.push(p + kept.length); return { n: kept.length }; }';
    const payload = 'x'.repeat(20_000);
    const jobs = Array.from({ length: 600 }, () => ({ tenantId: 'keeper', key: 'k', script, payload }));
    const counts = (await runner.run(jobs)).map((result) => (result as { fields: { n: number } }).fields.n);
    expect(Math.max(...counts)).toBeGreaterThan(20);
    expect(Math.max(...counts)).toBeLessThan(300);
  });

  it('are checked before they are used', async () => {
    expect(await problem(GOOD)).toBe('none');
    expect(await problem('class decode {}')).toBe('none');
    expect(await problem('function decode(p) {\n  return {a 1};\n}')).toMatch(/^line 2, column \d+: SyntaxError: /);
    expect(await problem('')).toBe('the script defines no function decode(payload)');
    expect(await problem('var decode = 1')).toBe('the script defines no function decode(payload)');
    expect(await problem('\n\nthrow new TypeError("no")')).toMatch(/^line 3, column \d+: TypeError: no/);
    expect(await problem(`var a = new Array(1e6).fill(1); ${GOOD}`)).toBe(
      'the script keeps more than 3145728 bytes in memory',
    );
    expect(await problem('throw 1')).toBe('the script threw 1');
    expect(await problem('throw "a".repeat(1e6)')).toMatch(/^the script threw a{200}$/);
    expect(await problem('for (;;);')).toBe('the script takes more than 50 ms to start');
    expect(await problem('throw {toJSON: function () { for (;;); }}')).not.toBe('none');
    expect(await problem('import fs from "fs"; function decode() {}')).toMatch(/SyntaxError/);
    expect(await problem('(function f() { f(); })()')).toMatch(/stack overflow|too deeply/);
    expect(await problem('('.repeat(100_000))).toMatch(/SyntaxError|stack overflow|too deeply/);
    expect(await problem(STUCK.replace('function decode(p)', '(function ()') + ')()')).toBe('the script took too long');
    expect(await problem(' '.repeat(1_048_577))).toBe('a script has at most 1048576 characters');
    const large = `${GOOD}\n//${'x'.repeat(1_000_000)}`;
    expect(await problem(large)).toBe('none');
    expect(await run(large, '0b')).toEqual({ fields: { n: 11 } });
    expect(await run('function decode(', '')).toEqual({ error: expect.stringMatching(/^line 1, .*SyntaxError/) });
  });

  it('are not run any more when the service closes', async () => {
    const closing = new JavaScriptRunner();
    const pending = Promise.allSettled([closing.run([good('1')]), closing.run([job(STUCK)])]);
    await closing.close();
    expect((await pending).at(-1)?.status).toBe('rejected');
    await expect(closing.run([good('1')])).rejects.toThrow('closing');
    await expect(closing.check(GOOD, 't')).rejects.toThrow('closing');
    const unused = new JavaScriptRunner();
    await unused.close();
  });
});

describe('the computing budget', () => {
  it('lets slow scripts of a tenant run a tenth of the time', () => {
    let now = 0;
    const budget = new ComputingBudget(() => now);
    for (let i = 0; i < 10; i++) {
      expect(budget.allows('t', 'slow')).toBe(true);
      budget.charge('t', 'slow', 50);
    }
    expect(budget.allows('t', 'slow')).toBe(false);
    expect(budget.allows('t', 'fast')).toBe(true);
    expect(budget.allows('other', 'slow of another')).toBe(true);
    now += 1000;
    expect(budget.allows('t', 'slow')).toBe(true);
    budget.charge('t', 'slow', 500);
    now += 3000;
    expect(budget.allows('t', 'slow')).toBe(false);
    now += 2000;
    expect(budget.allows('t', 'slow')).toBe(true);
    // A quick run makes it a usual script again.
    budget.charge('t', 'slow', 500);
    budget.charge('t', 'slow', 0.1);
    expect(budget.allows('t', 'slow')).toBe(true);
  });

  it('bounds scripts that become slow one after the other', () => {
    const budget = new ComputingBudget(() => 0);
    for (let i = 0; i < 100; i++) budget.charge('t', `s${i}`, 0.1);
    expect(budget.allows('t', 's0')).toBe(true);
    let runs = 0;
    for (let i = 0; i < 100; i++)
      if (budget.allows('t', `s${i}`)) {
        budget.charge('t', `s${i}`, 500);
        runs++;
      }
    expect(runs).toBeLessThan(15);
    expect(budget.allows('t', 's99')).toBe(false);
  });
});
