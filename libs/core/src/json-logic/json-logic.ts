import { defaultMethods, LogicEngine } from 'json-logic-engine';
import { invalidParameter } from '../http/errors.js';
import {
  bounded,
  EACH,
  isForbiddenPath,
  LogicError,
  MAX_PATH,
  MOST_WORK,
  OPERATORS,
  SPREAD,
  truthy,
} from './operators.js';

export { LogicError };

/** Computes an operator from its evaluated operands. */
export type Operator = (args: unknown[], data: unknown) => unknown;

/** @throws LogicError when operands do not fit, or when it would take too long. */
export type Evaluate = (data: unknown) => unknown;

export interface LogicOptions {
  /** Path of the logic in what the client sent, with which errors begin. */
  field: string;
  /** Operators beside JsonLogic's own. */
  operators?: Record<string, Operator>;
  /** What one evaluation may do: see `charge`. */
  work?: number;
}

/** Operators that evaluate some operands only, or one of them for each element of a list. */
const BRANCHING = ['if', '?:', 'and', 'or'];
const ITERATING = ['map', 'filter', 'reduce', 'all', 'none', 'some'];
const READING = ['var', 'missing'];

/** Most levels and parts of one logic: it is walked through by recursion, and compiled. */
const MAX_LEVELS = 50;
const MAX_PARTS = 2000;

/**
 * Compiles a JsonLogic expression (jsonlogic.com) once for many evaluations. The logic is a client's: it uses no other
 * operators than JsonLogic's, without `log`, and the given ones; it reaches own fields of the data only, and the work
 * of an evaluation is bounded.
 * @throws ApiError GENERIC_INVALID_PARAMETER_ERROR that names the place of what cannot be compiled.
 */
export function compileLogic(logic: unknown, { field, operators = {}, work = MOST_WORK }: LogicOptions): Evaluate {
  const allowed = new Set([...BRANCHING, ...ITERATING, ...Object.keys(OPERATORS), ...Object.keys(operators)]);
  allowed.delete(EACH);
  allowed.delete(SPREAD);
  const prepared = prepare(logic, allowed, field);
  const evaluate = engine(operators).build(prepared);
  return (data) => bounded(work, () => run(evaluate, data));
}

function run(evaluate: (data: unknown) => unknown, data: unknown): unknown {
  try {
    return evaluate(data) ?? null;
  } catch (error) {
    // The engine throws objects too that are no errors.
    throw error instanceof LogicError ? error : new LogicError('the operands do not fit their operator');
  }
}

function engine(operators: Record<string, Operator>): LogicEngine {
  const kept = Object.fromEntries([...BRANCHING, ...ITERATING].map((name) => [name, defaultMethods[name]]));
  // Inlined constants would be evaluated while compiling, without bounds.
  const made = new LogicEngine(kept, { disableInline: true, disableInterpretedOptimization: true });
  Object.setPrototypeOf(made.methods, null);
  made.truthy = truthy;
  for (const [name, method] of Object.entries({ ...OPERATORS, ...operators })) made.addMethod(name, method);
  return made;
}

interface Walk {
  allowed: Set<string>;
  parts: number;
}

/** Checks the logic, and marks the lists that are walked through, so that they are counted. */
function prepare(logic: unknown, allowed: Set<string>, field: string): unknown {
  return prepared(logic, field, 0, { allowed, parts: 0 });
}

function prepared(logic: unknown, path: string, level: number, walk: Walk): unknown {
  if (++walk.parts > MAX_PARTS)
    throw invalidParameter(path, `at most ${MAX_PARTS} operators and operands in one logic`);
  if (level > MAX_LEVELS) throw invalidParameter(path, `at most ${MAX_LEVELS} levels`);
  if (typeof logic !== 'object' || logic === null) return logic;
  if (Array.isArray(logic)) return logic.map((each, i) => prepared(each, `${path}.${i}`, level + 1, walk));
  const names = Object.keys(logic);
  if (names.length === 0) return logic;
  const name = names[0]!;
  if (names.length > 1) throw invalidParameter(path, 'one operator with its operands');
  if (!walk.allowed.has(name))
    throw invalidParameter(`${path}.${name.slice(0, 64)}`, `one of the operators ${[...walk.allowed].join(' ')}`);
  const below = `${path}.${name}`;
  const given = (logic as Record<string, unknown>)[name];
  const before = walk.parts;
  const operands = prepared(given, below, level + 1, walk);
  if (READING.includes(name))
    for (const each of Array.isArray(given) ? given : [given])
      if (typeof each === 'string' && isForbiddenPath(each))
        throw invalidParameter(
          below,
          `a path of at most ${MAX_PATH} characters, without __proto__, constructor and prototype`,
        );
  if (ITERATING.includes(name)) {
    if (!Array.isArray(operands) || operands.length < 2)
      throw invalidParameter(below, 'a list, and what is evaluated for each of its elements');
    return { [name]: [{ [EACH]: [operands[0], walk.parts - before] }, ...operands.slice(1)] };
  }
  if (BRANCHING.includes(name)) {
    if (!Array.isArray(operands)) throw invalidParameter(below, 'a list of operands');
    return { [name]: operands };
  }
  return {
    [name]: typeof given === 'object' && given !== null && !Array.isArray(given) ? { [SPREAD]: [operands] } : operands,
  };
}
