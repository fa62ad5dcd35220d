import { FORMATS, formattedDate, someDate, someField, someQuery, someValue, ZONES } from './search-queries.mjs';

/** @typedef {import('./random.mjs').Random} Random */
/** @typedef {import('./search-queries.mjs').Context} Context */
/** @typedef {Record<string, unknown>} Json */

const NAMES = ['a', 'b', 'c', 'd', 'x y', 'é', 'value', '_count', 'a0', 'key', 'doc_count', 'buckets', '0'];
const METRICS = ['avg', 'min', 'max', 'sum', 'value_count', 'cardinality', 'stats', 'extended_stats', 'percentiles'];
const INTERVALS = [1, 2, 0.5, 10, 7, 0.1, 100];
const CALENDAR = ['minute', 'hour', 'day', 'week', 'month', 'quarter', 'year', '1h', '1d', '1w', '1M', '1q', '1y'];
const FIXED = ['1h', '90m', '12h', '1d', '7d', '30d', '5h', '3600s', '1000d'];
const OFFSETS = ['+6h', '-1d', '+90m', '-3h', '1d', '+36h', '-10d', '500ms'];

/**
 * @param {Context} context
 * @returns {[string, Json]} its kind and itself
 */
function metric(context) {
  const { random } = context;
  const kind = random.pick(METRICS);
  const counts = kind === 'value_count' || kind === 'cardinality';
  const field = counts
    ? someField(context, 'number', 'string', 'date', 'boolean')
    : someField(context, 'number', 'number', 'number', 'date', 'boolean');
  /** @type {Json} */
  const clause = { field: field.name };
  if (random.chance(0.2) && field.type !== 'date')
    clause['missing'] = counts ? someValue(random, field) : random.pick([0, -1, 2.5, '3']);
  if (kind === 'extended_stats' && random.chance(0.3)) clause['sigma'] = random.pick([0, 1, 3, 2.5]);
  if (kind === 'percentiles') {
    if (random.chance(0.4)) clause['percents'] = random.pick([[50], [0, 100], [95, 5, 33.3], [99.9]]);
    if (random.chance(0.3)) clause['keyed'] = random.chance(0.5);
  }
  if (field.type === 'date' && ['avg', 'min', 'max'].includes(kind) && random.chance(0.3))
    clause['format'] = random.pick(FORMATS);
  return [kind, clause];
}

/** A number below a bucket. @param {Random} random @param {string} name @param {string} kind */
function pathOf(random, name, kind) {
  if (kind === 'stats') return `${name}.${random.pick(['count', 'min', 'max', 'avg', 'sum'])}`;
  if (kind === 'extended_stats')
    return `${name}.${random.pick(['count', 'avg', 'sum_of_squares', 'variance', 'std_deviation', 'variance_sampling'])}`;
  return random.chance(0.2) ? `${name}.value` : name;
}

/** @param {Context} context @param {readonly string[]} paths */
function orderOf({ random }, paths) {
  const one = () => ({
    [random.chance(0.5) && paths.length > 0 ? random.pick(paths) : random.pick(['_count', '_key'])]: random.pick([
      'asc',
      'desc',
    ]),
  });
  return random.chance(0.7) ? one() : [one(), one()];
}

/** @param {Context} context @returns {Json} */
function histogram(context) {
  const { random } = context;
  const field = someField(context, 'number', 'number', 'number', 'date');
  const date = field.type === 'date';
  /** @type {Json} */
  const clause = {
    field: field.name,
    interval: date ? random.pick([3_600_000, 86_400_000 * 30]) : random.pick(INTERVALS),
  };
  if (random.chance(0.3)) clause['offset'] = random.pick([0.5, 3, -1, 25, 0.05]);
  if (random.chance(0.3) && !date) clause['missing'] = random.pick([0, 7, -2.5]);
  if (random.chance(0.2) && !date)
    clause['extended_bounds'] = random.pick([
      { min: -5, max: 15 },
      { min: 0, max: 0.5 },
      { min: 2, max: 3 },
    ]);
  return clause;
}

/** @param {Context} context @returns {Json} */
function dateHistogram(context) {
  const { random } = context;
  /** @type {Json} */
  const clause = { field: random.pick(['timestamp', 'timestamp', 'created']) };
  if (random.chance(0.6)) clause[random.chance(0.7) ? 'calendar_interval' : 'interval'] = random.pick(CALENDAR);
  else clause[random.chance(0.7) ? 'fixed_interval' : 'interval'] = random.pick(FIXED);
  if (random.chance(0.6)) clause['time_zone'] = random.pick(ZONES);
  if (random.chance(0.25)) clause['offset'] = random.pick(OFFSETS);
  if (random.chance(0.2)) clause['format'] = random.pick(FORMATS);
  if (random.chance(0.15)) {
    const format = /** @type {string | undefined} */ (clause['format']);
    const [a, b] = [0, 0].map(() => (format === undefined ? someDate(random, false) : formattedDate(random, format)));
    clause['extended_bounds'] = { min: a, max: b };
  }
  return clause;
}

