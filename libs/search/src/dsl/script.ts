import type { Expression } from './tree.js';

const OPERATORS: ReadonlyArray<readonly string[]> = [
  ['||'],
  ['&&'],
  ['==', '!='],
  ['<=', '>=', '<', '>'],
  ['+', '-'],
  ['*', '/', '%'],
];
const TOKEN =
  /\s*(?:(\d+\.?\d*(?:[eE][+-]?\d{1,3})?|\.\d+)|((?:params\.)?[A-Za-z_]\w*)|(\|\||&&|[=!<>]=|[<>+\-*/%!()]))/y;
const MAX_NESTING = 50;

/**
 * Reads a script of `bucket_selector`: numbers, variables (`total` or `params.total`), arithmetic, comparisons, && || ! and
 * parentheses. Nothing else is in the language, and nothing is evaluated by JavaScript. @throws Error that says where.
 */
export function parseExpression(source: string, variables: ReadonlySet<string>): Expression {
  const tokens: Array<{ text: string; kind: 'number' | 'name' | 'operator'; position: number }> = [];
  TOKEN.lastIndex = 0;
  const end = source.trimEnd().length;
  while (TOKEN.lastIndex < end) {
    const position = TOKEN.lastIndex;
    const found = TOKEN.exec(source);
    if (!found) throw new Error(`a number, a variable or an operator at position ${position}`);
    const kind = found[1] !== undefined ? 'number' : found[2] !== undefined ? 'name' : 'operator';
    tokens.push({ text: (found[1] ?? found[2] ?? found[3])!, kind, position });
  }
  let index = 0;
  let nesting = 0;

  const unary = (): Expression => {
    if (++nesting > MAX_NESTING) throw new Error(`at most ${MAX_NESTING} levels`);
    const token = tokens[index++];
    if (!token) throw new Error('a number or a variable at the end');
    let result: Expression;
    if (token.kind === 'number') {
      result = { kind: 'number', value: Number(token.text) };
      // As JSON it would be no number.
      if (!Number.isFinite(result.value)) throw new Error(`a smaller number at position ${token.position}`);
    } else if (token.kind === 'name') {
      const name = token.text.replace(/^params\./, '');
      if (!variables.has(name)) throw new Error(`a variable of buckets_path instead of ${token.text}`);
      result = { kind: 'variable', name };
    } else if (token.text === '(') {
      result = level(0);
      if (tokens[index++]?.text !== ')') throw new Error(`")" for the one opened at position ${token.position}`);
    } else if (token.text === '-' || token.text === '!')
      result = { kind: 'unary', operator: token.text, operand: unary() };
    else throw new Error(`a number or a variable at position ${token.position}`);
    nesting--;
    return result;
  };
  const level = (rank: number): Expression => {
    const operators = OPERATORS[rank];
    if (!operators) return unary();
    let left = level(rank + 1);
    while (tokens[index]?.kind === 'operator' && operators.includes(tokens[index]!.text)) {
      const operator = tokens[index++]!.text;
      left = { kind: 'binary', operator, left, right: level(rank + 1) };
    }
    return left;
  };

  const expression = level(0);
  if (index < tokens.length) throw new Error(`an operator at position ${tokens[index]!.position}`);
  return expression;
}

/** Comparisons and logic give 1 or 0, as Lucene expressions do. */
export function evaluate(expression: Expression, variables: Readonly<Record<string, number>>): number {
  switch (expression.kind) {
    case 'number':
      return expression.value;
    case 'variable':
      return variables[expression.name] ?? Number.NaN;
    case 'unary': {
      const operand = evaluate(expression.operand, variables);
      return expression.operator === '-' ? -operand : Number(operand === 0);
    }
    case 'binary': {
      const left = evaluate(expression.left, variables);
      if (expression.operator === '&&') return Number(left !== 0 && evaluate(expression.right, variables) !== 0);
      if (expression.operator === '||') return Number(left !== 0 || evaluate(expression.right, variables) !== 0);
      return binary(expression.operator, left, evaluate(expression.right, variables));
    }
  }
}

function binary(operator: string, left: number, right: number): number {
  switch (operator) {
    case '+':
      return left + right;
    case '-':
      return left - right;
    case '*':
      return left * right;
    case '/':
      return left / right;
    case '%':
      return left % right;
    case '<':
      return Number(left < right);
    case '<=':
      return Number(left <= right);
    case '>':
      return Number(left > right);
    case '>=':
      return Number(left >= right);
    case '==':
      return Number(left === right);
    default:
      return Number(left !== right);
  }
}

/**
 * The steps of a machine with a stack: a number, `$<name>` of a variable, `neg`, `not`, or an operator of the two values on
 * top. So that an engine which compiles scripts knows one script for all expressions.
 */
export function stepsOf(expression: Expression): Array<number | string> {
  switch (expression.kind) {
    case 'number':
      return [expression.value];
    case 'variable':
      return [`$${expression.name}`];
    case 'unary':
      return [...stepsOf(expression.operand), expression.operator === '-' ? 'neg' : 'not'];
    case 'binary':
      return [...stepsOf(expression.left), ...stepsOf(expression.right), expression.operator];
  }
}
