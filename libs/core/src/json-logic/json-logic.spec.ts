import { ApiError } from '../http/errors.js';
import { compileLogic, LogicError } from './index.js';

const evaluate = (logic: unknown, data: unknown = {}): unknown => compileLogic(logic, { field: 'logic' })(data);

/** The field that a refusal names. */
function refusal(logic: unknown): string {
  try {
    compileLogic(logic, { field: 'logic' });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return (error.details as Array<{ field: string }>)[0]!.field;
  }
  return 'none';
}

describe('JsonLogic', () => {
  it.each([
    [{ '<': [1, 2, 3] }, true],
    [{ '<=': [0, 12, 12] }, true],
    [{ '<': [1, 1, 3] }, false],
    [{ '>': ['10', 9] }, true],
    [{ '==': [1, '1'] }, true],
    [{ '!==': [1, '1'] }, true],
    [{ '==': ['a', 1] }, false],
    [{ in: ['a', ['a', 'b']] }, true],
    [{ in: ['ring', 'Springfield'] }, true],
    [{ in: ['a', { var: 'nothing' }] }, false],
    [{ cat: ['a', 1, null, true] }, 'a1true'],
    [{ substr: ['jsonlogic', -5] }, 'logic'],
    [{ substr: ['jsonlogic', 4, -2] }, 'log'],
    [{ '+': [1, '2', 3.5] }, 6.5],
    [{ '+': '3.14' }, 3.14],
    [{ '-': 2 }, -2],
    [{ '-': [5, 2] }, 3],
    [{ '*': [2, 3, 4] }, 24],
    [{ '/': [4, 2] }, 2],
    [{ '%': [101, 2] }, 1],
    [{ max: [1, 3, 2] }, 3],
    [{ min: { var: 'list' } }, 1],
    [{ if: [false, 'a', { '!': [] }, 'b', 'c'] }, 'b'],
    [{ '?:': [true, 1, 2] }, 1],
    [{ and: [1, 'b', 0, true] }, 0],
    [{ or: [0, [], 'c'] }, 'c'],
    [{ '!!': ['0'] }, true],
    [{ '!': [[]] }, true],
    [{ var: 'a.b' }, 'deep'],
    [{ var: ['absent', 26] }, 26],
    [{ var: 'list.1' }, 2],
    [{ var: String.raw`dotted\.name` }, 'escaped'],
    [{ var: { cat: ['a', '.', 'b'] } }, 'deep'],
    [{ missing: ['a.b', 'x'] }, ['x']],
    [{ missing_some: [1, ['x', 'list']] }, []],
    [{ map: [{ var: 'list' }, { '*': [{ var: '' }, 2] }] }, [2, 4, 6]],
    [{ filter: [{ var: 'list' }, { '>': [{ var: '' }, 1] }] }, [2, 3]],
    [{ reduce: [{ var: 'list' }, { '+': [{ var: 'current' }, { var: 'accumulator' }] }, 0] }, 6],
    [{ all: [{ var: 'list' }, { '>': [{ var: '' }, 0] }] }, true],
    [{ all: [[], true] }, false],
    [{ none: [{ var: 'list' }, { '>': [{ var: '' }, 3] }] }, true],
    [{ some: [{ var: 'items' }, { '==': [{ var: 'kind' }, 'x'] }] }, true],
    [{ map: [{ var: 'absent' }, 1] }, []],
    [{ merge: [[1, 2], 3, [[4]]] }, [1, 2, 3, [4]]],
    ['a constant', 'a constant'],
    [{}, {}],
  ])('%j is %j', (logic, result) => {
    const data = { a: { b: 'deep' }, list: [1, 2, 3], items: [{ kind: 'x' }], 'dotted.name': 'escaped' };
    expect(evaluate(logic, data)).toEqual(result);
  });

  it('uses operators that are given, beside its own', () => {
    const operators = { twice: ([n]: unknown[]) => (n as number) * 2 };
    const logic = compileLogic({ map: [[1, 2], { twice: { var: '' } }] }, { field: 'logic', operators });
    expect(logic({})).toEqual([2, 4]);
    expect(refusal({ twice: 1 })).toBe('logic.twice');
  });

  it.each([{ '+': ['a', 1] }, { '+': [{ var: 'o' }, 1] }, { '/': [1, 0] }, { cat: [{ var: 'o' }] }])(
    '%j fails when it is evaluated',
    (logic) => {
      const compiled = compileLogic(logic, { field: 'logic' });
      expect(() => compiled({ o: { toString: 'no function' } })).toThrow(LogicError);
    },
  );
});

