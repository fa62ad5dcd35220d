import {
  type Aggregation,
  type AggregationNode,
  type BucketOrder,
  type BucketPath,
  evaluate,
  type Expression,
  MAX_BUCKETS,
  PIPELINE_KINDS,
} from '../dsl/index.js';
import { Bucket, type Key, tooMany } from './buckets.js';
import { datePrinter, javaDouble, numberAtPath, renderMetric } from './metrics.js';
import { isBucket, partsOf, roundingOf } from './passes.js';

type Json = Record<string, unknown>;
export type BucketStep = { aggregation: Aggregation; key: Key };

/** Hits to fetch for a bucket that is answered; put in `into`. */
export interface WantedHits {
  aggregation: Aggregation & { kind: 'top_hits' };
  steps: BucketStep[];
  into: Json;
}

interface Rendered {
  key: Key;
  bucket: Bucket;
  body: Json;
  /** Among keyed buckets. */
  name: string;
}

/** What an answer may take, in microseconds or so: it is written in one go, and the process is everybody's. */
const MAX_WORK = 1_000_000;
/** Time zones take their time: of a date that is printed, and of the next day or month. */
const ZONED_PRINT = 20;
const ZONED_STEP = 40;
/** Parts of a script that are evaluated in the time of one unit. */
const SCRIPT_PARTS = 20;

/** Prints buckets as Elasticsearch 7: chosen, ordered, with the empty ones of histograms, after pipelines. */
export class Answer {
  readonly wanted: WantedHits[] = [];
  private buckets = 0;
  private work = 0;

  private charge(work: number): void {
    if ((this.work += work) > MAX_WORK) throw tooMany();
  }

  /** @throws ApiError 400 when there is too much to answer. */
  render(nodes: readonly AggregationNode[], bucket: Bucket, steps: readonly BucketStep[], answer: Json = {}): Json {
    for (const node of nodes) {
      const { aggregation } = node;
      if (PIPELINE_KINDS.includes(aggregation.kind)) continue;
      this.charge(numbersOf(aggregation));
      if (aggregation.kind === 'top_hits') {
        const into: Json = { total: bucket.count, max_score: null, hits: [] };
        if (bucket.count > 0) this.wanted.push({ aggregation, steps: [...steps], into });
        answer[node.name] = { hits: into };
      } else answer[node.name] = isBucket(node) ? this.bucketsOf(node, bucket, steps) : renderMetric(node, bucket);
    }
    return answer;
  }

  private one(
    node: AggregationNode,
    key: Key,
    bucket: Bucket,
    steps: readonly BucketStep[],
    head: Json,
    name = '',
  ): Rendered {
    if (++this.buckets > MAX_BUCKETS) throw tooMany();
    head['doc_count'] = bucket.count;
    return {
      key,
      bucket,
      name,
      body: this.render(node.children, bucket, [...steps, { aggregation: node.aggregation, key }], head),
    };
  }

  private bucketsOf(node: AggregationNode, parent: Bucket, steps: readonly BucketStep[]): Json {
    const { aggregation } = node;
    const found = parent.children.get(node) ?? new Map<Key, Bucket>();
    const at = (key: number): Bucket => found.get(key) ?? new Bucket();
    switch (aggregation.kind) {
      case 'terms': {
        const entries = [...found].filter(([, bucket]) => bucket.count >= aggregation.minDocCount);
        this.charge(entries.length * aggregation.order.filter(({ path }) => path.aggregations.length > 0).length);
        const chosen = ordered(entries, aggregation.order, node.children).slice(0, aggregation.size);
        const all = entries.reduce((sum, [, bucket]) => sum + bucket.count, 0);
        const shown = chosen.reduce((sum, [, bucket]) => sum + bucket.count, 0);
        const print = datePrinter(aggregation);
        const rendered = chosen.map(([key, bucket]) => this.one(node, key, bucket, steps, termHead(key, print)));
        return {
          doc_count_error_upper_bound: 0,
          sum_other_doc_count: all - shown,
          buckets: this.pipelines(node, rendered).map(({ body }) => body),
        };
      }
      case 'geohash_grid': {
        const rank = gridRank(aggregation.precision);
        const entries = [...found].toSorted((a, b) => b[1].count - a[1].count || (rank(a[0]) < rank(b[0]) ? 1 : -1));
        const rendered = entries
          .slice(0, aggregation.size)
          .map(([key, bucket]) => this.one(node, key, bucket, steps, { key }));
        return { buckets: this.pipelines(node, rendered).map(({ body }) => body) };
      }
      case 'histogram':
        return this.histogram(node, aggregation, found, steps);
      case 'date_histogram':
        return this.dateHistogram(node, aggregation, found, steps);
      case 'range':
      case 'date_range':
        return this.ranges(node, aggregation, at, steps);
      case 'filter':
      case 'missing':
        return this.one(node, 0, at(0), steps, {}).body;
      case 'filters': {
        const names = aggregation.filters.map(({ key }) => key);
        if (aggregation.otherKey !== undefined) names.push(aggregation.otherKey);
        const rendered = names.map((name, i) => this.one(node, i, at(i), steps, {}, name));
        return several(aggregation.keyed, this.pipelines(node, rendered));
      }
      default:
        return {};
    }
  }

