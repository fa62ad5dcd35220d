import { at, booleanAt, clauseAt, integerAt, numberAt, refuse, type Json, type Reading } from '../clause.js';
import { dateAt, formatAt, zoneAt } from '../queries.js';
import { type Aggregation, type CalendarUnit } from '../tree.js';
import { dates, missingNumber, typed } from './fields.js';
import { MAX_BUCKETS } from './limits.js';
import { KEY, orderOf } from './paths.js';

function boundsOf<Value>(
  path: string,
  value: unknown,
  read: (path: string, value: unknown) => Value,
): { extendedBounds?: { min: Value; max: Value } } {
  if (value === undefined) return {};
  const clause = clauseAt(path, value, ['min', 'max']);
  const [min, max] = [read(at(path, 'min'), clause['min']), read(at(path, 'max'), clause['max'])];
  if (min > max) throw refuse(path, 'a min that is not greater than the max');
  return { extendedBounds: { min, max } };
}

export function parseHistogram(reading: Reading, path: string, value: unknown): Aggregation {
  const clause = clauseAt(path, value, [
    'field',
    'interval',
    'offset',
    'min_doc_count',
    'extended_bounds',
    'keyed',
    'order',
    'missing',
  ]);
  const interval = numberAt(at(path, 'interval'), clause['interval']);
  if (!(interval > 0)) throw refuse(at(path, 'interval'), 'a number greater than 0');
  const offset = clause['offset'] === undefined ? 0 : numberAt(at(path, 'offset'), clause['offset']);
  const field = typed(reading, path, clause, ['number', 'date'], 'a field of numbers');
  const bounds = boundsOf(at(path, 'extended_bounds'), clause['extended_bounds'], numberAt);
  if (bounds.extendedBounds && (bounds.extendedBounds.max - bounds.extendedBounds.min) / interval > MAX_BUCKETS)
    throw refuse(at(path, 'extended_bounds'), `at most ${MAX_BUCKETS} buckets`);
  return {
    kind: 'histogram',
    field,
    interval,
    offset,
    minDocCount:
      clause['min_doc_count'] === undefined
        ? 0
        : integerAt(at(path, 'min_doc_count'), clause['min_doc_count'], 0, 1e15),
    ...bounds,
    keyed: booleanAt(at(path, 'keyed'), clause['keyed'], false),
    order: orderOf(at(path, 'order'), clause['order'], [{ path: KEY, descending: false }]),
    ...missingNumber(path, clause, field),
  };
}

const CALENDAR: Readonly<Record<string, CalendarUnit>> = {
  '1s': 'second',
  second: 'second',
  '1m': 'minute',
  minute: 'minute',
  '1h': 'hour',
  hour: 'hour',
  '1d': 'day',
  day: 'day',
  '1w': 'week',
  week: 'week',
  '1M': 'month',
  month: 'month',
  '1q': 'quarter',
  quarter: 'quarter',
  '1y': 'year',
  year: 'year',
};
const FIXED: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function durationAt(path: string, value: unknown, expected: string): number {
  const parts = typeof value === 'string' ? /^([+-]?)(\d{1,12})(ms|s|m|h|d)$/.exec(value) : null;
  if (!parts) throw refuse(path, expected);
  return Number(`${parts[1]}${parts[2]}`) * FIXED[parts[3]!]!;
}

function intervalOf(path: string, clause: Json): CalendarUnit | number {
  const given = ['calendar_interval', 'fixed_interval', 'interval'].filter((key) => clause[key] !== undefined);
  if (given.length !== 1) throw refuse(path, 'one of calendar_interval, fixed_interval');
  const key = given[0]!;
  const value = clause[key];
  const where = at(path, key);
  const calendar = typeof value === 'string' && Object.hasOwn(CALENDAR, value) ? CALENDAR[value] : undefined;
  if (key !== 'fixed_interval' && calendar) return calendar;
  if (key === 'calendar_interval')
    throw refuse(where, 'one of minute, hour, day, week, month, quarter, year, or 1 of their units');
  const milliseconds = durationAt(where, value, 'a duration as 30m, 12h or 7d');
  if (!(milliseconds > 0)) throw refuse(where, 'a duration greater than 0');
  return milliseconds;
}

const UNIT_MS: Readonly<Record<CalendarUnit, number>> = {
  second: 1000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
  week: 604_800_000,
  month: 2_419_200_000,
  quarter: 7_257_600_000,
  year: 31_536_000_000,
};

export function parseDateHistogram(reading: Reading, path: string, value: unknown): Aggregation {
  const clause = clauseAt(path, value, [
    'field',
    'interval',
    'calendar_interval',
    'fixed_interval',
    'time_zone',
    'offset',
    'format',
    'min_doc_count',
    'extended_bounds',
    'keyed',
    'order',
  ]);
  const timeZone = zoneAt(at(path, 'time_zone'), clause['time_zone']);
  const format = formatAt(at(path, 'format'), clause['format']);
  const interval = intervalOf(path, clause);
  const bounds = boundsOf(at(path, 'extended_bounds'), clause['extended_bounds'], (where, date) =>
    dateAt(reading, where, date, { zone: timeZone, format, roundUp: false }),
  );
  const smallest = typeof interval === 'number' ? interval : UNIT_MS[interval];
  if (bounds.extendedBounds && (bounds.extendedBounds.max - bounds.extendedBounds.min) / smallest > MAX_BUCKETS)
    throw refuse(at(path, 'extended_bounds'), `at most ${MAX_BUCKETS} buckets`);
  return {
    kind: 'date_histogram',
    field: dates(reading, path, clause),
    interval,
    offset:
      clause['offset'] === undefined ? 0 : durationAt(at(path, 'offset'), clause['offset'], 'a duration as +6h or -1d'),
    minDocCount:
      clause['min_doc_count'] === undefined
        ? 0
        : integerAt(at(path, 'min_doc_count'), clause['min_doc_count'], 0, 1e15),
    ...bounds,
    keyed: booleanAt(at(path, 'keyed'), clause['keyed'], false),
    order: orderOf(at(path, 'order'), clause['order'], [{ path: KEY, descending: false }]),
    timeZone,
    ...(clause['format'] === undefined ? {} : { format: clause['format'] as string }),
  };
}
