import type { StoredAuditEntry } from '@orrery/core/audit';
import { AUDIT_SUBJECT, type Bus, PackingPublisher, streamSubject } from '@orrery/core/bus';
import {
  buildMessage,
  type DataMessage,
  decodeEntry,
  type DeviceContext,
  type MessageHeader,
  partitionKey,
  partitionOf,
} from '@orrery/core/messages';
import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  type KeyRing,
  keyRing,
  startBackend,
} from '@orrery/core/testing';
import { routing } from '@orrery/routing';
import { store } from '@orrery/store';
import { decoder } from '../index.js';

const PATH = '/api/v0/decoders';
const TWO_INTEGERS = { encoding: 'twointegers', enabled: true, format: 'int pressure;int temperature;' };
const PAYLOAD = '000003F5000000DD';
const COLUMNS = ['STRING', 'NUMERIC', 'BOOLEAN'].map((jsonType, i) => ({ name: `c${i}`, jsonType }));

let backend: Backend;
let bus: Bus;
let keys: KeyRing;
let url: string;
let key: string;
let api: ApiClient;
let tenantId: string;
let tenants = 0;
let publisher: PackingPublisher;
const audits: StoredAuditEntry[] = [];
/** Tenants and encodings of what connectors have sent to be decoded. */
const visited = new Set<string>();
/** Ids of what came out, by tenant. */
const ready = new Map<string, string[]>();

beforeAll(async () => {
  backend = await startBackend([decoder, routing, store]);
  bus = await backend.bus();
  keys = keyRing(bus);
  publisher = new PackingPublisher(bus, 'DECODE');
  bus.connection.subscribe(AUDIT_SUBJECT, { callback: (_, message) => void audits.push(message.json()) });
  for (let partition = 0; partition < bus.partitions; partition++) {
    bus.connection.subscribe(streamSubject('DECODE', partition), {
      callback: (_, { data }) => {
        for (const { header, body } of decodeEntry(data)) {
          const { metadata } = JSON.parse(body) as DataMessage;
          visited.add(`${(JSON.parse(header) as MessageHeader).tenantId} ${metadata.encoding}`);
        }
      },
    });
    bus.connection.subscribe(streamSubject('READY', partition), {
      callback: (_, { data }) => {
        for (const item of decodeEntry(data)) {
          const header = JSON.parse(item.header) as MessageHeader;
          ready.set(header.tenantId, [...(ready.get(header.tenantId) ?? []), header.id]);
        }
      },
    });
  }
  ({ url } = await backend.boot([decoder, routing, store]));
});
afterAll(async () => {
  await publisher.close();
  await backend.stop();
});
beforeEach(() => {
  tenantId = `tenant${++tenants}`;
  key = keys.grant(tenantId).value;
  api = apiClient(url, key);
});

interface Body {
  encoding: string;
  [field: string]: unknown;
}
/** Creates a decoder, and waits until this process knows that there is one. */
async function provide(kind: string, body: Body, client = api): Promise<string> {
  const answer = await client.post<{ id: string }>(`${PATH}/${kind}`, { enabled: true, ...body });
  expect(answer).toMatchObject({ status: 201, body: { encoding: body.encoding } });
  await known(body.encoding);
  return `${PATH}/${kind}/${answer.body.id}`;
}
const known = (encoding: string): Promise<unknown> =>
  eventually(async () => {
    await send('probes', 'probe', encoding);
    return visited.has(`${tenantId} ${encoding}`);
  });

/** Sends a payload, or a message that has more. */
async function send(streamId: string, payload: string, encoding?: string, more: object = {}): Promise<string> {
  const answer = await api.post<{ id: string }>(`/api/v0/data/streams/${streamId}`, {
    value: { payload },
    ...(encoding === undefined ? {} : { metadata: { encoding } }),
    ...more,
  });
  expect(answer).toMatchObject({ status: 202 });
  return answer.body.id;
}
/** The messages of a stream, in the order in which they were sent, once there are so many. */
const stored = (streamId: string, count = 1): Promise<DataMessage[]> =>
  eventually(async () => {
    const { body } = await api.get<DataMessage[]>(`/api/v0/data/streams/${streamId}?limit=1000`);
    return body.length === count && body.toReversed();
  });
