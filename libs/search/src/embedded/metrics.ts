import { type Aggregation, type AggregationNode, type BucketPath, DateFormat } from '../dsl/index.js';
import { Bucket, type Key, type Metric } from './buckets.js';

type Json = Record<string, unknown>;

/** As Java prints a double: keys of ranges and percentages. */
export function javaDouble(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) {
    const [mantissa, exponent] = value.toExponential().split('e') as [string, string];
    return `${mantissa.includes('.') ? mantissa : `${mantissa}.0`}E${Number(exponent)}`;
  }
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}

type Printer = (value: number) => string;
const printers = new WeakMap<Aggregation, Printer>();

/** Prints dates where the field is one; what was printed is kept, as the same dates come in many buckets. */
export function datePrinter(aggregation: Aggregation): Printer | undefined {
  // A date_range prints dates of a field that nobody has, too.
  if (!('field' in aggregation) || (aggregation.field.type !== 'date' && aggregation.kind !== 'date_range'))
    return undefined;
  const known = printers.get(aggregation);
  if (known) return known;
  const format = DateFormat.of('format' in aggregation ? aggregation.format : undefined)!;
  const zone = 'timeZone' in aggregation ? aggregation.timeZone : 'UTC';
  const printed = new Map<number, string>();
  const printer = (value: number): string => {
    let text = printed.get(value);
    if (text === undefined) printed.set(value, (text = format.print(Math.trunc(value), zone)));
    return text;
  };
  printers.set(aggregation, printer);
  return printer;
}

const withText = (value: number | null, print?: (value: number) => string): Json =>
  value === null || !print ? { value } : { value, value_as_string: print(value) };

/** As Elasticsearch prints a metric; without documents too. */
export function renderMetric(node: AggregationNode, bucket: Bucket): Json {
  const { aggregation } = node;
  const metric = bucket.metrics.get(node);
  const print = datePrinter(aggregation);
  switch (aggregation.kind) {
    case 'avg':
      return withText(metric && metric.count > 0 ? metric.sum / metric.count : null, print);
    case 'sum':
      return withText(metric?.sum ?? 0, print);
    case 'min':
      return withText(metric?.min ?? null, print);
    case 'max':
      return withText(metric?.max ?? null, print);
    case 'value_count':
      return { value: metric?.count ?? 0 };
    case 'cardinality':
      return { value: metric?.values?.size ?? 0 };
    case 'stats':
      return stats(metric, print);
    case 'extended_stats':
      return { ...stats(metric, print), ...spread(metric, aggregation.sigma) };
    case 'percentiles':
      return percentiles(aggregation, metric, print);
    case 'geo_bounds': {
      const box = metric?.box;
      if (!box) return {};
      const [south, north, west, east] = box;
      return { bounds: { top_left: { lat: north, lon: west }, bottom_right: { lat: south, lon: east } } };
    }
    case 'geo_centroid': {
      const sums = metric?.sums;
      if (!metric || !sums) return { count: 0 };
      return { location: { lat: sums[0] / metric.count, lon: sums[1] / metric.count }, count: metric.count };
    }
    default:
      return {};
  }
}

function stats(metric: Metric | undefined, print?: (value: number) => string): Json {
  if (!metric || metric.count === 0) return { count: 0, min: null, max: null, avg: null, sum: 0 };
  const { count, min, max, sum } = metric;
  const avg = sum / count;
  return {
    count,
    min,
    max,
    avg,
    sum,
    ...(print
      ? { min_as_string: print(min!), max_as_string: print(max!), avg_as_string: print(avg), sum_as_string: print(sum) }
      : {}),
  };
}