  private histogram(
    node: AggregationNode,
    aggregation: Aggregation & { kind: 'histogram' },
    found: ReadonlyMap<Key, Bucket>,
    steps: readonly BucketStep[],
  ): Json {
    const { interval, offset, extendedBounds } = aggregation;
    const bounds = extendedBounds && {
      min: Math.floor((extendedBounds.min - offset) / interval),
      max: Math.floor((extendedBounds.max - offset) / interval),
    };
    const entries = filled(found, aggregation.minDocCount, bounds, (key) => {
      this.charge(1);
      return key + 1;
    });
    const print = datePrinter(aggregation);
    const rendered = ordered(entries, aggregation.order, node.children).map(([key, bucket]) => {
      const value = Number(key) * interval + offset;
      const text = print?.(value);
      const head = { ...(text === undefined ? {} : { key_as_string: text }), key: value };
      return this.one(node, key, bucket, steps, head, text ?? javaDouble(value));
    });
    return several(aggregation.keyed, this.pipelines(node, rendered));
  }

  private dateHistogram(
    node: AggregationNode,
    aggregation: Aggregation & { kind: 'date_histogram' },
    found: ReadonlyMap<Key, Bucket>,
    steps: readonly BucketStep[],
  ): Json {
    const rounding = roundingOf(aggregation);
    const { extendedBounds } = aggregation;
    const bounds = extendedBounds && {
      min: rounding.floor(extendedBounds.min),
      max: rounding.floor(extendedBounds.max),
    };
    const print = datePrinter(aggregation)!;
    const zoned = aggregation.timeZone !== 'UTC';
    const entries = filled(found, aggregation.minDocCount, bounds, (key) => {
      this.charge(zoned && rounding.isOfCalendar ? ZONED_STEP : 1);
      return rounding.next(key);
    });
    this.charge(entries.length * (zoned ? ZONED_PRINT : 1));
    const rendered = ordered(entries, aggregation.order, node.children).map(([key, bucket]) => {
      const text = print(Number(key));
      return this.one(node, key, bucket, steps, { key_as_string: text, key }, text);
    });
    return several(aggregation.keyed, this.pipelines(node, rendered));
  }

  private ranges(
    node: AggregationNode,
    aggregation: Aggregation & { kind: 'range' | 'date_range' },
    at: (key: number) => Bucket,
    steps: readonly BucketStep[],
  ): Json {
    const print = aggregation.kind === 'date_range' ? datePrinter(aggregation) : undefined;
    const text = (value: number | undefined): string =>
      value === undefined ? '*' : print ? print(value) : javaDouble(value);
    const order = aggregation.ranges
      .map((range, i) => ({ ...range, i }))
      .toSorted(
        (a, b) =>
          compare(a.from ?? -Infinity, b.from ?? -Infinity) || compare(a.to ?? Infinity, b.to ?? Infinity) || a.i - b.i,
      );
    const rendered = order.map(({ key, from, to, i }) => {
      const name = key ?? `${text(from)}-${text(to)}`;
      const head = {
        ...(aggregation.keyed ? {} : { key: name }),
        ...(from === undefined ? {} : { from, ...(print ? { from_as_string: print(from) } : {}) }),
        ...(to === undefined ? {} : { to, ...(print ? { to_as_string: print(to) } : {}) }),
      };
      return this.one(node, i, at(i), steps, head, name);
    });
    return several(aggregation.keyed, this.pipelines(node, rendered));
  }

  /** bucket_selector and bucket_sort among the buckets of their parent, in the order they are written. */
  private pipelines({ aggregation: parent, children }: AggregationNode, buckets: Rendered[]): Rendered[] {
    // The keys of these are their names.
    const named = parent.kind === 'range' || parent.kind === 'date_range' || parent.kind === 'filters';
    let chosen = buckets;
    for (const { aggregation } of children) {
      if (aggregation.kind === 'bucket_selector') {
        const { paths, script, gaps } = aggregation;
        this.charge(chosen.length * (1 + Object.keys(paths).length + partsIn(script) / SCRIPT_PARTS));
        chosen = chosen.filter((rendered) => {
          const variables = Object.fromEntries(
            Object.entries(paths).map(([name, path]) => [
              name,
              pipelineNumber(numberAtPath(path, rendered.key, rendered.bucket, children), path, rendered.bucket, gaps),
            ]),
          );
          return evaluate(script, variables) !== 0;
        });
      } else if (aggregation.kind === 'bucket_sort') {
        const { sort, from, size, gaps } = aggregation;
        this.charge(chosen.length * (1 + sort.length));
        let decorated = chosen.map((rendered) => ({
          rendered,
          ranks: sort.map(({ path }) =>
            path.metric === '_key' && path.aggregations.length === 0
              ? named
                ? rendered.name
                : rendered.key
              : pipelineNumber(
                  numberAtPath(path, rendered.key, rendered.bucket, children),
                  path,
                  rendered.bucket,
                  gaps,
                ),
          ),
        }));
        if (gaps === 'skip' && sort.length > 0)
          decorated = decorated.filter(({ ranks }) => ranks.some((rank) => !Number.isNaN(rank)));
        if (sort.length > 0) decorated = decorated.toSorted((a, b) => compareRanks(a.ranks, b.ranks, sort));
        chosen = decorated.slice(from, size === undefined ? undefined : from + size).map(({ rendered }) => rendered);
      }
    }
    return chosen;
  }
}

