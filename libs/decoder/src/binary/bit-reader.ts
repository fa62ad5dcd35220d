import { DecodingError } from '../decoding.js';
import type { Value } from './field-types.js';

/**
 * Most work that one payload may cause: elements of arrays, and per element of a structure its fields and the terms of
 * their expressions. Takes some milliseconds. Payloads of devices need far less; formats of attackers ask for more.
 */
export const MAX_STEPS = 50_000;

const bits32 = new Uint32Array(1);
const asFloat = new Float32Array(bits32.buffer);
const bits64 = new Uint32Array(2);
const asDouble = new Float64Array(bits64.buffer);
const lowWordFirst = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/**
 * Reads a payload from its first to its last bit. Within a byte the lowest bit comes first; what follows an incomplete
 * group of bits is read across the border of the bytes (JBBP's order LSB0).
 */
export class BitReader {
  /** Index of the next byte. */
  private at = 0;
  /** How many bits of that byte are already read, 0 to 7. */
  private bit = 0;
  /** Index of the byte at which `$$` is 0. */
  private zero = 0;
  private steps = MAX_STEPS;
  /** Values of the fields that expressions use, by slot; undefined when not read yet. */
  readonly values: (Value | undefined)[] = [];

  constructor(private readonly bytes: Uint8Array) {}

  /** `$$`: bytes read since the start, or since `reset$$`. */
  get counter(): number {
    return this.at - this.zero;
  }

  get remainingBits(): number {
    return (this.bytes.length - this.at) * 8 - this.bit;
  }

  resetCounter(): void {
    this.alignByte();
    this.zero = this.at;
  }

  /** Accounts for work that no byte of the payload limits. */
  charge(steps: number): void {
    this.steps -= steps;
    if (this.steps < 0) throw new DecodingError(`more than ${MAX_STEPS} values in one payload`);
  }

  need(bits: number): void {
    if (bits > this.remainingBits)
      throw new DecodingError(
        `the payload ends: ${text(bits)} needed from byte ${this.at} on, ${text(this.remainingBits)} left`,
      );
  }

  skipBits(bits: number): void {
    this.need(bits);
    const passed = this.bit + bits;
    this.at += Math.floor(passed / 8);
    this.bit = passed % 8;
  }

  /** Drops the rest of an incomplete byte, then bytes until `$$` is a multiple. Below 1: the former only. */
  align(multiple: number): void {
    this.alignByte();
    if (multiple > 0) this.skipBits(((multiple - (this.counter % multiple)) % multiple) * 8);
  }

  /** @param width 1 to 8 */
  bits(width: number): number {
    this.need(width);
    const { at, bit } = this;
    // The byte after the last one is undefined, which is 0 in bit operations.
    const value = ((this.bytes[at] as number) | ((this.bytes[at + 1] as number) << 8)) >> bit;
    this.at = at + ((bit + width) >> 3);
    this.bit = (bit + width) & 7;
    return value & ((1 << width) - 1);
  }

  uint8(): number {
    if (this.bit !== 0) return this.bits(8);
    const { bytes, at } = this;
    if (at >= bytes.length) this.need(8);
    this.at = at + 1;
    return bytes[at] as number;
  }

  uint16(): number {
    this.need(16);
    return (this.uint8() << 8) | this.uint8();
  }

  uint16LittleEndian(): number {
    this.need(16);
    return this.uint8() | (this.uint8() << 8);
  }

  int32(): number {
    const { bytes, at } = this;
    if (this.bit === 0 && at + 4 <= bytes.length) {
      this.at = at + 4;
      return (
        ((bytes[at] as number) << 24) |
        ((bytes[at + 1] as number) << 16) |
        ((bytes[at + 2] as number) << 8) |
        (bytes[at + 3] as number)
      );
    }
    this.need(32);
    return (this.uint16() << 16) | this.uint16();
  }

  int32LittleEndian(): number {
    this.need(32);
    return this.uint16LittleEndian() | (this.uint16LittleEndian() << 16);
  }

  int64(): number | bigint {
    this.need(64);
    const high = this.int32();
    return integer(high, this.int32() >>> 0);
  }

  int64LittleEndian(): number | bigint {
    this.need(64);
    const low = this.int32LittleEndian() >>> 0;
    return integer(this.int32LittleEndian(), low);
  }

  float(): number | null {
    return float(this.int32());
  }

  floatLittleEndian(): number | null {
    return float(this.int32LittleEndian());
  }

  double(): number | null {
    this.need(64);
    const high = this.int32();
    return double(high, this.int32());
  }

  doubleLittleEndian(): number | null {
    this.need(64);
    const low = this.int32LittleEndian();
    return double(this.int32LittleEndian(), low);
  }

  /** A view where possible: not to be kept. */
  take(length: number): Buffer {
    this.need(length * 8);
    if (this.bit !== 0) {
      const taken = Buffer.allocUnsafe(length);
      for (let i = 0; i < length; i++) taken[i] = this.bits(8);
      return taken;
    }
    const { buffer, byteOffset } = this.bytes;
    this.at += length;
    return Buffer.from(buffer, byteOffset + this.at - length, length);
  }

  /** The byte so many bytes ahead, undefined behind the end. */
  peek(ahead: number): number | undefined {
    const { at, bit } = this;
    if ((ahead + 1) * 8 > this.remainingBits) return undefined;
    return (((this.bytes[at + ahead] as number) | ((this.bytes[at + ahead + 1] as number) << 8)) >> bit) & 0xff;
  }

  private alignByte(): void {
    if (this.bit === 0) return;
    this.at += 1;
    this.bit = 0;
  }
}

function text(bits: number): string {
  const [count, unit] = bits % 8 === 0 ? [bits / 8, 'byte'] : [bits, 'bit'];
  return count === 1 ? `1 ${unit}` : `${count} ${unit}s`;
}

/** A number while a double can carry it. */
function integer(high: number, low: number): number | bigint {
  if (high >= -0x20_0000 && high < 0x20_0000) {
    const value = high * 2 ** 32 + low;
    if (Number.isSafeInteger(value)) return value;
  }
  return (BigInt(high) << 32n) | BigInt(low);
}

/** JSON carries neither NaN nor infinities. */
function double(high: number, low: number): number | null {
  bits64[lowWordFirst ? 1 : 0] = high;
  bits64[lowWordFirst ? 0 : 1] = low;
  const value = asDouble[0] as number;
  return Number.isFinite(value) ? value : null;
}

/** The shortest decimal that no other single-precision number is nearer to: 25.87, not 25.8700008392334. */
function float(bits: number): number | null {
  bits32[0] = bits;
  const value = asFloat[0] as number;
  if (!Number.isFinite(value)) return null;
  const size = Math.abs(value);
  // Below 2^24 neighbours differ by 1 at most, so that the shortest is the one with the fewest decimals.
  if (size >= 1e-3 && size < 2 ** 24)
    for (let scale = 1; scale <= 1e12; scale *= 10) {
      const rounded = Math.round(size * scale) / scale;
      if (Math.fround(rounded) === size) return value < 0 ? -rounded : rounded;
    }
  // Six digits always tell which of two comes first, except close to 0, where numbers have fewer bits.
  for (let digits = size < 2 ** -126 ? 1 : 6; digits < 9; digits++) {
    const rounded = Number(value.toPrecision(digits));
    if (Math.fround(rounded) === value) return rounded;
  }
  return Number(value.toPrecision(9));
}
