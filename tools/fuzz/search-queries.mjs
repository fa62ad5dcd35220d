import ngeohash from 'ngeohash';
import { someTime } from './search-data.mjs';

/** @typedef {import('./random.mjs').Random} Random */
/** @typedef {import('./search-data.mjs').KnownField} KnownField */
/** @typedef {Record<string, unknown>} Json */

/**
 * @typedef {object} Context
 * @property {Random} random
 * @property {readonly KnownField[]} fields
 * @property {readonly string[]} ids
 */

/** Around names that mean the words of a string: the plain Elasticsearch has them in a field of their own. */
export const WORDS_FROM = '\uE000';
export const WORDS_TO = '\uE001';
/** In a query that the plain Elasticsearch reads otherwise, as over all fields. */
export const UNREFERRED = '\uE002';
const UNKNOWN = ['nosuch', '@m.value.nosuch', '@nosuch.value.a', 'extra.nosuch', '__proto__', 'tenant', 's0', 'words'];
export const ZONES = [
  'Europe/Paris',
  'America/New_York',
  'UTC',
  '+02:00',
  '-05:30',
  'Z',
  'Asia/Kolkata',
  'Australia/Lord_Howe',
];

/** @param {string} name @param {string} type */
export const asWords = (name, type) => (type === 'string' ? `${WORDS_FROM}${name}${WORDS_TO}` : name);

/** @param {Context} context @param {...string} types @returns {KnownField} one of a type, sometimes one that is none */
export function someField({ random, fields }, ...types) {
  if (random.chance(0.04)) return { name: random.pick(UNKNOWN), type: '', values: [1, 'x'] };
  const fitting = types.length === 0 ? fields : fields.filter(({ type }) => types.includes(type));
  return fitting.length === 0 || random.chance(0.01) ? random.pick(fields) : random.pick(fitting);
}

/** @param {Random} random @param {number} milliseconds */
function writtenDate(random, milliseconds) {
  const iso = new Date(milliseconds).toISOString();
  return random.pick([
    iso,
    iso.slice(0, 10),
    iso.slice(0, 7),
    iso.slice(0, 4),
    iso.slice(0, 16),
    iso.slice(0, 19),
    `${iso.slice(0, 19)}Z`,
    `${iso.slice(0, 19)}+02:00`,
    `${iso.slice(0, 19)}-0530`,
    `${iso.slice(0, 19)}.5Z`,
    `${iso.slice(0, 13)}Z`,
    String(milliseconds),
    milliseconds,
  ]);
}

/** @param {Random} random */
export function someMath(random) {
  let text = '';
  for (let i = random.integer(4); i > 0; i--)
    text += random.chance(0.4)
      ? `/${random.pick([...'yMwdhHms'])}`
      : `${random.pick(['+', '-'])}${random.integer(random.chance(0.5) ? 3 : 50)}${random.pick([...'yMwdhHms'])}`;
  return text;
}

/** A date of a query. @param {Random} random @param {boolean} [math] */
export function someDate(random, math = true) {
  if (math && random.chance(0.1)) return `now${random.pick(['', '-8M', '-300d', '-1y', '/y', '-3M/M', '+1y/d'])}`;
  const date = writtenDate(random, someTime(random));
  return math && random.chance(0.3) ? `${date}||${someMath(random)}` : date;
}

export const FORMATS = [
  'yyyy-MM-dd',
  'dd/MM/yyyy',
  'epoch_second',
  'epoch_millis',
  'yyyy',
  'yyyy-MM',
  "yyyy-MM-dd'T'HH:mm",
  'yyyy-MM-dd HH:mm:ss',
  'yyyy-MM-dd||epoch_millis',
  'strict_date_optional_time',
  'date_time',
  'basic_date',
  'HH:mm',
];