/** Those of 12 characters are numbers with a sign, which the later half of the alphabet has. */
const gridRank =
  (precision: number) =>
  (key: Key): string =>
    `${precision === 12 && String(key) >= 'h' ? '' : '~'}${String(key)}`;

/** Of a metric, about. */
function numbersOf(aggregation: Aggregation): number {
  if (aggregation.kind === 'percentiles') return aggregation.percents.length;
  if (aggregation.kind === 'extended_stats') return 16;
  return Math.max(1, partsOf(aggregation.kind).length);
}

const partsIn = (script: Expression): number =>
  1 +
  (script.kind === 'unary'
    ? partsIn(script.operand)
    : script.kind === 'binary'
      ? partsIn(script.left) + partsIn(script.right)
      : 0);

const several = (keyed: boolean, rendered: readonly Rendered[]): Json => ({
  buckets: keyed
    ? Object.fromEntries(rendered.map(({ name, body }) => [name, body]))
    : rendered.map(({ body }) => body),
});

function termHead(key: Key, print?: (value: number) => string): Json {
  if (typeof key === 'boolean') return { key: Number(key), key_as_string: String(key) };
  return print ? { key, key_as_string: print(Number(key)) } : { key };
}

const compare = (a: Key, b: Key): number => (a < b ? -1 : a > b ? 1 : 0);

function ordered(
  entries: ReadonlyArray<[Key, Bucket]>,
  orders: readonly BucketOrder[],
  children: readonly AggregationNode[],
): Array<[Key, Bucket]> {
  const decorated = entries.map(([key, bucket]) => ({
    entry: [key, bucket] as [Key, Bucket],
    ranks: orders.map(({ path }) => (path.metric === '_key' ? key : numberAtPath(path, key, bucket, children))),
  }));
  return decorated.toSorted((a, b) => compareRanks(a.ranks, b.ranks, orders)).map(({ entry }) => entry);
}

function compareRanks(a: readonly Key[], b: readonly Key[], orders: readonly BucketOrder[]): number {
  for (const [i, { descending }] of orders.entries()) {
    // What has no number comes last, whatever the direction.
    const [noA, noB] = [Number.isNaN(a[i]), Number.isNaN(b[i])];
    if (noA !== noB) return noA ? 1 : -1;
    const order = noA ? 0 : compare(a[i]!, b[i]!);
    if (order !== 0) return descending ? -order : order;
  }
  return 0;
}

/** In the order of keys; with min_doc_count 0, the empty ones too. */
function filled(
  found: ReadonlyMap<Key, Bucket>,
  minDocCount: number,
  bounds: { min: number; max: number } | undefined,
  next: (key: number) => number,
): Array<[Key, Bucket]> {
  const entries = [...found].toSorted((a, b) => Number(a[0]) - Number(b[0]));
  // Beyond 2^53 the next key is the same one: then there is none between.
  const following = (key: number): number => {
    const after = next(key);
    return after > key ? after : Infinity;
  };
  if (minDocCount > 0) return entries.filter(([, bucket]) => bucket.count >= minDocCount);
  const keys = entries.map(([key]) => Number(key));
  const first = Math.min(keys[0] ?? Infinity, bounds?.min ?? Infinity);
  const last = Math.max(keys.at(-1) ?? -Infinity, bounds?.max ?? -Infinity);
  const result: Array<[Key, Bucket]> = [];
  let index = 0;
  for (let key = first; key <= last;) {
    if (result.length >= MAX_BUCKETS) throw tooMany();
    const entry = entries[index];
    if (entry && Number(entry[0]) <= key) {
      result.push(entry);
      index++;
      // From the key itself: what rounding gave is where the next one is counted from.
      key = following(Number(entry[0]));
    } else {
      result.push([key, new Bucket()]);
      key = following(key);
    }
    const upcoming = entries[index];
    // Never past a bucket that has documents, whatever the clocks do.
    if (upcoming && key > Number(upcoming[0])) key = Number(upcoming[0]);
  }
  return result;
}

function pipelineNumber(value: number, path: BucketPath, bucket: Bucket, gaps: 'skip' | 'insert_zeros'): number {
  const ownCount = path.metric === '_count' && path.aggregations.length === 0;
  const gap = !Number.isFinite(value) || (bucket.count === 0 && !ownCount);
  if (!gap) return value;
  return gaps === 'insert_zeros' ? 0 : Number.NaN;
}
