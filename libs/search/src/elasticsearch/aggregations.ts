import {
  type Aggregation,
  type AggregationNode,
  type BucketOrder,
  type BucketPath,
  type Field,
  lettersOf,
  type Scalar,
  type Sort,
} from '../dsl/index.js';
import type { TenantFields } from '../fields/index.js';
import { indexField, SOURCE, TENANT } from './mapping.js';
import { type Clause, isoDate, translateQuery } from './queries.js';
import { selector } from './selector.js';

/**
 * Buckets that each index answers with before they are merged: what is less frequent there might be missing in the sum.
 * Values of fewer are counted exactly.
 */
const SHARD_SIZE = 5000;

/** Aggregations go by their place, as users' names may mean something in a path: `a0`, `a1` and so on. */
export const aggregationName = (place: number): string => `a${place}`;

export function translateAggregations(nodes: readonly AggregationNode[], fields: TenantFields): Clause {
  return Object.fromEntries(
    nodes.map(({ aggregation, children }, i) => [
      aggregationName(i),
      {
        ...translate(aggregation, nodes, children, fields),
        ...(children.length > 0 ? { aggs: translateAggregations(children, fields) } : {}),
      },
    ]),
  );
}

/** Inside of the one bucket of documents of the tenant. */
export const BOUNDS = 'bounds';

/** No hit has a score, and documents have no order of their own over several indices. */
export const isAnyOrder = ({ field }: Sort): boolean => field.name === '_doc' || field.name === '_score';

const NEWEST_FIRST: Clause[] = [{ timestamp: 'desc' }, { id: 'desc' }];

/** Sorts of hits; those alike newest first. */
export const sortHits = (sorts: readonly Sort[], fields: TenantFields): Clause[] =>
  translateSort(sorts, fields).concat(NEWEST_FIRST);

/** Sorts of the hits after a given one: it is known by the values of these sorts alone. */
export const translateSort = (sorts: readonly Sort[], fields: TenantFields): Clause[] =>
  sorts
    .filter((sort) => !isAnyOrder(sort))
    .map(({ field, descending, missingFirst, mode }) => {
      const order = descending ? 'desc' : 'asc';
      return {
        [indexField(fields, field)]: {
          order,
          missing: missingFirst ? '_first' : '_last',
          mode,
          unmapped_type: UNMAPPED[field.type ?? 'number'],
        },
      };
    });

const UNMAPPED = { number: 'double', boolean: 'boolean', string: 'keyword', date: 'date', geo: 'keyword' } as const;

