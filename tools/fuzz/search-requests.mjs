import { someAggregations, someSort } from './search-aggregations.mjs';
import { someQuery } from './search-queries.mjs';

/** @typedef {import('./random.mjs').Random} Random */
/** @typedef {import('./search-queries.mjs').Context} Context */
/** @typedef {Record<string, unknown>} Json */

/** @param {Context} context */
function someSource({ random, fields }) {
  const pattern = () => {
    const name = random
      .pick(fields)
      .name.replace(/^@[^.]*\./, '')
      .replace('.@geopoint', '');
    return random.pick([
      name,
      name.slice(0, 3) + '*',
      `*.${name.split('.').at(-1)}`,
      '*',
      'id',
      'metadata',
      'metadata.*',
      'value.*.a',
      '*a',
      'location.lat',
    ]);
  };
  const several = () => Array.from({ length: 1 + random.integer(3) }, pattern);
  return random.pick([
    () => pattern(),
    () => several(),
    () => ({ includes: several() }),
    () => ({ excludes: several() }),
    () => ({ includes: several(), excludes: several() }),
    () => false,
  ])();
}

/** The body of a search that is mostly allowed. @param {Context} context @returns {Json} */
export function someBody(context) {
  const { random } = context;
  /** @type {Json} */
  const body = {};
  if (random.chance(0.75)) body['query'] = someQuery(context);
  const aggregations = random.chance(0.55);
  if (aggregations) body[random.chance(0.8) ? 'aggs' : 'aggregations'] = someAggregations(context);
  body['size'] = aggregations && random.chance(0.7) ? 0 : random.pick([0, 1, 3, 10, 1000]);
  if (random.chance(0.15)) body['from'] = random.integer(8);
  if (random.chance(0.5)) body['sort'] = someSort(context);
  if (random.chance(0.2)) body['_source'] = someSource(context);
  if (random.chance(0.6)) body['track_total_hits'] = random.pick([true, true, true, 3, 1000]);
  return body;
}

const JUNK = [
  null,
  true,
  false,
  0,
  -1,
  1,
  1e6,
  1e15,
  2 ** 53,
  1e308,
  -1e308,
  5e-324,
  0.1,
  '',
  ' ',
  '*',
  '?',
  '**********************',
  'a*'.repeat(30),
  '?'.repeat(900),
  '\\',
  '(((((((',
  '/.*/',
  'a~2',
  'a^2',
  '[* TO',
  '"',
  'now',
  'now/y+1000000000y',
  '2026-02-30',
  '99999-01-01',
  '-0001-01-01',
  '1e400',
  'NaN',
  'Infinity',
  '\0',
  '\uD800',
  '😀',
  '_tenant',
  'tenant',
  '_index',
  '_id',
  '_source',
  'timestamp',
  'location.@geopoint',
  'nosuch',
  '__proto__',
  'constructor',
  'x'.repeat(10_000),
  [],
  {},
  [[]],
  [null],
  [1, 'a', null],
  { a: 1 },
  { match_all: {} },
  { term: { tenant: 'x' } },
  { script: { source: '1' } },
  { query: { match_all: {} } },
];
const KEYS = [
  ...'query aggs aggregations size from sort search_after _source track_total_hits script runtime_mappings min_score'.split(
    ' ',
  ),
  ...'bool must should filter must_not term terms match range exists prefix wildcard regexp fuzzy query_string'.split(
    ' ',
  ),
  ...'ids values gt gte lt lte format time_zone boost _name field missing order interval offset min_doc_count keyed'.split(
    ' ',
  ),
  ...'extended_bounds hard_bounds global nested indices include exclude size from script_fields buckets_path gap_policy'.split(
    ' ',
  ),
  ...'precision sigma percents filters other_bucket other_bucket_key __proto__ constructor distance unit points top_left'.split(
    ' ',
  ),
  '',
  'x',
];

/** @typedef {{ holder: Json | unknown[], key: string | number }} Place */

/** @param {unknown} value @param {Place[]} [places] @returns {Place[]} all members of all objects and arrays */
function placesOf(value, places = []) {
  if (typeof value !== 'object' || value === null) return places;
  const holder = /** @type {Json} */ (value);
  for (const key of Object.keys(holder)) {
    places.push({ holder, key });
    placesOf(holder[key], places);
  }
  return places;
}

/** @param {Place} place @param {unknown} value */
const put = ({ holder, key }, value) =>
  Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true });

/** A body in which something is not as it should be. @param {Context} context @param {Json} body @returns {unknown} */
export function spoiled({ random }, body) {
  if (random.chance(0.01)) return random.pick(JUNK);
  /** @type {unknown} */
  const copy = JSON.parse(JSON.stringify(body));
  for (let i = 1 + random.integer(3); i > 0; i--) {
    const places = placesOf(copy);
    if (places.length === 0) return copy;
    const place = random.pick(places);
    const holder = /** @type {Json} */ (place.holder);
    const value = holder[place.key];
    switch (random.integer(9)) {
      case 0:
        delete holder[place.key];
        break;
      case 1: {
        // Another name for the same.
        delete holder[place.key];
        put({ holder, key: random.pick(KEYS) }, value);
        break;
      }
      case 2:
        if (!Array.isArray(holder)) put({ holder, key: random.pick(KEYS) }, random.pick(JUNK));
        break;
      case 3:
        put(place, JSON.parse(JSON.stringify(/** @type {Json} */ (random.pick(places).holder))));
        break;
      case 4: {
        let inner = value;
        const levels = random.pick([1, 2, 30, 60, 250]);
        for (let level = 0; level < levels; level++) inner = random.chance(0.5) ? [inner] : { bool: { must: inner } };
        put(place, inner);
        break;
      }
      case 5:
        put(
          place,
          Array.from({ length: random.pick([2, 30, 1100]) }, () => value),
        );
        break;
      default:
        put(place, random.pick(JUNK));
    }
  }
  return copy;
}
