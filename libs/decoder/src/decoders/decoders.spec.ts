import { type ApiClient, apiClient, type Backend, type KeyRing, keyRing, startBackend } from '@orrery/core/testing';
import { decoder } from '../index.js';
import type { BinaryDecoderDto, CsvDecoderDto, TestResultDto } from './decoder.dto.js';

const PATH = '/api/v0/decoders';
// The decoder of the manual (11.3.2.1.1).
const TWO_INTEGERS = {
  encoding: 'twointegers',
  enabled: true,
  format: 'int pressure;int temperature;',
  template: '{"pressure":{{pressure}},\n  "temperature" : "{{#math}}{{temperature}}/10{{/math}} celsius"}',
  model: 'model_twointegers',
};
const COLUMNS = [
  { name: 'column1', jsonType: 'STRING' },
  { name: 'column2', jsonType: 'NUMERIC' },
  { name: 'column3', jsonType: 'BOOLEAN' },
];

let backend: Backend;
let keys: KeyRing;
let url: string;
let api: ApiClient;
let tenants = 0;

const newTenant = (): ApiClient => apiClient(url, keys.grant(`tenant${++tenants}`).value);
const create = async <Dto = BinaryDecoderDto>(kind: string, body: unknown, client = api): Promise<Dto> => {
  const answer = await client.post<Dto>(`${PATH}/${kind}`, body);
  expect(answer).toMatchObject({ status: 201 });
  return answer.body;
};
const refuses = async (kind: string, body: unknown, field: string, expected: unknown = expect.any(String)) =>
  expect(await api.post(`${PATH}/${kind}`, body)).toMatchObject({
    status: 400,
    body: {
      code: 'GENERIC_INVALID_PARAMETER_ERROR',
      details: expect.arrayContaining([{ field, expected }]),
    },
  });
const test = async (kind: string, body: unknown): Promise<TestResultDto> => {
  const answer = await api.post<TestResultDto>(`${PATH}/${kind}/test`, body);
  expect(answer).toMatchObject({ status: 200 });
  return answer.body;
};
const binary = (binaryPayloadStructure: string, binaryPayloadHexString: string, template?: string) =>
  test('binary', { binaryPayloadStructure, binaryPayloadHexString, ...(template ? { template } : {}) });
const csv = (csvPayload: string, columns: unknown = COLUMNS, options?: object, template?: string) =>
  test('csv', { columns, options, csvPayload, template });
const many = (count: number, work: (i: number) => Promise<unknown>): Promise<unknown> =>
  Promise.all(Array.from({ length: count }, (_, i) => work(i)));
const columns = (...types: string[]) => types.map((jsonType, i) => ({ name: `c${i}`, jsonType }));

beforeAll(async () => {
  backend = await startBackend([decoder]);
  keys = keyRing(await backend.bus());
  ({ url } = await backend.boot([decoder]));
});
afterAll(() => backend.stop());
beforeEach(() => {
  api = newTenant();
});

