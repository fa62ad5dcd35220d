import {
  compileTemplate,
  parseTemplate,
  type SectionFunction,
  TemplateError,
  type Token,
} from '@orrery/core/templates';
import { DecodingError, type DecodedFields, DefinitionError } from '../decoding.js';
import { type Arithmetic, compileArithmetic } from './arithmetic.js';
import { jsonText } from './json-text.js';
import type { Output } from './output.js';

/** What one place of a template gives for decoded fields. What it takes up is counted in the output. */
export type Value = (fields: DecodedFields, output: Output) => unknown;

/** The position in the whole template of a position in a piece of it. */
export type PositionOf = (position: number) => number;

/**
 * Compiles text in quotes. It is a number when it is wholly an expression of numeric fields, and text otherwise (manual
 * 11.3.4). Text without tags is never computed: it may be a date or a telephone number.
 */
export function compileText(text: string, positionOf: PositionOf): Value {
  return located(positionOf, () => {
    const tokens = parseTemplate(text);
    if (tokens.every((token) => token.kind === 'text')) return constant(tokens.map((token) => token.text).join(''));
    const render = compileRendering(text);
    const arithmetic = expressionIn(tokens);
    if (arithmetic === undefined) return render;
    return tokens.length === 1 && tokens[0]!.kind === 'name'
      ? numberOrText(lookupOf(tokens[0]!.name), render)
      : resultOrText(arithmetic, render);
  });
}

/** Compiles a value without quotes: a JSON literal, one tag, which keeps its field's type, or an expression. */
export function compileUnquoted(text: string, positionOf: PositionOf): Value {
  if (/^(true|false|null|-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?)$/.test(text)) return constant(JSON.parse(text));
  return located(positionOf, () => {
    const tokens = parseTemplate(text);
    if (tokens.length === 1 && tokens[0]!.kind === 'name') return field(tokens[0]!.name);
    const arithmetic = compileArithmetic(tokens);
    const values = valuesOf(arithmetic);
    return (fields, output) => {
      output.work.spend(arithmetic.steps);
      return output.add(arithmetic.evaluate(values(fields)));
    };
  });
}

function constant(value: unknown): Value {
  return (_, output) => output.add(value);
}

function field(name: string): Value {
  const lookup = lookupOf(name);
  return (fields, output) => {
    const value = lookup(fields);
    if (value === undefined) throw new DecodingError(`the payload has no field "${name}", which the template names`);
    return output.add(value);
  };
}

/** The field itself when it is a number, so that a 64-bit integer stays one. */
function numberOrText(lookup: (fields: DecodedFields) => unknown, render: Value): Value {
  return (fields, output) => {
    const value = lookup(fields);
    return isNumeric(value) ? output.add(value) : render(fields, output);
  };
}

function resultOrText(arithmetic: Arithmetic, render: Value): Value {
  const valuesIn = valuesOf(arithmetic);
  return (fields, output) => {
    output.work.spend(arithmetic.steps);
    const values = valuesIn(fields);
    // An absent field must not become text: the evaluation refuses it.
    return values.every((value) => isNumeric(value) || value === undefined || value === null)
      ? output.add(arithmetic.evaluate(values))
      : render(fields, output);
  };
}

const isNumeric = (value: unknown): boolean => typeof value === 'number' || typeof value === 'bigint';

function valuesOf(arithmetic: Arithmetic): (fields: DecodedFields) => unknown[] {
  const lookups = arithmetic.fields.map(lookupOf);
  return (fields) => lookups.map((lookup) => lookup(fields));
}

function lookupOf(name: string): (fields: DecodedFields) => unknown {
  const path = name === '.' ? [] : name.split('.');
  return (fields) => {
    let value: unknown = fields;
    for (const part of path) {
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
      value = (value as Record<string, unknown>)[part];
    }
    return value;
  };
}

function expressionIn(tokens: Token[]): Arithmetic | undefined {
  try {
    return compileArithmetic(tokens);
  } catch (error) {
    if (error instanceof DefinitionError) return undefined;
    throw error;
  }
}

/** The functions of manual 11.3.4, table 10. */
const FUNCTIONS: Record<string, SectionFunction> = {
  math: (content) => {
    const arithmetic = compileArithmetic(content);
    return (lookup) => String(arithmetic.evaluate(arithmetic.fields.map(lookup)));
  },
  toUpperCase: () => (_, text) => text().toUpperCase(),
  toLowerCase: () => (_, text) => text().toLowerCase(),
};

function compileRendering(text: string): Value {
  const template = compileTemplate(text, { functions: FUNCTIONS, stringify: jsonText });
  return (fields, output) => output.add(template.render(fields, output.work));
}

/** Errors of a piece of the template name their place in the whole. */
function located(positionOf: PositionOf, compile: () => Value): Value {
  try {
    return compile();
  } catch (error) {
    if (error instanceof TemplateError) throw new DefinitionError(error.reason, positionOf(error.position ?? 0));
    if (error instanceof DefinitionError) throw new DefinitionError(error.message, positionOf(error.position ?? 0));
    throw error;
  }
}
