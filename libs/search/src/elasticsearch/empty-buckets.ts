import { type Aggregation, type AggregationNode, type CalendarUnit, MAX_BUCKETS } from '../dsl/index.js';
import type { TenantFields } from '../fields/index.js';
import { indexField } from './mapping.js';
import type { Clause } from './queries.js';

/** Milliseconds. Of longer units, the years that a date can have hold few. */
const LENGTHS: Partial<Record<CalendarUnit, number>> = {
  second: 1000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
};
const LONG = 7 * 86_400_000;
/** Of one histogram in the buckets of another aggregation: those have a part of the documents, and often of the range. */
const MAX_WITHIN = 16 * MAX_BUCKETS;
/** Above, the next number may be the same one. */
const MAX_STEPS = 2 ** 52;

type Histogram = Aggregation & { kind: 'histogram' | 'date_histogram' };

/**
 * A histogram with buckets that have no documents. Elasticsearch makes them one by one, and versions before 7.14 count them
 * afterwards: two documents that are far apart take all of its memory.
 */
export interface OpenHistogram {
  aggregation: Histogram;
  width: number;
  most: number;
}

export function openHistograms(nodes: readonly AggregationNode[], most = MAX_BUCKETS): OpenHistogram[] {
  return nodes.flatMap(({ aggregation, children }) => {
    const inner = openHistograms(children, MAX_WITHIN);
    if ((aggregation.kind !== 'histogram' && aggregation.kind !== 'date_histogram') || aggregation.minDocCount > 0)
      return inner;
    const { interval } = aggregation;
    const width = typeof interval === 'number' ? interval : LENGTHS[interval];
    const short = width !== undefined && (aggregation.field.type !== 'date' || width < LONG);
    return short ? [{ aggregation, width, most }, ...inner] : inner;
  });
}

/** Bodies of an _msearch, two for each: the least and the greatest of its values. */
export const extremesOf = (histograms: readonly OpenHistogram[], query: Clause, fields: TenantFields): Clause[] =>
  histograms.flatMap(({ aggregation: { field } }) =>
    (['asc', 'desc'] as const).map((order) => ({
      query,
      size: 1,
      // Sorts skip what cannot be the first of dates, unlike aggregations.
      sort: [{ [indexField(fields, field)]: { order, missing: '_last', unmapped_type: 'double' } }],
      _source: false,
      track_total_hits: false,
    })),
  );

/** @param extremes the sort values of the answers; undefined where there was no hit */
export function tooManyEmpty(histograms: readonly OpenHistogram[], extremes: readonly unknown[]): boolean {
  return histograms.some(({ aggregation, width, most }, i) => {
    const ends = [extremes[2 * i], extremes[2 * i + 1]].filter(isValue);
    if (aggregation.extendedBounds) ends.push(aggregation.extendedBounds.min, aggregation.extendedBounds.max);
    if (aggregation.kind === 'histogram' && aggregation.missing !== undefined) ends.push(aggregation.missing);
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    if (!(low < high)) return false;
    return (high - low) / width > most || Math.max(-low, high) / width > MAX_STEPS;
  });
}

/** What is missing sorts as if it was endless. */
const isValue = (value: unknown): value is number =>
  typeof value === 'number' && value !== 2 ** 63 && value !== -(2 ** 63);
