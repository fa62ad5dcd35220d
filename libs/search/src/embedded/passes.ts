import {
  type Aggregation,
  type AggregationNode,
  BUCKET_KINDS,
  type Field,
  type Query,
  type Scalar,
} from '../dsl/index.js';
import { condition, exists, points } from './conditions.js';
import { DateRounding } from './rounding.js';
import { dateColumn, type GroupKey, jsonOf, millisecondsOf, numberOf, type Sql, textColumn } from './sql.js';

/**
 * One grouped statement over the documents of a search. Documents that fall into the same buckets come back as one row: the
 * keys along `path`, how many they are, and what they add to metrics. A document with several values has an array as its
 * key, and the row counts in each bucket of the array: so no document is counted twice above.
 */
export interface Pass {
  path: AggregationNode[];
  /** Depths whose number of documents this pass tells; another one tells those of the others. */
  counts: Set<number>;
  metrics: Array<{ depth: number; node: AggregationNode }>;
  /** cardinality or percentiles, which need every distinct value: a key after the others. */
  distinct?: AggregationNode;
}

const DISTINCT: readonly string[] = ['cardinality', 'percentiles'];
const MERGED: readonly string[] = [
  'stats',
  'extended_stats',
  'avg',
  'min',
  'max',
  'sum',
  'value_count',
  'geo_bounds',
  'geo_centroid',
];

export const isBucket = (node: AggregationNode): boolean => BUCKET_KINDS.includes(node.aggregation.kind);

export function plan(nodes: readonly AggregationNode[], path: AggregationNode[] = []): Pass[] {
  const passes = nodes.filter(isBucket).flatMap((node) => plan(node.children, [...path, node]));
  const merged = nodes.filter((node) => MERGED.includes(node.aggregation.kind));
  if (passes.length === 0 && (path.length > 0 || merged.length > 0))
    passes.push({ path, counts: new Set(), metrics: [] });
  const first = passes[0];
  if (first) {
    first.metrics.push(...merged.map((node) => ({ depth: path.length, node })));
    if (path.length > 0) first.counts.add(path.length);
  }
  for (const node of nodes)
    if (DISTINCT.includes(node.aggregation.kind)) passes.push({ path, counts: new Set(), metrics: [], distinct: node });
  return passes;
}

/** Columns: the keys, the distinct value, the number of documents, then those of `metricColumns` in order. */
export function passStatement(sql: Sql, where: string, pass: Pass, maxRows: number): string {
  const values = new Values(sql);
  const keys = pass.path.map((node) => keyOf(values, node.aggregation));
  if (pass.distinct) keys.push({ group: distinctOf(values, pass.distinct.aggregation) });
  const metrics = pass.metrics.flatMap(({ node }) => metricColumns(values, node.aggregation));
  const columns = [...keys.map(({ group, shown = group }) => shown), 'count(*)::float8', ...metrics];
  const group =
    keys.length === 0
      ? ''
      : ` GROUP BY ${keys.map(({ group, shown }, i) => (shown === undefined ? i + 1 : group)).join(', ')}`;
  return `SELECT ${columns.join(', ')} FROM ${values.from(where)}${group} LIMIT ${maxRows}`;
}

/**
 * Values of fields that are no columns, read once for each document however often they are used: OFFSET '0' keeps
 * PostgreSQL from writing them out at each place (six times faster for stats).
 */
class Values {
  private readonly read: string[] = [];

  constructor(readonly sql: Sql) {}

  /** A jsonb value or array, and the number that a single value is; a default where there is none. */
  of(field: Field, missing?: Scalar): { json: string; number: string } {
    const raw = jsonOf(this.sql, field);
    const json = missing === undefined ? raw : `coalesce(${raw}, ${this.sql.value(JSON.stringify(missing), 'jsonb')})`;
    let index = this.read.indexOf(json);
    if (index < 0) index = this.read.push(json) - 1;
    return { json: `f.x${index}`, number: `f.n${index}` };
  }

  /**
   * The documents, with their values. Whatever is correlated keeps PostgreSQL from doing it in parallel: so they are
   * nested, not LATERAL, and arrays have a function. It does not see that OFFSET 0 is none, but that OFFSET '0' is.
   */
  from(where: string): string {
    if (this.read.length === 0) return `documents WHERE ${where}`;
    const json = this.read.map((text, i) => `${text} AS x${i}`).join(', ');
    const numbers = this.read.map((_, i) => `${numberOf(`j.x${i}`)} AS n${i}`).join(', ');
    return `(SELECT j.*, ${numbers} FROM (SELECT documents.*, ${json} FROM documents WHERE ${where} OFFSET '0') j OFFSET '0') f`;
  }
}