describe('decoders', () => {
  it('DEC-002 provisions a binary decoder, and reads, replaces and deletes it', async () => {
    const created = await create('binary', TWO_INTEGERS);
    expect(created).toEqual({
      ...TWO_INTEGERS,
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      type: 'binary',
      tags: [],
      updated: expect.stringMatching(/^\d{4}-.*Z$/),
    });
    const path = `${PATH}/binary/${created.id}`;
    expect((await api.get(path)).body).toEqual(created);
    expect((await api.get(`${PATH}/binary`)).body).toEqual([created]);
    const conflict = await api.post(`${PATH}/csv`, { encoding: 'twointegers', columns: COLUMNS });
    expect(conflict).toMatchObject({ status: 409, body: { code: 'CONFLICT' } });

    const changed = { encoding: 'two', enabled: false, format: 'ubyte a;', tags: ['t'] };
    expect(await api.put(path, changed)).toMatchObject({ status: 200, body: { ...changed, id: created.id } });
    expect((await api.get(path)).body).not.toHaveProperty('template');
    expect((await api.put(path, { ...changed, id: 'other' })).status).toBe(400);
    expect((await api.put(path, { ...changed, format: 'foo a;' })).status).toBe(400);
    await create('csv', { encoding: 'taken', columns: COLUMNS });
    expect((await api.put(path, { ...changed, encoding: 'taken' })).status).toBe(409);

    expect((await api.put(`${path}/enabled`, true)).status).toBe(204);
    expect((await api.get(path)).body).toMatchObject({ enabled: true, format: 'ubyte a;' });
    expect((await api.put(`${path}/enabled`, 'yes')).status).toBe(400);
    expect((await api.delete(path)).status).toBe(204);
    for (const status of [(await api.get(path)).status, (await api.delete(path)).status]) expect(status).toBe(404);
    expect((await api.put(`${path}/enabled`, true)).status).toBe(404);
    await create('binary', TWO_INTEGERS);
  });

  it('names each bad field, and what was expected', async () => {
    const good = { encoding: 'e', format: 'ubyte a;' };
    await refuses('binary', [], 'body');
    await refuses('binary', { format: 'ubyte a;' }, 'encoding');
    await refuses('binary', { ...good, encoding: ' ' }, 'encoding');
    await refuses('binary', { ...good, encoding: 'a\0b' }, 'encoding');
    await refuses('binary', { ...good, encoding: 'x'.repeat(257) }, 'encoding');
    await refuses('binary', { ...good, enabled: 'yes' }, 'enabled');
    await refuses('binary', { ...good, model: 'a.b' }, 'model');
    await refuses('binary', { ...good, tags: [5] }, 'tags');
    await refuses('binary', { ...good, template: 5 }, 'template');
    await refuses('binary', { encoding: 'e' }, 'format');
    await refuses('binary', { ...good, format: '\ud800' }, 'format');
    await refuses('csv', { encoding: 'e' }, 'columns');
    await refuses('csv', { encoding: 'e', columns: [{ jsonType: 'STRING' }] }, 'columns[0].name');
    await refuses(
      'csv',
      { encoding: 'e', columns: COLUMNS, options: { columnSeparator: 5 } },
      'options.columnSeparator',
    );
    await refuses(
      'csv',
      { encoding: 'e', columns: COLUMNS, options: { columnSeparator: ',,' } },
      'options.columnSeparator',
    );
    await refuses('csv', { encoding: 'e', columns: COLUMNS, options: 'none' }, 'options');
    expect((await api.post(`${PATH}/binary`, '{"encoding":')).status).toBe(400);
    expect((await api.get(`${PATH}/binary/nothing`)).status).toBe(400);
    expect((await api.get(`${PATH}?tags=%00`)).status).toBe(400);
    expect((await api.get(PATH)).body).toEqual([]);
  });

  it('points to the character that is wrong', async () => {
    await refuses(
      'binary',
      { encoding: 'e', format: 'int a; foo b;' },
      'format',
      expect.stringContaining('character 8'),
    );
    await refuses(
      'binary',
      { encoding: 'e', format: 'int a;', template: '{"a": {{a}}' },
      'template',
      expect.stringMatching(/character \d+/),
    );
  });

  it('DEC-032 refuses formats that do not compile', async () => {
    const formats = [
      'ubyte a',
      'ubyte a; ubyte a;',
      'ubyte[0] a;',
      'ubyte[_] d; ubyte z;',
      'ubyte[b] d; ubyte b;',
      'ubyte[2] a; ubyte[a] d;',
      's{ubyte a;',
      'var v;',
    ];
    for (const format of formats) {
      await refuses('binary', { encoding: 'e', format }, 'format');
      expect(await binary(format, '00')).toMatchObject({ descriptionValid: false });
    }
  });

  it('DEC-007 refuses floatj, doublej and stringj', async () => {
    for (const type of ['floatj', 'doublej', 'stringj']) {
      await refuses('binary', { encoding: 'e', format: `${type} a;` }, 'format');
      expect(await binary(`${type} a;`, '00')).toMatchObject({ descriptionValid: false });
    }
  });

  it('DEC-008 refuses prohibited field names', async () => {
    for (const name of ['my.string', 'my#string', '$mystring', '_my', '1f'])
      await refuses('binary', { encoding: 'e', format: `int ${name};` }, 'format');
    await create('binary', { encoding: 'e', format: 'int my_string1;' });
  });

  it('TPL-013 refuses templates whose output has names with dots', async () => {
    const format = 'int temperature;';
    const dotted = '{"field.with.dot": {{temperature}}/10}';
    await refuses('binary', { encoding: 'e', format, template: dotted }, 'template');
    expect(await binary(format, '000000DD', dotted)).toMatchObject({ descriptionValid: false, parsingOk: false });
    const plain = '{"field_with_dot": {{temperature}}/10}';
    await create('binary', { encoding: 'e', format, template: plain });
    expect(await binary(format, '000000DD', plain)).toMatchObject({ decodingResult: { field_with_dot: 22.1 } });
  });

  it('DEC-037 DEC-040 provisions a CSV decoder, with the defaults of what is not given', async () => {
    const given = {
      encoding: 'my csv encoding',
      enabled: true,
      columns: COLUMNS,
      model: 'model_csv_decoded',
    };
    await create('csv', given);
    await refuses(
      'csv',
      { ...given, encoding: 'date', columns: [{ name: 'd', jsonType: 'DATE' }] },
      'columns[0].jsonType',
    );
    const options = { columnSeparator: '|' };
    const { id } = await create<CsvDecoderDto>('csv', { encoding: 'other', columns: COLUMNS, options });
    expect((await api.get(`${PATH}/csv/${id}`)).body).toMatchObject({
      columns: COLUMNS,
      enabled: false,
      options: {
        quoteChar: '"',
        columnSeparator: '|',
        lineFeedSeparator: '\n',
        useEscapeChar: false,
        escapeChar: '\\',
        skipWhiteSpace: false,
      },
    });
    expect(await csv('celsius|25|true', COLUMNS, options)).toMatchObject({
      decodingResult: { column1: 'celsius', column2: 25, column3: true },
    });
  });

  it('lists the decoders of all types, by tags too', async () => {
    await create('binary', { encoding: 'b', format: 'ubyte a;', tags: ['x', 'y'] });
    await create('csv', { encoding: 'c', columns: COLUMNS, tags: ['y'] });
    const encodings = async (path: string) =>
      (await api.get<BinaryDecoderDto[]>(path)).body.map(({ type, encoding }) => [type, encoding]);
    expect(await encodings(PATH)).toEqual([
      ['binary', 'b'],
      ['csv', 'c'],
    ]);
    expect(await encodings(`${PATH}?tags=y`)).toHaveLength(2);
    expect(await encodings(`${PATH}?tags=y&tags=x`)).toEqual([['binary', 'b']]);
    expect(await encodings(`${PATH}/csv?tags=x`)).toEqual([]);
  });

  it('shows and changes the decoders of the own tenant only, with the right role', async () => {
    const { id } = await create('binary', TWO_INTEGERS);
    const path = `${PATH}/binary/${id}`;
    const other = newTenant();
    expect((await other.get(PATH)).body).toEqual([]);
    for (const { status } of [
      await other.get(path),
      await other.put(path, TWO_INTEGERS),
      await other.put(`${path}/enabled`, false),
      await other.delete(path),
    ])
      expect(status).toBe(404);
    await create('binary', TWO_INTEGERS, other);
    // Of another type.
    expect((await api.get(`${PATH}/csv/${id}`)).status).toBe(404);
    const reader = apiClient(url, keys.grant('roles', { roles: ['DATA_PROCESSING_R'] }).value);
    expect((await reader.get(PATH)).status).toBe(200);
    expect((await reader.post(`${PATH}/binary/test`, {})).status).toBe(400);
    expect((await reader.post(`${PATH}/binary`, TWO_INTEGERS)).status).toBe(403);
    const writer = apiClient(url, keys.grant('roles', { roles: ['DATA_PROCESSING_W'] }).value);
    expect((await writer.get(PATH)).status).toBe(403);
  });

  it('has the decoders of the administrator as public ones', async () => {
    const admin = apiClient(url, keys.grant('administrator', { accountType: 'ADMIN' }).value);
    const { id } = await create('binary', { ...TWO_INTEGERS, encoding: 'of all' }, admin);
    expect((await api.get(`${PATH}/public`)).body).toMatchObject([{ id, encoding: 'of all' }]);
    expect((await api.get(`${PATH}/binary/${id}`)).status).toBe(404);
    expect((await api.delete(`${PATH}/binary/${id}`)).status).toBe(404);
    expect((await api.get(PATH)).body).toEqual([]);
    expect((await admin.delete(`${PATH}/binary/${id}`)).status).toBe(204);
  });

  it('DEC-053 LIM-097 LIM-098 LIM-099 LIM-100 refuses the 101st decoder of a type, also of requests at the same time', async () => {
    const definition = { format: 'ubyte a;', columns: COLUMNS, script: 'function decode() { return {}; }' };
    for (const kind of ['csv', 'javascript', 'javascript-split']) {
      await many(100, (i) => create(kind, { encoding: `${kind}${i}`, ...definition }));
      expect(await api.post(`${PATH}/${kind}`, { encoding: 'one more', ...definition })).toMatchObject({
        status: 403,
        body: { code: 'GENERIC_QUOTA_EXCEEDED_ERROR' },
      });
    }
    api = newTenant();
    await many(95, (i) => create('binary', { encoding: `b${i}`, format: 'ubyte a;' }));
    const last = await Promise.all(
      Array.from({ length: 10 }, (_, i) => api.post(`${PATH}/binary`, { encoding: `last${i}`, format: 'ubyte a;' })),
    );
    expect(last.filter(({ status }) => status === 201)).toHaveLength(5);
    expect(last.find(({ status }) => status !== 201)).toMatchObject({
      status: 403,
      body: { code: 'GENERIC_QUOTA_EXCEEDED_ERROR' },
    });
    await create('csv', { encoding: 'a first one', columns: COLUMNS });
  });

  it('lets one of two requests have an encoding', async () => {
    const answers = await Promise.all(
      ['binary', 'csv', 'binary', 'csv'].map((kind) =>
        api.post(`${PATH}/${kind}`, { encoding: 'one', format: 'ubyte a;', columns: COLUMNS }),
      ),
    );
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 409, 409, 409]);
  });
});

