import { splitPathMemoized } from 'json-logic-engine';

/** An evaluation that cannot go on: operands of a wrong type, or more work than one evaluation may do. */
export class LogicError extends Error {}

/** What one evaluation may do: about as many operations of the logic, or elements of lists that are walked through. */
export const MOST_WORK = 1_000_000;
/** Elements, or characters, that native code walks through in the time of one operation. */
const NATIVE = 16;

let left = 0;

/** Runs an evaluation with a budget of its own. Logic is the tenant's, the process is everybody's. */
export function bounded<Result>(work: number, evaluate: () => Result): Result {
  left = work;
  return evaluate();
}

/** Counts work of an operator that is more than a handful of steps. @throws LogicError when there was too much of it */
export function charge(work: number): void {
  left -= work;
  if (left < 0) throw new LogicError('the evaluation takes too long');
}

/** Returns the operand, which native code is about to walk through when it is a text. */
function weighed(operand: unknown): unknown {
  if (typeof operand === 'string') charge(operand.length / NATIVE);
  return operand;
}

const FORBIDDEN = new Set(['__proto__', 'constructor', 'prototype']);

/** Most characters of a path: paths that have been split are remembered. */
export const MAX_PATH = 1024;

/** Characters of a path that is more than a handful of steps. */
const LONG_PATH = 64;

export const isForbiddenPath = (path: string): boolean =>
  path.length > MAX_PATH || splitPathMemoized(path).some((part) => FORBIDDEN.has(part));

/** What stands at a path of own fields and elements; undefined when there is nothing. */
function lookup(data: unknown, path: unknown): unknown {
  if (path === undefined || path === null || path === '') return data;
  if (typeof path !== 'string' && typeof path !== 'number') return undefined;
  if (typeof path === 'string' && path.length > MAX_PATH)
    throw new LogicError(`expected a path of at most ${MAX_PATH} characters`);
  // A character of a text has a first character too: such a path can be walked to its end.
  if (typeof path === 'string' && path.length > LONG_PATH) charge(path.length / 2);
  let value = data;
  for (const part of splitPathMemoized(String(path))) {
    if (value === null || (typeof value !== 'object' && typeof value !== 'string')) return undefined;
    if (FORBIDDEN.has(part) || !Object.hasOwn(value as object, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

function missing(paths: unknown[], data: unknown): unknown[] {
  charge(paths.length);
  return paths.filter((path) => ['', null, undefined].includes(lookup(data, path) as string | null | undefined));
}

/** JsonLogic's truth: empty lists and empty objects are false, "0" is true. */
export function truthy(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  return typeof value === 'object' && value !== null ? Object.keys(value).length > 0 : Boolean(value);
}

function number(value: unknown): number {
  const converted =
    value === null || typeof value === 'boolean' || typeof value === 'number' || typeof value === 'string'
      ? Number(weighed(value))
      : Number.NaN;
  if (!Number.isFinite(converted)) throw new LogicError('expected a number');
  return converted;
}

const finite = (result: number): number => {
  if (!Number.isFinite(result)) throw new LogicError('the result is no number');
  return result;
};

const isPrimitive = (value: unknown): boolean => typeof value !== 'object' || value === null;

// Objects and lists equal nothing: comparing them as texts would call what the data has put into them.
const equal = (a: unknown, b: unknown): boolean =>
  // oxlint-disable-next-line eqeqeq -- JsonLogic's == converts as JavaScript's does
  isPrimitive(a) && isPrimitive(b) && weighed(a) == weighed(b);

type Compare = (a: string, b: string) => boolean;
/** With three operands: each with the next, so that the middle one lies between the others. */
const ordered =
  (compare: Compare) =>
  (args: unknown[]): boolean =>
    args.length > 1 &&
    args
      .slice(1)
      .every(
        (each, i) =>
          isPrimitive(each) && isPrimitive(args[i]) && compare(weighed(args[i]) as string, weighed(each) as string),
      );

function text(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (isPrimitive(value)) return String(value);
  if (Array.isArray(value)) {
    charge(value.length);
    return value.map((each) => weighed(text(each))).join(',');
  }
  throw new LogicError('expected a text');
}

function contains([item, whole]: unknown[]): boolean {
  if (Array.isArray(whole)) {
    charge((whole.length / NATIVE) * (typeof item === 'string' ? 1 + item.length / NATIVE : 1));
    return whole.includes(item);
  }
  if (typeof whole !== 'string') return false;
  const part = text(item);
  charge((whole.length / NATIVE) * (1 + part.length / NATIVE));
  return whole.includes(part);
}

function cat(args: unknown[]): string {
  const parts = args.map(text);
  charge(parts.reduce((sum, part) => sum + part.length, 0) / NATIVE);
  return parts.join('');
}

function merge(args: unknown[]): unknown[] {
  charge(args.reduce<number>((sum, each) => sum + (Array.isArray(each) ? each.length : 1), 0));
  return args.flat(1);
}

function substr([whole, from, length]: unknown[]): string {
  const rest = text(whole).slice(number(from ?? 0));
  if (length === undefined || length === null) return rest;
  const count = number(length);
  return count < 0 ? rest.slice(0, count) : rest.slice(0, count);
}

/** Work of one iteration for each element of a list; what is no list has no elements. */
function each([list, work]: unknown[]): unknown[] {
  if (!Array.isArray(list)) return [];
  charge(list.length * (work as number));
  return list;
}

/** Operands that are computed as one list are walked through by native code. */
function spread([value]: unknown[]): unknown {
  if (Array.isArray(value)) charge(value.length / NATIVE);
  return value;
}

/** Names that no logic can contain, because they are not among the operators that it may use. */
export const EACH = '$each';
export const SPREAD = '$spread';

/** The operators that do not decide themselves which of their operands are evaluated. */
export const OPERATORS: Record<string, (args: unknown[], data: unknown) => unknown> = {
  [EACH]: each,
  [SPREAD]: spread,
  var: ([path, otherwise], data) => lookup(data, path) ?? otherwise ?? null,
  missing: (args, data) => missing(Array.isArray(args[0]) ? args[0] : args, data),
  missing_some: ([needed, paths], data) => {
    if (!Array.isArray(paths)) throw new LogicError('expected a list of paths');
    const absent = missing(paths, data);
    return paths.length - absent.length >= number(needed) ? [] : absent;
  },
  '==': ([a, b]) => equal(a, b),
  '!=': ([a, b]) => !equal(a, b),
  '===': ([a, b]) => weighed(a) === weighed(b),
  '!==': ([a, b]) => weighed(a) !== weighed(b),
  '<': ordered((a, b) => a < b),
  '<=': ordered((a, b) => a <= b),
  '>': ordered((a, b) => a > b),
  '>=': ordered((a, b) => a >= b),
  '!': ([value]) => !truthy(value),
  '!!': ([value]) => truthy(value),
  '+': (args) => finite(args.reduce<number>((sum, each) => sum + number(each), 0)),
  '*': (args) => finite(args.reduce<number>((product, each) => product * number(each), 1)),
  '-': ([a, b]) => finite(b === undefined ? -number(a) : number(a) - number(b)),
  '/': ([a, b]) => finite(number(a) / number(b)),
  '%': ([a, b]) => finite(number(a) % number(b)),
  max: (args) => finite(Math.max(...args.map(number))),
  min: (args) => finite(Math.min(...args.map(number))),
  in: contains,
  cat,
  substr,
  merge,
};
