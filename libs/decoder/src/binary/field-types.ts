import { DecodingError } from '../decoding.js';
import type { BitReader } from './bit-reader.js';

export type Value = number | bigint | boolean | string | null;

/** A type of fixed width. */
export interface FieldType {
  bits: number;
  read: (reader: BitReader) => Value;
  /** When its bytes come in the opposite order; without it the order means nothing to one value. */
  readLittleEndian?: (reader: BitReader) => Value;
  /** The value in expressions, which calculate with signed 32 bits. */
  toInt: (value: Value) => number;
}

const same = (value: Value) => value as number;

const NUMBERS: Record<string, FieldType> = {
  bool: { bits: 8, read: (reader) => reader.uint8() !== 0, toInt: Number },
  byte: { bits: 8, read: (reader) => (reader.uint8() << 24) >> 24, toInt: same },
  ubyte: { bits: 8, read: (reader) => reader.uint8(), toInt: same },
  short: {
    bits: 16,
    read: (reader) => (reader.uint16() << 16) >> 16,
    readLittleEndian: (reader) => (reader.uint16LittleEndian() << 16) >> 16,
    toInt: same,
  },
  ushort: {
    bits: 16,
    read: (reader) => reader.uint16(),
    readLittleEndian: (reader) => reader.uint16LittleEndian(),
    toInt: same,
  },
  int: {
    bits: 32,
    read: (reader) => reader.int32(),
    readLittleEndian: (reader) => reader.int32LittleEndian(),
    toInt: same,
  },
  uint: {
    bits: 32,
    read: (reader) => reader.int32() >>> 0,
    readLittleEndian: (reader) => reader.int32LittleEndian() >>> 0,
    toInt: within32Bits,
  },
  long: {
    bits: 64,
    read: (reader) => reader.int64(),
    readLittleEndian: (reader) => reader.int64LittleEndian(),
    toInt: (value) => Number(BigInt.asIntN(32, BigInt(value as number))),
  },
  float: {
    bits: 32,
    read: (reader) => reader.float(),
    readLittleEndian: (reader) => reader.floatLittleEndian(),
    toInt: within32Bits,
  },
  double: {
    bits: 64,
    read: (reader) => reader.double(),
    readLittleEndian: (reader) => reader.doubleLittleEndian(),
    toInt: within32Bits,
  },
};

/** By name, in lower case. */
export const FIELD_TYPES: ReadonlyMap<string, FieldType> = new Map(Object.entries(NUMBERS));

/** Groups of bits, by their width. */
export const BIT_TYPES: readonly FieldType[] = Array.from({ length: 9 }, (_, width) => ({
  bits: width,
  read: (reader) => reader.bits(width),
  toInt: same,
}));

/** Strings, whose length counts characters. Bytes that are no character become U+FFFD. */
export const STRING_TYPES: ReadonlyMap<string, (reader: BitReader, characters: number) => string> = new Map([
  ['utf8', utf8],
  ['asciichar', (reader, characters) => ascii(reader.take(characters))],
]);

/** What is left of the payload, as a string. */
export const READ_REST: ReadonlyMap<string, (reader: BitReader) => string> = new Map([
  ['utf8', (reader) => rest(reader).toString('utf8')],
  ['asciichar', (reader) => ascii(rest(reader))],
]);

function rest(reader: BitReader): Buffer {
  return reader.take(Math.floor(reader.remainingBits / 8));
}

function within32Bits(value: Value): number {
  if (value === null) throw new DecodingError('it is no number that an expression could use');
  const rounded = Math.round(value as number);
  if (rounded !== (rounded | 0)) throw new DecodingError(`${rounded} does not fit into the 32 bits of expressions`);
  return rounded;
}

function ascii(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/[\x80-\xff]/g, '\ufffd');
}

function utf8(reader: BitReader, characters: number): string {
  // Each takes a byte at least, which bounds the loop.
  reader.need(characters * 8);
  let length = 0;
  for (let i = 0; i < characters; i++) length += characterLength(reader, length);
  return reader.take(length).toString('utf8');
}

/** Bytes of the character that begins so many bytes ahead, or of the malformed piece that is decoded to one U+FFFD. */
function characterLength(reader: BitReader, ahead: number): number {
  const first = reader.peek(ahead);
  if (first === undefined) throw new DecodingError('the payload ends before the last character');
  if (first < 0xc2 || first > 0xf4) return 1;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  for (let i = 1; i < length; i++) {
    const next = reader.peek(ahead + i);
    if (next === undefined) throw new DecodingError('the payload ends within a character');
    // Overlong forms, surrogates and what is above U+10FFFF show at the second byte (Unicode, table 3-7).
    const lowest = i > 1 ? 0x80 : first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
    const highest = i > 1 ? 0xbf : first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
    if (next < lowest || next > highest) return i;
  }
  return length;
}
