import { compileTemplate, type SectionFunction, TemplateError } from './index.js';

const render = (template: string, view: unknown = {}): string => compileTemplate(template).render(view);

/** The text and the position of a refusal. */
function refusal(act: () => unknown): [string, number | undefined] {
  try {
    act();
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    return [error.message, error.position];
  }
  throw new Error('expected a refusal');
}

describe('templates', () => {
  const view = {
    streamId: 's<1>&"x"',
    n: 0,
    yes: true,
    no: false,
    nothing: null,
    text: '',
    value: { temp: 100, path: '/europe', names: ['a', 'b'] },
    list: [{ id: 1 }, { id: 2, n: 7 }],
    empty: [],
    'é à': 'ünï 😀',
  };

  it.each([
    ['', ''],
    ['no tags } }} {', 'no tags } }} {'],
    ['{"text": "{{streamId}}"}', '{"text": "s<1>&"x""}'],
    ['{{{streamId}}}{{&streamId}}{{ { streamId }}}', 's<1>&"x"'.repeat(3)],
    ['{{value.temp}} {{ value.path }}', '100 /europe'],
    ['{{value}}', '{"temp":100,"path":"/europe","names":["a","b"]}'],
    ['{{value.names}} {{value.names.1}} {{value.names.length}}', '["a","b"] b 2'],
    ['{{n}}{{yes}}{{no}}', '0truefalse'],
    ['[{{nothing}}{{absent}}{{value.absent.deeper}}{{streamId.length}}]', '[]'],
    ['{{é à}}', 'ünï 😀'],
    ['{{#list}}{{id}}:{{n}};{{/list}}', '1:0;2:7;'],
    ['{{#value}}{{temp}} {{streamId}}{{/value}}', '100 s<1>&"x"'],
    ['{{#value.names}}{{.}},{{/value.names}}', 'a,b,'],
    [
      '{{#yes}}y{{/yes}}{{#no}}n{{/no}}{{#text}}t{{/text}}{{#n}}0{{/n}}{{#empty}}e{{/empty}}{{#absent}}a{{/absent}}',
      'y',
    ],
    ['{{^yes}}y{{/yes}}{{^no}}n{{/no}}{{^empty}}e{{/empty}}{{^absent}}a{{/absent}}', 'nea'],
    ['a{{! a comment }}b', 'ab'],
    ['one\n{{#yes}}\ntwo\n{{/yes}}\nthree', 'one\ntwo\nthree'],
  ])('%j renders %j', (template, text) => {
    expect(render(template, view)).toBe(text);
  });

  it('take any JSON value as their root', () => {
    expect(render('{{.}}', 'text')).toBe('text');
    expect(render('{{.}}', 12)).toBe('12');
    expect(render('{{.}}{{x}}', null)).toBe('');
    expect(render('{{.}}', [1, { a: null }])).toBe('[1,{"a":null}]');
    expect(render('{{#.}}<{{.}}>{{/.}}', [1, 2])).toBe('<1><2>');
  });

  it('call functions that are given, and no others', () => {
    const upper: SectionFunction = () => (_, text) => text().toUpperCase();
    const reversed: SectionFunction = (content) => (lookup) =>
      content
        .map((token) => (token.kind === 'name' ? String(lookup(token.name)) : ''))
        .toReversed()
        .join();
    const template = '{{#upper}}{{a}}{{#list}}{{.}}{{/list}}{{/upper}}{{#reversed}}{{a}} {{b.c}}{{/reversed}}';
    const data = { a: 'x', b: { c: 1 }, list: ['y', 'z'], upper: 'a field', f: () => 'called' };
    expect(compileTemplate(template, { functions: { upper, reversed } }).render(data)).toBe('XYZ1,,x');
    expect(render('{{#upper}}{{a}}{{/upper}}', data)).toBe('x');
    expect(render('{{#toString}}x{{/toString}}{{#constructor}}x{{/constructor}}{{f}}', data)).toBe('');
  });

  it.each([
    ['expected }}', 4, 'abc {{name'],
    ['expected }}}', 0, '{{{a}} b'],
    ['expected a name', 0, '{{}}'],
    ['expected }}}', 0, '{{ {{a}} }}'],
    ['expected a name', 0, '{{a {{b}}'],
    ['expected {{/x}}', 1, 'a{{#x}}b'],
    ['expected {{/x}}, not {{/y}}', 8, 'a{{#x}}b{{/y}}'],
    ['{{/y}} closes no section', 2, 'ab{{/y}}'],
    ['partials', 1, 'a{{>partial}}'],
    ['delimiters', 1, 'a{{ = <% %> =}}'],
    ['at most 20 sections', 120, '{{#a}}'.repeat(21)],
    ['at most 65536 characters', 65_536, 'x'.repeat(65_537)],
    ['expected }} at most 512', 0, `{{${' '.repeat(60_000)}a}}`],
    ['expected }}} at most 512', 0, `{{{a}}${' '.repeat(60_000)}`],
  ])('refuse what is no template, where it is: %s', (message, position, template) => {
    const [text, at] = refusal(() => compileTemplate(template));
    expect(text).toContain(message);
    expect(at).toBe(position);
  });

  it('reach own fields only', () => {
    for (const name of [
      'constructor',
      '__proto__',
      'toString',
      'a.constructor.name',
      'a.__proto__.b',
      'list.map',
      'hasOwnProperty',
    ])
      expect(render(`[{{${name}}}{{#${name}}}x{{/${name}}}]`, { a: {}, list: [] })).toBe('[]');
    expect(render('{{__proto__.a}}', JSON.parse('{"__proto__": {"a": 1}}'))).toBe('1');
  });

  it('end in time, whatever they multiply', () => {
    const list = Array.from({ length: 2000 }, (_, i) => i);
    const nested = '{{#list}}'.repeat(20) + '{{/list}}'.repeat(20);
    const deep = { a: JSON.parse('['.repeat(200_000) + ']'.repeat(200_000)) as unknown };
    const long = 'x'.repeat(500_000);
    const started = process.cpuUsage();
    expect(refusal(() => render(nested, { list }))[0]).toContain('takes too long');
    expect(refusal(() => render('{{#list}}{{#list}}text{{/list}}{{/list}}', { list }))[0]).toContain('is longer than');
    expect(refusal(() => render('{{long}}'.repeat(3), { long }))[0]).toContain('is longer than');
    expect(refusal(() => render('{{a}}', deep))[0]).toContain('nested too deeply');
    expect(
      refusal(() => render(`{{${'a.'.repeat(250)}a}}`.repeat(100) + '{{list}}'.repeat(1e3), { list }))[0],
    ).toContain('longer');
    const sum: SectionFunction = () => () => '1';
    const functions = { sum };
    const computed = compileTemplate(`{{#list}}{{#list}}{{#sum}}${'1+'.repeat(500)}{{/sum}}{{/list}}{{/list}}`, {
      functions,
    });
    expect(refusal(() => computed.render({ list }))[0]).toContain('takes too long');
    render('{{ \n a \t }}'.repeat(5000) + '\n'.repeat(2000));
    expect(process.cpuUsage(started).user).toBeLessThan(5_000_000);
  });
});
