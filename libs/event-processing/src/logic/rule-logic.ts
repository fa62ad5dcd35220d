import { compileLogic, type Operator } from '@orrery/core/json-logic';
import { normalizeTimestamp } from '@orrery/core/messages';
import { closeTo, distance, firstZone, inside } from './geometry.js';

/** What an evaluation sees beside the message. */
export interface Scope {
  /** Value of a context key; undefined when there is none. */
  context(key: string): unknown;
  /** Of the state key, in state functions; null before the first. */
  state: unknown;
  now: Date;
}

/** @throws LogicError when operands do not fit, or when it would take too long. */
export type RuleLogic = (message: unknown, scope: Scope) => unknown;

/** What one evaluation may do: a hostile rule keeps the others waiting for a millisecond or two. */
const WORK = 50_000;
/** More than any logic that can be compiled. */
const MAX_LEVELS = 100;

/**
 * Compiles the JsonLogic of a rule, with the operators of manual 17.2.4.
 * @param field where the logic stands in what the client sent, with which errors begin.
 * @param currentstate whether the operator of that name may be used: in state functions only.
 * @throws ApiError GENERIC_INVALID_PARAMETER_ERROR that names the place of what cannot be compiled.
 */
export function compileRuleLogic(logic: unknown, field: string, { currentstate = false } = {}): RuleLogic {
  // Compiled once and evaluated synchronously: no two evaluations see each other's scope.
  let current: Scope | undefined;
  const operators: Record<string, Operator> = {
    ...OPERATORS,
    ctx: (keys) => fromContext(keys, current!),
    now_utc: () => current!.now.toISOString(),
    ...(currentstate ? { currentstate: () => current!.state } : {}),
  };
  const evaluate = compileLogic(adapted(logic, 0), { field, operators, work: WORK });
  return (message, scope) => {
    current = scope;
    try {
      return evaluate(message);
    } finally {
      current = undefined;
    }
  };
}

// A group of contexts is a list of keys: its value is the list of theirs (manual 17.2.1.3).
function fromContext(operands: unknown[], scope: Scope): unknown {
  const keys = operands.flat(1);
  const values = keys.map((key) => {
    if (typeof key !== 'string' && typeof key !== 'number') return null;
    return scope.context(String(key)) ?? null;
  });
  return values.length === 1 ? values[0] : values;
}

const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);

/** The fifth operand of a distance that begins with the longitude. */
const LONGITUDE_FIRST = 'longitude first';

const dateOf = (read: (date: Date) => number): Operator => {
  return ([text]) => {
    const iso = normalizeTimestamp(text);
    return iso === undefined ? null : read(new Date(iso));
  };
};

const zoneIndex: Operator = ([lon, lat, zones]) =>
  isNumber(lon) && isNumber(lat) ? firstZone(zones, (zone) => inside(lon, lat, zone)) : -1;
const closeIndex: Operator = ([lon, lat, radius, zones]) =>
  isNumber(lon) && isNumber(lat)
    ? firstZone(zones, (zone) => closeTo(lon, lat, isNumber(radius) ? radius : 0, zone))
    : -1;

const OPERATORS: Record<string, Operator> = {
  distance: ([a, b, c, d, order]) => {
    if (!isNumber(a) || !isNumber(b) || !isNumber(c) || !isNumber(d)) return null;
    return order === LONGITUDE_FIRST ? distance(b, a, d, c) : distance(a, b, c, d);
  },
  get: ([list, index]) =>
    Array.isArray(list) && isNumber(index) ? ((list as unknown[])[Math.trunc(index)] ?? null) : null,
  inside: (operands, data) => (zoneIndex(operands, data) as number) >= 0,
  insideindex: zoneIndex,
  closeto: (operands, data) => (closeIndex(operands, data) as number) >= 0,
  closetoindex: closeIndex,
  get_utc_hours: dateOf((date) => date.getUTCHours()),
  get_utc_minutes: dateOf((date) => date.getUTCMinutes()),
  get_utc_day: dateOf((date) => date.getUTCDay()),
  get_utc_date: dateOf((date) => date.getUTCDate()),
  get_time: dateOf((date) => date.getTime()),
};

/**
 * What depends on how the logic is written, and not on its operands' values: a filter with a text keeps the elements that
 * contain it, and the order of a distance is told by its first operand (manual 17.2.1.3 and 17.2.4).
 */
function adapted(logic: unknown, level: number): unknown {
  if (typeof logic !== 'object' || logic === null || level > MAX_LEVELS) return logic;
  if (Array.isArray(logic)) return logic.map((each) => adapted(each, level + 1));
  const entries = Object.entries(logic);
  if (entries.length !== 1) return logic;
  const [name, given] = entries[0]!;
  const operands = adapted(given, level + 1);
  if (Array.isArray(operands)) {
    if (name === 'filter' && typeof operands[1] === 'string')
      return { filter: [operands[0], { in: [operands[1], { var: '' }] }] };
    if (name === 'distance')
      return { distance: [...operands.slice(0, 4), ...(beginsWithLongitude(operands[0]) ? [LONGITUDE_FIRST] : [])] };
  }
  return Object.fromEntries([[name, operands]]);
}

function beginsWithLongitude(operand: unknown): boolean {
  if (typeof operand !== 'object' || operand === null) return false;
  const { var: given } = operand as { var?: unknown };
  const path: unknown = Array.isArray(given) ? given[0] : given;
  return typeof path === 'string' && /(^|\.)(lon|lng|longitude)$/.test(path);
}