describe('tests of decoders', () => {
  it('DEC-033 decodes with a template and stores nothing', async () => {
    expect(
      await binary(
        'int  pressure; int temperature;',
        '000003F5000000DD',
        '{"pressure":{{pressure}}, "temperature" : "{{temperature}}/10"}',
      ),
    ).toEqual({ parsingOk: true, decodingResult: { temperature: 22.1, pressure: 1013 }, descriptionValid: true });
    expect((await api.get(PATH)).body).toEqual([]);
  });

  it('DEC-034 reports failures in the body', async () => {
    expect(await binary('foo a;', '0001')).toEqual({
      descriptionValid: false,
      parsingOk: false,
      decodingFailureReason: expect.stringContaining('character 1'),
    });
    for (const hex of ['0001', '00000G01', '0000000'])
      expect(await binary('int a;', hex)).toEqual({
        descriptionValid: true,
        parsingOk: false,
        decodingFailureReason: expect.any(String),
      });
    for (const hex of ['0000abcd', '0000ABCD', '0000aBcD'])
      expect(await binary('int a;', hex)).toMatchObject({ parsingOk: true, decodingResult: { a: 0xabcd } });
    expect((await api.post(`${PATH}/binary/test`, { binaryPayloadHexString: '00' })).status).toBe(400);
    expect((await api.post(`${PATH}/binary/test`, { binaryPayloadStructure: 'int a;' })).status).toBe(400);
    const large = { binaryPayloadStructure: 'int a;', binaryPayloadHexString: '0'.repeat(2_000_000) };
    expect((await api.post(`${PATH}/binary/test`, large)).status).toBe(400);
  });

  it('TPL-002 TPL-003 prints the example of the manual with plain names', async () => {
    const structure =
      'byte:1 led; ushort pressure; ushort temperature; ushort altitude; ubyte battery; byte[6] raw_gps; ushort altitude_gps;';
    const payload = '0027830a1bfd6738000000000000ffff';
    expect(await binary(structure, payload)).toEqual({
      parsingOk: true,
      decodingResult: {
        led: 0,
        pressure: 10115,
        temperature: 2587,
        altitude: 64871,
        battery: 56,
        raw_gps: [0, 0, 0, 0, 0, 0],
        altitude_gps: 65535,
      },
      descriptionValid: true,
    });
    const template =
      '{"pressure": "{{pressure}} / 10","temperature": "{{temperature}} / 100","altitude": "{{altitude}} / 10","view": {"Pressure": "{{#math}}{{pressure}}/10{{/math}} hPa","Temperature": "{{#math}}{{temperature}}/100{{/math}} C","Altitude": "{{#math}}{{altitude}}/100{{/math}} m","GPSAltitude": "{{altitude_gps}} m","Battery": "{{battery}} %"}}';
    expect(await binary(structure, payload, template)).toEqual({
      parsingOk: true,
      decodingResult: {
        pressure: 1011.5,
        temperature: 25.87,
        altitude: 6487.1,
        view: {
          Pressure: '1011.5 hPa',
          Temperature: '25.87 C',
          Altitude: '648.71 m',
          GPSAltitude: '65535 m',
          Battery: '56 %',
        },
      },
      descriptionValid: true,
    });
  });

  it('TPL-001 TPL-010 computes, and does not when it cannot', async () => {
    expect(await binary('int pressure; int temperature;', '000003F5000000DD', '{"p":{{pressure}}}')).toMatchObject({
      decodingResult: { p: 1013 },
    });
    expect(await binary('ubyte a; ubyte b;', '0702', '{"n":"({{a}}-1)*{{b}}/4"}')).toMatchObject({
      decodingResult: { n: 3 },
    });
    for (const template of ['{"n":"{{a}}/0"}', '{"n":"{{c}}+1"}'])
      expect(await binary('ubyte a;', '07', template)).toMatchObject({ descriptionValid: true, parsingOk: false });
  });

  it('DEC-044 decodes the CSV example of the manual', async () => {
    expect(
      await csv(
        'celsius,250,true',
        [
          { name: 'unit', jsonType: 'STRING' },
          { name: 'temperature', jsonType: 'NUMERIC' },
          { name: 'thresholdReached', jsonType: 'BOOLEAN' },
        ],
        { columnSeparator: ',' },
        '{"temperature" : "{{temperature}}/10",\n "unit":"{{unit}}", "thresholdReached":"{{thresholdReached}}"} ',
      ),
    ).toEqual({
      parsingOk: true,
      decodingResult: { unit: 'celsius', thresholdReached: 'true', temperature: 25 },
      descriptionValid: true,
    });
    expect(await csv('1', [{ name: 'a', jsonType: 'DATE' }])).toMatchObject({
      descriptionValid: false,
      parsingOk: false,
    });
    expect(await csv('1', ['a'])).toMatchObject({ descriptionValid: false });
  });

  it('DEC-038 DEC-045 reads text, numbers and booleans', async () => {
    expect(await csv('été,-12.5,true')).toMatchObject({
      decodingResult: { column1: 'été', column2: -12.5, column3: true },
    });
    expect(await csv('x,9,false')).toMatchObject({ decodingResult: { column1: 'x', column2: 9, column3: false } });
    expect(
      await csv('2147483648,9007199254740997,9007199254740997', columns('NUMERIC', 'NUMERIC', 'STRING')),
    ).toMatchObject({ decodingResult: { c0: 2.147483648e9, c1: 9.007199254740996e15, c2: '9007199254740997' } });
  });

  it('DEC-041 DEC-042 DEC-043 obeys the options', async () => {
    expect(await csv('"pierre, dupont",25,true')).toMatchObject({
      decodingResult: { column1: 'pierre, dupont', column2: 25, column3: true },
    });
    const two = columns('STRING', 'STRING');
    expect(await csv('a\\,b,c', two, { useEscapeChar: true })).toMatchObject({
      decodingResult: { c0: 'a,b', c1: 'c' },
    });
    expect(await csv('a\\,b,c', two)).toMatchObject({ parsingOk: false });
    expect(await csv('pierre,35,true\nmarie,25,false')).toMatchObject({
      decodingResult: { column1: 'pierre', column2: 35, column3: true },
    });
    expect(
      await csv('a|1|true/r/nb|2|false', COLUMNS, { columnSeparator: '|', lineFeedSeparator: '/r/n' }),
    ).toMatchObject({
      decodingResult: { column1: 'a', column2: 1, column3: true },
    });
    expect(await csv(' a , b ', two, { skipWhiteSpace: true })).toMatchObject({ decodingResult: { c0: 'a', c1: 'b' } });
    expect(await csv(' a , b ', two)).toMatchObject({ decodingResult: { c0: ' a ', c1: ' b ' } });
  });
});