let streams = 0;
const newStream = (): string => `s${++streams}`;
/** What becomes of a payload. */
async function decoded(encoding: string, payload: string, more: object = {}): Promise<DataMessage> {
  const stream = newStream();
  await send(stream, payload, encoding, more);
  return (await stored(stream))[0]!;
}
const audited = (messageId: string): Promise<StoredAuditEntry> =>
  eventually(() => audits.find((entry) => entry.tenantId === tenantId && entry.content?.['messageId'] === messageId));

const DEVICE: DeviceContext = {
  deviceId: 'urn:lo:nsid:lora:0020B20000000101',
  defaultDataStreamId: 'urn:lo:nsid:lora:0020B20000000101',
  tags: [],
  properties: {},
  group: { id: 'root', path: '/' },
};
const NETWORK = { lora: { devEUI: '0020B20000000101', port: 3, snr: 8.5 } };
/** Publishes as the connector of LoRa does: the location is that of the network. */
async function uplink(payload: string, device: Partial<DeviceContext>, location?: object): Promise<MessageHeader> {
  const { header, message } = buildMessage(
    { value: { payload }, tags: [], metadata: {} },
    { tenantId, connector: 'lora', network: NETWORK, device: { ...DEVICE, ...device } },
  );
  Object.assign(message, location ? { location: message.location ?? location } : {});
  await publisher.publish(
    partitionOf(tenantId, partitionKey(header), bus.partitions),
    JSON.stringify(header),
    JSON.stringify(message),
  );
  return header;
}

