import { type Bounds, type Field, type Query, type Scalar, variantsOf, WORD_CHARACTERS } from '../dsl/index.js';
import { dateColumn, dateValue, jsonOf, some, Sql, textColumn, textColumns, textOf } from './sql.js';

/** Of the mean sphere, as Elasticsearch's arc distance. */
const EARTH_METRES = 6_371_008.7714;
const COMPARISONS = { gt: '>', gte: '>=', lt: '<', lte: '<=' } as const;

const every = (conditions: string[], none: string): string =>
  conditions.length === 0 ? none : `(${conditions.join(' AND ')})`;
const any = (conditions: string[]): string => (conditions.length === 0 ? 'false' : `(${conditions.join(' OR ')})`);

/** The query as a condition of SQL; null counts as false. */
export function condition(sql: Sql, query: Query): string {
  switch (query.kind) {
    case 'all':
      return 'true';
    case 'none':
      return 'false';
    case 'bool':
      return bool(sql, query);
    case 'terms':
      return terms(sql, query.field, query.values);
    case 'range':
      return range(sql, query.field, query.bounds);
    case 'words': {
      const patterns = query.all
        ? query.words.map(wordPattern)
        : [`(?:${query.words.map(caseless).join('|')})`].map(bounded);
      return every(
        patterns.map((pattern) => matches(sql, query.field, pattern)),
        'false',
      );
    }
    case 'phrase':
      return matches(sql, query.field, bounded(query.words.map(caseless).join(`[^${WORD_CHARACTERS}]+`)));
    case 'exists':
      return exists(sql, query.field);
    case 'prefix':
      return like(sql, query.field, `${query.value.replace(/[\\%_]/g, '\\$&')}%`, query.anyCase);
    case 'wildcard':
      return like(sql, query.field, likePattern(query.pattern), query.anyCase);
    case 'ids':
      return `id = ANY (${sql.value(query.values, 'text[]')})`;
    case 'geoDistance': {
      const [lat, lon] = [sql.value(query.centre.lat, 'float8'), sql.value(query.centre.lon, 'float8')];
      return somePoint(
        sql,
        query.field,
        (y, x) =>
          `${2 * EARTH_METRES} * asin(sqrt(least(1, sin(radians(${y} - ${lat}) / 2) ^ 2 + cos(radians(${lat})) * cos(radians(${y})) * sin(radians(${x} - ${lon}) / 2) ^ 2))) <= ${sql.value(query.metres, 'float8')}`,
      );
    }
    case 'geoBox': {
      const number = (value: number): string => sql.value(value, 'float8');
      const [left, right] = [number(query.left), number(query.right)];
      return somePoint(
        sql,
        query.field,
        (y, x) =>
          `${y} BETWEEN ${number(query.bottom)} AND ${number(query.top)} AND ${
            query.left > query.right ? `(${x} >= ${left} OR ${x} <= ${right})` : `${x} BETWEEN ${left} AND ${right}`
          }`,
      );
    }
    case 'geoPolygon': {
      const { points: corners } = query;
      const polygon = sql.value(`(${corners.map(({ lat, lon }) => `(${lon},${lat})`).join(',')})`, 'polygon');
      const list = (values: number[]): string => sql.value(values, 'float8[]');
      const following = [...corners.slice(1), corners[0]!];
      const edges = `unnest(${list(corners.map(({ lon }) => lon))}, ${list(corners.map(({ lat }) => lat))}, ${list(following.map(({ lon }) => lon))}, ${list(following.map(({ lat }) => lat))}) e(x1, y1, x2, y2)`;
      // What edges that cross each other enclose twice is outside for Lucene, unlike for PostgreSQL.
      return somePoint(
        sql,
        query.field,
        (y, x) =>
          `${polygon} @> point(${x}, ${y}) AND (SELECT count(*) % 2 = 1 FROM ${edges} WHERE (y1 > ${y}) <> (y2 > ${y}) AND ${x} < (x2 - x1) * (${y} - y1) / (y2 - y1) + x1)`,
      );
    }
  }
}

function bool(sql: Sql, query: Query & { kind: 'bool' }): string {
  // Nothing is written that is not used: PostgreSQL takes no parameter without a place.
  if (query.least > query.should.length) return 'false';
  const conditions = query.must.map((each) => condition(sql, each));
  conditions.push(...query.mustNot.map((each) => `NOT coalesce(${condition(sql, each)}, false)`));
  if (query.least > 0) {
    const should = query.should.map((each) => condition(sql, each));
    conditions.push(
      query.least === 1
        ? any(should)
        : `(${should.map((each) => `coalesce(${each}, false)::int`).join(' + ')}) >= ${query.least}`,
    );
  }
  return every(conditions, 'true');
}

