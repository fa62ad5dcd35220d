/** What the search knows of a field. Strings are matched whole (term, prefix, wildcard, terms) and by words (match, query_string). */
export type FieldType = 'number' | 'boolean' | 'string' | 'date' | 'geo';

/** A field as documents are indexed by: `tags`, `@<model>.value.<path>`, `<path of a location>.@geopoint`. */
export interface Field {
  name: string;
  /** Undefined when no document has had the field: then nothing matches it. */
  type: FieldType | undefined;
}

export type Scalar = string | number | boolean;

export interface Point {
  lat: number;
  lon: number;
}

/** Bounds are numbers for numbers, milliseconds since 1970 for dates, and strings (by code point) for strings. */
export interface Bounds {
  gt?: number | string;
  gte?: number | string;
  lt?: number | string;
  lte?: number | string;
}

/** A query after everything that can be refused was refused. Values have the type of their field; dates are milliseconds. */
export type Query =
  | { kind: 'all' }
  | { kind: 'none' }
  /** `filter` and `must` are one: hits have no score. At least `least` of `should` hold. */
  | { kind: 'bool'; must: Query[]; should: Query[]; mustNot: Query[]; least: number }
  /** A value of the field is one of these. Never of a date: those are ranges. */
  | { kind: 'terms'; field: Field; values: Scalar[] }
  | { kind: 'range'; field: Field; bounds: Bounds }
  /** A value of the string field has all or any of these words, see `words`; of any string field when the name is `*`. */
  | { kind: 'words'; field: Field; words: string[]; all: boolean }
  /** The words follow each other in a value. */
  | { kind: 'phrase'; field: Field; words: string[] }
  /** Also true for an object that has an indexed field. */
  | { kind: 'exists'; field: Field }
  | { kind: 'prefix'; field: Field; value: string; anyCase: boolean }
  /** `*` any characters, `?` one, `\` takes the next one as it is. */
  | { kind: 'wildcard'; field: Field; pattern: string; anyCase: boolean }
  | { kind: 'ids'; values: string[] }
  | { kind: 'geoDistance'; field: Field; centre: Point; metres: number }
  /** `left` greater than `right` crosses the 180th meridian. */
  | { kind: 'geoBox'; field: Field; top: number; left: number; bottom: number; right: number }
  | { kind: 'geoPolygon'; field: Field; points: Point[] };

export interface Sort {
  /** `_doc` is any order that stays, `_score` is the same for every hit. */
  field: Field;
  descending: boolean;
  missingFirst: boolean;
  /** Of several values of one document. */
  mode: 'min' | 'max';
}

/** `_source` of a request: false for none, else patterns with `*`. */
export type SourceFilter = boolean | { includes: string[]; excludes: string[] };

/** Where an order or a pipeline aggregation finds a number: aggregations, then the metric; `_count` and `_key` of the bucket itself. */
export interface BucketPath {
  aggregations: string[];
  /** `value` for an aggregation of one number; of percentiles the percentage. */
  metric: string;
}

export interface BucketOrder {
  path: BucketPath;
  descending: boolean;
}

/** A key that buckets are printed with: `format` of dates, see DateFormat. */
export interface DateBuckets {
  format?: string;
  /** IANA name or offset. */
  timeZone: string;
}

export const CALENDAR_UNITS = ['second', 'minute', 'hour', 'day', 'week', 'month', 'quarter', 'year'] as const;
export type CalendarUnit = (typeof CALENDAR_UNITS)[number];

export interface RangeBucket {
  key?: string;
  from?: number;
  to?: number;
}

/** Arithmetic over the numbers of a bucket; see script.ts. */
export type Expression =
  | { kind: 'number'; value: number }
  | { kind: 'variable'; name: string }
  | { kind: 'unary'; operator: '-' | '!'; operand: Expression }
  | { kind: 'binary'; operator: string; left: Expression; right: Expression };

export type Aggregation =
  | {
      kind: 'terms';
      field: Field;
      size: number;
      minDocCount: number;
      order: BucketOrder[];
      include?: string[];
      exclude?: string[];
      missing?: Scalar;
    }
  | { kind: 'stats' | 'avg' | 'min' | 'max' | 'sum'; field: Field; missing?: number; format?: string }
  | { kind: 'extended_stats'; field: Field; missing?: number; sigma: number }
  | { kind: 'value_count' | 'cardinality'; field: Field; missing?: Scalar }
  | { kind: 'percentiles'; field: Field; percents: number[]; keyed: boolean; missing?: number }
  | {
      kind: 'histogram';
      field: Field;
      interval: number;
      offset: number;
      minDocCount: number;
      extendedBounds?: { min: number; max: number };
      keyed: boolean;
      order: BucketOrder[];
      missing?: number;
    }
  | ({
      kind: 'date_histogram';
      field: Field;
      /** A calendar unit, or milliseconds. */
      interval: CalendarUnit | number;
      /** Milliseconds. */
      offset: number;
      minDocCount: number;
      extendedBounds?: { min: number; max: number };
      keyed: boolean;
      order: BucketOrder[];
    } & DateBuckets)
  | { kind: 'range'; field: Field; ranges: RangeBucket[]; keyed: boolean }
  | ({ kind: 'date_range'; field: Field; ranges: RangeBucket[]; keyed: boolean } & DateBuckets)
  | { kind: 'filter'; filter: Query }
  /** Keyed when named. */
  | { kind: 'filters'; filters: Array<{ key: string; filter: Query }>; keyed: boolean; otherKey?: string }
  | { kind: 'missing'; field: Field }
  | { kind: 'top_hits'; size: number; from: number; sort: Sort[]; source: SourceFilter }
  | { kind: 'geohash_grid'; field: Field; precision: number; size: number }
  | { kind: 'geo_bounds' | 'geo_centroid'; field: Field }
  | { kind: 'bucket_selector'; paths: Record<string, BucketPath>; script: Expression; gaps: 'skip' | 'insert_zeros' }
  | { kind: 'bucket_sort'; sort: BucketOrder[]; from: number; size?: number; gaps: 'skip' | 'insert_zeros' };

export interface AggregationNode {
  name: string;
  aggregation: Aggregation;
  children: AggregationNode[];
}

/** A search that the platform allows, with what version 0 of the API writes otherwise already translated. */
export interface SearchRequest {
  query: Query;
  aggregations: AggregationNode[];
  size: number;
  from: number;
  /** Empty: newest first in the embedded engine, any order in Elasticsearch (hits have no score). */
  sort: Sort[];
  searchAfter?: Array<Scalar | null>;
  source: SourceFilter;
  /** True for all, else the number up to which hits are counted. */
  trackTotalHits: number | true;
}

/** Type of a field of the tenant; undefined when no document has had it. */
export type FieldTypes = (field: string) => FieldType | undefined;
