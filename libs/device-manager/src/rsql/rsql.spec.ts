import { type ApiError } from '@orrery/core/http';
import { type Backend, startBackend } from '@orrery/core/testing';
import { arrayField, booleanField, mapField, textField } from './fields.js';
import { compileRsql, type Dialect, type Field } from './rsql.js';

const operators = ['==', '!=', '=in='] as const;
const prefixes = true;
const text = (expression: string, values?: string[]): Field =>
  textField(expression, { operators, prefixes, ...(values ? { values } : {}) });

/** Fields as the explorer of manual 9.2.2 has them: prefixes, and components of which one must match. */
const DIALECT: Dialect = {
  fields: {
    id: text('d.id'),
    tags: arrayField('d.tags', { operators, prefixes, inMeansAll: false }),
    state: text('d.state', ['ON', 'OFF']),
  },
  keyed: { 'property.': mapField('d.properties', { operators, prefixes }) },
  nested: {
    properties: {
      some: (condition) => `EXISTS (SELECT 1 FROM jsonb_each_text(d.properties) AS p (k, v) WHERE ${condition})`,
      fields: { k: text('p.k'), v: text('p.v') },
    },
    parts: {
      some: (condition) =>
        `EXISTS (SELECT 1 FROM jsonb_to_recordset(d.parts) AS c (name text, enabled boolean) WHERE ${condition})`,
      fields: { name: text('c.name'), 'name.again': text('c.name'), enabled: booleanField('c.enabled') },
    },
  },
};

let backend: Backend;

async function select(expression: string): Promise<string> {
  const values: unknown[] = [];
  const condition = compileRsql(
    { text: expression, parameter: 'queryString' },
    DIALECT,
    (value) => `$${values.push(value)}`,
  );
  const rows = await backend.query<{ id: string }>(
    `SELECT d.id FROM rsql_rows d WHERE ${condition} ORDER BY d.id`,
    values,
  );
  return rows.map((row) => row.id).join(' ');
}

function refusal(expression: string): string {
  try {
    compileRsql({ text: expression, parameter: 'queryString' }, DIALECT, () => '$1');
  } catch (error) {
    const { code, details } = error as ApiError;
    expect(code).toBe('GENERIC_INVALID_PARAMETER_ERROR');
    return (details as Array<{ expected: string }>)[0]!.expected;
  }
  throw new Error(`${expression} was not refused`);
}

beforeAll(async () => {
  backend = await startBackend([]);
  await backend.query(
    'CREATE TABLE rsql_rows (id text, state text, tags text[] NOT NULL, properties jsonb NOT NULL, parts jsonb NOT NULL)',
  );
  await backend.query(`INSERT INTO rsql_rows VALUES
    ('a1', 'ON', '{spain}', '{"k1": "x", "k2": "y"}', '[{"name": "lora", "enabled": true}, {"name": "mqtt", "enabled": false}]'),
    ('a2', 'OFF', '{spain,v2}', '{"k1": "y"}', '[{"name": "mqtt", "enabled": true}]'),
    ('b1', NULL, '{}', '{}', '[]')`);
});
afterAll(() => backend.stop());

it('answers for components when one of them fulfils it', async () => {
  expect(await select('parts.name==mqtt')).toBe('a1 a2');
  expect(await select('parts.name!=mqtt')).toBe('a1');
  expect(await select('parts.name.again=in=(lora,x)')).toBe('a1');
  expect(await select('parts.enabled==true and parts.name==mqtt')).toBe('a1 a2');
  expect(await select("parts=q='enabled==true and name==mqtt'")).toBe('a2');
  expect(await select('parts=q=\'name==lo* or name=="x y"\'')).toBe('a1');
  expect(await select("parts=q='(name==lora;enabled==false),name==x'")).toBe('');
  expect(await select('properties.k==k1 and properties.v==y')).toBe('a1 a2');
  expect(await select("properties=q='k==k1 and v==y'")).toBe('a2');
  expect(await select('property.k1==y')).toBe('a2');
  expect(await select('property.k1!=y')).toBe('a1');
});

it('takes a star at the end for a prefix', async () => {
  expect(await select('id==a*')).toBe('a1 a2');
  expect(await select('id==*')).toBe('a1 a2 b1');
  expect(await select('id==a*1')).toBe('');
  expect(await select('tags==sp*')).toBe('a1 a2');
  expect(await select('tags==%*')).toBe('');
  expect(await select('property.k1==x*')).toBe('a1');
  expect(refusal('id!=a*')).toBe('no * at the end of a value after id!=: prefixes go with == only');
  expect(refusal('tags=in=(v2,sp*)')).toContain('no * at the end of a value after tags=in=');
  expect(refusal("parts=q='name!=l*'")).toContain('inside parts=q=, no * at the end');
});

it('knows what its fields are compared by', async () => {
  expect(await select('tags=in=(v2,other)')).toBe('a2');
  expect(await select('tags!=v2')).toBe('a1 b1');
  expect(await select('state!=ON')).toBe('a2');
  expect(refusal('state==on')).toBe("one of ON, OFF after state==, not 'on'");
  expect(refusal('parts.enabled==maybe')).toContain('one of true, false after parts.enabled==');
  expect(refusal('tags=out=(a)')).toBe('one of == != =in= after tags, not =out=');
  expect(refusal('id=lt=a')).toContain('not =lt=');
  expect(refusal("id=q='a==b'")).toContain('not =q=');
});

it('says what is wrong inside and outside of components', () => {
  expect(refusal('parts==x')).toBe("parts=q='...' with an expression of name, name.again, enabled, or parts.<field>");
  expect(refusal('parts=q=(a,b)')).toContain("parts=q='...'");
  expect(refusal("parts=q='foo==1'")).toBe('inside parts=q=, fields among name, name.again, enabled, not foo');
  expect(refusal("parts=q='name=='")).toBe('inside parts=q=, an RSQL expression: Unexpected end.');
  expect(refusal('parts=q=\'parts=q="name==x"\'')).toContain('inside parts=q=, fields among');
  expect(refusal('parts.foo==1')).toContain('fields among id, tags, state, property.<key>, properties, properties.k');
});

it('survives the deepest and longest that anybody can send', async () => {
  const deep = (levels: number): string => `${'('.repeat(levels)}id==a1${')'.repeat(levels)}`;
  expect(await select(deep(253))).toBe('a1');
  for (const expression of [deep(10_000), deep(1_000_000), '('.repeat(1_000_000)])
    expect(refusal(expression)).toContain('1 to 512 characters');
  expect(await select(Array.from({ length: 73 }, () => 'id==a1').join(','))).toBe('a1');
  expect(refusal('id==\ud800')).toContain('surrogates');
});
