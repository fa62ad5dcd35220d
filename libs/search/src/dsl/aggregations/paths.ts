import { at, listOf, onlyMember, refuse, textAt, wordAt } from '../clause.js';
import { type Aggregation, type AggregationNode, type BucketOrder, type BucketPath } from '../tree.js';

export const COUNT: BucketPath = { aggregations: [], metric: '_count' };
export const KEY: BucketPath = { aggregations: [], metric: '_key' };

/** `{ path: "desc" }` or several of these; the key decides at last. */
export function orderOf(path: string, value: unknown, absent: BucketOrder[]): BucketOrder[] {
  const orders =
    value === undefined
      ? [...absent]
      : listOf(value).map((each, i) => oneOrder(Array.isArray(value) ? at(path, i) : path, each));
  if (orders.length > 10) throw refuse(path, 'at most 10 orders');
  if (!orders.some((order) => order.path.metric === '_key')) orders.push({ path: KEY, descending: false });
  return orders;
}

function oneOrder(path: string, value: unknown): BucketOrder {
  const [name, direction] = onlyMember(path, value, 'what to order by');
  // Names of older versions: _term and _time are the key.
  const key = name === '_term' || name === '_time' ? '_key' : name;
  return {
    path: pathAt(at(path, name), key),
    descending: wordAt(at(path, name), direction, ['asc', 'desc']) === 'desc',
  };
}

/** `_count`, `_key`, `a`, `a.metric`, `filter>a.metric`, `a[95.0]`. */
export function pathAt(path: string, value: unknown): BucketPath {
  const text = textAt(path, value, 500);
  if (text === '_count' || text === '_key') return { aggregations: [], metric: text };
  const steps = text.split('>').map((step) => step.trim());
  const last = steps.pop()!;
  if (last === '_count') return { aggregations: steps, metric: '_count' };
  const parts = /^(?<name>[^[\]]+?)(?:\[(?<key>[^\]]+)\]|\.(?<metric>[^.[\]]+(?:\.\d+)?))?$/.exec(last)?.groups;
  if (!parts || steps.includes('')) throw refuse(path, 'the path of a metric, as average, stats.max or filter>average');
  return { aggregations: [...steps, parts['name']!], metric: parts['key'] ?? parts['metric'] ?? 'value' };
}

const METRICS: Readonly<Record<string, readonly string[]>> = {
  stats: ['count', 'min', 'max', 'avg', 'sum'],
  extended_stats: [
    'count',
    'min',
    'max',
    'avg',
    'sum',
    'sum_of_squares',
    'variance',
    'variance_population',
    'variance_sampling',
    'std_deviation',
    'std_deviation_population',
    'std_deviation_sampling',
  ],
};
const ONE_NUMBER: readonly string[] = ['avg', 'min', 'max', 'sum', 'value_count', 'cardinality'];

const isKey = ({ metric, aggregations }: BucketPath): boolean => metric === '_key' && aggregations.length === 0;

/** Orders and pipelines name what exists beside them: else the answer would be silently unordered. */
export function checkPaths(
  path: string,
  aggregation: Aggregation,
  siblings: readonly AggregationNode[],
  parent: Aggregation,
): void {
  const paths: BucketPath[] = [];
  const own = aggregation.kind;
  if (own === 'bucket_selector') {
    paths.push(...Object.values(aggregation.paths));
    const numbers = (parent.kind === 'terms' || parent.kind === 'histogram') && parent.field.type === 'number';
    if (!numbers && paths.some(isKey))
      throw refuse(path, `the path of a number instead of _key, as the keys of this ${parent.kind} are none`);
  } else if (own === 'bucket_sort') {
    paths.push(...aggregation.sort.map((sort) => sort.path));
    if (parent.kind === 'geohash_grid' && paths.some(isKey))
      throw refuse(path, 'the path of a number instead of _key, as the keys of a geohash_grid have no order');
  } else return;
  for (const each of paths) checkPath(path, each, siblings);
}

function checkPath(path: string, wanted: BucketPath, children: readonly AggregationNode[]): void {
  let among = children;
  const names = [...wanted.aggregations];
  const shown = [...names].join('>');
  let target: AggregationNode | undefined;
  while (names.length > 0) {
    const name = names.shift()!;
    target = among.find((child) => child.name === name);
    if (!target) throw refuse(path, `the path of an aggregation that is there instead of ${shown}`);
    if (names.length > 0 && target.aggregation.kind !== 'filter' && target.aggregation.kind !== 'missing')
      throw refuse(path, `a path through aggregations of one bucket instead of ${shown}`);
    among = target.children;
  }
  if (!target || wanted.metric === '_count') return;
  const { kind } = target.aggregation;
  const valid =
    kind === 'percentiles'
      ? target.aggregation.percents.includes(Number(wanted.metric))
      : ONE_NUMBER.includes(kind)
        ? wanted.metric === 'value'
        : (METRICS[kind]?.includes(wanted.metric) ?? false);
  if (!valid)
    throw refuse(
      path,
      `the path of a number instead of ${shown}${wanted.metric === 'value' ? '' : `.${wanted.metric}`}`,
    );
}

/** Of orders, when the children are known. */
export function checkOrders(path: string, nodes: readonly AggregationNode[]): void {
  for (const { name, aggregation, children } of nodes) {
    const where = at(path, name);
    if ('order' in aggregation)
      for (const order of aggregation.order) checkPath(at(at(where, aggregation.kind), 'order'), order.path, children);
    checkOrders(at(where, 'aggs'), children);
  }
}