function spread(metric: Metric | undefined, sigma: number): Json {
  const empty = !metric || metric.count === 0;
  const { count, sum, squares } = metric ?? { count: 0, sum: 0, squares: 0 };
  const population = empty ? null : Math.max(0, (squares - (sum * sum) / count) / count);
  // JSON has no NaN; Elasticsearch prints the word.
  const sampling = empty ? null : count === 1 ? 'NaN' : Math.max(0, (squares - (sum * sum) / count) / (count - 1));
  const root = (variance: number | string | null): number | string | null =>
    typeof variance === 'number' ? Math.sqrt(variance) : variance;
  const bound = (variance: number | string | null, sign: number): number | string | null => {
    const deviation = root(variance);
    return typeof deviation === 'number' ? sum / count + sign * sigma * deviation : deviation;
  };
  return {
    sum_of_squares: empty ? null : squares,
    variance: population,
    variance_population: population,
    variance_sampling: sampling,
    std_deviation: root(population),
    std_deviation_population: root(population),
    std_deviation_sampling: root(sampling),
    std_deviation_bounds: {
      upper: bound(population, 1),
      lower: bound(population, -1),
      upper_population: bound(population, 1),
      lower_population: bound(population, -1),
      upper_sampling: bound(sampling, 1),
      lower_sampling: bound(sampling, -1),
    },
  };
}

/** Between the two values beside a rank, as Elasticsearch does since 8.9 where values are few. */
function quantile(sorted: NonNullable<Metric['sorted']>, fraction: number): number {
  const total = sorted.at(-1)![1];
  const at = (rank: number): number => {
    let [low, high] = [0, sorted.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle]![1] > rank) high = middle;
      else low = middle + 1;
    }
    return sorted[low]![0];
  };
  const rank = fraction * (total - 1);
  const [low, high] = [at(Math.floor(rank)), at(Math.ceil(rank))];
  return low + (high - low) * (rank - Math.floor(rank));
}

function sortedValues(values: ReadonlyMap<Key, number>): NonNullable<Metric['sorted']> {
  let upTo = 0;
  return [...values]
    .map(([value, number]) => [Number(value), number] as const)
    .toSorted((a, b) => a[0] - b[0])
    .map(([value, number]) => [value, (upTo += number)] as const);
}

function quantiles(metric: Metric | undefined, percents: readonly number[]): Array<number | null> {
  if (!metric?.values || metric.values.size === 0) return percents.map(() => null);
  const sorted = (metric.sorted ??= sortedValues(metric.values));
  return percents.map((percent) => quantile(sorted, percent / 100));
}

function percentiles(
  aggregation: Aggregation & { kind: 'percentiles' },
  metric: Metric | undefined,
  print?: (value: number) => string,
): Json {
  const values = quantiles(metric, aggregation.percents);
  if (!aggregation.keyed)
    return {
      values: aggregation.percents.map((key, i) => ({
        key,
        value: values[i],
        ...(print && values[i] !== null ? { value_as_string: print(values[i]!) } : {}),
      })),
    };
  return {
    values: Object.fromEntries(
      aggregation.percents.flatMap((percent, i) => {
        const key = javaDouble(percent);
        const value = values[i]!;
        return print && value !== null
          ? [
              [key, value],
              [`${key}_as_string`, print(value)],
            ]
          : [[key, value]];
      }),
    ),
  };
}

const NOTHING: Readonly<Record<string, number>> = { min: Infinity, max: -Infinity, sum_of_squares: 0 };

/** A number of a bucket by the path of an order or a pipeline; NaN where there is none. */
export function numberAtPath(
  path: BucketPath,
  key: unknown,
  bucket: Bucket,
  children: readonly AggregationNode[],
): number {
  if (path.aggregations.length === 0) return path.metric === '_count' ? bucket.count : Number(key);
  const [name, ...rest] = path.aggregations;
  const node = children.find((child) => child.name === name);
  if (!node) return Number.NaN;
  const { kind } = node.aggregation;
  if (kind === 'filter' || kind === 'missing') {
    const only = bucket.children.get(node)?.get(0);
    if (rest.length === 0) return only?.count ?? 0;
    return numberAtPath({ aggregations: rest, metric: path.metric }, key, only ?? new Bucket(), node.children);
  }
  if (kind === 'percentiles') return quantiles(bucket.metrics.get(node), [Number(path.metric)])[0] ?? Number.NaN;
  const value = renderMetric(node, bucket)[path.metric];
  if (typeof value === 'number') return value;
  // Of nothing, as Elasticsearch orders it.
  const metric = path.metric === 'value' ? kind : path.metric;
  return NOTHING[metric] ?? Number.NaN;
}
