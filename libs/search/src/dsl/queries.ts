import {
  at,
  booleanAt,
  clauseAt,
  integerAt,
  isNumeric,
  type Json,
  listOf,
  numberAt,
  objectAt,
  onlyMember,
  type Reading,
  refuse,
  scalarAt,
  textAt,
  wordAt,
} from './clause.js';
import { DateFormat, mathSteps, parseDate, timeZone } from './dates.js';
import { parseGeoBox, parseGeoDistance, parseGeoPolygon } from './geo.js';
import { parseQueryString } from './query-string.js';
import type { Bounds, Field, Query, Scalar } from './tree.js';
import { words } from './words.js';

const MAX_TERMS = 10_000;
const MAX_WILDCARDS = 20;

/** A number that changes scores, which hits don't have: checked, without effect. */
export const checkBoost = (path: string, clause: Json): void => {
  if (clause['boost'] !== undefined) numberAt(at(path, 'boost'), clause['boost']);
};

type Parser = (reading: Reading, path: string, value: unknown, depth: number) => Query;

const PARSERS: Readonly<Record<string, Parser>> = {
  match_all: (_reading, path, value) => {
    checkBoost(path, clauseAt(path, value, ['boost']));
    return { kind: 'all' };
  },
  match_none: (_reading, path, value) => {
    clauseAt(path, value, []);
    return { kind: 'none' };
  },
  bool: parseBool,
  filtered: parseFiltered,
  constant_score: (reading, path, value, depth) => {
    const clause = clauseAt(path, value, ['filter', 'boost']);
    return parseQuery(reading, at(path, 'filter'), clause['filter'], depth + 1);
  },
  term: parseTerm,
  terms: parseTerms,
  match: parseMatch,
  range: parseRange,
  exists: (reading, path, value) => {
    const clause = clauseAt(path, value, ['field', 'boost']);
    return { kind: 'exists', field: reading.field(at(path, 'field'), clause['field']) };
  },
  prefix: parsePrefix,
  wildcard: parseWildcard,
  query_string: parseQueryString,
  ids: (_reading, path, value) => {
    const clause = clauseAt(path, value, ['values', 'boost']);
    const values = listOf(clause['values'] ?? []);
    if (values.length > MAX_TERMS) throw refuse(at(path, 'values'), `at most ${MAX_TERMS} ids`);
    return { kind: 'ids', values: values.map((id, i) => textAt(at(at(path, 'values'), i), id)) };
  },
  geo_distance: parseGeoDistance,
  geo_bounding_box: parseGeoBox,
  geo_polygon: parseGeoPolygon,
};

/** @throws ApiError 400 that names the clause. */
export function parseQuery(reading: Reading, path: string, value: unknown, depth: number): Query {
  reading.count(path, depth);
  const [name, body] = onlyMember(path, value, 'the name of a query');
  const parser = Object.hasOwn(PARSERS, name) ? PARSERS[name] : undefined;
  if (!parser || (name === 'filtered' && reading.version === 'v1'))
    throw refuse(
      at(path, name),
      `one of the queries ${Object.keys(PARSERS)
        .filter((known) => known !== 'filtered')
        .toSorted()
        .join(', ')}`,
    );
  return parser(reading, at(path, name), body, depth);
}

const several = (reading: Reading, path: string, value: unknown, depth: number): Query[] => {
  if (value === undefined) return [];
  if (!Array.isArray(value)) return [parseQuery(reading, path, value, depth + 1)];
  return value.map((each, i) => parseQuery(reading, at(path, i), each, depth + 1));
};

function parseBool(reading: Reading, path: string, value: unknown, depth: number): Query {
  const clause = clauseAt(path, value, ['must', 'filter', 'should', 'must_not', 'minimum_should_match', 'boost']);
  checkBoost(path, clause);
  const must = ['must', 'filter'].flatMap((key) => several(reading, at(path, key), clause[key], depth));
  const should = several(reading, at(path, 'should'), clause['should'], depth);
  const mustNot = several(reading, at(path, 'must_not'), clause['must_not'], depth);
  return {
    kind: 'bool',
    must,
    should,
    mustNot,
    least: minimum(at(path, 'minimum_should_match'), clause['minimum_should_match'], should.length, must.length === 0),
  };
}

/** As Lucene: where nothing else has to hold, one of `should` has, and without any there is nothing to count. */
function minimum(path: string, value: unknown, shoulds: number, alone: boolean): number {
  const wanted = value === undefined ? 0 : minimumOf(path, value, shoulds);
  return alone ? Math.min(Math.max(1, wanted), shoulds === 0 ? 0 : Infinity) : wanted;
}

