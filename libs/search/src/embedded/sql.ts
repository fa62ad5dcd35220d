import type { Field } from '../dsl/index.js';

/** A statement in the making: values go into parameters, never into the text. */
export class Sql {
  readonly parameters: unknown[] = [];
  private readonly known = new Map<unknown, string>();

  /** `$1::type`; equal strings and numbers share a parameter, so that expressions that are alike stay alike. */
  value(value: unknown, type: string): string {
    const shared = typeof value === 'object' ? undefined : `${type}:${typeof value}:${String(value)}`;
    const before = shared === undefined ? undefined : this.known.get(shared);
    if (before !== undefined) return before;
    this.parameters.push(value);
    const text = `$${this.parameters.length}::${type}`;
    if (shared !== undefined) this.known.set(shared, text);
    return text;
  }
}

/** What documents are grouped by, and how that is shown, which is worked out once for a group; the same when absent. */
export interface GroupKey {
  group: string;
  shown?: string;
}

const TEXT_COLUMNS: Readonly<Record<string, string>> = {
  id: 'id',
  streamId: 'stream_id',
  model: 'model',
  'metadata.source': 'device_id',
};
const DATE_COLUMNS: Readonly<Record<string, string>> = { timestamp: 'timestamp', created: 'created' };

const own = (columns: Readonly<Record<string, string>>, name: string): string | undefined =>
  Object.hasOwn(columns, name) ? columns[name] : undefined;

export const textColumn = (field: Field): string | undefined => own(TEXT_COLUMNS, field.name);
export const dateColumn = (field: Field): string | undefined => own(DATE_COLUMNS, field.name);
export const textColumns = Object.values(TEXT_COLUMNS);

/** The jsonb of a field that is no column: null, a value, or an array of values. */
export const jsonOf = (sql: Sql, field: Field): string => `(fields -> ${sql.value(field.name, 'text')})`;

/** Any of the values holds. `test` gets an expression of a jsonb scalar; it is null where there is no value. */
export const some = (json: string, test: (value: string) => string): string =>
  `CASE WHEN jsonb_typeof(${json}) = 'array' THEN EXISTS (SELECT FROM jsonb_array_elements(${json}) e(v) WHERE ${test('e.v')}) ELSE ${test(json)} END`;

/** A jsonb scalar as a number: booleans are 1 and 0, and what is neither is null. */
export const numberOf = (json: string): string =>
  `CASE jsonb_typeof(${json}) WHEN 'number' THEN (${json})::float8 WHEN 'boolean' THEN (${json})::bool::int::float8 END`;
export const textOf = (json: string): string => `((${json}) #>> '{}') COLLATE "C"`;
export const millisecondsOf = (column: string): string => `round(date_part('epoch', ${column}) * 1000)`;

// Years of four digits; no message is beyond, and PostgreSQL reads them.
const FIRST = Date.parse('0001-01-01T00:00:00Z');
const LAST = Date.parse('9999-12-31T23:59:59.999Z');
export function dateValue(sql: Sql, milliseconds: number): string {
  if (milliseconds > LAST) return sql.value('infinity', 'timestamptz');
  if (milliseconds < FIRST) return sql.value('-infinity', 'timestamptz');
  return sql.value(new Date(Math.trunc(milliseconds)).toISOString(), 'timestamptz');
}