/** A date as a format has it. @param {Random} random @param {string} format */
export function formattedDate(random, format) {
  const time = someTime(random);
  const iso = new Date(time).toISOString();
  const [date = '', clock = ''] = iso.split('T');
  const [year = '', month = '', day = ''] = date.split('-');
  switch (format.split('||')[0]) {
    case 'dd/MM/yyyy':
      return `${day}/${month}/${year}`;
    case 'epoch_second':
      return random.chance(0.5) ? Math.floor(time / 1000) : String(Math.floor(time / 1000));
    case 'epoch_millis':
      return random.chance(0.5) ? time : String(time);
    case 'yyyy':
      return random.chance(0.5) ? year : Number(year);
    case 'yyyy-MM':
      return `${year}-${month}`;
    case "yyyy-MM-dd'T'HH:mm":
      return `${date}T${clock.slice(0, 5)}`;
    case 'yyyy-MM-dd HH:mm:ss':
      return `${date} ${clock.slice(0, 8)}`;
    case 'strict_date_optional_time':
    case 'date_time':
      return iso;
    case 'basic_date':
      return `${year}${month}${day}`;
    case 'HH:mm':
      return clock.slice(0, 5);
    default:
      return date;
  }
}

/** A value to compare with. @param {Random} random @param {KnownField} field @returns {unknown} */
export function someValue(random, { type, values }) {
  const value = random.pick(values);
  if (type === 'number' && typeof value === 'number')
    return random.pick([value, value, value, String(value), value + 1, -value, value / 2, random.integer(10), 1.5]);
  if (type === 'boolean') return random.pick([true, false, 'true', 'false']);
  if (type === 'date') return someDate(random);
  if (type === 'string' && typeof value === 'string' && random.chance(0.15))
    return random.pick([value.toUpperCase(), value.slice(0, 1), `${value}x`, '', 12, true]);
  return value;
}

/** @param {Context} context */
function range(context) {
  const { random } = context;
  const field = someField(context, 'number', 'number', 'string', 'date', 'date');
  /** @type {Json} */
  const clause = {};
  const format = field.type === 'date' && random.chance(0.3) ? random.pick(FORMATS) : undefined;
  for (const key of [random.pick(['gt', 'gte']), random.pick(['lt', 'lte'])])
    if (random.chance(0.8))
      clause[key] =
        format === undefined
          ? someValue(random, field)
          : `${formattedDate(random, format)}${random.chance(0.2) ? `||${someMath(random)}` : ''}`;
  if (format !== undefined) clause['format'] = format;
  if (field.type === 'date' && random.chance(0.4)) clause['time_zone'] = random.pick(ZONES);
  return { range: { [field.name]: clause } };
}