function minimumOf(path: string, value: unknown, shoulds: number): number {
  const percentage = typeof value === 'string' ? /^(-?\d{1,3})%$/.exec(value)?.[1] : undefined;
  const wanted =
    percentage === undefined
      ? integerAt(path, value, -MAX_TERMS, MAX_TERMS)
      : Math.trunc((shoulds * Number(percentage)) / 100);
  // A part that is none is still one to leave out.
  return Math.max(0, wanted < 0 || Object.is(wanted, -0) ? shoulds + wanted : wanted);
}

/** Of Elasticsearch 1: a query and a filter that both hold. The manual's samples on v0 still write it (17.4.3.2.1). */
function parseFiltered(reading: Reading, path: string, value: unknown, depth: number): Query {
  const clause = clauseAt(path, value, ['query', 'filter', 'boost']);
  checkBoost(path, clause);
  const must = ['query', 'filter'].flatMap((key) => several(reading, at(path, key), clause[key], depth));
  if (must.length === 0) throw refuse(path, 'query or filter');
  return { kind: 'bool', must, should: [], mustNot: [], least: 0 };
}

/** `{ field: value }` or `{ field: { value, … } }`. */
function fieldClause(
  reading: Reading,
  path: string,
  value: unknown,
  short: string,
  allowed: readonly string[],
): { field: Field; clause: Json; path: string } {
  const [name, body] = onlyMember(path, value, 'the name of a field');
  const field = reading.field(at(path, name), name);
  const where = at(path, name);
  if (typeof body !== 'object' || body === null) return { field, clause: { [short]: body }, path: where };
  const clause = clauseAt(where, body, [short, 'boost', '_name', ...allowed]);
  checkBoost(where, clause);
  return { field, clause, path: where };
}

function parseTerm(reading: Reading, path: string, value: unknown): Query {
  const { field, clause, path: where } = fieldClause(reading, path, value, 'value', []);
  return equals(reading, at(where, 'value'), field, clause['value']);
}

function equals(reading: Reading, path: string, field: Field, value: unknown): Query {
  if (field.type === 'date') return dateEquals(reading, path, field, value);
  return { kind: 'terms', field, values: [scalarAt(path, value, field)] };
}

/** The time that a date as it is written covers: a day, when it is a day. */
function dateEquals(reading: Reading, path: string, field: Field, value: unknown): Query {
  const bound = (roundUp: boolean): number => dateAt(reading, path, value, { roundUp });
  return { kind: 'range', field, bounds: { gte: bound(false), lte: bound(true) } };
}

function parseTerms(reading: Reading, path: string, value: unknown): Query {
  const clause = objectAt(path, value);
  checkBoost(path, clause);
  const [name, list] = onlyMember(
    path,
    Object.fromEntries(Object.entries(clause).filter(([key]) => key !== 'boost')),
    'the name of a field',
  );
  const where = at(path, name);
  const field = reading.field(where, name);
  if (!Array.isArray(list)) throw refuse(where, 'an array of values');
  if (list.length > MAX_TERMS) throw refuse(where, `at most ${MAX_TERMS} values`);
  if (list.length === 0) return { kind: 'none' };
  if (field.type === 'date') {
    if (list.length > 1000) throw refuse(where, 'at most 1000 dates');
    const should = list.map((each, i) => dateEquals(reading, at(where, i), field, each));
    return { kind: 'bool', must: [], should, mustNot: [], least: 1 };
  }
  const values: Scalar[] = list.map((each, i) => scalarAt(at(where, i), each, field));
  return { kind: 'terms', field, values: [...new Set(values)] };
}

function parseMatch(reading: Reading, path: string, value: unknown): Query {
  const {
    field,
    clause,
    path: where,
  } = fieldClause(reading, path, value, 'query', ['operator', 'zero_terms_query', 'lenient']);
  const all = wordAt(at(where, 'operator'), clause['operator'], ['or', 'and'], 'or') === 'and';
  const zero = wordAt(at(where, 'zero_terms_query'), clause['zero_terms_query'], ['none', 'all'], 'none');
  const lenient = booleanAt(at(where, 'lenient'), clause['lenient'], false);
  const query = clause['query'];
  if (typeof query !== 'string' && typeof query !== 'number' && typeof query !== 'boolean')
    throw refuse(at(where, 'query'), 'a string, a number or a boolean');
  if (field.type !== 'string' && field.type !== undefined) {
    try {
      return equals(reading, at(where, 'query'), field, query);
    } catch (error) {
      if (lenient) return { kind: 'none' };
      throw error;
    }
  }
  const found = words(textAt(at(where, 'query'), String(query)));
  if (found.length === 0) return { kind: zero };
  return { kind: 'words', field, words: [...new Set(found)], all };
}