describe('messages with a payload', () => {
  it('DEC-001 are stored as they are unless they name a decoder', async () => {
    await provide('binary', { ...TWO_INTEGERS, model: 'm2' });
    await send('a', '000000DD', undefined, { model: 'm1' });
    await send('a', '000000DD', 'unknown', { model: 'm1' });
    await send('a', '', 'twointegers', { value: { other: 1 }, model: 'm1' });
    await send('a', '', 'twointegers', { value: { payload: 5 }, model: 'm1' });
    expect((await stored('a', 4)).map(({ value, model }) => ({ value, model }))).toEqual([
      { value: { payload: '000000DD' }, model: 'm1' },
      { value: { payload: '000000DD' }, model: 'm1' },
      { value: { other: 1 }, model: 'm1' },
      { value: { payload: 5 }, model: 'm1' },
    ]);
  });

  it('DEC-003 are decoded by the decoder that they name, with its template and model', async () => {
    const template = '{"pressure":{{pressure}}, "temperature" : "{{#math}}{{temperature}}/10{{/math}} celsius"}';
    await provide('binary', { ...TWO_INTEGERS, template, model: 'model_twointegers' });
    const id = await send('a', PAYLOAD, 'twointegers');
    expect(await stored('a')).toEqual([
      {
        id,
        streamId: 'a',
        timestamp: expect.any(String),
        created: expect.any(String),
        model: 'model_twointegers',
        value: { payload: PAYLOAD, pressure: 1013, temperature: '22.1 celsius' },
        tags: [],
        metadata: { connector: 'http', encoding: 'twointegers' },
      },
    ]);
  });

  it('STO-005 DEC-005 keep their model when the decoder has none', async () => {
    const path = await provide('binary', TWO_INTEGERS);
    expect((await decoded('twointegers', PAYLOAD)).value).toEqual({
      payload: PAYLOAD,
      pressure: 1013,
      temperature: 221,
    });
    expect((await decoded('twointegers', PAYLOAD, { model: 'm1' })).model).toBe('m1');
    await api.put(path, { ...TWO_INTEGERS, model: 'm2' });
    expect((await decoded('twointegers', PAYLOAD, { model: 'm1' })).model).toBe('m2');
  });

  it('DEC-004 are not decoded while the decoder is disabled', async () => {
    const path = await provide('binary', TWO_INTEGERS);
    await api.put(`${path}/enabled`, false);
    expect((await decoded('twointegers', PAYLOAD)).value).toEqual({ payload: PAYLOAD });
    await api.put(path, { ...TWO_INTEGERS, enabled: true });
    expect((await decoded('twointegers', PAYLOAD)).value).toHaveProperty('pressure', 1013);
  });

  it('follow a change of the decoder at once, and its end', async () => {
    const path = await provide('binary', { encoding: 'e', format: 'ubyte a;' });
    for (const name of ['b', 'c', 'd']) {
      await api.put(path, { encoding: 'e', enabled: true, format: `ubyte ${name};` });
      expect((await decoded('e', '07')).value).toEqual({ payload: '07', [name]: 7 });
    }
    await api.delete(path);
    expect((await decoded('e', '07')).value).toEqual({ payload: '07' });
  });

  it('TPL-014 have the output of the template beside the payload', async () => {
    await provide('binary', { encoding: 'e', format: 'int pressure;', template: '{"p":{{pressure}}}' });
    expect((await decoded('e', '000003F5')).value).toEqual({ payload: '000003F5', p: 1013 });
  });

  it('DEC-035 keep their payload, encoding and other fields', async () => {
    await provide('binary', { encoding: 'e1', format: 'int temperature;' });
    const value = { payload: '000000DD', port: 3, snr: 8.5 };
    const message = await decoded('e1', '', { value });
    expect(message.value).toEqual({ ...value, temperature: 221 });
    expect(message.metadata.encoding).toBe('e1');
    await provide('binary', { encoding: 'e2', format: 'ubyte payload; ubyte port;' });
    expect((await decoded('e2', '', { value: { payload: '0102', port: 3 } })).value).toEqual({
      payload: '0102',
      port: 3,
    });
  });

  it('DEC-036 are stored as they came when they cannot be decoded, and the audit log says why', async () => {
    await provide('binary', { encoding: 'e', format: 'int a; int b;', model: 'm2' });
    const message = await decoded('e', '00000001', { model: 'm1' });
    expect(message).toMatchObject({ value: { payload: '00000001' }, model: 'm1' });
    expect(Object.keys(message.value!)).toEqual(['payload']);
    expect(await audited(message.id)).toMatchObject({
      level: 'error',
      category: 'data',
      subcategory: 'decoding',
      type: 'decoding_failed',
      description: expect.stringContaining('"e"'),
      source: { connector: 'http' },
    });
  });

  it('DEC-030 keep all digits of 64-bit integers', async () => {
    const format = 'long v;';
    await provide('binary', { encoding: 'e', format });
    await send('a', '7FFFFFFFFFFFFFFF', 'e');
    await stored('a');
    const headers = { 'x-api-key': key, 'content-type': 'application/json' };
    const text = await (await fetch(`${url}/api/v0/data/streams/a`, { headers })).text();
    expect(text).toContain('"v":9223372036854775807');
    const body = JSON.stringify({ binaryPayloadStructure: format, binaryPayloadHexString: '7FFFFFFFFFFFFFFF' });
    const answer = await fetch(`${url}${PATH}/binary/test`, { method: 'POST', headers, body });
    expect(await answer.text()).toContain('"v":9223372036854775807');
  });

  it('DEC-019 DEC-029 name arrays _list, which tests of decoders do not', async () => {
    await provide('binary', { encoding: 'gps', format: 'byte[6] raw_gps;' });
    expect((await decoded('gps', '000000000000')).value).toHaveProperty('raw_gps_list', [0, 0, 0, 0, 0, 0]);
    const tested = async (binaryPayloadStructure: string, binaryPayloadHexString: string) =>
      (await api.post(`${PATH}/binary/test`, { binaryPayloadStructure, binaryPayloadHexString })).body;
    expect(await tested('byte[6] raw_gps;', '000000000000')).toMatchObject({
      decodingResult: { raw_gps: [0, 0, 0, 0, 0, 0] },
    });
    expect(await tested('bool d; bool e;', '0001')).toMatchObject({ decodingResult: { d: false, e: true } });
    await provide('binary', { encoding: 'flags', format: 'bool[3] f;' });
    expect((await decoded('flags', '000102')).value).toHaveProperty('f_list', [false, true, true]);
  });

  // Table 6 of the manual (11.3.2.2).
  it.each<[id: string, ...cases: Array<[format: string, payload: string, fields: object]>]>([
    [
      'DEC-011',
      ['int temperature;', '000000DD', { temperature: 221 }],
      ['int signed; uint unsigned;', '8000000080000000', { signed: -2147483648, unsigned: 2147483648 }],
    ],
    [
      'DEC-012',
      ['float max_value;', '7F7FFFFF', { max_value: 3.4028235e38 }],
      ['float a;', '41CEF5C3', { a: 25.87 }],
      ['float a; float b;', '7FC000007F800000', { a: null, b: null }],
    ],
    ['DEC-013', ['double max_value;', '7FEFFFFFFFFFFFFF', { max_value: 1.7976931348623157e308 }]],
    [
      'DEC-014',
      ['ubyte temperature;', 'DD', { temperature: 221 }],
      ['byte t;', 'DD', { t: -35 }],
      ['short a; ushort b; long c;', 'FFFEFFFE8000000000000000', { a: -2, b: 65534, c: -(2 ** 63) }],
    ],
    ['DEC-015', ['utf8 [17] mystring;', '2855332e3632542b323144323235503029', { mystring: '(U3.62T+21D225P0)' }]],
    ['DEC-016', ['asciichar[13] name;', '616E4153434949537472696E67', { name: 'anASCIIString' }]],
    [
      'DEC-017',
      [
        'byte is_led_on;float pressure;float temperature;float altitude;ubyte battery_lvl;byte[6] raw_gps;ushort altitude_gps;',
        '00447CE00041CEF5C345CAB8CD38000000000000FFFF',
        {
          is_led_on: 0,
          pressure: 1011.5,
          temperature: 25.87,
          altitude: 6487.1,
          battery_lvl: 56,
          raw_gps_list: [0, 0, 0, 0, 0, 0],
          altitude_gps: 65535,
        },
      ],
    ],
    [
      'DEC-018',
      [
        'float pi;measure[2]{int length;utf8 [length] name;float value;}',
        '4048F5C30000000BC2A955544638537472696E674148000000000012C2A9616E6F7468657255544638537472696E67447D4000',
        {
          pi: 3.14,
          measure_list: [
            { length: 11, name: '©UTF8String', value: 12.5 },
            { length: 18, name: '©anotherUTF8String', value: 1013 },
          ],
        },
      ],
    ],
  ])('%s have the fields that the manual prints', async (_id, ...cases) => {
    for (const [i, [format, payload, fields]] of cases.entries()) {
      await provide('binary', { encoding: `table 6 ${i}`, format });
      expect((await decoded(`table 6 ${i}`, payload)).value).toEqual({ payload, ...fields });
    }
  });

  it('DEC-046 may be CSV', async () => {
    const columns = [
      { name: 'unit', jsonType: 'STRING' },
      { name: 'temperature', jsonType: 'NUMERIC' },
      { name: 'normal', jsonType: 'BOOLEAN' },
    ];
    await provide('csv', { encoding: 'my csv encoding', columns });
    expect(await decoded('my csv encoding', 'celsius,25,true', { model: 'temperature_v0' })).toMatchObject({
      value: { payload: 'celsius,25,true', normal: true, unit: 'celsius', temperature: 25 },
      model: 'temperature_v0',
      metadata: { encoding: 'my csv encoding' },
    });
  });

  it('DEC-039 are stored as they came when a row does not have the columns', async () => {
    await provide('csv', { encoding: 'row', columns: COLUMNS });
    for (const csvPayload of ['a,b,true', 'a,1,yes', 'a,1']) {
      expect((await api.post(`${PATH}/csv/test`, { columns: COLUMNS, csvPayload })).body).toMatchObject({
        parsingOk: false,
      });
      expect((await decoded('row', csvPayload)).value).toEqual({ payload: csvPayload });
    }
  });

  it('are stored as they came when what is decoded is too large', async () => {
    await provide('csv', { encoding: 'large', columns: [{ name: 'text', jsonType: 'STRING' }] });
    const payload = 'é'.repeat(300_000);
    const message = await decoded('large', payload);
    expect(message.value).toEqual({ payload });
    expect((await audited(message.id)).description).toContain('1048576');
  });
});

