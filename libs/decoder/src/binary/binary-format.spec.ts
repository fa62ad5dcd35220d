import { readFileSync } from 'node:fs';
import { fuzzDecoders } from '../../../../tools/fuzz/decoders-fuzz.mjs';
import { DecodingError, DefinitionError } from '../decoding.js';
import { compileBinaryFormat } from './binary-format.js';

/**
 * What a format makes of a payload. `observed`: JBBP 2.0.6 does the same; `differs`: why it does not, where it was
 * tried. Integers above 2^53-1 are written as text ending in n.
 */
interface Vector {
  format: string;
  /** Hexadecimal. */
  payload: string;
  expected?: unknown;
  error?: 'format' | 'payload';
  position?: number;
  message?: string;
  observed: boolean;
  differs?: string;
}

const VECTORS = JSON.parse(readFileSync(new URL('testing/vectors.json', import.meta.url), 'utf8')) as {
  behaviour: string;
  vectors: Vector[];
}[];

function asJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? `${item}n` : item));
}

/** Text to compare: what was decoded, or which error came with which position or message. */
function outcome({ format, payload }: Vector): string {
  try {
    const compiled = compileBinaryFormat(format);
    return asJson(compiled.decode(Buffer.from(payload, 'hex')));
  } catch (error) {
    if (error instanceof DefinitionError) return `format, position ${error.position}`;
    if (error instanceof DecodingError) return `payload, ${error.message}`;
    throw error;
  }
}

function expectation({ expected, error, position, message }: Vector): string {
  if (error === 'format') return `format, position ${position}`;
  return error === 'payload' ? `payload, ${message}` : asJson(expected);
}

function stored(format: string, payload: string): string {
  return asJson(compileBinaryFormat(format).decodeForMessage(Buffer.from(payload, 'hex')));
}

function refusal(format: string): string {
  try {
    compileBinaryFormat(format);
  } catch (error) {
    if (error instanceof DefinitionError) return error.message;
    throw error;
  }
  return '';
}

