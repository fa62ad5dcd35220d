import { parse } from '@rsql/parser';
import { invalidParameter } from '@orrery/core/http';
import { isText } from '../text.js';

/** Characters of an expression (manual 9.2.2). They also bound how deep it can be, and so the recursion here. */
const LONGEST = 512;

const CANONICAL = {
  '==': '==',
  '!=': '!=',
  '=in=': '=in=',
  '=out=': '=out=',
  '=lt=': '<',
  '<': '<',
  '=le=': '<=',
  '<=': '<=',
  '=gt=': '>',
  '>': '>',
  '=ge=': '>=',
  '>=': '>=',
} as const;
export type Operator = (typeof CANONICAL)[keyof typeof CANONICAL];

/** What a field is compared with: one value, or any number after `=in=` and `=out=`. */
export interface Test {
  operator: Operator | 'prefix';
  values: string[];
}

/** Adds a value to the statement and returns the placeholder that stands for it: `:rsql_3` or `$3`. */
export type Bind = (value: string | string[]) => string;

/** A field that expressions may name. Nothing that a user wrote becomes SQL text: values go through `bind`. */
export interface Field {
  operators: readonly Operator[];
  /** `x*` after `==` is a prefix, and is refused after other operators. Elsewhere `*` is a character like any other. */
  prefixes?: boolean;
  /** The only values that it can have, when they are few. */
  values?: readonly string[];
  sql(test: Test, bind: Bind): string;
}

/** Components of a device, of which one must fulfil what is asked: `interfaces.status==x` or `interfaces=q='...'`. */
export interface Nested {
  /** SQL that is true when a component fulfils the condition. */
  some(condition: string): string;
  fields: Readonly<Record<string, Field>>;
}

/** What may be asked of a table. */
export interface Dialect {
  fields: Readonly<Record<string, Field>>;
  /** Fields whose name ends with one that the user chose, by their beginning: `properties.`. */
  keyed?: Readonly<Record<string, (key: string) => Field>>;
  nested?: Readonly<Record<string, Nested>>;
}

export interface Expression {
  text: string;
  /** Parameter of the request that it came in, for errors. */
  parameter: string;
}

/**
 * Compiles an RSQL expression (manual 8.5.1.9 and 9.2.2) to an SQL condition in parentheses.
 * @throws ApiError GENERIC_INVALID_PARAMETER_ERROR that says what is wrong with it, and where
 */
export function compileRsql({ text, parameter }: Expression, dialect: Dialect, bind: Bind): string {
  const refuse = (expected: string): Error => invalidParameter(parameter, expected);
  if (!isText(text, 1, LONGEST)) throw refuse(`1 to ${LONGEST} characters, without NUL or lone surrogates`);
  return compile(parseExpression(text, refuse), dialect, bind, refuse);
}

type Refuse = (expected: string) => Error;
type Node = ReturnType<typeof parse>;
type ComparisonNode = Extract<Node, { type: 'COMPARISON' }>;

function parseExpression(text: string, refuse: Refuse): Node {
  try {
    return parse(text);
  } catch (error) {
    // The library repeats the whole expression, which its author knows.
    const reason = (error as Error).message.replace(` in "${text}"`, () => '');
    throw refuse(`an RSQL expression: ${reason}`);
  }
}

function compile(node: Node, dialect: Dialect, bind: Bind, refuse: Refuse): string {
  if (node.type === 'COMPARISON') return compileComparison(node, dialect, bind, refuse);
  const operator = node.operator === 'and' || node.operator === ';' ? 'AND' : 'OR';
  return `(${compile(node.left, dialect, bind, refuse)} ${operator} ${compile(node.right, dialect, bind, refuse)})`;
}

function compileComparison(node: ComparisonNode, dialect: Dialect, bind: Bind, refuse: Refuse): string {
  const name = node.left.selector;
  const nested = own(dialect.nested, name);
  if (nested) return compileNested(name, nested, node, bind, refuse);
  const field = fieldOf(dialect, name);
  if (!field) throw refuse(`fields among ${fieldNames(dialect).join(', ')}, not ${name}`);
  return `(${field.sql(testOf(name, field, node, refuse), bind)})`;
}

function compileNested(name: string, nested: Nested, node: ComparisonNode, bind: Bind, refuse: Refuse): string {
  const { operator, right } = node;
  if (operator !== '=q=' || typeof right.value !== 'string')
    throw refuse(`${name}=q='...' with an expression of ${Object.keys(nested.fields).join(', ')}, or ${name}.<field>`);
  const refuseInside: Refuse = (expected) => refuse(`inside ${name}=q=, ${expected}`);
  const inner = parseExpression(right.value, refuseInside);
  return `(${nested.some(compile(inner, { fields: nested.fields }, bind, refuseInside))})`;
}

function fieldOf(dialect: Dialect, name: string): Field | undefined {
  const field = own(dialect.fields, name);
  if (field) return field;
  for (const [component, nested] of Object.entries(dialect.nested ?? {})) {
    const inner = name.startsWith(`${component}.`) ? own(nested.fields, name.slice(component.length + 1)) : undefined;
    if (inner) return { ...inner, sql: (test, bind) => nested.some(inner.sql(test, bind)) };
  }
  for (const [start, keyed] of Object.entries(dialect.keyed ?? {}))
    if (name.startsWith(start) && name.length > start.length) return keyed(name.slice(start.length));
  return undefined;
}

const own = <Value>(table: Readonly<Record<string, Value>> | undefined, name: string): Value | undefined =>
  table && Object.hasOwn(table, name) ? table[name] : undefined;

const fieldNames = ({ fields, keyed = {}, nested = {} }: Dialect): string[] => [
  ...Object.keys(fields),
  ...Object.keys(keyed).map((start) => `${start}<key>`),
  ...Object.entries(nested).flatMap(([name, inner]) => [
    name,
    ...Object.keys(inner.fields).map((field) => `${name}.${field}`),
  ]),
];

function testOf(name: string, field: Field, node: ComparisonNode, refuse: Refuse): Test {
  const operator = own(CANONICAL, node.operator);
  if (!operator || !field.operators.includes(operator))
    throw refuse(`one of ${field.operators.join(' ')} after ${name}, not ${node.operator}`);
  const { value } = node.right;
  const list = operator === '=in=' || operator === '=out=';
  if (list !== Array.isArray(value))
    throw refuse(list ? `values in parentheses after ${name}${operator}` : `one value after ${name}${operator}`);
  const values = [value].flat();
  if (field.prefixes && values.some((each) => each.endsWith('*'))) {
    if (operator !== '==')
      throw refuse(`no * at the end of a value after ${name}${operator}: prefixes go with == only`);
    return { operator: 'prefix', values: [values[0]!.slice(0, -1)] };
  }
  const wrong = field.values ? values.find((each) => !field.values!.includes(each)) : undefined;
  if (wrong !== undefined) throw refuse(`one of ${field.values!.join(', ')} after ${name}${operator}, not '${wrong}'`);
  return { operator, values };
}