describe('decoders of others', () => {
  it('decode nothing', async () => {
    const mine = tenantId;
    await provide('binary', TWO_INTEGERS);
    tenantId = `tenant${++tenants}`;
    api = apiClient(url, keys.grant(tenantId).value);
    expect((await decoded('twointegers', PAYLOAD)).value).toEqual({ payload: PAYLOAD });
    expect(visited.has(`${mine} twointegers`)).toBe(true);
    expect(visited.has(`${tenantId} twointegers`)).toBe(false);
  });

  it('decode for every tenant that has none of this encoding when they are public', async () => {
    const admin = apiClient(url, keys.grant('administrator', { accountType: 'ADMIN' }).value);
    const path = await provide('binary', { encoding: 'everywhere', format: 'ubyte theirs;' }, admin);
    expect((await decoded('everywhere', '07')).value).toEqual({ payload: '07', theirs: 7 });
    const own = await provide('binary', { encoding: 'everywhere', format: 'ubyte mine;' });
    expect((await decoded('everywhere', '07')).value).toEqual({ payload: '07', mine: 7 });
    await api.put(`${own}/enabled`, false);
    expect((await decoded('everywhere', '07')).value).toEqual({ payload: '07' });
    await api.delete(own);
    expect((await decoded('everywhere', '07')).value).toEqual({ payload: '07', theirs: 7 });
    await admin.delete(path);
    expect((await decoded('everywhere', '07')).value).toEqual({ payload: '07' });
  });
});

