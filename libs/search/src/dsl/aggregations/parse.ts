import { at, booleanAt, clauseAt, integerAt, numberAt, objectAt, refuse, textAt, type Reading } from '../clause.js';
import { parseSort, parseSource } from '../hits.js';
import { parseQuery } from '../queries.js';
import { type Aggregation, type AggregationNode } from '../tree.js';
import { parseDateRange, parseFilters, parseRange, parseTerms } from './buckets.js';
import { fieldOf, geo, missingNumber, numeric, sizeOf } from './fields.js';
import { parseDateHistogram, parseHistogram } from './histograms.js';
import { counted, metric, parsePercentiles } from './metrics.js';
import { checkPaths } from './paths.js';
import { parseBucketSort, parseSelector } from './pipelines.js';

export const BUCKET_KINDS: readonly string[] = [
  'terms',
  'histogram',
  'date_histogram',
  'range',
  'date_range',
  'filter',
  'filters',
  'missing',
  'geohash_grid',
];
export const PIPELINE_KINDS: readonly string[] = ['bucket_selector', 'bucket_sort'];

/** What holds several buckets, in which bucket_selector and bucket_sort can choose. */
const MANY_BUCKETS: readonly string[] = [
  'terms',
  'histogram',
  'date_histogram',
  'range',
  'date_range',
  'filters',
  'geohash_grid',
];

type Parser = (reading: Reading, path: string, value: unknown, depth: number) => Aggregation;

const PARSERS: Readonly<Record<string, Parser>> = {
  terms: parseTerms,
  stats: (reading, path, value) => metric(reading, path, value, 'stats'),
  avg: (reading, path, value) => metric(reading, path, value, 'avg'),
  min: (reading, path, value) => metric(reading, path, value, 'min'),
  max: (reading, path, value) => metric(reading, path, value, 'max'),
  sum: (reading, path, value) => metric(reading, path, value, 'sum'),
  extended_stats: (reading, path, value) => {
    const clause = clauseAt(path, value, ['field', 'missing', 'sigma']);
    const sigma = clause['sigma'] === undefined ? 2 : numberAt(at(path, 'sigma'), clause['sigma']);
    if (sigma < 0) throw refuse(at(path, 'sigma'), 'a number that is not negative');
    const field = numeric(reading, path, clause);
    return { kind: 'extended_stats', field, ...missingNumber(path, clause, field), sigma };
  },
  value_count: (reading, path, value) => counted(reading, path, value, 'value_count'),
  cardinality: (reading, path, value) => counted(reading, path, value, 'cardinality'),
  percentiles: parsePercentiles,
  histogram: parseHistogram,
  date_histogram: parseDateHistogram,
  range: parseRange,
  date_range: parseDateRange,
  filter: (reading, path, value, depth) => ({ kind: 'filter', filter: parseQuery(reading, path, value, depth + 1) }),
  filters: parseFilters,
  missing: (reading, path, value) => ({
    kind: 'missing',
    field: fieldOf(reading, path, clauseAt(path, value, ['field'])),
  }),
  top_hits: (reading, path, value) => {
    const clause = clauseAt(path, value, ['size', 'from', 'sort', '_source']);
    const size = clause['size'] === undefined ? 3 : integerAt(at(path, 'size'), clause['size'], 0, 100);
    const from = clause['from'] === undefined ? 0 : integerAt(at(path, 'from'), clause['from'], 0, 100);
    if (from + size > 100) throw refuse(path, 'from and size that are together at most 100');
    return {
      kind: 'top_hits',
      size,
      from,
      sort: parseSort(reading, at(path, 'sort'), clause['sort']),
      source: parseSource(at(path, '_source'), clause['_source']),
    };
  },
  geohash_grid: (reading, path, value) => {
    const clause = clauseAt(path, value, ['field', 'precision', 'size', 'shard_size']);
    const precision =
      clause['precision'] === undefined ? 5 : integerAt(at(path, 'precision'), clause['precision'], 1, 12);
    return { kind: 'geohash_grid', field: geo(reading, path, clause), precision, size: sizeOf(path, clause, 10_000) };
  },
  geo_bounds: (reading, path, value) => {
    const clause = clauseAt(path, value, ['field', 'wrap_longitude']);
    // Bounds over the 180th meridian are not computed: a wrong box would be worse.
    if (
      clause['wrap_longitude'] !== undefined &&
      booleanAt(at(path, 'wrap_longitude'), clause['wrap_longitude'], false)
    )
      throw refuse(at(path, 'wrap_longitude'), 'false');
    return { kind: 'geo_bounds', field: geo(reading, path, clause) };
  },
  geo_centroid: (reading, path, value) => ({
    kind: 'geo_centroid',
    field: geo(reading, path, clauseAt(path, value, ['field'])),
  }),
  bucket_selector: parseSelector,
  bucket_sort: parseBucketSort,
};

/** @throws ApiError 400 that names the clause. */
export function parseAggregations(
  reading: Reading,
  path: string,
  value: unknown,
  depth: number,
  parent?: string,
): AggregationNode[] {
  if (value === undefined) return [];
  return Object.entries(objectAt(path, value)).map(([name, body]) => {
    const where = at(path, name);
    if (name === '' || name === '__proto__' || name.length > 200 || /[[\]>]/.test(name))
      throw refuse(where, 'a name of 1 to 200 characters without [ ] >');
    textAt(where, name);
    return parseNode(reading, where, name, body, depth, parent);
  });
}

function parseNode(
  reading: Reading,
  path: string,
  name: string,
  value: unknown,
  depth: number,
  parent?: string,
): AggregationNode {
  reading.countAggregation(path, depth);
  const clause = objectAt(path, value);
  const kinds = Object.keys(clause).filter((key) => key !== 'aggs' && key !== 'aggregations');
  if (kinds.length !== 1) throw refuse(path, 'exactly one aggregation beside aggs');
  const kind = kinds[0]!;
  const parser = Object.hasOwn(PARSERS, kind) ? PARSERS[kind] : undefined;
  if (!parser) throw refuse(at(path, kind), `one of the aggregations ${Object.keys(PARSERS).toSorted().join(', ')}`);
  if (PIPELINE_KINDS.includes(kind) && !(parent && MANY_BUCKETS.includes(parent)))
    throw refuse(
      at(path, kind),
      'a place in the aggs of an aggregation with several buckets, as terms or date_histogram',
    );
  const aggregation = parser(reading, at(path, kind), clause[kind], depth);
  if (clause['aggs'] !== undefined && clause['aggregations'] !== undefined)
    throw refuse(path, 'either aggs or aggregations');
  const key = clause['aggs'] !== undefined ? 'aggs' : 'aggregations';
  const inner = clause[key];
  if (inner !== undefined && !BUCKET_KINDS.includes(kind))
    throw refuse(at(path, key), `no aggregations inside ${kind}`);
  const children = parseAggregations(reading, at(path, key), inner, depth + 1, kind);
  for (const child of children) checkPaths(at(at(path, key), child.name), child.aggregation, children, aggregation);
  return { name, aggregation, children };
}