function terms(sql: Sql, field: Field, values: readonly Scalar[]): string {
  const column = textColumn(field);
  if (column) {
    const texts = values.map(String);
    return texts.length === 1
      ? `${column} = ${sql.value(texts[0], 'text')}`
      : `${column} = ANY (${sql.value(texts, 'text[]')})`;
  }
  if (dateColumn(field))
    return any(values.map((value) => range(sql, field, { gte: Number(value), lte: Number(value) })));
  const json = jsonOf(sql, field);
  // Contains: an array its element, and a value itself.
  if (values.length <= 8) return any(values.map((value) => `${json} @> ${sql.value(JSON.stringify(value), 'jsonb')}`));
  const list = sql.value(
    values.map((value) => JSON.stringify(value)),
    'jsonb[]',
  );
  return some(json, (value) => `${value} = ANY (${list})`);
}

// jsonpath has no infinity, but numbers beyond those of a double.
const numeral = (value: number): string => (Number.isFinite(value) ? String(value) : value > 0 ? '1e400' : '-1e400');

function range(sql: Sql, field: Field, bounds: Bounds): string {
  const keys = (['gt', 'gte', 'lt', 'lte'] as const).filter((key) => bounds[key] !== undefined);
  if (keys.length === 0) return exists(sql, field);
  const date = dateColumn(field);
  if (date)
    return every(
      keys.map((key) => `${date} ${COMPARISONS[key]} ${dateValue(sql, Number(bounds[key]))}`),
      'true',
    );
  const compare = (value: string, type: string): string =>
    every(
      keys.map((key) => `${value} ${COMPARISONS[key]} ${sql.value(bounds[key], type)}`),
      'true',
    );
  const column = textColumn(field);
  if (column) return compare(column, 'text');
  if (field.type === 'number') {
    // In one go, of a value as of each of an array, and in parallel, unlike `some`: its subquery is correlated.
    const tests = keys.map((key) => `@ ${COMPARISONS[key]} ${numeral(Number(bounds[key]))}`).join(' && ');
    return `fields @? ${sql.value(`$.${JSON.stringify(field.name)}[*] ? (${tests})`, 'jsonpath')}`;
  }
  if (field.type === 'string') return some(jsonOf(sql, field), (value) => compare(textOf(value), 'text'));
  return 'false';
}

export function exists(sql: Sql, field: Field): string {
  const column = textColumn(field) ?? dateColumn(field);
  if (column) return `${column} IS NOT NULL`;
  const name = sql.value(field.name, 'text');
  if (field.type !== undefined) return `fields ? ${name}`;
  // An object is there when one of its members is.
  return `(fields ? ${name} OR EXISTS (SELECT FROM jsonb_object_keys(fields) k WHERE starts_with(k, ${sql.value(`${field.name}.`, 'text')})))`;
}

const isText = (json: string, test: string): string => `(jsonb_typeof(${json}) = 'string' AND ${test})`;

function like(sql: Sql, field: Field, pattern: string, anyCase: boolean): string {
  const test = (text: string): string => `${text} ${anyCase ? 'ILIKE' : 'LIKE'} ${sql.value(pattern, 'text')}`;
  return overText(sql, field, test);
}

const matches = (sql: Sql, field: Field, pattern: string): string =>
  overText(sql, field, (text) => `${text} ~ ${sql.value(pattern, 'text')}`);

/** A test of the strings of a field, or of any field when its name is `*`. */
function overText(sql: Sql, field: Field, test: (text: string) => string): string {
  const column = textColumn(field);
  if (column) return test(column);
  const ofJson = (json: string): string => some(json, (value) => isText(value, test(textOf(value))));
  if (field.name !== '*') return ofJson(jsonOf(sql, field));
  const points = `k LIKE '%.@geopoint'`;
  return any([
    ...textColumns.map(test),
    `EXISTS (SELECT FROM jsonb_each(fields) f(k, x) WHERE NOT ${points} AND ${ofJson('f.x')})`,
  ]);
}

const likePattern = (wildcard: string): string =>
  wildcard.replace(/\\(.)|[*?%_\\]/gs, (found, escaped: string | undefined) =>
    escaped === undefined
      ? ({ '*': '%', '?': '_' }[found] ?? `\\${found}`)
      : /[\\%_]/.test(escaped)
        ? `\\${escaped}`
        : escaped,
  );

// Words have no character that means something in a pattern. Not `~*`, whose idea of case is that of the database.
const caseless = (word: string): string =>
  [...word]
    .map((character) => {
      const all = variantsOf(character);
      return all === character ? character : `[${all}]`;
    })
    .join('');
const bounded = (pattern: string): string => `(?:^|[^${WORD_CHARACTERS}])${pattern}(?:$|[^${WORD_CHARACTERS}])`;
const wordPattern = (word: string): string => bounded(caseless(word));

function somePoint(sql: Sql, field: Field, test: (lat: string, lon: string) => string): string {
  return `EXISTS (SELECT FROM jsonb_array_elements(${points(sql, field)}) p WHERE ${test('(p.value -> 0)::float8', '(p.value -> 1)::float8')})`;
}

/** A jsonb array of `[latitude, longitude, geohash]`; null when the field is no point. */
export const points = (sql: Sql, field: Field): string =>
  field.name.endsWith('.@geopoint') ? jsonOf(sql, field) : 'NULL::jsonb';
