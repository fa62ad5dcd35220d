import { normalizeTimestamp } from '@orrery/core/messages';
import { at, clauseAt, listOf, onlyMember, type Reading, refuse, textAt, wordAt } from './clause.js';
import type { Scalar, Sort, SourceFilter } from './tree.js';

const ANY_ORDER = ['_doc', '_score'];

/** `"field"`, `{ field: "desc" }` or `{ field: { order, missing, mode } }`, one or several. */
export function parseSort(reading: Reading, path: string, value: unknown): Sort[] {
  if (value === undefined) return [];
  const list = listOf(value).flatMap((each, i) => {
    const where = Array.isArray(value) ? at(path, i) : path;
    if (typeof each === 'string') return [sort(reading, where, each, undefined)];
    const [name, body] = onlyMember(where, each, 'the name of a field');
    return [sort(reading, at(where, name), name, body)];
  });
  if (list.length > 10) throw refuse(path, 'at most 10 sorts');
  return list;
}

function sort(reading: Reading, path: string, name: string, body: unknown): Sort {
  const field = ANY_ORDER.includes(name) ? { name, type: undefined } : reading.field(path, name);
  const clause =
    typeof body === 'object' && body !== null
      ? clauseAt(path, body, ['order', 'missing', 'mode', 'unmapped_type', 'format'])
      : { order: body };
  if (clause['format'] !== undefined) throw refuse(at(path, 'format'), 'nothing: dates are sorted by milliseconds');
  if (field.type === 'geo') throw refuse(path, 'a field of values, as points have no order');
  const order = wordAt(at(path, 'order'), clause['order'], ['asc', 'desc'], name === '_score' ? 'desc' : 'asc');
  const descending = order === 'desc';
  return {
    field,
    descending,
    missingFirst: wordAt(at(path, 'missing'), clause['missing'], ['_last', '_first'], '_last') === '_first',
    mode: wordAt(at(path, 'mode'), clause['mode'], ['min', 'max'], descending ? 'max' : 'min'),
  };
}

/** Values of the hit after which to go on, one for each sort. */
export function parseSearchAfter(path: string, value: unknown, sorts: readonly Sort[]): Array<Scalar | null> {
  if (!Array.isArray(value) || value.length === 0) throw refuse(path, 'an array of the sort values of a hit');
  if (value.length !== sorts.length) throw refuse(path, `as many values as there are sorts, ${sorts.length}`);
  return value.map((each, i) => {
    const type = sorts[i]!.field.type;
    const where = at(path, i);
    if (each === null) return null;
    if (type === 'string') return textAt(where, each, 8191);
    if (type === undefined) {
      if (typeof each === 'string' || typeof each === 'number' || typeof each === 'boolean') return each;
      throw refuse(where, 'a value');
    }
    if (type === 'boolean' && typeof each === 'boolean') return Number(each);
    if (type === 'date' && typeof each === 'string') {
      const date = normalizeTimestamp(each);
      if (date === undefined) throw refuse(where, 'milliseconds since 1970, or an ISO 8601 date');
      return Date.parse(date);
    }
    if (typeof each !== 'number' || !Number.isFinite(each)) throw refuse(where, 'a number');
    if (type === 'date' && Math.abs(each) > 9.3e18) throw refuse(where, 'milliseconds since 1970');
    return each;
  });
}

/** `false`, a pattern, patterns, or `{ includes, excludes }`. */
export function parseSource(path: string, value: unknown): SourceFilter {
  if (value === undefined || value === true || value === 'true') return true;
  if (value === false || value === 'false') return false;
  if (typeof value === 'string' || Array.isArray(value)) return { includes: patterns(path, value), excludes: [] };
  const clause = clauseAt(path, value, ['includes', 'excludes', 'include', 'exclude']);
  return {
    includes: patterns(at(path, 'includes'), clause['includes'] ?? clause['include'] ?? []),
    excludes: patterns(at(path, 'excludes'), clause['excludes'] ?? clause['exclude'] ?? []),
  };
}

function patterns(path: string, value: unknown): string[] {
  const list = listOf(value);
  if (list.length > 100) throw refuse(path, 'at most 100 patterns');
  return list.map((each, i) => {
    const pattern = textAt(at(path, i), each, 512).replace(/\*+/g, '*');
    if (pattern.split('*').length > 6) throw refuse(at(path, i), 'a pattern with at most 5 asterisks');
    return pattern;
  });
}