describe('Binary formats', () => {
  for (const { behaviour, vectors } of VECTORS)
    it(behaviour, () => {
      const outcomes = vectors.map((vector) => `${vector.format} on ${vector.payload}: ${outcome(vector)}`);
      expect(outcomes).toEqual(
        vectors.map((vector) => `${vector.format} on ${vector.payload}: ${expectation(vector)}`),
      );
    });

  it('DEC-017 DEC-018 DEC-029 calls arrays <name>_list in messages', () => {
    const frame =
      'byte is_led_on;float pressure;float temperature;float altitude;ubyte battery_lvl;byte[6] raw_gps;' +
      'ushort altitude_gps;';
    expect(stored(frame, '00447CE00041CEF5C345CAB8CD38000000000000FFFF')).toBe(
      '{"is_led_on":0,"pressure":1011.5,"temperature":25.87,"altitude":6487.1,"battery_lvl":56,' +
        '"raw_gps_list":[0,0,0,0,0,0],"altitude_gps":65535}',
    );
    const measures = 'float pi;measure[2]{int length;utf8 [length] name;float value;}';
    const payload =
      '4048F5C3' +
      '0000000BC2A955544638537472696E6741480000' +
      '00000012C2A9616E6F7468657255544638537472696E67447D4000';
    expect(stored(measures, payload)).toBe(
      '{"pi":3.14,"measure_list":[{"length":11,"name":"©UTF8String","value":12.5},' +
        '{"length":18,"name":"©anotherUTF8String","value":1013}]}',
    );
    expect(stored('bool d; bool e;', '0001')).toBe('{"d":false,"e":true}');
    expect(stored('bool[3] f;', '000102')).toBe('{"f_list":[false,true,true]}');
  });

  it('calls arrays <name>_list at any depth, but no strings', () => {
    expect(stored('ubyte n; s[n]{ubyte a;} ubyte[_] r;', '00')).toBe('{"n":0,"s_list":[],"r_list":[]}');
    expect(stored('s[1]{utf8[2] t; a{bit:4[2] b;}}', '414221')).toBe('{"s_list":[{"t":"AB","a":{"b_list":[1,2]}}]}');
    expect(stored('ubyte[2] n; asciichar[_] t;', '010241')).toBe('{"n_list":[1,2],"t":"A"}');
  });

  it('decodes each payload on its own, whatever the one before held', () => {
    const compiled = compileBinaryFormat('ubyte k; [k]{ubyte n;} ubyte[n] x;');
    expect(asJson(compiled.decode(Buffer.from('0102AABB', 'hex')))).toBe('{"k":1,"x":[170,187]}');
    expect(() => compiled.decode(Buffer.from('00AABB', 'hex'))).toThrow(DecodingError);
  });

  it('keeps what it decoded when the payload is overwritten', () => {
    const payload = Buffer.from('4142', 'hex');
    const decoded = compileBinaryFormat('asciichar[2] a;').decode(payload);
    payload.fill(0);
    expect(asJson(decoded)).toBe('{"a":"AB"}');
  });

  it('reads from where a payload begins in the memory that it shares', () => {
    const shared = Buffer.from('FFFF4142FF', 'hex');
    expect(asJson(compileBinaryFormat('utf8[_] a;').decode(shared.subarray(2, 4)))).toBe('{"a":"AB"}');
  });

  it('gives objects without a prototype', () => {
    const { a, constructor } = compileBinaryFormat('a{ubyte b;} ubyte constructor;').decode(Buffer.of(1, 2));
    expect(Object.getPrototypeOf(a)).toBeNull();
    expect(constructor).toBe(2);
  });

  it('refuses formats that are too long, too deep or too wide', () => {
    expect(refusal(`ubyte a; //${' '.repeat(17_000)}`)).toMatch(/at most 16384/);
    expect(refusal('s{'.repeat(40))).toMatch(/at most 32 structures/);
    expect(refusal('bit;'.repeat(1001))).toMatch(/at most 1000 fields/);
    expect(refusal(`s[_]{ ubyte ${'é'.repeat(257)}; }`)).toMatch(/at most 256 characters/);
    expect(refusal(`ubyte ${'é'.repeat(256)};`)).toBe('');
    expect(refusal('ubyte[50001] a;')).toMatch(/from 1 to 50000/);
    expect(refusal(`ubyte[${'('.repeat(40)}1${')'.repeat(40)}] a;`)).toMatch(/at most 32 brackets/);
    expect(refusal(`ubyte[${'1+'.repeat(300)}1] a;`)).toMatch(/at most 200 operands/);
    expect(refusal('bit;'.repeat(1000))).toBe('');
  });

  it('ends decoding that no payload could bound', () => {
    const decode = (format: string) => () => compileBinaryFormat(format).decode(Buffer.alloc(100_000, 255));
    expect(decode('ubyte n; s[n*8421504]{val:1 x;}')).toThrow(/more than 50000 values/);
    expect(decode('s[50000]{val:1 x;}')).toThrow(/more than 50000 values/);
    expect(decode('a[2000]{b[2000]{}}')).toThrow(/more than 50000 values/);
    expect(decode('bit[_] a;')).toThrow(/more than 50000 values/);
    expect(decode('s[_]{val:1 x;}')).toThrow(/without a byte/);
  });

  it('ends with a result or one of its two errors, whatever format and payload are', () => {
    const decoders = { compileBinaryFormat, DecodingError, DefinitionError };
    // Jest makes the same code many times slower: `npm run fuzz:decoders` measures it.
    const counts = fuzzDecoders(decoders, { seed: 7, formats: 3000, maxMs: 1000 });
    expect(counts.decoded).toBeGreaterThan(1000);
    expect(counts.undecodable).toBeGreaterThan(1000);
    expect(counts.refused).toBeGreaterThan(500);
  });
});
