import { DecodingError, type DecodedFields } from '../decoding.js';
import type { BitReader } from './bit-reader.js';
import type { Expression } from './expression.js';
import { BIT_TYPES, FIELD_TYPES, READ_REST, STRING_TYPES, type FieldType, type Value } from './field-types.js';
import { isArray, listName, type Field, type Size } from './format-parser.js';

type Read<T> = (reader: BitReader) => T;

/** Reads one field and puts its value, when it has a name, among those of its structure. */
type FieldReader = (reader: BitReader, fields: DecodedFields) => void;

/** Tells in which field it happened. */
class FieldError extends Error {
  constructor(
    readonly path: string,
    readonly reason: string,
  ) {
    super(`${path}: ${reason}`);
  }
}

/** @param lists whether arrays are called `<name>_list` */
export function structureReader(fields: readonly Field[], lists: boolean): Read<DecodedFields> {
  const readers = fields.map((field) => fieldReader(field, lists));
  return (reader) => {
    const decoded = Object.create(null) as DecodedFields;
    let i = 0;
    try {
      for (; i < readers.length; i++) (readers[i] as FieldReader)(reader, decoded);
    } catch (error) {
      throw located(error, fields[i] as Field);
    }
    return decoded;
  };
}

function located(error: unknown, { name, type, fields }: Field): unknown {
  const own = name ?? (fields ? 'a structure without name' : `a '${type}' without name`);
  if (error instanceof FieldError) return new FieldError(`${own}.${error.path}`, error.reason);
  if (error instanceof DecodingError) return new FieldError(own, error.message);
  return error;
}

/** @throws DecodingError that names the field */
export function readWhole(read: Read<DecodedFields>, reader: BitReader): DecodedFields {
  try {
    return read(reader);
  } catch (error) {
    if (error instanceof FieldError) throw new DecodingError(error.message);
    throw error;
  }
}

function fieldReader(field: Field, lists: boolean): FieldReader {
  const { name, slot } = field;
  if (field.type === 'skip') {
    const bytes = parameter(field, 1);
    return (reader) => reader.skipBits(Math.max(bytes(reader), 0) * 8);
  }
  if (field.type === 'align') {
    const multiple = parameter(field, 1);
    return (reader) => reader.align(multiple(reader));
  }
  if (field.type === 'reset$$') return (reader) => reader.resetCounter();

  const read = valueReader(field, lists);
  if (name === undefined) return (reader) => void read(reader);
  const key = lists && isArray(field) ? listName(name) : name;
  if (slot === undefined) return (reader, fields) => void (fields[key] = read(reader));
  return (reader, fields) => {
    const value = read(reader);
    fields[key] = value;
    reader.values[slot] = value as Value;
  };
}

function valueReader(field: Field, lists: boolean): Read<unknown> {
  const { type, size, fields } = field;
  if (fields) return structure(field, fields, lists);
  if (type === 'val') return parameter(field, 0);
  const readCharacters = STRING_TYPES.get(type);
  if (readCharacters) {
    if (size === 'rest') return READ_REST.get(type) as Read<string>;
    const length = sizeReader(size ?? 1);
    return (reader) => readCharacters(reader, length(reader));
  }
  const fixed = type === 'bit' ? undefined : (FIELD_TYPES.get(type) as FieldType);
  const read = fixed ? (field.littleEndian && fixed.readLittleEndian) || fixed.read : undefined;
  if (fixed && read) {
    if (size === undefined) return read;
    const reversed = field.littleEndian && (type === 'byte' || type === 'ubyte');
    const all = arrayReader(size, type === 'bool');
    return (reader) => {
      const values = all(reader, fixed.bits, read);
      return reversed ? values.toReversed() : values;
    };
  }
  const width = parameter(field, 1);
  const all = size === undefined ? undefined : arrayReader(size);
  return (reader) => {
    const bits = width(reader);
    const group = BIT_TYPES[bits];
    if (bits < 1 || !group) throw new DecodingError(`it has ${bits} bits, 1 to 8 are expected`);
    return all ? all(reader, bits, group.read) : group.read(reader);
  };
}

function arrayReader(size: Size, isBool = false): (reader: BitReader, bits: number, read: Read<Value>) => Value[] {
  if (size === 'rest')
    return (reader, bits, read) => {
      const values = repeat(reader, Math.floor(reader.remainingBits / bits), read);
      const left = reader.remainingBits;
      // As in JBBP the last one of bytes or bit groups may lack bits.
      if (left > 0 && bits <= 8) values.push(isBool ? reader.bits(left) !== 0 : reader.bits(left));
      else if (left > 0) reader.need(bits);
      return values;
    };
  const length = sizeReader(size);
  return (reader, bits, read) => {
    const count = length(reader);
    reader.need(count * bits);
    return repeat(reader, count, read);
  };
}

function repeat<T>(reader: BitReader, count: number, read: Read<T>): T[] {
  reader.charge(count);
  const values: T[] = [];
  for (let i = 0; i < count; i++) values.push(read(reader));
  return values;
}

function structure(field: Field, fields: readonly Field[], lists: boolean): Read<unknown> {
  const { size } = field;
  const read = structureReader(fields, lists);
  if (size === undefined) return read;
  const cost = costOf(fields);
  if (size === 'rest')
    return (reader) => {
      const values: DecodedFields[] = [];
      for (let left = reader.remainingBits; left > 0; left = reader.remainingBits) {
        reader.charge(cost);
        values.push(read(reader));
        if (reader.remainingBits === left) throw new DecodingError('an element without a byte would have no end');
      }
      return values;
    };
  const length = sizeReader(size);
  return (reader) => {
    const count = length(reader);
    // Beforehand: elements may have no bytes, so that the payload does not limit them.
    reader.charge(count * cost);
    const values: DecodedFields[] = [];
    for (let i = 0; i < count; i++) values.push(read(reader));
    return values;
  };
}

/** Steps of one pass over the fields, without the elements of arrays in it, which pay for themselves. */
function costOf(fields: readonly Field[]): number {
  let cost = 1;
  for (const { parameter, size, fields: inner } of fields) {
    cost += 1 + operands(parameter) + operands(size);
    if (inner && size === undefined) cost += costOf(inner);
  }
  return cost;
}

function operands(value: Size | undefined): number {
  return typeof value === 'object' ? value.operands : 0;
}

function parameter({ parameter: given }: Field, otherwise: number): Read<number> {
  if (typeof given === 'object') return given.evaluate;
  const value = given ?? otherwise;
  return () => value;
}

function sizeReader(size: number | Expression): Read<number> {
  if (typeof size === 'number') return () => size;
  return (reader) => {
    const count = size.evaluate(reader);
    if (count < 0) throw new DecodingError(`its size is ${count}, 0 or more is expected`);
    return count;
  };
}
