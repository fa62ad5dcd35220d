import { DecodingError, DefinitionError } from '../decoding.js';
import { MAX_STEPS } from './bit-reader.js';
import { parseExpression, type Expression } from './expression.js';
import { FIELD_TYPES, STRING_TYPES } from './field-types.js';

export const MAX_FORMAT_LENGTH = 16 * 1024;
const MAX_FIELDS = 1000;
const MAX_NESTING = 32;
/** Characters of a name: each element of an array of structures repeats it. */
const MAX_NAME = 256;
const MAX_INT = 2 ** 31 - 1;

/** How often a field occurs: a number of times, or until the payload ends. */
export type Size = number | Expression | 'rest';

export interface Field {
  /** In lower case; nothing for a field that is read and forgotten. */
  name?: string;
  /** In lower case. */
  type: string;
  littleEndian: boolean;
  /** What follows ':' after the type. */
  parameter?: number | Expression;
  /** Given for arrays, and for strings, where it counts characters. */
  size?: Size;
  /** Given for structures. */
  fields?: Field[];
  /** What expressions know of a structure, once it is closed. */
  members?: Map<string, Field>;
  /** Where expressions find its value; nothing when none asks for it. */
  slot?: number;
}

/** A structure that is not closed yet. */
interface Scope {
  fields: Field[];
  /** What expressions know by name: its own fields, and those of unnamed structures in it. */
  known: Map<string, Field>;
  /** Names as stored messages show them, where arrays are called `<name>_list`. */
  stored: Set<string>;
  start: number;
}

const BLANK = /(?:[ \t\n\v\f\r]|\/\/[^\n\r\u0085\u2028\u2029]*)*/y;
const TYPE = /^([<>])?([A-Za-z0-9_][\w$]*)(?::(?:(-?\d+)|\(([^]+)\)))?$/;
const NAME = /^\p{L}[\p{L}\p{Nd}_]*$/u;
/** Types without a value: they only move on. */
const MOVES = new Set(['skip', 'align', 'reset$$']);

/**
 * Reads a format in the language of JBBP 2.0.6, with the types of the platform (manual 11.3.2).
 *
 * @throws DefinitionError with the position of what is wrong
 */
export function parseFormat(format: string): Field[] {
  if (format.length > MAX_FORMAT_LENGTH)
    throw new DefinitionError(`the format has ${format.length} characters, at most ${MAX_FORMAT_LENGTH} are expected`);
  return new FormatParser(format).whole();
}

class FormatParser {
  private slots = 0;
  private at = 0;
  private count = 0;
  private scopes: [Scope, ...Scope[]] = [newScope(0)];
  /** After an array that takes the rest of the payload nothing is left for further fields. */
  private endReached = false;

  constructor(private readonly format: string) {}

  whole(): Field[] {
    for (this.blank(); this.at < this.format.length; this.blank()) {
      if (this.format[this.at] === '}') this.close();
      else this.field();
    }
    if (this.scope !== this.scopes[0])
      throw new DefinitionError("the structure that begins here has no closing '}'", this.scope.start);
    if (this.count === 0) throw new DefinitionError('at least one field is expected', 0);
    return this.scopes[0].fields;
  }

  private get scope(): Scope {
    return this.scopes.at(-1) as Scope;
  }

  private field(): void {
    const start = this.at;
    const head = this.word();
    this.blank();
    const sizeAt = this.at + 1;
    const sizeText = this.bracket();
    this.blank();
    const nameAt = this.at;
    const word = this.word();
    const name = word && this.nameOf(word, nameAt);
    this.blank();
    const end = this.format[this.at];
    const isStructure = end === '{';
    if (end !== ';' && !isStructure) throw this.unfinished(head, start);
    if (++this.count > MAX_FIELDS) throw new DefinitionError(`at most ${MAX_FIELDS} fields are expected`, start);
    if (isStructure && name)
      throw new DefinitionError("a structure is written name{…} or name[size]{…}: '{' is expected", nameAt);
    if (!isStructure && !head) throw new DefinitionError('the type of a field is expected', start);

    const field: Field = isStructure ? { type: '', littleEndian: false, fields: [] } : this.typed(head, start);
    if (this.endReached && !(field.type === 'val' && this.scopes.length > 1))
      throw new DefinitionError('no field is expected after an array that takes the rest of the payload', start);
    const ownName = isStructure ? head && this.nameOf(head, start) : name;
    if (ownName) field.name = ownName;
    if (sizeText !== undefined) field.size = this.size(sizeText, sizeAt);
    if (!isStructure) this.checkForm(field, start, sizeAt, nameAt);
    this.declare(field, isStructure ? start : nameAt);
    this.at++;
    if (isStructure) this.open(field, start);
    else if (field.size === 'rest') this.endReached = true;
  }

