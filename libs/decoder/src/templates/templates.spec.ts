import { compileBinaryFormat } from '../binary/binary-format.js';
import { DecodingError, type DecodedFields, DefinitionError } from '../decoding.js';
import { compileDecoderTemplate } from './decoder-template.js';
import { jsonText } from './json-text.js';
import { Output } from './output.js';

const render = (template: string, fields: DecodedFields): DecodedFields =>
  compileDecoderTemplate(template).render(fields);

function refusal(template: string): [string, number | undefined] {
  try {
    compileDecoderTemplate(template);
  } catch (error) {
    if (!(error instanceof DefinitionError)) throw error;
    return [error.message, error.position];
  }
  throw new Error('expected a refusal');
}

describe('templates of decoders', () => {
  const weather = { pressure: 10115, temperature: 2587, altitude: 64871, altitude_gps: 65535, battery: 56, led: 0 };
  const csv = { unit: 'celsius', code: '007', ok: true, no: false, degrees: '12.5' };

  it('TPL-004 leaves an expression that other text follows', () => {
    expect(render('{"Temperature":"{{temperature}}/100 celsius"}', weather)).toEqual({
      Temperature: '2587/100 celsius',
    });
  });

  it('TPL-005 evaluates a math section within text', () => {
    const template = '{"Temperature":"{{#math}}{{temperature}}/100{{/math}} celsius"}';
    expect(render(template, weather)).toEqual({ Temperature: '25.87 celsius' });
  });

  it('TPL-006 gives a number for a text of a math section only', () => {
    expect(render('{"Temperature":"{{#math}}{{temperature}}/100{{/math}}"}', weather)).toEqual({ Temperature: 25.87 });
  });

  it('TPL-007 gives a number for a text that is wholly an expression', () => {
    expect(render('{"Temperature":"{{temperature}}/100"}', weather)).toEqual({ Temperature: 25.87 });
    expect(render('{"Temperature":"{{temperature}} / 100"}', weather)).toEqual({ Temperature: 25.87 });
  });

  it('TPL-008 keeps text and boolean fields in quotes as text', () => {
    const template =
      '{"u":"{{unit}}","c":"{{code}}","o":"{{ok}}","x":"{{code}}/7","m":"{{#math}}{{degrees}}*2{{/math}}"}';
    expect(render(template, csv)).toEqual({ u: 'celsius', c: '007', o: 'true', x: '007/7', m: '25' });
  });

  it('TPL-009 keeps the type of a field without quotes, and evaluates an expression without quotes', () => {
    const fields = { pressure: 1013, temperature: 221 };
    const template = '{"pressure":{{pressure}}, "temperature" : {{temperature}}/10}';
    expect(render(template, fields)).toEqual({ pressure: 1013, temperature: 22.1 });
    const typed = '{"u":{{unit}},"c":{{code}},"o":{{ok}},"n":{{{no}}},"d": ({{degrees}}+1)*2 }';
    expect(render(typed, csv)).toEqual({ u: 'celsius', c: '007', o: true, n: false, d: 27 });
  });

  it.each([
    ['({{a}}-1)*{{b}}/4', 3],
    ['-{{a}}', -7],
    ['3--{{a}}', 10],
    ['{{a}} - {{minus}}', 9],
    ['{{a}}+{{b}}*2', 11],
    ['{{a}}/{{b}}/2', 1.75],
    ['.5*{{a}} + 1.25', 4.75],
    ['{{#math}}{{#math}}{{a}}+1{{/math}}*2{{/math}}', 16],
    ['{{a}}{{b}}', '72'],
    ['{{a}} {{b}}', '7 2'],
    ['{{a}}0', '70'],
    ['1{{a}}', '17'],
    ['{{a}}.5', '7.5'],
    ['{{a}},{{b}}', '7,2'],
    ['{{a}}**{{b}}', '7**2'],
    ['{{a}}-', '7-'],
    ['+33{{a}}', '+337'],
    ['10/2', '10/2'],
    ['2026-11-22', '2026-11-22'],
    ['{{a}} hPa', '7 hPa'],
    ['{{absent}} hPa', ' hPa'],
    ['{{absent}}', ''],
    ['{{nothing}}', ''],
    ['{{#a}}yes{{/a}}{{^absent}}, no{{/absent}}', 'yes, no'],
    ['{{#list}}{{#math}}{{.}}*2{{/math}};{{/list}}', '2;4;'],
    ['{{list}} {{hdr}} {{hdr.len}}', '[1,2] {"len":4,"id":9223372036854775807} 4'],
    ['{{list.1}}', 2],
  ])('"%s" gives %j', (text, result) => {
    const hdr = { len: 4, id: 9223372036854775807n };
    const fields = { a: 7, b: 2, minus: -2, nothing: null, list: [1, 2], hdr };
    expect(render(`{"x":"${text}"}`, fields)).toEqual({ x: result });
  });

  it.each(['"{{a}}/0"', '{{a}}/({{a}}-7)', '"{{#math}}{{a}}/0{{/math}} V"', '{{a}}*{{huge}}'])('%s fails', (value) => {
    expect(() => render(`{"x":${value}}`, { a: 7, huge: 1.7e308 })).toThrow(/divides by zero/);
  });

  it.each([
    '"{{absent}}/10"',
    '{{absent}}*2',
    '{{absent}}',
    '"{{#math}}{{absent}}{{/math}} V"',
    '"{{nothing}}+1"',
    '{{ok}}+1',
  ])('%s fails and names the field', (value) => {
    expect(() => render(`{"x":${value}}`, { nothing: null, ok: true })).toThrow(DecodingError);
    expect(() => render(`{"x":${value}}`, { nothing: null, ok: true })).toThrow(/"(absent|nothing|ok)"/);
  });

  it('TPL-011 converts to upper case', () => {
    expect(render('{"u":"{{#toUpperCase}}{{unit}}{{/toUpperCase}}"}', csv)).toEqual({ u: 'CELSIUS' });
    const mixed = '{"u":"{{#toUpperCase}}{{#math}}{{n}}/2{{/math}} {{unit}}{{/toUpperCase}} s"}';
    expect(render(mixed, { n: 5, unit: 'straße' })).toEqual({ u: '2.5 STRASSE s' });
  });

  it('TPL-012 converts to lower case', () => {
    const template = '{"u":"{{#toLowerCase}}{{unit}}{{/toLowerCase}}"}';
    expect(render(template, { unit: 'CELSIUS' })).toEqual({ u: 'celsius' });
  });

  it('TPL-015 renders arrays without quotes, and reaches fields of structures by dotted tags', () => {
    const fields = compileBinaryFormat('hdr{ubyte len;} byte[2] gps;').decode(Buffer.from('010203', 'hex'));
    expect(render('{"l":{{hdr.len}},"g":{{gps}}}', fields)).toEqual({ l: 1, g: [2, 3] });
  });

  it('keeps arrays, structures, constants and 64-bit integers', () => {
    const template =
      '{"g":{{gps}},"s":{{hdr}},"l":{{hdr.len}},"v":{{v}},"q":"{{v}}","t":"id {{v}}","c":[1,-2.5e3,true,null,"x",[],{}]}';
    const v = 9223372036854775807n;
    const rendered = render(template, { gps: [2, 3], hdr: { len: 1 }, v });
    const c = [1, -2500, true, null, 'x', [], {}];
    expect(rendered).toEqual({ g: [2, 3], s: { len: 1 }, l: 1, v, q: v, t: `id ${v}`, c });
    expect(jsonText(rendered)).toContain(
      '"v":9223372036854775807,"q":9223372036854775807,"t":"id 9223372036854775807"',
    );
    expect(render(' {\n } \n', {})).toEqual({});
  });

  it('takes values as they are, whatever characters they have', () => {
    const text = '"}, {{a}} \\ \u0000 é 😀 \u2028';
    const template = String.raw`{"q\"\u00e9":"\"{{text}}\"\n","plain":{{text}}}`;
    expect(render(template, { text, a: 1 })).toEqual({ 'q"é': `"${text}"\n`, plain: text });
  });

  it.each([
    ['must not contain a dot', 1, '{"field.with.dot": {{temperature}}/10}'],
    ['must not contain a dot', 6, '{"a":{"b.c":1}}'],
    ['must not contain a dot', 1, String.raw`{"a\u002eb":1}`],
    ['expected {', 0, ''],
    ['expected {', 0, '[1]'],
    ['expected {', 0, '"{{a}}"'],
    ['expected a name in double quotes', 1, '{a:1}'],
    ['expected a name in double quotes', 7, '{"a":1,}'],
    ['expected : after the name', 4, '{"a"}'],
    ['expected a value', 5, '{"a":}'],
    ['expected , or }', 9, '{"a":"x" "b":1}'],
    ['expected , or ]', 7, '{"a":[1'],
    ['expected the end of the template', 8, '{"a":1} x'],
    ['expected " at the end', 5, '{"a":"x}'],
    ['a control character', 5, '{"a":"x\ny"}'],
    ['a control character', 5, String.raw`{"a":"\x"}`],
    ['expected }} after {{', 5, '{"a":{{a'],
    ['tags', 1, '{"{{a}}":1}'],
    ['__proto__', 1, '{"__proto__":{{a}}}'],
    ['expected an expression', 11, '{"a":{{a}}/x}'],
    ['expected an expression', 5, '{"a":{{#toUpperCase}}{{a}}{{/toUpperCase}}}'],
    ['expected an expression', 5, '{"a":{{a}}{{b}}}'],
    ['expected an expression', 5, '{"a":nul}'],
    ['expected an expression', 23, '{"a":"x {{#math}}{{a}}+sin(1){{/math}}"}'],
    ['expected {{/math}}', 7, '{"a":"x{{#math}}1"}'],
    ['partials', 6, '{"a":"{{>a}}"}'],
    ['at most 20 levels', 24, `{"a":${'['.repeat(50)}`],
    ['at most 65536 characters', 65_536, ' '.repeat(65_537)],
    ['at most 1000 characters', 5, `{"a":${'('.repeat(2000)}1}`],
    ['at most 1000 characters', 5, `{"a":${'{{b}}+'.repeat(150)}1}`],
  ])('refuses what is no template: %s at character %i', (message, position, template) => {
    const [text, at] = refusal(template);
    expect(text).toContain(message);
    expect(at).toBe(position);
  });

  it('reaches own fields only', () => {
    for (const name of ['constructor', '__proto__', 'toString', 'gps.map', 'gps.constructor.name']) {
      expect(render(`{"x":"[{{${name}}}]"}`, { gps: [] })).toEqual({ x: '[]' });
      expect(() => render(`{"x":{{${name}}}}`, { gps: [] })).toThrow(DecodingError);
    }
    const template = '{"constructor":{{constructor}},"toString":{{toString}},"p":"{{__proto__}}"}';
    const fields = JSON.parse('{"constructor":1,"toString":2,"__proto__":3}') as DecodedFields;
    expect(jsonText(render(template, fields))).toBe('{"constructor":1,"toString":2,"p":3}');
  });

  it('bounds what it makes of a payload', () => {
    const many = (tag: string): string => `{${Array.from({ length: 3000 }, (_, i) => `"f${i}":${tag}`).join()}}`;
    const fields = { text: 'x'.repeat(100_000), list: Array.from({ length: 100_000 }, () => 1) };
    for (const tag of [
      '{{text}}',
      '"{{text}}"',
      '{{list}}',
      '"{{list}}"',
      '"{{#toUpperCase}}{{text}}{{/toUpperCase}}"',
    ]) {
      const template = compileDecoderTemplate(
        many(tag)
          .slice(0, 65_536)
          .replace(/,[^,]*$/, '}'),
      );
      expect(() => template.render(fields)).toThrow(/more than 2097152 characters/);
    }
  });

  it('bounds how long all fields take together, and what names take up', () => {
    const many = (value: string): string => `{${Array.from({ length: 100 }, (_, i) => `"f${i}":${value}`).join()}}`;
    const fields = {
      list: Array.from({ length: 400 }, () => 1),
      zeros: `1.${'0'.repeat(1_000_000)}`,
      named: { ['n'.repeat(100_000)]: 1 },
    };
    const sum = Array.from({ length: 450 }, () => 1).join('+');
    expect(() => render(many('"{{#list}}{{#list}}{{^list}}{{/list}}{{/list}}{{/list}}"'), fields)).toThrow(/too long/);
    expect(() => render(`{"f":"{{#list}}{{#list}}{{#math}}${sum}{{/math}}{{/list}}{{/list}}"}`, fields)).toThrow(
      /too long/,
    );
    expect(() => render(many('{{zeros}}*2'), fields)).toThrow(/no number/);
    expect(() => render(many('{{named}}'), fields)).toThrow(/more than 2097152 characters/);
    // The items of a split payload share what it may take, and expressions count.
    const sums = compileDecoderTemplate(many('{{n}}+{{n}}*2'));
    const items = new Output();
    expect(() => Array.from({ length: 1000 }, () => sums.render({ n: 1 }, items))).toThrow(/too long/);
    const output = new Output();
    const half = compileDecoderTemplate(many('"{{#list}}{{list.length}}{{/list}}"'));
    expect(() => Array.from({ length: 1000 }, () => half.render(fields, output))).toThrow(/too long/);
  });
});