describe('messages of devices', () => {
  it('DEC-047 are decoded by the decoder of the interface', async () => {
    await provide('binary', { encoding: 'e1', format: 'int temperature;' });
    const { streamId } = await uplink('000000DD', { encoding: 'e1' });
    expect((await stored(streamId))[0]).toMatchObject({
      value: { payload: '000000DD', temperature: 221 },
      metadata: { encoding: 'e1', connector: 'lora', network: NETWORK },
    });
  });

  const FORMAT = 'location{double lat; double lon;}';
  const hexOf = (...numbers: number[]): string =>
    numbers
      .map((number) => {
        const buffer = Buffer.alloc(8);
        buffer.writeDoubleBE(number);
        return buffer.toString('hex');
      })
      .join('');
  const NETWORK_LOCATION = { provider: 'lora', alt: 0, accuracy: 7500, lat: 48.762119, lon: -3.469017 };

  it('LOC-007 are where the decoder says, not where the network does', async () => {
    await provide('binary', { encoding: 'tracker', format: FORMAT });
    const { streamId } = await uplink(hexOf(48.76212, -3.46902), { encoding: 'tracker' }, NETWORK_LOCATION);
    expect((await stored(streamId))[0]).toMatchObject({
      location: { provider: 'device', lat: 48.76212, lon: -3.46902 },
      value: { location: { lat: 48.76212, lon: -3.46902 } },
    });
    const [message] = await stored(streamId);
    expect(message!.location).toEqual({ provider: 'device', lat: 48.76212, lon: -3.46902 });
    expect(message!.metadata.transformation).toEqual({
      decoder: { location: { provider: 'device', lat: 48.76212, lon: -3.46902 } },
    });
  });

  it('are at their static location when they have one', async () => {
    await provide('binary', { encoding: 'tracker', format: FORMAT });
    const staticLocation = { lat: 1, lon: 2 };
    const { streamId } = await uplink(hexOf(48.76212, -3.46902), { encoding: 'tracker', staticLocation });
    expect((await stored(streamId))[0]).toMatchObject({
      location: { provider: 'static', ...staticLocation },
      metadata: { transformation: { decoder: { location: { provider: 'device', lat: 48.76212, lon: -3.46902 } } } },
    });
  });

  it('LOC-012 keep their location when the decoded one is none', async () => {
    await provide('csv', {
      encoding: 'nowhere',
      columns: [{ name: 'lat', jsonType: 'STRING' }],
      template: '{"location": {"lat": "{{lat}}"}}',
    });
    const location = { lat: 48.8, lon: 2.3 };
    const message = await decoded('nowhere', 'north', { location });
    expect(message).toMatchObject({ location, value: { location: { lat: 'north' } } });
    expect(message.metadata).not.toHaveProperty('transformation');
    await provide('binary', { encoding: 'short', format: FORMAT });
    const { streamId } = await uplink('00', { encoding: 'short' }, NETWORK_LOCATION);
    expect((await stored(streamId))[0]!.location).toEqual(NETWORK_LOCATION);
  });

  it('keep their order, decoded or not', async () => {
    await provide('binary', { encoding: 'e', format: 'ushort n;' });
    const uplinks = Array.from({ length: 600 }, (_, n) =>
      uplink(n % 7 === 0 ? '0' : n.toString(16).padStart(4, '0'), { encoding: 'e' }),
    );
    const sent = new Set((await Promise.all(uplinks)).map(({ id }) => id));
    await stored(DEVICE.deviceId, 600);
    expect(ready.get(tenantId)!.filter((id) => sent.has(id))).toEqual([...sent]);
  });
});

