import { type DecodedFields, DecodingError, DefinitionError } from '../decoding.js';
import { compileCsv, type CsvColumn, type CsvOptions } from './csv.js';

/** Columns a, b, c ... of types by their first letters, such as `SNB`. */
function columns(types: string): CsvColumn[] {
  const names = { S: 'STRING', N: 'NUMERIC', B: 'BOOLEAN' } as const;
  return [...types].map((type, i) => ({
    name: String.fromCodePoint(97 + i),
    jsonType: names[type as keyof typeof names],
  }));
}

const decode = (types: string, payload: string, options?: Partial<CsvOptions>): DecodedFields =>
  compileCsv({ columns: columns(types), options }).decode(payload);

describe('CSV decoders', () => {
  it('DEC-038 read texts, signed numbers and booleans', () => {
    expect(decode('SNB', 'été,-12.5,true')).toEqual({ a: 'été', b: -12.5, c: true });
    expect(decode('SNB', 'x,9,false')).toEqual({ a: 'x', b: 9, c: false });
    expect(decode('NNNNN', '+1,-.5,1e3,2.,1.5E-2')).toEqual({ a: 1, b: -0.5, c: 1000, d: 2, e: 0.015 });
    expect(decode('SNB', '😀,\t4 , true ')).toEqual({ a: '😀', b: 4, c: true });
  });

  it.each([
    ['SNB', 'a,b,true', /column b: expected a number, not "b"/],
    ['SNB', 'a,1,yes', /column c: expected true or false, not "yes"/],
    ['SNB', 'a,1,TRUE', /column c/],
    ['SNB', 'a,1', /expected 3 values in the row, found 2/],
    ['SNB', 'a,1,true,', /expected 3 values in the row, found more/],
    ['SNB', '\na,1,true', /found 1/],
    ['S', '', /empty/],
    ['N', ' ', /expected a number/],
    ['NN', '1,', /column b/],
    ['N', '0x10', /number/],
    ['N', 'NaN', /number/],
    ['N', '-Infinity', /number/],
    ['N', '1e999', /number/],
    ['N', '1 2', /number/],
    ['N', '٣', /number/],
    ['SS', '"a,b', /expected " at the end of the value that begins at character 0/],
    ['SS', 'a,"b"c', /expected a separator after the quote, at character 5/],
    ['SS', '"a" ,b', /expected a separator after the quote, at character 3/],
  ])('do not decode, with columns %s, %j', (types, payload, message) => {
    expect(() => decode(types, payload)).toThrow(DecodingError);
    expect(() => decode(types, payload)).toThrow(message);
  });

  it('DEC-041 honour quotes, and the escape character only when it is used', () => {
    expect(decode('SNB', '"pierre, dupont",25,true')).toEqual({ a: 'pierre, dupont', b: 25, c: true });
    expect(decode('SS', '"two\nlines","a ""word"""')).toEqual({ a: 'two\nlines', b: 'a "word"' });
    expect(decode('SNB', '"x","25","true"')).toEqual({ a: 'x', b: 25, c: true });
    expect(decode('SSS', `"",a"b",'c'`)).toEqual({ a: '', b: 'a"b"', c: "'c'" });
    expect(decode('SS', `'a,b',"c`, { quoteChar: "'" })).toEqual({ a: 'a,b', b: '"c' });
    const escaped = String.raw`a\,b,c`;
    expect(decode('SS', escaped, { useEscapeChar: true })).toEqual({ a: 'a,b', b: 'c' });
    expect(() => decode('SS', escaped)).toThrow(/expected 2 values in the row, found more/);
    expect(decode('SSS', escaped)).toEqual({ a: 'a\\', b: 'b', c: 'c' });
    const used = { useEscapeChar: true };
    expect(decode('SS', String.raw`"a\"b\\",\"c\😀`, used)).toEqual({ a: 'a"b\\', b: '"c😀' });
    expect(decode('SS', 'a^,b,c\\', { ...used, escapeChar: '^' })).toEqual({ a: 'a,b', b: 'c\\' });
    expect(decode('SS', 'a,b\\', used)).toEqual({ a: 'a', b: 'b' });
    expect(decode('SS', 'a\\\nb,c\nd', used)).toEqual({ a: 'a\nb', b: 'c' });
  });

  it('DEC-042 decode the first row only', () => {
    expect(decode('SNB', 'pierre,35,true\nmarie,25,false')).toEqual({ a: 'pierre', b: 35, c: true });
    const manual = { columnSeparator: '|', quoteChar: '"', lineFeedSeparator: '/r/n' };
    const row = { a: 'celsius', b: 25, c: true };
    expect(decode('SNB', 'celsius|25|true/r/nfahrenheit|77|"', manual)).toEqual(row);
    expect(decode('SNB', '"celsius"|25|true/r/n', manual)).toEqual(row);
    expect(decode('SS', 'a/r|b\nc', manual)).toEqual({ a: 'a/r', b: 'b\nc' });
    expect(decode('SS', 'a,b\r\nc,d')).toEqual({ a: 'a', b: 'b' });
    expect(decode('SS', 'a,"b"\r\nc,d')).toEqual({ a: 'a', b: 'b' });
    expect(decode('SS', '"a",b\r\n"')).toEqual({ a: 'a', b: 'b' });
    expect(decode('SS', 'a,b\r', { lineFeedSeparator: '\r' })).toEqual({ a: 'a', b: 'b' });
  });

  it('DEC-043 keep white space, or remove it', () => {
    expect(decode('SS', ' a , b ')).toEqual({ a: ' a ', b: ' b ' });
    expect(decode('SS', ' a , b ', { skipWhiteSpace: true })).toEqual({ a: 'a', b: 'b' });
    expect(decode('SS', ' "a, " \t, " b" \n', { skipWhiteSpace: true })).toEqual({ a: 'a,', b: 'b' });
    expect(decode('SSS', 'a\t\t"b" ', { skipWhiteSpace: true, columnSeparator: '\t' })).toEqual({
      a: 'a',
      b: '',
      c: 'b',
    });
  });

  it('DEC-045 give doubles for numbers, and exact digits in texts', () => {
    const decoded = decode('NNSN', '2147483648,9007199254740997,9007199254740997,-9223372036854775808');
    expect(decoded).toEqual({ a: 2.147483648e9, b: 9.007199254740996e15, c: '9007199254740997', d: -(2 ** 63) });
  });

  it('keep the defaults of options that are not given', () => {
    expect(decode('SNB', 'celsius|25|true\n', { columnSeparator: '|' })).toEqual({ a: 'celsius', b: 25, c: true });
    expect(decode('S', '"a|b"', { columnSeparator: '|' })).toEqual({ a: 'a|b' });
    expect(decode('SS', '😀a😀|b', { columnSeparator: '|', quoteChar: '😀' })).toEqual({ a: 'a', b: 'b' });
  });

  it.each([
    ['options.columnSeparator: expected one character', { columnSeparator: ';;' }],
    ['options.columnSeparator: expected one character', { columnSeparator: '' }],
    ['options.quoteChar: expected one character', { quoteChar: '' }],
    ['options.escapeChar: expected one character', { useEscapeChar: true, escapeChar: 'ab' }],
    ['options.lineFeedSeparator: expected 1 to 10', { lineFeedSeparator: '' }],
    ['options.lineFeedSeparator: expected 1 to 10', { lineFeedSeparator: 'x'.repeat(11) }],
    ['options.quoteChar: expected another character than columnSeparator', { quoteChar: ',' }],
    ['options.escapeChar: expected another character than quoteChar', { useEscapeChar: true, escapeChar: '"' }],
    ['options.lineFeedSeparator: expected another first character than columnSeparator', { columnSeparator: '\n' }],
    ['options.lineFeedSeparator: expected another first character than quoteChar', { lineFeedSeparator: '""' }],
  ])('refuse %s', (message, options) => {
    expect(() => decode('SS', 'a,b', options)).toThrow(DefinitionError);
    expect(() => decode('SS', 'a,b', options)).toThrow(message);
  });

  it('refuse columns that cannot be fields', () => {
    const compile = (...named: string[]) =>
      compileCsv({ columns: named.map((name) => ({ name, jsonType: 'STRING' as const })) });
    expect(() => compile()).toThrow('columns: expected 1 to 1000 columns');
    expect(() => compile(...Array.from({ length: 1001 }, (_, i) => `c${i}`))).toThrow('1 to 1000 columns');
    expect(() => compile('a', '')).toThrow('columns[1].name: expected 1 to 256 characters');
    expect(() => compile('a', 'b.c')).toThrow('columns[1].name: expected a name without dots');
    expect(() => compile('__proto__')).toThrow('columns[0].name');
    expect(() => compile('a', 'b', 'a')).toThrow('columns[2].name: another column is named a');
    expect(() => compileCsv({ columns: [{ name: 'a', jsonType: 'DATE' as 'STRING' }] })).toThrow(
      'columns[0].jsonType: expected one of STRING, NUMERIC, BOOLEAN',
    );
    expect(compile('constructor', 'é à').decode('1,2')).toEqual({ constructor: '1', 'é à': '2' });
  });

  it('end in time with huge payloads', () => {
    const started = process.cpuUsage();
    const used = { useEscapeChar: true, skipWhiteSpace: true };
    for (const piece of ['1', ',', '"', '""', '\\', ' ', '\n', '\r', 'a,', '" ', '",'])
      for (const options of [{}, used])
        for (const types of ['N', 'SS'])
          try {
            decode(types, piece.repeat(1_000_000 / piece.length), options);
          } catch (error) {
            expect(error).toBeInstanceOf(DecodingError);
            expect((error as Error).message.length).toBeLessThan(300);
          }
    expect(process.cpuUsage(started).user).toBeLessThan(10_000_000);
  });
});
