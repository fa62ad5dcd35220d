import type { SearchAnswer } from '../search-engine.js';
import { shownSource } from '../source-filter.js';
import type { Scalar, SearchRequest, Sort, SourceFilter } from '../dsl/index.js';
import { dateColumn, dateValue, jsonOf, millisecondsOf, numberOf, type Sql, textColumn, textOf } from './sql.js';

type Hit = SearchAnswer['hits']['hits'][number];

const isAnyOrder = (sort: Sort): boolean => sort.field.name === '_doc' || sort.field.name === '_score';

/** Expression to order by; NULL when no document has the field. */
function sortValue(sql: Sql, { field, mode }: Sort): string {
  const column = dateColumn(field) ?? textColumn(field);
  if (column) return column;
  if (field.type !== 'number' && field.type !== 'boolean' && field.type !== 'string') return 'NULL::float8';
  const json = jsonOf(sql, field);
  const of = field.type === 'string' ? textOf : numberOf;
  return `CASE WHEN jsonb_typeof(${json}) = 'array' THEN (SELECT ${mode}(${of('e.v')}) FROM jsonb_array_elements(${json}) e(v)) ELSE ${of(json)} END`;
}

const nulls = (sort: Sort): string => (sort.missingFirst ? 'NULLS FIRST' : 'NULLS LAST');

/** Newest first decides at last, so that pages never overlap. */
function orderBy(sql: Sql, sorts: readonly Sort[]): string {
  const orders = sorts
    .filter((sort) => !isAnyOrder(sort))
    .map((sort) => {
      // Columns without null take no NULLS clause, which would keep the index from serving.
      const never =
        sort.field.name !== 'model' &&
        sort.field.name !== 'metadata.source' &&
        (dateColumn(sort.field) ?? textColumn(sort.field));
      return `${sortValue(sql, sort)} ${sort.descending ? 'DESC' : 'ASC'}${never ? '' : ` ${nulls(sort)}`}`;
    });
  return [...orders, 'timestamp DESC', 'id DESC'].join(', ');
}

/** What comes after these sort values. */
function after(sql: Sql, sorts: readonly Sort[], values: ReadonlyArray<Scalar | null>): string {
  const steps: string[] = [];
  const equal: string[] = [];
  for (const [i, sort] of sorts.entries()) {
    if (isAnyOrder(sort)) continue;
    const expression = sortValue(sql, sort);
    const value = values[i] ?? null;
    const beyond: string[] = [];
    if (value === null) {
      if (sort.missingFirst) beyond.push(`${expression} IS NOT NULL`);
    } else {
      const bound = boundOf(sql, sort, value);
      beyond.push(`${expression} ${sort.descending ? '<' : '>'} ${bound}`);
      if (!sort.missingFirst) beyond.push(`${expression} IS NULL`);
    }
    if (beyond.length > 0) steps.push([...equal, `(${beyond.join(' OR ')})`].join(' AND '));
    equal.push(value === null ? `${expression} IS NULL` : `${expression} = ${boundOf(sql, sort, value)}`);
  }
  if (steps.length === 0) return 'false';
  const beyond = `(${steps.map((step) => `(${step})`).join(' OR ')})`;
  // Says nothing new, but where an index of times begins to be read: else all pages before are read for each.
  const [first] = sorts;
  const date = first && dateColumn(first.field);
  const value = values[0] ?? null;
  if (!date || value === null) return beyond;
  return `${date} ${first.descending ? '<=' : '>='} ${boundOf(sql, first, value)} AND ${beyond}`;
}

function boundOf(sql: Sql, { field }: Sort, value: Scalar): string {
  if (field.type === 'date') return dateValue(sql, Number(value));
  if (field.type === 'string') return sql.value(String(value), 'text');
  return sql.value(Number(value), 'float8');
}

/** Columns: source, then the sort values. */
export function hitsStatement(
  sql: Sql,
  where: string,
  request: Pick<SearchRequest, 'sort' | 'size' | 'from' | 'searchAfter'>,
  select = (columns: readonly string[]): string => columns.join(', '),
): string {
  const columns = request.sort.map((sort) => {
    if (isAnyOrder(sort)) return 'NULL::float8';
    const date = dateColumn(sort.field);
    return date ? millisecondsOf(date) : sortValue(sql, sort);
  });
  const beyond = request.searchAfter ? ` AND ${after(sql, request.sort, request.searchAfter)}` : '';
  return `SELECT ${select(['source', ...columns])} FROM documents WHERE ${where}${beyond} ORDER BY ${orderBy(sql, request.sort)} LIMIT ${request.size} OFFSET ${request.from}`;
}

export function hitOf([source, ...sort]: readonly unknown[], filter: SourceFilter): Hit {
  const shown = shownSource(JSON.parse(source as string) as Record<string, unknown>, filter);
  return { ...(shown === undefined ? {} : { _source: shown }), ...(sort.length === 0 ? {} : { sort }) };
}