function columnOf(sql: Sql, field: Field, missing?: Scalar): string | undefined {
  const date = dateColumn(field);
  if (date) return millisecondsOf(date);
  const text = textColumn(field);
  return text && missing !== undefined ? `coalesce(${text}, ${sql.value(String(missing), 'text')})` : text;
}

const timeZoneOf = (sql: Sql, zone: string): string =>
  // An offset as text would be POSIX, with the opposite sign.
  /^[+-]\d/.test(zone) ? sql.value(zone, 'interval') : sql.value(zone, 'text');

const roundings = new WeakMap<Aggregation, DateRounding>();

export function roundingOf(aggregation: Aggregation & { kind: 'date_histogram' }): DateRounding {
  let rounding = roundings.get(aggregation);
  if (!rounding) {
    rounding = new DateRounding(aggregation.interval, aggregation.offset, aggregation.timeZone);
    roundings.set(aggregation, rounding);
  }
  return rounding;
}

/** Expression of the key of a document, or of an array of its keys; null for none. */
function keyOf(values: Values, aggregation: Aggregation): GroupKey {
  const { sql } = values;
  if (aggregation.kind === 'date_histogram')
    return roundingOf(aggregation).sql(dateColumn(aggregation.field) ?? 'NULL::timestamptz', () =>
      timeZoneOf(sql, aggregation.timeZone),
    );
  return { group: plainKeyOf(values, aggregation) };
}

function plainKeyOf(values: Values, aggregation: Aggregation): string {
  const { sql } = values;
  switch (aggregation.kind) {
    case 'terms':
      return (
        columnOf(sql, aggregation.field, aggregation.missing) ?? values.of(aggregation.field, aggregation.missing).json
      );
    case 'histogram': {
      const [interval, offset] = [sql.value(aggregation.interval, 'float8'), sql.value(aggregation.offset, 'float8')];
      const rounded = (value: string): string => `floor((${value} - ${offset}) / ${interval})`;
      const column = columnOf(sql, aggregation.field, aggregation.missing);
      if (column) return rounded(column);
      const { json, number } = values.of(aggregation.field, aggregation.missing);
      return `CASE WHEN jsonb_typeof(${json}) = 'array' THEN (SELECT jsonb_agg(DISTINCT ${rounded(numberOf('e.v'))}) FROM jsonb_array_elements(${json}) e(v)) ELSE to_jsonb(${rounded(number)}) END`;
    }
    case 'geohash_grid':
      return `(SELECT jsonb_agg(DISTINCT left(p.value ->> 2, ${aggregation.precision})) FROM jsonb_array_elements(${points(sql, aggregation.field)}) p)`;
    default:
      return choices(bucketConditions(sql, aggregation).map((write) => write()));
  }
}

// A smallint array of the buckets that a document is in.
const choices = (conditions: string[]): string =>
  `array_remove(ARRAY[${conditions.map((each, i) => `CASE WHEN ${each} THEN ${i} END`).join(', ')}]::int2[], NULL)`;

/** One condition for each bucket of range, date_range, filter, filters (the rest comes last) and missing; written when called. */
function bucketConditions(sql: Sql, aggregation: Aggregation): Array<() => string> {
  switch (aggregation.kind) {
    case 'range':
    case 'date_range':
      return aggregation.ranges.map(({ from, to }) => () => {
        const bounds = { ...(from === undefined ? {} : { gte: from }), ...(to === undefined ? {} : { lt: to }) };
        return condition(sql, { kind: 'range', field: aggregation.field, bounds });
      });
    case 'filter':
      return [() => condition(sql, aggregation.filter)];
    case 'filters': {
      const filters = aggregation.filters.map(({ filter }) => filter);
      const rest: Query = { kind: 'bool', must: [], should: [], mustNot: filters, least: 0 };
      return [...filters, ...(aggregation.otherKey === undefined ? [] : [rest])].map(
        (query) => () => condition(sql, query),
      );
    }
    case 'missing':
      return [() => `NOT coalesce(${exists(sql, aggregation.field)}, false)`];
    default:
      return [];
  }
}

