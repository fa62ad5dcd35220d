import {
  at,
  booleanAt,
  clauseAt,
  integerAt,
  numberAt,
  objectAt,
  refuse,
  scalarAt,
  textAt,
  type Reading,
} from '../clause.js';
import { dateAt, formatAt, parseQuery, zoneAt } from '../queries.js';
import { type Aggregation, type RangeBucket } from '../tree.js';
import { dates, missingScalar, sizeOf, typed } from './fields.js';
import { COUNT, orderOf } from './paths.js';

export function parseTerms(reading: Reading, path: string, value: unknown): Aggregation {
  const clause = clauseAt(path, value, [
    'field',
    'size',
    'shard_size',
    'min_doc_count',
    'order',
    'include',
    'exclude',
    'missing',
    'execution_hint',
    'collect_mode',
  ]);
  const field = typed(reading, path, clause, ['number', 'date', 'boolean', 'string'], 'a field of values');
  const chosen = (key: 'include' | 'exclude'): { include?: string[]; exclude?: string[] } => {
    const list = clause[key];
    if (list === undefined) return {};
    if (!Array.isArray(list) || list.length > 1000 || field.type === 'date')
      throw refuse(at(path, key), 'an array of at most 1000 exact values; patterns are not possible');
    return { [key]: list.map((each, i) => String(scalarAt(at(at(path, key), i), each, field))) };
  };
  return {
    kind: 'terms',
    field,
    size: sizeOf(path, clause, 10),
    // 0 would list values of other documents, which are not known here.
    minDocCount:
      clause['min_doc_count'] === undefined
        ? 1
        : integerAt(at(path, 'min_doc_count'), clause['min_doc_count'], 1, 1e15),
    order: orderOf(at(path, 'order'), clause['order'], [{ path: COUNT, descending: true }]),
    ...chosen('include'),
    ...chosen('exclude'),
    ...missingScalar(path, clause, field),
  };
}

function rangesOf(path: string, value: unknown, read: (path: string, value: unknown) => number): RangeBucket[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > 100)
    throw refuse(path, 'an array of 1 to 100 ranges');
  return value.map((each, i) => {
    const where = at(path, i);
    const clause = clauseAt(where, each, ['key', 'from', 'to']);
    const bound = (key: 'from' | 'to'): { from?: number; to?: number } =>
      clause[key] === undefined || clause[key] === null ? {} : { [key]: read(at(where, key), clause[key]) };
    const range: RangeBucket = { ...bound('from'), ...bound('to') };
    if (clause['key'] !== undefined) range.key = textAt(at(where, 'key'), clause['key'], 200);
    return range;
  });
}

export function parseRange(reading: Reading, path: string, value: unknown): Aggregation {
  const clause = clauseAt(path, value, ['field', 'ranges', 'keyed']);
  const field = typed(reading, path, clause, ['number'], 'a field of numbers');
  const ranges = rangesOf(at(path, 'ranges'), clause['ranges'], numberAt);
  return { kind: 'range', field, ranges, keyed: booleanAt(at(path, 'keyed'), clause['keyed'], false) };
}

export function parseDateRange(reading: Reading, path: string, value: unknown): Aggregation {
  const clause = clauseAt(path, value, ['field', 'ranges', 'keyed', 'format', 'time_zone']);
  const timeZone = zoneAt(at(path, 'time_zone'), clause['time_zone']);
  const format = formatAt(at(path, 'format'), clause['format']);
  return {
    kind: 'date_range',
    field: dates(reading, path, clause),
    ranges: rangesOf(at(path, 'ranges'), clause['ranges'], (where, date) =>
      dateAt(reading, where, date, {
        zone: timeZone,
        roundUp: false,
        ...(clause['format'] === undefined ? {} : { format }),
      }),
    ),
    keyed: booleanAt(at(path, 'keyed'), clause['keyed'], false),
    timeZone,
    ...(clause['format'] === undefined ? {} : { format: clause['format'] as string }),
  };
}

export function parseFilters(reading: Reading, path: string, value: unknown, depth: number): Aggregation {
  const clause = clauseAt(path, value, ['filters', 'other_bucket', 'other_bucket_key']);
  const where = at(path, 'filters');
  const given = clause['filters'];
  const keyed = !Array.isArray(given);
  // Those with names come in their order.
  const entries = keyed
    ? Object.entries(objectAt(where, given)).toSorted(([a], [b]) => (a < b ? -1 : 1))
    : given.map((each, i) => [String(i), each] as const);
  if (entries.length === 0 || entries.length > 100) throw refuse(where, '1 to 100 filters');
  const filters = entries.map(([key, filter]) => ({
    key: textAt(at(where, key), key, 200),
    filter: parseQuery(reading, keyed ? at(where, key) : at(where, Number(key)), filter, depth + 1),
  }));
  const named = clause['other_bucket_key'];
  const other = booleanAt(at(path, 'other_bucket'), clause['other_bucket'], named !== undefined);
  const otherKey = named === undefined ? '_other_' : textAt(at(path, 'other_bucket_key'), named, 200);
  return { kind: 'filters', filters, keyed, ...(other ? { otherKey } : {}) };
}