/** @param {string} text */
const escaped = (text) => text.replace(/[\\+\-=&|><!(){}[\]^"~*?:/ ]/g, '\\$&');

/** One thing that a query_string asks for. @param {Context} context @param {boolean} bare @returns {string} */
function luceneTerm(context, bare) {
  const { random } = context;
  const field = someField(context, 'string', 'string', 'number', 'boolean', 'date');
  /** @param {boolean} words */
  const name = (words) => `${words ? asWords(escaped(field.name), field.type) : escaped(field.name)}:`;
  const value = String(random.pick(field.values));
  const kind = random.integer(12);
  if (kind === 0) return `_exists_:${escaped(field.name)}`;
  if (kind === 1 && field.type !== 'boolean')
    return `${name(false)}${random.pick(['[', '{'])}${escaped(value) || '*'} TO ${random.pick(['*', escaped(String(random.pick(field.values))) || '*'])}${random.pick([']', '}'])}`;
  if (kind === 2 && field.type !== 'boolean')
    return `${name(false)}${random.pick(['>', '>=', '<', '<='])}${escaped(value) || 'a'}`;
  if (kind === 3 && field.type === 'string')
    return `${name(false)}${escaped(value.slice(0, 2))}${random.pick(['*', '?', '*x', '?*'])}`;
  const text = value.split(/[^\p{L}\p{N}.:_-]+/u).filter(Boolean);
  const word = escaped(random.pick(text.length > 0 ? text : ['fox'])) || 'fox';
  if (field.type === 'string' && kind <= 6) {
    const phrase = text.slice(0, 3).join(' ').replaceAll(/[\\"]/g, '');
    return `${bare ? '' : name(true)}"${phrase || 'the quick'}"`;
  }
  if (bare) return word;
  return kind === 7 && field.type === 'string'
    ? `${name(true)}(${word} OR fox)`
    : `${name(true)}${field.type === 'string' ? word : escaped(value)}`;
}

/** @param {Context} context */
function queryString(context) {
  const { random } = context;
  const bare = random.chance(0.4);
  /** @param {number} depth @returns {string} */
  const clauses = (depth) => {
    let text = '';
    for (let i = 1 + random.integer(3); i > 0; i--) {
      const inner =
        depth < 2 && random.chance(0.2) ? `(${clauses(depth + 1)})` : luceneTerm(context, bare && random.chance(0.7));
      const sign = random.chance(0.2) ? random.pick(['+', '-', 'NOT ', '!']) : '';
      text += `${text === '' ? '' : random.pick([' ', ' AND ', ' OR ', ' && ', ' || '])}${sign}${inner}`;
    }
    return text;
  };
  const query = clauses(0);
  /** @type {Json} */
  const clause = { query };
  if (bare) {
    const field = someField(context, 'string');
    if (random.chance(0.5)) clause['default_field'] = asWords(field.name, field.type);
    else if (random.chance(0.7)) {
      const other = someField(context, 'string');
      clause['fields'] = [asWords(field.name, field.type), asWords(other.name, other.type)];
    } else clause['query'] = `${query}${UNREFERRED}`;
  }
  if (random.chance(0.3)) clause['default_operator'] = random.pick(['and', 'OR', 'AND']);
  return { query_string: clause };
}

/** @param {Random} random @param {KnownField} field */
function placeNear(random, { values }) {
  const { lat, lon } = /** @type {{ lat: number, lon: number }} */ (
    typeof values[0] === 'object' ? random.pick(values) : { lat: 0, lon: 0 }
  );
  // Never quite where a point is: Elasticsearch keeps them on a grid of a centimetre.
  const shift = () => (random.integer(random.chance(0.5) ? 40 : 4000) - 20) / 100 + 0.003;
  /** @param {number} value @param {number} most */
  const within = (value, most) => Math.max(-most, Math.min(most, value));
  return { lat: within(lat + shift(), 89.997), lon: within(lon + shift(), 179.997) };
}

/** @param {Context} context */
function geo(context) {
  const { random, fields } = context;
  const points = fields.filter(({ type }) => type === 'geo');
  const field = points.length === 0 ? { name: 'location.@geopoint', type: 'geo', values: [] } : random.pick(points);
  const name = random.chance(0.1) ? field.name.replace('.@geopoint', '@geopoint') : field.name;
  const here = placeNear(random, field);
  const there = placeNear(random, field);
  /** @param {{ lat: number, lon: number }} point */
  const written = ({ lat, lon }) =>
    random.pick([
      { lat, lon },
      [lon, lat],
      `${lat}, ${lon}`,
      `${lat.toFixed(3)},${lon.toFixed(3)}`,
      ngeohash.encode(lat, lon, 5),
    ]);
  if (random.chance(0.35))
    return {
      geo_distance: {
        distance: random.pick(['10km', '100km', '1500km', '12000km', '500m', '55.5mi', 250_000, '1000nmi', '30000yd']),
        [name]: written(here),
      },
    };
  if (random.chance(0.3)) {
    const points_ = Array.from({ length: 3 + random.integer(4) }, () => written(placeNear(random, field)));
    return { geo_polygon: { [name]: { points: points_ } } };
  }
  const [top, bottom] = [Math.max(here.lat, there.lat), Math.min(here.lat, there.lat)];
  const [left, right] = random.chance(0.7)
    ? [Math.min(here.lon, there.lon), Math.max(here.lon, there.lon)]
    : [here.lon, there.lon];
  return {
    geo_bounding_box: {
      [name]: random.pick([
        { top_left: written({ lat: top, lon: left }), bottom_right: written({ lat: bottom, lon: right }) },
        { top_right: written({ lat: top, lon: right }), bottom_left: written({ lat: bottom, lon: left }) },
        { top, left, bottom, right },
      ]),
    },
  };
}

/** @param {Context} context */
function text(context) {
  const { random } = context;
  const field = someField(context, 'string');
  const value = String(random.pick(field.values));
  const kind = random.integer(3);
  if (kind === 0) {
    const operator = random.pick([undefined, 'and', 'or', 'AND']);
    const other = String(random.pick(field.values));
    const query = random.pick([
      value.slice(0, 900),
      `${value.slice(0, 400)} ${other.slice(0, 400)}`,
      other.slice(0, 900).toUpperCase(),
    ]);
    const name = asWords(field.name, field.type);
    return {
      match: {
        [name]: operator
          ? { query, operator, zero_terms_query: random.pick(['none', 'all']) }
          : random.pick([query, { query, lenient: true }]),
      },
    };
  }
  const insensitive = random.chance(0.3) ? { case_insensitive: true } : {};
  if (kind === 1) {
    const part = value.slice(0, random.integer(4));
    return { prefix: { [field.name]: random.chance(0.3) ? part : { value: part, ...insensitive } } };
  }
  const pattern = Array.from(value.slice(0, 12))
    .map((character) => random.pick([character, character, character, '?', '*', `\\${character}`]))
    .join('');
  return {
    wildcard: {
      [field.name]: random.chance(0.3) ? pattern : { [random.pick(['value', 'wildcard'])]: pattern, ...insensitive },
    },
  };
}

/** @param {Context} context @param {number} depth @returns {Json} */
function bool(context, depth) {
  const { random } = context;
  /** @type {Json} */
  const clause = {};
  for (const key of ['must', 'filter', 'should', 'must_not'])
    if (random.chance(key === 'should' ? 0.6 : 0.4)) {
      const list = Array.from({ length: random.integer(4) }, () => someQuery(context, depth + 1));
      clause[key] = list.length === 1 && random.chance(0.5) ? list[0] : list;
    }
  if (random.chance(0.4))
    clause['minimum_should_match'] = random.pick([0, 1, 2, 3, '1', '2', -1, '-1', '50%', '-30%', '100%', '75%', 9]);
  return { bool: clause };
}

/** @param {Context} context @param {number} [depth] @returns {Json} */
export function someQuery(context, depth = 0) {
  const { random, ids } = context;
  if (depth < 3 && random.chance(depth === 0 ? 0.4 : 0.25)) return bool(context, depth);
  const kind = random.integer(24);
  if (kind <= 4) return range(context);
  if (kind <= 6) return queryString(context);
  if (kind <= 8) return geo(context);
  if (kind <= 12) return text(context);
  if (kind <= 15) {
    const field = someField(context, 'string', 'number', 'boolean', 'date');
    const value = someValue(random, field);
    return { term: { [field.name]: random.chance(0.5) ? value : { value, boost: 2 } } };
  }
  if (kind <= 18) {
    const field = someField(context, 'string', 'number', 'boolean', 'date');
    return { terms: { [field.name]: Array.from({ length: random.integer(12) }, () => someValue(random, field)) } };
  }
  if (kind === 19) {
    const field = someField(context);
    const cut = field.name.lastIndexOf('.');
    return { exists: { field: random.chance(0.3) && cut > 0 ? field.name.slice(0, cut) : field.name } };
  }
  if (kind === 20) return { ids: { values: Array.from({ length: random.integer(5) }, () => random.pick(ids)) } };
  if (kind === 21) {
    const field = someField(context, 'number', 'boolean', 'date');
    return { match: { [field.name]: { query: someValue(random, field), lenient: random.chance(0.3) } } };
  }
  if (kind === 22) return { constant_score: { filter: someQuery(context, depth + 1) } };
  return random.chance(0.9) ? { match_all: {} } : { match_none: {} };
}