function translate(
  aggregation: Aggregation,
  siblings: readonly AggregationNode[],
  children: readonly AggregationNode[],
  fields: TenantFields,
): Clause {
  const name = (field: Field): string => indexField(fields, field);
  const given = <Value>(key: string, value: Value | undefined): Clause => (value === undefined ? {} : { [key]: value });
  switch (aggregation.kind) {
    case 'terms': {
      const { field, size, minDocCount, order, include, exclude, missing } = aggregation;
      return {
        terms: {
          field: name(field),
          size,
          shard_size: Math.max(SHARD_SIZE, size),
          min_doc_count: minDocCount,
          order: orders(order, children),
          ...given('include', include),
          ...given('exclude', exclude),
          ...absent(field, missing),
        },
      };
    }
    case 'stats':
    case 'avg':
    case 'min':
    case 'max':
    case 'sum':
      return {
        [isExtreme(aggregation.kind) ? 'stats' : aggregation.kind]: {
          field: name(aggregation.field),
          ...absent(aggregation.field, aggregation.missing),
          ...given('format', patternOf(aggregation.format)),
        },
      };
    case 'extended_stats':
      return {
        extended_stats: {
          field: name(aggregation.field),
          sigma: aggregation.sigma,
          ...absent(aggregation.field, aggregation.missing),
        },
      };
    case 'value_count':
      return { value_count: { field: name(aggregation.field), ...absent(aggregation.field, aggregation.missing) } };
    case 'cardinality':
      return {
        cardinality: {
          field: name(aggregation.field),
          // The most that it counts exactly.
          precision_threshold: 40_000,
          ...absent(aggregation.field, aggregation.missing),
        },
      };
    case 'percentiles':
      return {
        percentiles: {
          field: name(aggregation.field),
          percents: aggregation.percents,
          keyed: aggregation.keyed,
          ...absent(aggregation.field, aggregation.missing),
        },
      };
    case 'histogram': {
      const { field, interval, offset, minDocCount, extendedBounds, keyed, order, missing } = aggregation;
      return {
        histogram: {
          field: name(field),
          interval,
          offset,
          min_doc_count: minDocCount,
          keyed,
          order: orders(order, children),
          ...given('extended_bounds', extendedBounds),
          ...absent(field, missing),
        },
      };
    }
    case 'date_histogram': {
      const { field, interval, offset, minDocCount, extendedBounds, keyed, order, timeZone, format } = aggregation;
      return {
        date_histogram: {
          field: name(field),
          ...(typeof interval === 'number' ? { fixed_interval: `${interval}ms` } : { calendar_interval: interval }),
          ...(offset === 0 ? {} : { offset: `${offset}ms` }),
          min_doc_count: minDocCount,
          keyed,
          time_zone: timeZone,
          order: orders(order, children),
          ...given('extended_bounds', extendedBounds),
          ...given('format', patternOf(format)),
        },
      };
    }
    case 'range':
      return { range: { field: name(aggregation.field), ranges: aggregation.ranges, keyed: aggregation.keyed } };
    case 'date_range':
      return {
        date_range: {
          field: name(aggregation.field),
          // With their zone: milliseconds would be shifted by time_zone.
          ranges: aggregation.ranges.map(({ key, from, to }) => ({
            ...given('key', key),
            ...given('from', from === undefined ? undefined : isoDate(from)),
            ...given('to', to === undefined ? undefined : isoDate(to)),
          })),
          keyed: aggregation.keyed,
          time_zone: aggregation.timeZone,
          // The first one prints the keys, the other one reads the bounds.
          ...given('format', aggregation.format && `${patternOf(aggregation.format)}||strict_date_optional_time`),
        },
      };
    case 'filter':
      return { filter: translateQuery(aggregation.filter, fields) };
    case 'filters': {
      const { filters, keyed, otherKey } = aggregation;
      return {
        filters: {
          filters: keyed
            ? Object.fromEntries(filters.map(({ key, filter }) => [key, translateQuery(filter, fields)]))
            : filters.map(({ filter }) => translateQuery(filter, fields)),
          ...(otherKey === undefined ? {} : { other_bucket_key: otherKey }),
        },
      };
    }
    case 'missing':
      return { missing: { field: name(aggregation.field) } };
    case 'top_hits':
      return {
        top_hits: {
          size: aggregation.size,
          from: aggregation.from,
          sort: sortHits(aggregation.sort, fields),
          _source: aggregation.source === false ? false : SOURCE,
          track_scores: false,
        },
      };
    case 'geohash_grid':
      return {
        geohash_grid: {
          field: name(aggregation.field),
          precision: aggregation.precision,
          size: aggregation.size,
          shard_size: Math.max(SHARD_SIZE, aggregation.size),
        },
      };
    case 'geo_bounds':
      // In a bucket without documents, version 7.10 fails: then there is none of these terms.
      return {
        terms: { field: TENANT, size: 1 },
        aggs: { [BOUNDS]: { geo_bounds: { field: name(aggregation.field), wrap_longitude: false } } },
      };
    case 'geo_centroid':
      return { geo_centroid: { field: name(aggregation.field) } };
    case 'bucket_selector':
      return {
        bucket_selector: {
          ...selector(
            aggregation.script,
            Object.fromEntries(
              Object.entries(aggregation.paths).map(([variable, path]) => [variable, bucketPath(path, siblings)]),
            ),
          ),
          gap_policy: aggregation.gaps,
        },
      };
    case 'bucket_sort':
      return {
        bucket_sort: {
          sort: aggregation.sort.map(({ path, descending }) => ({
            [bucketPath(path, siblings)]: { order: descending ? 'desc' : 'asc' },
          })),
          from: aggregation.from,
          ...given('size', aggregation.size),
          gap_policy: aggregation.gaps,
        },
      };
  }
}

/** Without names that stand for letters: some of them are printed in UTC, whatever the time zone. */
const patternOf = (format: string | undefined): string | undefined => format && lettersOf(format);

const VALUE_TYPES = { number: 'double', boolean: 'boolean', string: 'string', date: 'date', geo: 'string' } as const;

/** Default of a field. With its type: in the index of a month that does not have the field, it would have one of its own. */
function absent({ type }: Field, missing: Scalar | undefined): Clause {
  if (missing === undefined) return {};
  if (type === undefined) return { missing };
  return { missing: type === 'boolean' ? Boolean(missing) : missing, value_type: VALUE_TYPES[type] };
}

/**
 * These two are asked for as stats: version 7.10 ends the whole search in an index that does not know their field, where
 * they are inside of other aggregations, and answers without its documents.
 */
export const isExtreme = (kind: string): kind is 'min' | 'max' => kind === 'min' || kind === 'max';

/** Unlike pipelines, orders name the number of documents of an aggregation as one of its metrics. */
const orders = (order: readonly BucketOrder[], children: readonly AggregationNode[]): Clause[] =>
  order.map(({ path, descending }) => ({
    [bucketPath(path, children).replace('>_count', '.doc_count')]: descending ? 'desc' : 'asc',
  }));

/** As Elasticsearch writes it: `a0>a1.max`, `a2[95.0]`, `_count`. */
function bucketPath({ aggregations, metric }: BucketPath, nodes: readonly AggregationNode[]): string {
  if (aggregations.length === 0) return metric;
  const steps: string[] = [];
  let among = nodes;
  let last: AggregationNode | undefined;
  for (const name of aggregations) {
    const place = among.findIndex((node) => node.name === name);
    last = among[place];
    steps.push(aggregationName(place));
    among = last?.children ?? [];
  }
  const path = steps.join('>');
  if (metric === '_count') return `${path}>_count`;
  const kind = last?.aggregation.kind ?? '';
  if (isExtreme(kind)) return `${path}.${kind}`;
  if (metric === 'value') return path;
  return kind === 'percentiles' ? `${path}[${metric}]` : `${path}.${metric}`;
}