/** @param {Context} context @param {boolean} dates @returns {Json} */
function ranges(context, dates) {
  const { random } = context;
  const field = dates ? someField(context, 'date') : someField(context, 'number');
  const format = dates && random.chance(0.3) ? random.pick(FORMATS) : undefined;
  const bound = () =>
    format !== undefined
      ? formattedDate(random, format)
      : dates
        ? // Not now: each engine has its own.
          someDate(random, false)
        : random.pick([Number(random.pick(field.values)) || 0, random.integer(10), -1.5]);
  /** @type {Json} */
  const clause = {
    field: field.name,
    ranges: Array.from({ length: 1 + random.integer(4) }, () => ({
      ...(random.chance(0.8) ? { from: bound() } : {}),
      ...(random.chance(0.7) ? { to: bound() } : {}),
      ...(random.chance(0.2) ? { key: random.pick(['k', 'é', 'k2']) } : {}),
    })),
  };
  if (format !== undefined) clause['format'] = format;
  if (dates && random.chance(0.4)) clause['time_zone'] = random.pick(ZONES);
  if (random.chance(0.2)) clause['keyed'] = true;
  return clause;
}

/** @param {Context} context @returns {Json} */
function terms(context) {
  const { random } = context;
  const field = someField(context, 'string', 'string', 'number', 'boolean', 'date');
  /** @type {Json} */
  const clause = { field: field.name };
  if (random.chance(0.3)) clause['size'] = random.pick([1, 2, 3, 100]);
  if (random.chance(0.2)) clause['min_doc_count'] = random.pick([1, 2, 5]);
  if (random.chance(0.2) && field.type !== 'date') clause['missing'] = someValue(random, field);
  for (const key of ['include', 'exclude'])
    if (random.chance(0.12) && field.type !== 'date')
      clause[key] = Array.from({ length: 1 + random.integer(4) }, () => someValue(random, field));
  return clause;
}

/** @param {Context} context @returns {Json} */
function filters(context) {
  const { random } = context;
  const queries = Array.from({ length: 1 + random.integer(3) }, () => someQuery(context, 2));
  const list = random.chance(0.5)
    ? queries
    : Object.fromEntries(queries.map((query, i) => [['f', 'a', 'é'][i], query]));
  return {
    filters: list,
    ...(random.chance(0.3) ? { other_bucket: true } : {}),
    ...(random.chance(0.2) ? { other_bucket_key: 'rest' } : {}),
  };
}

/** @param {Context} context @param {readonly string[]} paths @returns {Json} a pipeline among buckets */
function pipeline({ random }, paths) {
  if (random.chance(0.5)) {
    const path = random.chance(0.7) && paths.length > 0 ? random.pick(paths) : '_count';
    const operator = random.pick(['>', '<', '>=', '<=', '==', '!=']);
    const source = random.pick([
      `params.v ${operator} ${random.integer(5)}`,
      `params.v * 2 - 1 ${operator} 3 && params.v > 0`,
      `!(params.v ${operator} 1.5) || params.v % 2 == 0`,
      `-params.v / 3 ${operator} -1`,
    ]);
    return {
      bucket_selector: {
        buckets_path: { v: path },
        script: { source, lang: 'painless' },
        ...(random.chance(0.3) ? { gap_policy: random.pick(['skip', 'insert_zeros']) } : {}),
      },
    };
  }
  const sort = Array.from({ length: random.integer(3) }, () => ({
    [random.chance(0.6) && paths.length > 0 ? random.pick(paths) : random.pick(['_count', '_key'])]: {
      order: random.pick(['asc', 'desc']),
    },
  }));
  return {
    bucket_sort: {
      sort,
      ...(random.chance(0.4) || sort.length === 0 ? { size: 1 + random.integer(4) } : {}),
      ...(random.chance(0.2) ? { from: random.integer(3) } : {}),
      ...(random.chance(0.2) ? { gap_policy: 'insert_zeros' } : {}),
    },
  };
}

