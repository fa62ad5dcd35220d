import type { Bind, Field, Operator, Test } from './rsql.js';

const EQUALITY: readonly Operator[] = ['==', '!='];
/** Operators of `filterQuery` (manual 8.5.1.9). */
export const ALL_OPERATORS: readonly Operator[] = ['==', '!=', '=in=', '=out=', '<', '<=', '>', '>='];

export type FieldOptions = Partial<Pick<Field, 'operators' | 'prefixes' | 'values'>>;

const withDefaults = (options: FieldOptions, sql: Field['sql']): Field => ({
  operators: ALL_OPERATORS,
  ...options,
  sql,
});

/** What both sides must look like for a comparison by number. Exponents are short, so that a numeric can hold them. */
const NUMBER = '^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,3})?$';
const NUMERIC = new RegExp(NUMBER);

/** A text expression against a test; null fulfils none, not even `!=`. */
function compareText(text: string, { operator, values }: Test, bind: Bind): string {
  const value = values[0]!;
  switch (operator) {
    case '==':
      return `${text} = ${bind(value)}`;
    case '!=':
      return `${text} <> ${bind(value)}`;
    case '=in=':
      return `${text} = ANY(CAST(${bind(values)} AS text[]))`;
    case '=out=':
      return `${text} <> ALL(CAST(${bind(values)} AS text[]))`;
    case 'prefix':
      return `starts_with(${text}, ${bind(value)})`;
    default: {
      const asText = `${text} COLLATE "C" ${operator} ${bind(value)}`;
      if (!NUMERIC.test(value)) return asText;
      return `CASE WHEN ${text} ~ '${NUMBER}' THEN CAST(${text} AS numeric) ${operator} CAST(${bind(value)} AS numeric) ELSE ${asText} END`;
    }
  }
}

/** A field with at most one text per row. @param expression SQL of it */
export const textField = (expression: string, options: FieldOptions = {}): Field =>
  withDefaults(options, (test, bind) => compareText(expression, test, bind));

export const booleanField = (expression: string): Field => ({
  operators: EQUALITY,
  values: ['true', 'false'],
  sql: ({ operator, values }) => `${expression} ${operator === '==' ? '=' : '<>'} ${values[0] === 'true'}`,
});

/**
 * A field with any number of texts per row: one of them must fulfil the test, and `!=` and `=out=` mean that none is
 * one of these.
 * @param some SQL that is true when the condition holds for one of them
 * @param expression SQL of one of them inside that condition
 */
export function manyField(some: (condition: string) => string, expression: string, options: FieldOptions = {}): Field {
  return withDefaults(options, (test, bind) => {
    const opposite = test.operator === '!=' ? '==' : test.operator === '=out=' ? '=in=' : undefined;
    return opposite
      ? `NOT ${some(compareText(expression, { ...test, operator: opposite }, bind))}`
      : some(compareText(expression, test, bind));
  });
}

/**
 * A column of type text[], asked in a way that its GIN index answers.
 * @param inMeansAll `=in=` wants all of its values (manual 8.5.1.9), and not any of them (manual 9.2.2)
 */
export function arrayField(column: string, options: FieldOptions & { inMeansAll: boolean }): Field {
  const { inMeansAll, ...rest } = options;
  const many = manyField(
    (condition) => `EXISTS (SELECT 1 FROM unnest(${column}) AS element (value) WHERE ${condition})`,
    'element.value',
    rest,
  );
  return {
    ...many,
    sql(test, bind) {
      const list = (): string => `CAST(${bind(test.values)} AS text[])`;
      switch (test.operator) {
        case '==':
          return `${column} @> ${list()}`;
        case '!=':
        case '=out=':
          return `NOT ${column} && ${list()}`;
        case '=in=':
          return `${column} ${inMeansAll ? '@>' : '&&'} ${list()}`;
        default:
          return many.sql(test, bind);
      }
    },
  };
}

/** Values of a jsonb map of texts by their key; `==` in a way that its GIN index answers. */
export const mapField =
  (column: string, options: FieldOptions = {}) =>
  (key: string): Field =>
    withDefaults(options, (test, bind) =>
      test.operator === '=='
        ? `${column} @> CAST(${bind(JSON.stringify({ [key]: test.values[0] }))} AS jsonb)`
        : compareText(`(${column} ->> CAST(${bind(key)} AS text))`, test, bind),
    );