/** The documents of one bucket. */
export function bucketCondition(sql: Sql, aggregation: Aggregation, key: string | number | boolean): string {
  switch (aggregation.kind) {
    case 'terms': {
      const equal = condition(sql, { kind: 'terms', field: aggregation.field, values: [key] });
      return aggregation.missing === key
        ? `(${equal} OR NOT coalesce(${exists(sql, aggregation.field)}, false))`
        : equal;
    }
    case 'histogram': {
      const from = Number(key) * aggregation.interval + aggregation.offset;
      const inside = condition(sql, {
        kind: 'range',
        field: aggregation.field,
        bounds: { gte: from, lt: from + aggregation.interval },
      });
      const { missing } = aggregation;
      return missing !== undefined && Math.floor((missing - aggregation.offset) / aggregation.interval) === key
        ? `(${inside} OR NOT coalesce(${exists(sql, aggregation.field)}, false))`
        : inside;
    }
    case 'date_histogram': {
      const bounds = { gte: Number(key), lt: roundingOf(aggregation).next(Number(key)) };
      return condition(sql, { kind: 'range', field: aggregation.field, bounds });
    }
    case 'geohash_grid':
      return `EXISTS (SELECT FROM jsonb_array_elements(${points(sql, aggregation.field)}) p WHERE left(p.value ->> 2, ${aggregation.precision}) = ${sql.value(key, 'text')})`;
    default:
      return bucketConditions(sql, aggregation)[Number(key)]?.() ?? 'false';
  }
}

function distinctOf(values: Values, aggregation: Aggregation): string {
  const { sql } = values;
  if (aggregation.kind !== 'cardinality' && aggregation.kind !== 'percentiles') return 'NULL';
  return (
    columnOf(sql, aggregation.field, aggregation.missing) ?? values.of(aggregation.field, aggregation.missing).json
  );
}

/** What a metric needs of its documents, see `addMetrics`. */
function metricColumns(values: Values, aggregation: Aggregation): string[] {
  switch (aggregation.kind) {
    case 'geo_bounds':
    case 'geo_centroid':
      return geoColumns(values.sql, aggregation.field);
    case 'value_count':
    case 'stats':
    case 'extended_stats':
    case 'avg':
    case 'min':
    case 'max':
    case 'sum':
      return partsOf(aggregation.kind).map((part) => partColumn(values, aggregation.field, aggregation.missing, part));
    default:
      return [];
  }
}

type Part = 'count' | 'sum' | 'min' | 'max' | 'squares';
const PARTS: Readonly<Record<string, readonly Part[]>> = {
  value_count: ['count'],
  avg: ['count', 'sum'],
  sum: ['sum'],
  min: ['min'],
  max: ['max'],
  stats: ['count', 'sum', 'min', 'max'],
  extended_stats: ['count', 'sum', 'min', 'max', 'squares'],
};
export const partsOf = (kind: string): readonly Part[] => PARTS[kind] ?? [];

function partColumn(values: Values, field: Field, missing: Scalar | undefined, part: Part): string {
  const column = columnOf(values.sql, field, missing);
  if (column) {
    if (part === 'count') return `count(${column})::float8`;
    return part === 'squares' ? `sum(${column} ^ 2)` : `${part}(${column})`;
  }
  const { json, number } = values.of(field, missing);
  if (part === 'count')
    // Nearly always one number: then nothing else has to be looked at.
    return `coalesce(sum(CASE WHEN ${number} IS NOT NULL THEN 1 WHEN jsonb_typeof(${json}) = 'array' THEN jsonb_array_length(${json}) ELSE (${json} IS NOT NULL)::int END), 0)::float8`;
  const aggregate = part === 'squares' ? 'sum' : part;
  const one = part === 'squares' ? `${number} ^ 2` : number;
  return `${aggregate}(CASE WHEN ${number} IS NOT NULL THEN ${one} WHEN jsonb_typeof(${json}) = 'array' THEN array_metric(${json}, '${part}') END)`;
}

const GEO = ['min(LAT)', 'max(LAT)', 'min(LON)', 'max(LON)', 'sum(LAT)', 'sum(LON)'];

function geoColumns(sql: Sql, field: Field): string[] {
  const json = points(sql, field);
  const columns = GEO.map((text) => {
    const aggregate = text.slice(0, 3);
    const value = text.includes('LAT') ? '(p.value -> 0)::float8' : '(p.value -> 1)::float8';
    return `${aggregate}((SELECT ${aggregate}(${value}) FROM jsonb_array_elements(${json}) p))`;
  });
  return [`coalesce(sum(jsonb_array_length(${json})), 0)::float8`, ...columns];
}