  /** What is wrong is the first word, or else that something follows the field. */
  private unfinished(head: string, start: number): DefinitionError {
    if (head && !TYPE.test(head) && !NAME.test(head))
      return new DefinitionError(`'${shown(head)}' is not a type`, start);
    return new DefinitionError(
      this.at < this.format.length ? "';' is expected to end the field" : "the format ends, ';' is expected",
      this.at,
    );
  }

  /** @param head such as `<int`, `bit:3` or `val:(a*2)` */
  private typed(head: string, start: number): Field {
    const [, order, name, number, expression] = TYPE.exec(head) ?? [];
    if (!name) throw new DefinitionError(`'${shown(head)}' is not a type`, start);
    const type = name.toLowerCase();
    const isKnown =
      FIELD_TYPES.has(type) || STRING_TYPES.has(type) || MOVES.has(type) || type === 'bit' || type === 'val';
    if (!isKnown) throw new DefinitionError(`'${shown(name)}' is not a type`, start + (order ? 1 : 0));

    const field: Field = { type, littleEndian: order === '<' };
    const parameterAt = start + head.indexOf(':') + 1;
    if (expression !== undefined) {
      if (!['bit', 'val', 'skip', 'align'].includes(type))
        throw new DefinitionError(`'${type}' takes no expression`, parameterAt);
      field.parameter = this.expression(expression, parameterAt + 1);
    } else if (number !== undefined) {
      field.parameter = this.parameter(type, Number(number), parameterAt);
    } else if (type === 'val') {
      throw new DefinitionError("'val' is expected with a value: val:3 or val:(a+b)", start);
    }
    return field;
  }

  private parameter(type: string, value: number, position: number): number {
    if (type === 'reset$$') throw new DefinitionError("'reset$$' takes no value", position);
    // JBBP takes a number after the other types too, and ignores it.
    const [lowest, highest] =
      type === 'bit'
        ? [1, 8]
        : type === 'align'
          ? [1, MAX_INT]
          : type === 'skip'
            ? [0, MAX_INT]
            : [-MAX_INT - 1, MAX_INT];
    if (value < lowest || value > highest)
      throw new DefinitionError(`'${type}' is expected with a number from ${lowest} to ${highest}`, position);
    return value;
  }

  private size(text: string, start: number): Size {
    const position = start + text.length - text.trimStart().length;
    const size = text.trim();
    if (size === '_') {
      if (this.scopes.some((scope) => scope.fields.at(-1)?.size === 'rest'))
        throw new DefinitionError('only one array can take the rest of the payload', position);
      return 'rest';
    }
    if (!/^-?\d+$/.test(size)) return this.expression(text, start);
    if (Number(size) < 1 || Number(size) > MAX_STEPS)
      throw new DefinitionError(`a size from 1 to ${MAX_STEPS} is expected`, position);
    return Number(size);
  }

  private expression(text: string, start: number): Expression {
    return parseExpression(text, start, (path, position) => {
      const names = path.split('.');
      for (const { known } of this.scopes.toReversed()) {
        const field = this.find(known, names, path, position);
        if (field) return this.valueOf(field, path);
      }
      throw new DefinitionError(`there is no field '${shown(path)}' before this one`, position);
    });
  }

  private valueOf(field: Field, path: string): Expression['evaluate'] {
    const slot = (field.slot ??= this.slots++);
    const toInt = FIELD_TYPES.get(field.type)?.toInt ?? Number;
    return (reader) => {
      const value = reader.values[slot];
      // Of a structure without name that occurred no time.
      if (value === undefined) throw new DecodingError(`its expression needs '${path}', which was not read`);
      return toInt(value);
    };
  }

  private find(known: Map<string, Field>, names: readonly string[], path: string, position: number): Field | undefined {
    let field: Field | undefined;
    const passed: Field[] = [];
    for (const name of names) {
      field = field ? field.members?.get(name) : known.get(name);
      if (!field) return undefined;
      passed.push(field);
    }
    if (passed.some(({ size }) => size !== undefined))
      throw new DefinitionError(`'${shown(path)}' is expected not to be an array or part of one`, position);
    if (field?.fields || STRING_TYPES.has(field?.type ?? ''))
      throw new DefinitionError(`'${shown(path)}' is expected to be a number`, position);
    return field;
  }

