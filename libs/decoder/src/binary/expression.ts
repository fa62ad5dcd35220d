import { DecodingError, DefinitionError } from '../decoding.js';
import type { BitReader } from './bit-reader.js';

/** Operands in one expression, and brackets and signs within each other: evaluation recurses so deep. */
const MAX_OPERANDS = 200;
const MAX_DEPTH = 32;
const MAX_INT = 2 ** 31 - 1;

/** Calculates as Java does with `int`: 32 bits that wrap around. */
export interface Expression {
  evaluate: (reader: BitReader) => number;
  /** Operands: what one evaluation costs. */
  operands: number;
}

type Evaluate = Expression['evaluate'];

/** Finds a field that is read before. @throws DefinitionError when there is no such number */
export type Resolve = (path: string, position: number) => Evaluate;

/** By priority, the weakest first. Longer symbols come before their beginnings. */
const OPERATORS: [symbol: string, combine: (left: Evaluate, right: Evaluate) => Evaluate][][] = [
  [['|', (left, right) => (reader) => left(reader) | right(reader)]],
  [['^', (left, right) => (reader) => left(reader) ^ right(reader)]],
  [['&', (left, right) => (reader) => left(reader) & right(reader)]],
  [
    ['<<', (left, right) => (reader) => left(reader) << right(reader)],
    ['>>>', (left, right) => (reader) => (left(reader) >>> right(reader)) | 0],
    ['>>', (left, right) => (reader) => left(reader) >> right(reader)],
  ],
  [
    ['+', (left, right) => (reader) => (left(reader) + right(reader)) | 0],
    ['-', (left, right) => (reader) => (left(reader) - right(reader)) | 0],
  ],
  [
    ['*', (left, right) => (reader) => Math.imul(left(reader), right(reader))],
    ['/', (left, right) => (reader) => (left(reader) / divisor(right(reader))) | 0],
    ['%', (left, right) => (reader) => (left(reader) % divisor(right(reader))) | 0],
  ],
];

function divisor(value: number): number {
  if (value === 0) throw new DecodingError('its expression divides by zero');
  return value;
}

/**
 * @param text what is between the brackets
 * @param start index of `text` in the format
 */
export function parseExpression(text: string, start: number, resolve: Resolve): Expression {
  const parser = new ExpressionParser(text, start, resolve);
  return { evaluate: parser.whole(), operands: parser.operands };
}

class ExpressionParser {
  operands = 0;
  private at = 0;
  private depth = 0;

  constructor(
    private readonly text: string,
    private readonly start: number,
    private readonly resolve: Resolve,
  ) {}

  whole(): Evaluate {
    const evaluate = this.binary(0);
    if (this.at < this.text.length)
      throw this.error(this.text[this.at] === ')' ? "')' without '('" : 'an operator is expected');
    return evaluate;
  }

  private binary(priority: number): Evaluate {
    const operators = OPERATORS[priority];
    if (!operators) return this.operand();
    let left = this.binary(priority + 1);
    for (;;) {
      this.skipBlanks();
      const found = operators.find(([symbol]) => this.text.startsWith(symbol, this.at));
      if (!found) return left;
      this.at += found[0].length;
      left = found[1](left, this.binary(priority + 1));
    }
  }

  private operand(): Evaluate {
    this.skipBlanks();
    const sign = this.text[this.at];
    if (sign === '(' || sign === '-' || sign === '+' || sign === '~') {
      if (++this.depth > MAX_DEPTH)
        throw this.error(`at most ${MAX_DEPTH} brackets and signs within each other are expected`);
      this.at++;
      const evaluate = sign === '(' ? this.bracket() : signed(sign, this.operand());
      this.depth--;
      return evaluate;
    }
    const [word] = /^[^\s+\-*/%&|^~<>()]*/.exec(this.text.slice(this.at)) as RegExpExecArray;
    if (!word) throw this.error('a number or the name of a field is expected');
    if (++this.operands > MAX_OPERANDS) throw this.error(`at most ${MAX_OPERANDS} operands are expected`);
    const evaluate = this.term(word);
    this.at += word.length;
    return evaluate;
  }

  private bracket(): Evaluate {
    const evaluate = this.binary(0);
    this.skipBlanks();
    if (this.text[this.at] !== ')') throw this.error("')' is expected");
    this.at++;
    return evaluate;
  }

  private term(word: string): Evaluate {
    if (word === '$$') return (reader) => reader.counter;
    if (/^\d/.test(word)) {
      const value = Number(word);
      if (!/^\d+$/.test(word) || value > MAX_INT) throw this.error(`a number from 0 to ${MAX_INT} is expected`);
      return () => value;
    }
    return this.resolve(word.toLowerCase(), this.start + this.at);
  }

  private skipBlanks(): void {
    while (/^[ \t\n\v\f\r]$/.test(this.text[this.at] ?? '')) this.at++;
  }

  private error(expected: string): DefinitionError {
    return new DefinitionError(expected, this.start + this.at);
  }
}

function signed(sign: string, operand: Evaluate): Evaluate {
  if (sign === '-') return (reader) => -operand(reader) | 0;
  if (sign === '~') return (reader) => ~operand(reader);
  return operand;
}