/** @param {Context} context @param {number} depth @returns {Json} */
function topHits(context, depth) {
  const { random } = context;
  return {
    top_hits: {
      size: 1 + random.integer(3),
      ...(random.chance(0.2) ? { from: random.integer(3) } : {}),
      ...(random.chance(0.6) ? { sort: someSort(context) } : {}),
      _source: depth > 1 ? ['id'] : { includes: ['id', 'timestamp'] },
    },
  };
}

/** @param {Context} context @returns {unknown} */
export function someSort(context) {
  const { random } = context;
  const one = () => {
    const { name } = random.chance(0.3)
      ? { name: random.pick(['timestamp', 'id', 'streamId', 'created']) }
      : someField(context, 'number', 'string', 'boolean', 'date');
    if (random.chance(0.2)) return random.chance(0.5) ? name : { [name]: random.pick(['asc', 'desc']) };
    return {
      [name]: {
        order: random.pick(['asc', 'desc']),
        ...(random.chance(0.4) ? { missing: random.pick(['_first', '_last']) } : {}),
        ...(random.chance(0.4) ? { mode: random.pick(['min', 'max']) } : {}),
        unmapped_type: 'double',
      },
    };
  };
  return random.chance(0.6) ? one() : Array.from({ length: 1 + random.integer(3) }, one);
}

const BUCKETS = [
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

/** @param {Context} context @param {number} [depth] @returns {Json} */
export function someAggregations(context, depth = 0) {
  const { random, fields } = context;
  /** @type {Json} */
  const result = {};
  const names = [...NAMES];
  for (let i = 1 + random.integer(depth === 0 ? 2 : 3); i > 0; i--) {
    const [name] = /** @type {[string]} */ (names.splice(random.integer(names.length), 1));
    if (random.chance(depth === 0 ? 0.25 : 0.5)) {
      const points = fields.filter(({ type }) => type === 'geo');
      if (random.chance(0.15) && points.length > 0)
        result[name] = { [random.pick(['geo_bounds', 'geo_centroid'])]: { field: random.pick(points).name } };
      else if (random.chance(0.1)) result[name] = topHits(context, depth);
      else result[name] = Object.fromEntries([metric(context)]);
      continue;
    }
    result[name] = bucketAggregation(context, depth);
  }
  return result;
}

/** @param {Context} context @param {number} depth @returns {Json} */
function bucketAggregation(context, depth) {
  const { random, fields } = context;
  const kind = random.pick(BUCKETS);
  const points = fields.filter(({ type }) => type === 'geo');
  /** @type {Json} */
  const clause =
    kind === 'terms'
      ? terms(context)
      : kind === 'histogram'
        ? histogram(context)
        : kind === 'date_histogram'
          ? dateHistogram(context)
          : kind === 'range' || kind === 'date_range'
            ? ranges(context, kind === 'date_range')
            : kind === 'filter'
              ? someQuery(context, 1)
              : kind === 'filters'
                ? filters(context)
                : kind === 'missing'
                  ? { field: someField(context).name }
                  : {
                      field: points.length === 0 ? 'location.@geopoint' : random.pick(points).name,
                      precision: 1 + random.integer(12),
                      ...(random.chance(0.3) ? { size: 1 + random.integer(4) } : {}),
                    };
  const children = depth < 2 && random.chance(0.6) ? someAggregations(context, depth + 1) : {};
  /** @type {string[]} */
  const paths = [];
  const [inner, of] = metric(context);
  // Those are estimates: what is near may be in another order.
  if (inner !== 'percentiles' && random.chance(0.6)) {
    const name = random.pick(['p', 'q']);
    if (random.chance(0.2)) {
      children['w'] = { filter: someQuery(context, 2), aggs: { [name]: { [inner]: of } } };
      paths.push(`w>${pathOf(random, name, inner)}`, 'w>_count');
    } else {
      children[name] = { [inner]: of };
      paths.push(pathOf(random, name, inner));
    }
  }
  const many = kind !== 'filter' && kind !== 'missing';
  if (many && random.chance(0.25)) children['z'] = pipeline(context, paths);
  if (['terms', 'histogram', 'date_histogram'].includes(kind)) {
    if (random.chance(0.4)) clause['order'] = orderOf(context, paths);
    if (kind !== 'terms') {
      if (random.chance(0.4)) clause['min_doc_count'] = random.pick([0, 1, 2]);
      if (random.chance(0.2)) clause['keyed'] = random.chance(0.7);
    }
  }
  return {
    [kind]: clause,
    ...(Object.keys(children).length > 0 ? { [random.pick(['aggs', 'aggregations'])]: children } : {}),
  };
}