  private nameOf(name: string, position: number): string {
    const lower = name.toLowerCase();
    if (lower.length > MAX_NAME)
      throw new DefinitionError(`a name is expected to have at most ${MAX_NAME} characters`, position);
    if (NAME.test(lower)) return lower;
    if (!/^\p{L}/u.test(name)) throw new DefinitionError('a name is expected to begin with a letter', position);
    const wrong = [...name].findIndex((character) => !/[\p{L}\p{Nd}_]/u.test(character));
    throw new DefinitionError(
      "a name is expected to have letters, digits and '_' only",
      position + [...name].slice(0, Math.max(wrong, 0)).join('').length,
    );
  }

  private checkForm({ type, name, size }: Field, start: number, sizeAt: number, nameAt: number): void {
    const isMove = MOVES.has(type);
    if ((isMove || type === 'val') && size !== undefined)
      throw new DefinitionError(`'${type}' cannot be an array`, sizeAt - 1);
    if (isMove && name) throw new DefinitionError(`'${type}' has no name: ';' is expected`, nameAt);
    if (type === 'val' && !name) throw new DefinitionError("'val' is expected with a name", start);
  }

  private declare(field: Field, position: number): void {
    const { fields, known, stored } = this.scope;
    fields.push(field);
    if (!field.name) return;
    if (known.has(field.name)) throw new DefinitionError(`there is a field '${shown(field.name)}' already`, position);
    known.set(field.name, field);
    const storedName = isArray(field) ? listName(field.name) : field.name;
    if (stored.has(storedName))
      throw new DefinitionError(`another field is stored as '${shown(storedName)}' too`, position);
    stored.add(storedName);
  }

  private open(field: Field, start: number): void {
    if (this.scopes.length > MAX_NESTING)
      throw new DefinitionError(`at most ${MAX_NESTING} structures within each other are expected`, start);
    this.scopes.push({ ...newScope(start), fields: field.fields as Field[] });
  }

  private close(): void {
    const closed = this.scope;
    if (closed === this.scopes[0]) throw new DefinitionError("'}' closes no structure", this.at);
    this.scopes.pop();
    this.at++;
    const structure = this.scope.fields.at(-1) as Field;
    structure.members = closed.known;
    if (structure.size === 'rest') this.endReached = true;
    // As in JBBP the fields of a structure without a name count as fields of what is around it.
    if (!structure.name) for (const [name, field] of closed.known) this.scope.known.set(name, field);
  }

  private blank(): void {
    BLANK.lastIndex = this.at;
    BLANK.exec(this.format);
    this.at = BLANK.lastIndex;
  }

  /** Up to a blank, comment, bracket or ';'. Blanks belong to it within round brackets. */
  private word(): string {
    const start = this.at;
    let depth = 0;
    for (; this.at < this.format.length; this.at++) {
      const character = this.format[this.at] as string;
      if (';[]{}'.includes(character)) break;
      if (depth <= 0 && (/[ \t\n\v\f\r]/.test(character) || this.format.startsWith('//', this.at))) break;
      if (character === '(') depth++;
      if (character === ')') depth--;
    }
    if (depth > 0) throw new DefinitionError("')' is expected", this.at);
    return this.format.slice(start, this.at);
  }

  /** What is between '[' and ']', when there is one. */
  private bracket(): string | undefined {
    if (this.format[this.at] !== '[') return undefined;
    const start = ++this.at;
    while (this.at < this.format.length && !'[]{};'.includes(this.format[this.at] as string)) this.at++;
    if (this.format[this.at] !== ']') throw new DefinitionError("']' is expected", this.at);
    return this.format.slice(start, this.at++);
  }
}

/** Strings have a size and are no arrays. */
export function isArray(field: Field): boolean {
  return field.size !== undefined && !STRING_TYPES.has(field.type);
}

/** Name of an array in stored messages (manual 11.3.2.2). */
export function listName(name: string): string {
  return `${name}_list`;
}

function newScope(start: number): Scope {
  return { fields: [], known: new Map(), stored: new Set(), start };
}

/** Messages go to people: not 16 KiB of what they wrote. */
function shown(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