function parseRange(reading: Reading, path: string, value: unknown): Query {
  const [name, body] = onlyMember(path, value, 'the name of a field');
  const where = at(path, name);
  const field = reading.field(where, name);
  const clause = clauseAt(where, body, ['gt', 'gte', 'lt', 'lte', 'format', 'time_zone', 'boost']);
  checkBoost(where, clause);
  if (field.type === 'geo') throw refuse(where, `a geo query, as ${field.name} is a point`);
  const zone = zoneAt(at(where, 'time_zone'), clause['time_zone']);
  const format = formatAt(at(where, 'format'), clause['format']);
  const bounds: Bounds = {};
  for (const key of ['gt', 'gte', 'lt', 'lte'] as const) {
    const bound = clause[key];
    if (bound === undefined || bound === null) continue;
    const boundPath = at(where, key);
    if (field.type === 'date')
      bounds[key] = dateAt(reading, boundPath, bound, { zone, format, roundUp: key === 'gt' || key === 'lte' });
    else if (field.type === 'boolean') throw refuse(where, 'a term query, as the field is boolean');
    else {
      const scalar = scalarAt(boundPath, bound, field);
      bounds[key] = typeof scalar === 'boolean' ? String(scalar) : scalar;
    }
  }
  return { kind: 'range', field, bounds };
}

/** Name of a time zone, UTC when absent. */
export function zoneAt(path: string, value: unknown): string {
  const zone = value === undefined ? 'UTC' : typeof value === 'string' ? timeZone(value) : undefined;
  if (zone === undefined) throw refuse(path, 'a time zone as Europe/Paris or +02:00');
  return zone;
}

export function formatAt(path: string, value: unknown): DateFormat {
  const format = value === undefined || typeof value === 'string' ? DateFormat.of(value) : undefined;
  if (!format) throw refuse(path, 'a date format as yyyy-MM-dd, epoch_millis or strict_date_optional_time');
  return format;
}

export function dateAt(
  reading: Reading,
  path: string,
  value: unknown,
  options: { roundUp: boolean; zone?: string; format?: DateFormat },
): number {
  const format = options.format ?? formatAt(path, undefined);
  const text = typeof value === 'number' && Number.isInteger(value) ? String(value) : value;
  const zone = options.zone ?? 'UTC';
  reading.countDate(path, typeof text === 'string' ? format.layouts + 3 * mathSteps(text) : 1);
  // A number is milliseconds even where a text of as many digits would be a year.
  if (typeof value === 'number' && options.format === undefined && Math.abs(value) <= 8.64e15 && Number.isFinite(value))
    return Math.trunc(value);
  const date =
    typeof text === 'string' && text.length <= 250
      ? parseDate(text, { now: reading.now, zone, roundUp: options.roundUp, format })
      : undefined;
  if (date === undefined)
    throw refuse(path, 'a date: ISO 8601, milliseconds since 1970, or date math as now-1d/d or 2017-01-01||+1M');
  return date;
}

function stringField(path: string, field: Field): void {
  if (field.type !== 'string' && field.type !== undefined)
    throw refuse(path, `a field of strings; ${field.name} has values of type ${field.type}`);
}

function parsePrefix(reading: Reading, path: string, value: unknown): Query {
  const { field, clause, path: where } = fieldClause(reading, path, value, 'value', ['case_insensitive', 'rewrite']);
  stringField(where, field);
  return {
    kind: 'prefix',
    field,
    value: textAt(at(where, 'value'), clause['value']),
    anyCase: booleanAt(at(where, 'case_insensitive'), clause['case_insensitive'], false),
  };
}

function parseWildcard(reading: Reading, path: string, value: unknown): Query {
  const [name, body] = onlyMember(path, value, 'the name of a field');
  const short = typeof body === 'object' && body !== null && 'wildcard' in body ? 'wildcard' : 'value';
  const {
    field,
    clause,
    path: where,
  } = fieldClause(reading, path, { [name]: body }, short, ['case_insensitive', 'rewrite']);
  stringField(where, field);
  const pattern = patternAt(at(where, short), clause[short]);
  const anyCase = booleanAt(at(where, 'case_insensitive'), clause['case_insensitive'], false);
  // As Lucene: of nothing it is no pattern, not even of an empty string.
  return pattern === '' ? { kind: 'none' } : { kind: 'wildcard', field, pattern, anyCase };
}

/** A pattern of `*` and `?` that cannot take long: asterisks in a row are one, and few. */
export function patternAt(path: string, value: unknown): string {
  const pattern = textAt(path, value).replace(/(\\.)|\*+/gs, (_all, escaped: string | undefined) => escaped ?? '*');
  if ((pattern.match(/\*/g) ?? []).length > MAX_WILDCARDS) throw refuse(path, `at most ${MAX_WILDCARDS} asterisks`);
  return pattern;
}

export { equals, isNumeric };