describe('hostile logic', () => {
  it('is refused where it names an unknown operator, or log', () => {
    expect(refusal({ if: [true, [{ '+': [1, { log: 'x' }] }]] })).toBe('logic.if.1.0.+.1.log');
    for (const name of ['constructor', 'toString', 'hasOwnProperty', '$each', '$spread', 'get', 'val', 'throw', 'try'])
      expect(refusal({ [name]: ['x'] })).toBe(`logic.${name}`);
    expect(refusal(JSON.parse('{"__proto__": [1]}'))).toBe('logic.__proto__');
    expect(refusal({ '+': [1], '-': [2] })).toBe('logic');
    expect(refusal({ map: { var: 'x' } })).toBe('logic.map');
    expect(refusal({ and: { var: 'x' } })).toBe('logic.and');
  });

  it('reaches no more than own fields of the data', () => {
    for (const path of ['constructor', '__proto__.polluted', 'a.prototype', String.raw`\__proto__.x`])
      expect(refusal({ var: path })).toMatch(/^logic\.var|none$/);
    expect(refusal({ missing: ['a.__proto__'] })).toBe('logic.missing');
    for (const path of ['constructor', '__proto__', 'toString', 'list.map', 'list.constructor.name', 'text.at'])
      expect(evaluate({ var: { cat: path } }, { list: [], text: 'x' })).toBeNull();
    expect(evaluate({ var: 'list.length' }, { list: [1] })).toBe(1);
    // Data may contain the names as fields of its own.
    const data: unknown = JSON.parse('{"__proto__": {"a": 1}, "constructor": null}');
    expect(evaluate({ var: { cat: '__proto__.a' } }, data)).toBeNull();
    expect(evaluate({ '!!': { var: '' } }, data)).toBe(true);
  });

  it('is refused when it is too deep or too large', () => {
    let deep: unknown = true;
    for (let i = 0; i < 100_000; i++) deep = { '!': [deep] };
    expect(refusal(deep)).toMatch(/^logic\.!\.0/);
    expect(refusal({ '+': Array.from({ length: 10_000 }, () => 1) })).toMatch(/^logic\.\+/);
  });

  it('puts no text into the code that it is compiled to', () => {
    const text = '"];globalThis.broken=true;["';
    const sly = '\u2028`${globalThis.broken=true}`\\"';
    expect(evaluate({ cat: [text, sly] })).toBe(text + sly);
    expect(evaluate({ if: [text, { var: [sly, text] }] })).toBe(text);
    expect('broken' in globalThis).toBe(false);
  });

  it('ends in time, whatever it multiplies', () => {
    // Each element leads to the whole list again.
    const elements: unknown[] = [];
    for (let i = 0; i < 1000; i++) elements.push({ list: elements });
    const data = { list: elements, text: 'a'.repeat(500_000) };
    const list = { var: 'list' };
    const nested = { map: [list, { map: [list, { map: [list, 1] }] }] };
    const literal = Array.from({ length: 300 }, () => 1);
    for (const logic of [
      nested,
      { map: [literal, { map: [literal, { map: [literal, { map: [literal, 1] }] }] }] },
      { reduce: [list, { merge: [{ var: 'accumulator' }, { var: 'accumulator' }] }, [1]] },
      { reduce: [list, { cat: [{ var: 'accumulator' }, { var: 'accumulator' }] }, 'ab'] },
      { map: [list, { map: [list, { merge: list }] }] },
      { in: [{ cat: [{ substr: [{ var: 'text' }, 250_000] }, 'b'] }, { var: 'text' }] },
    ]) {
      const compiled = compileLogic(logic, { field: 'logic' });
      const began = process.cpuUsage();
      expect(() => compiled(data)).toThrow(LogicError);
      expect(process.cpuUsage(began).user).toBeLessThan(2_000_000);
    }
    // Texts that are compared, converted, joined or looked up again and again; `b` equals `a` and is not the same.
    const [a, b, path] = ['a'.repeat(1_000_000), 'a'.repeat(1_000_000), ' '.repeat(1_000_000)];
    const pairs = { list: Array.from({ length: 50_000 }, () => ({ a, b, path, texts: [b, b, b], many: [a, a] })) };
    for (const logic of [
      { '==': [{ var: 'a' }, { var: 'b' }] },
      { '===': [{ var: 'a' }, { var: 'b' }] },
      { '!==': [{ var: 'a' }, { var: 'b' }] },
      { '<': [{ var: 'a' }, { var: 'b' }] },
      { in: [{ var: 'a' }, { var: 'texts' }] },
      { '+': [{ var: 'path' }] },
      { var: { var: 'path' } },
      { missing: [{ var: 'path' }] },
      { '!': [{ substr: [{ var: 'many' }, 0, 1] }] },
    ]) {
      const compiled = compileLogic({ map: [list, logic] }, { field: 'logic' });
      const began = process.cpuUsage();
      expect(() => compiled(pairs)).toThrow(LogicError);
      expect(process.cpuUsage(began).user).toBeLessThan(1_000_000);
    }
    // Each character of a text has a first one again: a path of many steps that end nowhere.
    const steps = { missing: Array.from({ length: 20 }, () => `path${'.0'.repeat(500)}`) };
    const walked = compileLogic({ map: [list, steps] }, { field: 'logic' });
    expect(() => walked(pairs)).toThrow(LogicError);
    const few = { list: pairs.list.slice(0, 1000) };
    expect(() => walked(few)).toThrow(LogicError);
    // One evaluation leaves the next its whole budget.
    const modest = compileLogic({ map: [list, { map: [{ var: 'absent' }, 1] }] }, { field: 'logic' });
    for (let i = 0; i < 1000; i++) modest(data);
  });
});
