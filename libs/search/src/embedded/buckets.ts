import { ApiError, invalidParameter } from '@orrery/core/http';
import { type AggregationNode, MAX_BUCKETS } from '../dsl/index.js';
import { MAX_ANSWER } from '../search-engine.js';
import { type Pass, partsOf } from './passes.js';

export type Key = string | number | boolean;

/** What is known of the documents of a bucket; the root is a bucket too. */
export class Bucket {
  count = 0;
  /** Buckets of each aggregation in it, by key. */
  readonly children = new Map<AggregationNode, Map<Key, Bucket>>();
  readonly metrics = new Map<AggregationNode, Metric>();
}

export interface Metric {
  count: number;
  sum: number;
  squares: number;
  min: number | null;
  max: number | null;
  /** Smallest and greatest latitude, then longitude; their sums. */
  box?: [number, number, number, number];
  sums?: [number, number];
  /** How often each value occurs. */
  values?: Map<Key, number>;
  /** The values in their order, each with how many there are up to it; when they have been asked for. */
  sorted?: ReadonlyArray<readonly [value: number, upTo: number]>;
}

const newMetric = (): Metric => ({ count: 0, sum: 0, squares: 0, min: null, max: null });

/** Before buckets are cut to their size; what is held in memory. */
const MAX_HELD = 500_000;

/** Gathers the rows of passes into buckets. */
export class Gathering {
  readonly root = new Bucket();
  private held = 0;
  private characters = 0;

  /** @throws ApiError 400 when it is too much to hold. */
  add(pass: Pass, row: readonly unknown[]): void {
    this.descend(pass, row, 0, this.root);
  }

  private descend(pass: Pass, row: readonly unknown[], depth: number, bucket: Bucket): void {
    const { path } = pass;
    const number = row[path.length + (pass.distinct ? 1 : 0)] as number;
    if (pass.counts.has(depth)) bucket.count += number;
    this.addMetrics(pass, row, depth, bucket);
    const node = path[depth];
    if (!node) {
      if (pass.distinct) this.addValues(pass.distinct, bucket, row[path.length], number);
      return;
    }
    let children = bucket.children.get(node);
    if (!children) bucket.children.set(node, (children = new Map()));
    for (const key of keysOf(row[depth], node)) {
      let child = children.get(key);
      if (!child) {
        this.hold(key);
        children.set(key, (child = new Bucket()));
      }
      this.descend(pass, row, depth + 1, child);
    }
  }

  private hold(key: Key): void {
    if (typeof key === 'string') this.characters += key.length;
    if (++this.held > MAX_HELD || this.characters > MAX_ANSWER) throw tooMany();
  }

  private addMetrics(pass: Pass, row: readonly unknown[], depth: number, bucket: Bucket): void {
    let column = pass.path.length + (pass.distinct ? 1 : 0) + 1;
    for (const { depth: own, node } of pass.metrics) {
      const { kind } = node.aggregation;
      const geo = kind === 'geo_bounds' || kind === 'geo_centroid';
      const parts = partsOf(kind);
      const width = geo ? 7 : parts.length;
      if (own === depth) {
        let metric = bucket.metrics.get(node);
        if (!metric) bucket.metrics.set(node, (metric = newMetric()));
        if (geo) addPoints(metric, row.slice(column, column + width) as Array<number | null>);
        else parts.forEach((part, i) => addPart(metric, part, row[column + i] as number | null));
      }
      column += width;
    }
  }

  private addValues(node: AggregationNode, bucket: Bucket, value: unknown, number: number): void {
    if (value === null) return;
    let metric = bucket.metrics.get(node);
    if (!metric) bucket.metrics.set(node, (metric = newMetric()));
    const values = (metric.values ??= new Map<Key, number>());
    for (const each of Array.isArray(value) ? (value as Key[]) : [value as Key]) {
      const before = values.get(each);
      if (before === undefined) this.hold(each);
      values.set(each, (before ?? 0) + number);
    }
  }
}

export const tooMany = (): ApiError =>
  invalidParameter(
    'aggs',
    `aggregations with fewer buckets (at most ${MAX_BUCKETS} are answered); narrow the query or the aggregations`,
  );

function keysOf(value: unknown, node: AggregationNode): Iterable<Key> {
  if (value === null || value === undefined) return [];
  const keys: Key[] = Array.isArray(value) ? [...new Set(value as Key[])] : [value as Key];
  const { aggregation } = node;
  if (aggregation.kind !== 'terms' || (!aggregation.include && !aggregation.exclude)) return keys;
  return keys.filter(
    (key) => (aggregation.include?.includes(String(key)) ?? true) && !aggregation.exclude?.includes(String(key)),
  );
}

const least = (a: number | null, b: number): number => (a === null || b < a ? b : a);
const most = (a: number | null, b: number): number => (a === null || b > a ? b : a);

function addPart(metric: Metric, part: 'count' | 'sum' | 'min' | 'max' | 'squares', value: number | null): void {
  if (value === null) return;
  if (part === 'min') metric.min = least(metric.min, value);
  else if (part === 'max') metric.max = most(metric.max, value);
  else metric[part] += value;
}

function addPoints(metric: Metric, [count, south, north, west, east, lats, lons]: Array<number | null>): void {
  if (!count) return;
  metric.count += count;
  const box = metric.box;
  metric.box = box
    ? [Math.min(box[0], south!), Math.max(box[1], north!), Math.min(box[2], west!), Math.max(box[3], east!)]
    : [south!, north!, west!, east!];
  const sums = metric.sums ?? [0, 0];
  metric.sums = [sums[0] + lats!, sums[1] + lons!];
}