describe('scripts', () => {
  const split = (items: string): string => `function decode(p) { return ${items}; }`;

  it('DEC-048 decode to an object that is merged into the value', async () => {
    await provide('javascript', {
      encoding: 'js',
      script: 'function decode(p){return {n:parseInt(p,16)};}',
      model: 'm',
    });
    expect(await decoded('js', '0A')).toMatchObject({ value: { payload: '0A', n: 10 }, model: 'm' });
    const modern = 'const read = (p) => ({ n: [...p].map(Number).at(-1) ?? null });\nconst decode = (p) => read(p);';
    const test = (script: string, payload: string) => api.post(`${PATH}/javascript/test`, { script, payload });
    expect((await test(modern, '57')).body).toEqual({
      parsingOk: true,
      decodingResult: { n: 7 },
      descriptionValid: true,
    });
    for (const script of ['function decode(p){', 'function other(p){return {};}', '']) {
      expect(await api.post(`${PATH}/javascript`, { encoding: 'bad', script })).toMatchObject({
        status: 400,
        body: { details: [{ field: 'script', expected: expect.any(String) }] },
      });
      expect((await test(script, '0A')).body).toMatchObject({ descriptionValid: false, parsingOk: false });
    }
    expect((await test('function decode(p){throw new Error("no");}', '')).body).toMatchObject({
      descriptionValid: true,
      parsingOk: false,
      decodingFailureReason: expect.stringContaining('no'),
    });
  });

  it('DEC-049 that fail or never end leave the message as it came, and others are decoded', async () => {
    const scripts = [
      'throw 1',
      'return 3',
      'for(;;);',
      'return [{value:{a:1}}]',
      'return {"a.b": 1}',
      'return Promise.resolve({})',
    ];
    for (const [i, body] of scripts.entries())
      await provide('javascript', { encoding: `bad${i}`, script: `function decode(p){${body}}` });
    await provide('javascript', { encoding: 'good', script: 'function decode(p){return {n:Number(p)};}' });
    await provide('javascript', {
      encoding: 'curious',
      script: `function decode() {
        var names = ['require', 'process', 'fetch', 'XMLHttpRequest', 'std', 'os', 'WebAssembly', 'setTimeout', 'left'];
        var found = {};
        names.forEach(function (name) { if (typeof globalThis[name] !== 'undefined') found[name] = true; });
        return { found: found };
      }`,
    });
    await provide('javascript', { encoding: 'leaving', script: 'function decode() { left = "behind"; return {}; }' });
    for (let n = 0; n < 3; n++) {
      for (const i of scripts.keys()) await send('failing', `p${i}`, `bad${i}`);
      await send('decoded', String(n), 'good');
    }
    const failing = await stored('failing', 3 * scripts.length);
    expect(failing.map(({ value }) => Object.keys(value!))).toEqual(failing.map(() => ['payload']));
    expect((await stored('decoded', 3)).map(({ value }) => value!['n'])).toEqual([0, 1, 2]);
    expect((await decoded('curious', '')).value).toEqual({ payload: '', found: {} });
    const [message] = failing;
    expect((await audited(message!.id)).description).toContain('bad0');
  });

  it('DEC-050 that split make several messages of one, each on its own way', async () => {
    await api.post('/api/v0/topics/fifo', { name: 'all', maxLengthBytes: 100_000 });
    await api.post('/api/v1/event2action/actionPolicies', {
      enabled: true,
      triggers: { dataMessage: { version: 1, filter: { tags: [['kept']] } } },
      actions: { fifoPublish: [{ fifoName: 'all' }] },
    });
    await provide('javascript-split', {
      encoding: 'three',
      script: split(
        `p.split('').map(function (n, i) { return { value: { n: Number(n) }, timestamp: i ? '2026-01-0' + i + 'T00:00:00+01:00' : null, streamId: 'other' }; })`,
      ),
      model: 'measures',
    });
    const source = 'urn:lo:nsid:lora:0020B20000000101';
    const id = await send('parts', '579', 'three', {
      timestamp: '2025-12-31T00:00:00.000Z',
      tags: ['kept'],
      location: { lat: 1, lon: 2 },
      metadata: { encoding: 'three', source },
    });
    const messages = await stored('parts', 3);
    expect(messages).toEqual(
      [
        { n: 5, timestamp: '2025-12-31T00:00:00.000Z' },
        { n: 7, timestamp: '2025-12-31T23:00:00.000Z' },
        { n: 9, timestamp: '2026-01-01T23:00:00.000Z' },
      ].map(({ n, timestamp }, rank) => ({
        id: expect.stringMatching(/^[0-9a-f]{24}$/),
        streamId: 'parts',
        timestamp,
        created: messages[0]!.created,
        model: 'measures',
        value: { payload: '579', n },
        location: { lat: 1, lon: 2 },
        tags: ['kept'],
        metadata: {
          connector: 'http',
          source,
          encoding: 'three',
          transformation: { decoder: { split: { rank } } },
        },
      })),
    );
    expect(new Set(messages.map((message) => message.id)).size).toBe(3);
    expect(messages[0]!.id).toBe(id);
    await eventually(async () => {
      const rows = await backend.query<{ body: string }>(
        'SELECT m.body FROM routing.fifo_messages m JOIN routing.fifos f ON f.id = m.fifo_id WHERE f.tenant_id = $1 ORDER BY m.seq',
        [tenantId],
      );
      const routed = rows.map(({ body }) => JSON.parse(body) as DataMessage);
      expect(routed.map((message) => message.id)).toEqual(messages.map((message) => message.id));
      return true;
    });
  });

  it('DEC-052 that split leave the network in the message of rank 0, and a plain decoder has no rank', async () => {
    await provide('javascript-split', {
      encoding: 'three',
      script: split('[{value:{n:0}},{value:{n:1}},{value:{n:2}}]'),
    });
    await provide('javascript', { encoding: 'plain', script: 'function decode(){return {n:3};}' });
    await uplink('00', { encoding: 'three' });
    await uplink('00', { encoding: 'plain' });
    const messages = (await stored(DEVICE.deviceId, 4)).toSorted(
      (a, b) => Number(a.value!['n']) - Number(b.value!['n']),
    );
    expect(messages.map(({ metadata }) => metadata.network)).toEqual([NETWORK, undefined, undefined, NETWORK]);
    expect(messages.map(({ metadata }) => metadata.transformation?.decoder?.split?.rank)).toEqual([0, 1, 2, undefined]);
  });

  it('that split into what is no list of messages leave the message as it came', async () => {
    const results = [
      '[]',
      '{value:{}}',
      '[{value:5}]',
      '[null]',
      `[{value:{},timestamp:'yesterday'}]`,
      '[{value:{"a.b":1}}]',
      'Array(1001).fill({value:{}})',
    ];
    for (const [i, result] of results.entries()) {
      await provide('javascript-split', { encoding: `bad${i}`, script: split(result) });
      const message = await decoded(`bad${i}`, 'p');
      expect(message.value).toEqual({ payload: 'p' });
      expect(message.metadata).not.toHaveProperty('transformation');
    }
    // A thousand copies of a payload are more than anyone needs.
    await provide('javascript-split', { encoding: 'copies', script: split('Array(1000).fill({value:{}})') });
    expect((await decoded('copies', 'p'.repeat(10_000))).metadata).not.toHaveProperty('transformation');
    const stream = newStream();
    await send(stream, 'p', 'copies');
    expect(new Set((await stored(stream, 1000)).map(({ id }) => id)).size).toBe(1000);
  });

  // Manual 15.3.3.2.
  it('LOC-006 give messages the location that they decode', async () => {
    const script = 'function decode(p) { return JSON.parse(p); }';
    await provide('javascript', { encoding: 'abeeway', script });
    const location = { accuracy: 57, lon: 164.7337728, lat: 80.8596736 };
    const { streamId } = await uplink(JSON.stringify({ location, trackerMode: 'CLASSIC' }), { encoding: 'abeeway' });
    expect((await stored(streamId))[0]).toMatchObject({
      value: { location, trackerMode: 'CLASSIC' },
      location: { provider: 'device', ...location },
      metadata: { transformation: { decoder: { location: { provider: 'device', ...location } } } },
    });
    const own = { ...location, provider: 'wifi', alt: null };
    const message = await decoded('abeeway', JSON.stringify({ location: own }));
    expect(message.location).toEqual({ ...location, provider: 'wifi' });
    expect(message.value!['location']).toEqual(own);
  });
});

describe('instances', () => {
  it('share the work, and one that is lost misses and repeats nothing', async () => {
    await provide('binary', { encoding: 'e', format: 'ushort n;' });
    const second = await backend.boot([decoder], { api: false, worker: true });
    const payloads = Array.from({ length: 60 }, (_, n) => n.toString(16).padStart(4, '0'));
    for (const [i, payload] of payloads.entries()) {
      await send(`of-${i % 8}`, payload, 'e');
      if (i === 40) await second.close();
    }
    const all: unknown[] = [];
    for (let i = 0; i < 8; i++)
      all.push(
        ...(await stored(`of-${i}`, payloads.filter((_, n) => n % 8 === i).length)).map(({ value }) => value!['n']),
      );
    expect(all.map(Number).toSorted((a, b) => a - b)).toEqual(payloads.map((_, n) => n));
  });
});
