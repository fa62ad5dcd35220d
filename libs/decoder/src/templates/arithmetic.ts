import type { Token } from '@orrery/core/templates';
import jsep, { type Expression } from 'jsep';
import { DecodingError, DefinitionError } from '../decoding.js';

/** An expression over fields, such as `({{a}}-1)*{{b}}/4` (manual 11.3.4). It computes with doubles. */
export interface Arithmetic {
  /** Names of the fields, in the order of their tags. */
  fields: string[];
  /** What an evaluation costs, in steps of templates. */
  steps: number;
  /**
   * @param values values of the fields. Text that is a number counts as one.
   * @throws DecodingError when a value is no number, or the result is none.
   */
  evaluate(values: unknown[]): number;
}

/** Most characters and fields of an expression: it is parsed by recursion. */
const MAX_LENGTH = 1000;
const MAX_FIELDS = 100;
/** Steps that a field costs, and characters that count as one. */
const FIELD_STEPS = 4;
const STEP_LENGTH = 8;

/**
 * Compiles what is wholly an expression.
 * @throws DefinitionError with the position of what is no part of one, as the tokens give it.
 */
export function compileArithmetic(tokens: Token[]): Arithmetic {
  const at = tokens[0]?.at ?? 0;
  const fields: string[] = [];
  const text = placeholders(tokens, fields);
  if (text.length > MAX_LENGTH || fields.length > MAX_FIELDS)
    throw new DefinitionError(`an expression has at most ${MAX_LENGTH} characters and ${MAX_FIELDS} fields`, at);
  const compute = compile(parse(text, at), at);
  return {
    fields,
    steps: FIELD_STEPS * (1 + fields.length) + text.length / STEP_LENGTH,
    evaluate(values) {
      const result = compute(values.map((value, i) => numberOf(fields[i]!, value)));
      if (Number.isFinite(result)) return result;
      throw new DecodingError('the template divides by zero, or its result is too large');
    },
  };
}

/** The expression with `(v0)`, `(v1)` ... for its fields: in parentheses, so that no two pieces make one number. */
function placeholders(tokens: Token[], fields: string[]): string {
  return tokens.map((token) => placeholder(token, fields)).join('');
}

function placeholder(token: Token, fields: string[]): string {
  if (token.kind === 'name') return `(v${fields.push(token.name) - 1})`;
  if (token.kind === 'section' && token.name === 'math' && !token.inverted)
    return `(${placeholders(token.content, fields)})`;
  if (token.kind === 'section') throw notArithmetic(token.at);
  // Checked before the parser sees it: nothing but these characters is needed, and no name can be meant.
  const wrong = token.text.search(/[^\d\s.+\-*/()]/);
  if (wrong !== -1) throw notArithmetic(token.at + wrong);
  return token.text;
}

const notArithmetic = (at: number): DefinitionError =>
  new DefinitionError('expected an expression of fields, decimal numbers, + - * / and parentheses', at);

function parse(text: string, at: number): Expression {
  try {
    return jsep(text);
  } catch {
    throw notArithmetic(at);
  }
}

type Compute = (values: number[]) => number;

function compile(expression: Expression, at: number): Compute {
  switch (expression.type) {
    case 'Literal':
      return constant(expression.value, at);
    case 'Identifier':
      return field(Number((expression.name as string).slice(1)));
    case 'UnaryExpression':
      if (expression.operator !== '-') throw notArithmetic(at);
      return negative(compile(expression.argument as Expression, at));
    case 'BinaryExpression':
      return binary(
        expression.operator as string,
        compile(expression.left as Expression, at),
        compile(expression.right as Expression, at),
        at,
      );
    default:
      throw notArithmetic(at);
  }
}

function constant(value: unknown, at: number): Compute {
  if (typeof value !== 'number') throw notArithmetic(at);
  return () => value;
}

const field =
  (index: number): Compute =>
  (values) =>
    values[index]!;

const negative =
  (operand: Compute): Compute =>
  (values) =>
    -operand(values);

function binary(operator: string, left: Compute, right: Compute, at: number): Compute {
  switch (operator) {
    case '+':
      return (values) => left(values) + right(values);
    case '-':
      return (values) => left(values) - right(values);
    case '*':
      return (values) => left(values) * right(values);
    case '/':
      return (values) => left(values) / right(values);
    default:
      throw notArithmetic(at);
  }
}

/** Most characters of text that counts as a number: the longest double has fewer, and reading a megabyte takes its time. */
const MAX_NUMBER = 1100;
const NUMBER = /^\s*[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?\s*$/i;

function numberOf(name: string, value: unknown): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'bigint') return Number(value);
  if (typeof value === 'string' && value.length <= MAX_NUMBER && NUMBER.test(value)) return Number(value);
  throw new DecodingError(
    value === undefined
      ? `the template computes with "${name}", which the payload does not have`
      : `the template computes with "${name}", which is no number`,
  );
}
