import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  type KeyRing,
  keyRing,
  startBackend,
  withinWindow,
} from '@orrery/core/testing';
import type { LimitValues } from '@orrery/core/limits';
import type { DataMessage } from '@orrery/core/messages';
import { store } from '../index.js';

let backend: Backend;
let keys: KeyRing;
let api: ApiClient;
let url: string;

beforeAll(async () => {
  backend = await startBackend([store]);
  keys = keyRing(await backend.bus());
  url = (await backend.boot([store])).url;
  api = apiClient(url, keys.grant('tenant-a').value);
});
afterAll(() => backend.stop());

const read = async (stream: string, query = ''): Promise<DataMessage[]> => {
  const answer = await api.get<DataMessage[]>(`/api/v0/data/streams/${stream}${query}`);
  expect(answer.status).toBe(200);
  return answer.body;
};
/** Waits until the stream holds this many messages. */
const stored = (stream: string, count: number): Promise<DataMessage[]> =>
  eventually(async () => {
    const messages = await read(stream, '?limit=1000');
    return messages.length === count && messages;
  });
const series = (streamId: string, count: number, from = Date.UTC(2016, 4, 9)): Array<Record<string, unknown>> =>
  Array.from({ length: count }, (_, i) => ({
    streamId,
    timestamp: new Date(from + i * 1000).toISOString(),
    value: { n: i },
  }));

describe('POST /api/v0/data/streams/{streamId}', () => {
  it('STO-002 STO-003 API-027 stores a message with an id, dates and the connector http, and answers 202', async () => {
    const before = Date.now();
    const answer = await api.post<{ id: string }>('/api/v0/data/streams/myDeviceTemperature', {
      value: { temp: 24.1 },
      model: 'data_model_v0',
    });
    expect(answer.status).toBe(202);
    const [message] = await stored('myDeviceTemperature', 1);
    expect(message).toEqual({
      id: answer.body.id,
      streamId: 'myDeviceTemperature',
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      created: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      model: 'data_model_v0',
      value: { temp: 24.1 },
      tags: [],
      metadata: { connector: 'http' },
    });
    expect(message!.id).toMatch(/^[0-9a-f]{24}$/);
    expect(Math.abs(Date.parse(message!.created) - before)).toBeLessThan(10_000);
    expect(message!.timestamp).toBe(message!.created);
    await api.post('/api/v0/data/streams/kept', {
      value: {},
      timestamp: '2017-07-26T08:32:44.034Z',
      created: '2001-01-01T00:00:00Z',
    });
    const [kept] = await stored('kept', 1);
    expect(kept!.timestamp).toBe('2017-07-26T08:32:44.034Z');
    expect(kept!.created).not.toContain('2001');
  });

  it('STO-004 LOC-014 keeps timestamp, model, location, tags, source and encoding as sent', async () => {
    const body = {
      timestamp: '2017-07-26T08:32:44.034Z',
      model: 'm',
      location: { lat: 37.602902, lon: -122.169846, alt: 2, accuracy: 5, provider: 'GPS' },
      tags: ['a', 'b'],
      value: { x: 1 },
      metadata: { connector: 'http', source: 'urn:lo:nsid:lora:0020B20000000101', encoding: 'twointegers' },
    };
    await api.post('/api/v0/data/streams/all', body);
    const [message] = await stored('all', 1);
    expect(message).toEqual({ ...body, streamId: 'all', id: expect.anything(), created: expect.anything() });
  });

  it.each([
    ['API-004', '{"value":', 'body'],
    ['API-004', [1], 'body'],
    ['MSG-003', { value: 5 }, 'value'],
    ['MSG-003', { value: { a: { 'b.c': 1 } } }, 'value: "b.c"'],
    ['MSG-005', { timestamp: 'yesterday' }, 'timestamp'],
    ['MSG-005', { timestamp: '2021-02-30T00:00:00Z' }, 'timestamp'],
    ['MSG-002', { model: 'my.model' }, 'model'],
    ['MSG-006 LIM-063', { tags: Array.from({ length: 11 }, String) }, 'tags'],
    ['LOC-001', { location: { lat: 48.8 } }, 'location.lon'],
    ['MSG-004 LIM-062', { value: { a: 'x'.repeat(1_048_577) } }, 'value'],
    ['MSG-004 LIM-062', { value: { a: 'x'.repeat(2_000_000) } }, 'value'],
  ])('%s refuses a bad message and names the field', async (_id, body, field) => {
    const answer = await api.post('/api/v0/data/streams/bad', body);
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({
      code: 'GENERIC_INVALID_PARAMETER_ERROR',
      message: 'The submitted parameter is invalid.',
      details: [{ field }],
    });
    expect(await read('bad')).toEqual([]);
  });

  it('refuses what could not be published, stored or written again, and goes on', async () => {
    const nested = `{"value":{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}}`;
    expect((await api.post('/api/v0/data/streams/extreme', nested)).status).toBe(400);
    expect((await api.post('/api/v0/data/bulk', `[${'{},'.repeat(5_000_000)}{}]`)).status).toBe(400);
    for (const timestamp of ['9999-12-31T23:59:59-14:00', '0001-01-01T00:00:00+14:00'])
      expect((await api.post('/api/v0/data/streams/extreme', { timestamp })).status).toBe(400);
    // More than NATS takes in one message.
    const tooLarge = await api.post('/api/v0/data/streams/extreme', { tags: ['x'.repeat(9 << 20)] });
    expect(tooLarge.status).toBe(413);
    expect(tooLarge.body).toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
    for (const timestamp of ['9999-12-31T23:59:59.999Z', '0001-01-01T00:00:00Z'])
      expect((await api.post('/api/v0/data/streams/extreme', { timestamp })).status).toBe(202);
    expect((await stored('extreme', 2)).map((message) => message.timestamp)).toEqual([
      '9999-12-31T23:59:59.999Z',
      '0001-01-01T00:00:00.000Z',
    ]);
  });

  it('asks for a key whatever way the address is written', async () => {
    for (const path of ['/%61pi/v0/data/streams/s', '/api/v0/data/streams/s'])
      expect((await apiClient(url).get(path)).status).toBe(403);
  });

  it('MSG-004 accepts a value of exactly 1 MiB', async () => {
    const value = { a: 'x'.repeat(1_048_576 - '{"a":""}'.length) };
    expect((await api.post('/api/v0/data/streams/big', { value })).status).toBe(202);
    const [message] = await stored('big', 1);
    expect(message!.value).toEqual(value);
  });

  it('MSG-002 refuses stream ids with forbidden characters', async () => {
    for (const streamId of ['a b', 'a;b', 'a{b', "a'b", 'a"b', 'a\\b', 'a(b'])
      expect((await api.post(`/api/v0/data/streams/${encodeURIComponent(streamId)}`, { value: {} })).status).toBe(400);
    expect(
      (
        await api.post(
          `/api/v0/data/streams/${encodeURIComponent('urn:lo:nsid:dongle:00-14-22-01-23-45!temperature')}`,
          { value: {} },
        )
      ).status,
    ).toBe(202);
  });

  it('ACC-038 API-009 needs DATA_W to write and DATA_R to read', async () => {
    const writer = apiClient(url, keys.grant('tenant-a', { roles: ['DATA_W'] }).value);
    const reader = apiClient(url, keys.grant('tenant-a', { roles: ['DATA_R'] }).value);
    expect((await writer.post('/api/v0/data/streams/roles', { value: {} })).status).toBe(202);
    const refused = await reader.post('/api/v0/data/streams/roles', '{"broken');
    expect(refused.status).toBe(403);
    expect(refused.body).toMatchObject({
      code: 'GENERIC_ACTION_FORBIDDEN_ERROR',
      message: 'You do not have the required permissions to execute this action.',
    });
    expect((await reader.get('/api/v0/data/streams/roles')).status).toBe(200);
    expect((await writer.get('/api/v0/data/streams/roles')).status).toBe(403);
  });

  it('ACC-002 shows a tenant nothing of another tenant', async () => {
    const other = apiClient(url, keys.grant('tenant-b').value);
    const { body } = await api.post<{ id: string }>('/api/v0/data/streams/mine', { value: { secret: 1 } });
    await stored('mine', 1);
    expect((await other.get('/api/v0/data/streams/mine')).body).toEqual([]);
    expect((await other.get(`/api/v0/data/streams/mine?bookmarkId=${body.id}`)).status).toBe(400);
  });
});

describe('POST /api/v0/data/bulk', () => {
  it('STO-006 MSG-015 stores each element in its stream', async () => {
    const answer = await api.post<{ ids: string[] }>('/api/v0/data/bulk', [
      { streamId: 'temperature_stream_1', value: { temp: 24.1 }, model: 'data_model_v1' },
      { streamId: 'temperature_stream_1', value: { temp: 24.2 }, model: 'data_model_v1' },
      { streamId: 'pressure_stream_1', value: { pressure: 1024.0 }, model: 'data_model_v1' },
    ]);
    expect(answer.status).toBe(202);
    const temperatures = await stored('temperature_stream_1', 2);
    expect(temperatures.map((message) => message.id)).toEqual([answer.body.ids[1], answer.body.ids[0]]);
    expect(await stored('pressure_stream_1', 1)).toMatchObject([{ metadata: { connector: 'http' }, tags: [] }]);
  });

  it('STO-007 rejects the whole bulk for one invalid element, and names it', async () => {
    const answer = await api.post('/api/v0/data/bulk', [
      { streamId: 'b1', value: {} },
      { value: {} },
      { streamId: 'b1', value: 3 },
    ]);
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({ details: [{ field: '[1].streamId' }, { field: '[2].value' }] });
    expect(await read('b1')).toEqual([]);
  });

  it('STO-008 LIM-040 takes 1000 messages and refuses 1001', async () => {
    expect((await api.post('/api/v0/data/bulk', series('b1001', 1001))).status).toBe(400);
    expect((await api.post('/api/v0/data/bulk', series('b1000', 1000))).status).toBe(202);
    await stored('b1000', 1000);
    expect(await read('b1001')).toEqual([]);
  });

  it('STO-009 LIM-039 answers 429 with an empty body beyond the bulks of a minute', async () => {
    const limited = apiClient(url, keys.grant('tenant-bulks', { limits: { bulksPerMinute: 3 } }).value);
    const statuses: number[] = [];
    // Eight calls span at most two windows, so at least two of them are refused.
    for (let i = 0; i < 8; i++) {
      const answer = await limited.post('/api/v0/data/bulk', [{ streamId: 's', value: {} }]);
      statuses.push(answer.status);
      if (answer.status === 429) expect(answer.body).toBeUndefined();
    }
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThanOrEqual(2);
    expect(new Set(statuses)).toEqual(new Set([202, 429]));
  });

  it('refuses the sixth bulk while five of the account are under way', async () => {
    // The rates are for other tests: on a slow machine the question below is asked often.
    const rates: LimitValues = { httpPerKeyMinute: null, httpPerAccountHour: null, bulksPerMinute: null };
    const { value } = keys.grant('tenant-parallel', { limits: rates });
    const parallel = apiClient(url, value);
    const body = JSON.stringify([{ streamId: 'parallel', value: {} }]);
    let finish!: () => void;
    const finished = new Promise<void>((resolve) => (finish = resolve));
    const hold = async (): Promise<number | undefined> => {
      const bulk = request(`${url}/api/v0/data/bulk`, {
        method: 'POST',
        headers: { 'x-api-key': value, 'content-type': 'application/json', 'content-length': body.length },
      });
      bulk.write(body.slice(0, 1));
      void finished.then(() => bulk.destroyed || bulk.end(body.slice(1)));
      const [answer] = (await once(bulk, 'response')) as [IncomingMessage];
      answer.resume();
      if (answer.statusCode !== 429) return answer.statusCode;
      // The question below held the fifth place when this one came.
      bulk.destroy();
      return hold();
    };
    const bulks = Array.from({ length: 5 }, hold);
    // The rest of their bodies is still to come.
    await eventually(async () => (await parallel.post('/api/v0/data/bulk', 'x')).status === 429);
    expect((await parallel.post('/api/v0/data/streams/parallel', { value: {} })).status).toBe(202);
    finish();
    expect(await Promise.all(bulks)).toEqual([202, 202, 202, 202, 202]);
    await eventually(async () => (await parallel.post('/api/v0/data/bulk', body)).status === 202);
  });
});

describe('GET /api/v0/data/streams/{streamId}', () => {
  it('STO-010 returns newest first and an empty array for an unknown stream', async () => {
    const messages = series('order', 3);
    await api.post('/api/v0/data/bulk', [messages[1], messages[2], messages[0]]);
    expect((await stored('order', 3)).map((message) => message.value)).toEqual([{ n: 2 }, { n: 1 }, { n: 0 }]);
    expect(await read('no-such-stream')).toEqual([]);
  });

  it('STO-011 LIM-059 bounds the answer by limit: 100 unless told otherwise, 1000 at most', async () => {
    await api.post('/api/v0/data/bulk', series('long', 1000));
    await api.post('/api/v0/data/bulk', series('long', 500, Date.UTC(2017, 0, 1)));
    await eventually(
      async () =>
        (await backend.query<{ n: string }>(`SELECT count(*) n FROM store.messages WHERE stream_id = 'long'`))[0]!.n ===
        '1500',
    );
    for (const [query, count] of [
      ['?limit=10', 10],
      ['', 100],
      ['?limit=500', 500],
      ['?limit=1500', 1000],
      ['?limit=99999999999999999999', 1000],
    ] as const)
      expect(await read('long', query)).toHaveLength(count);
    expect((await api.get('/api/v0/data/streams/long?limit=x')).status).toBe(400);
  });

  it('reads more than is held at once, as far as the limit goes', async () => {
    const text = 'x'.repeat(1_000_000);
    // Of the same time: the place in the stream is then known by the id alone.
    const timestamp = '2020-01-01T00:00:00.000Z';
    for (let i = 0; i < 4; i++) {
      const messages = [0, 1, 2, 3, 4].map((n) => ({ streamId: 'heavy', timestamp, value: { n: 5 * i + n, text } }));
      expect((await api.post('/api/v0/data/bulk', messages)).status).toBe(202);
    }
    const last = '1 more';
    await api.post('/api/v0/data/streams/heavy', { timestamp: '2019-01-01T00:00:00Z', value: { n: last } });
    const descending = Array.from({ length: 20 }, (_, i) => 19 - i);
    const numbers = async (query: string): Promise<unknown[]> =>
      (await read('heavy', query)).map((message) => message.value!['n']);
    await eventually(async () => (await numbers('')).length === 21);
    expect(await numbers('')).toEqual([...descending, last]);
    expect(await numbers('?limit=20')).toEqual(descending);
    expect(await numbers('?limit=9')).toEqual(descending.slice(0, 9));
    const [, second] = await read('heavy', '?limit=2');
    expect(await numbers(`?limit=17&bookmarkId=${second!.id}`)).toEqual(descending.slice(2, 19));
    expect(await numbers(`?timeRange=${timestamp},`)).toEqual(descending);
  });

  it('holds nothing of the database for clients that do not take what they asked for, or go away', async () => {
    const heavy = `${url}/api/v0/data/streams/heavy`;
    const headers = { 'X-API-KEY': keys.grant('tenant-a').value };
    // More than there are connections to the database.
    const asked = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const asking = request(heavy, { headers, agent: false }).end();
        const [answer] = (await once(asking, 'response')) as [IncomingMessage];
        expect(answer.statusCode).toBe(200);
        return { asking, answer };
      }),
    );
    expect(await read('heavy')).toHaveLength(21);
    const [last, ...others] = asked;
    for (const { asking } of others) asking.on('error', () => undefined).destroy();
    expect(await read('heavy')).toHaveLength(21);
    const pieces: Buffer[] = [];
    for await (const piece of last!.answer) pieces.push(piece as Buffer);
    expect(JSON.parse(Buffer.concat(pieces).toString())).toHaveLength(21);
  });

  it('cuts the connection when it can read no further, so that no part is taken for all', async () => {
    const headers = { 'X-API-KEY': keys.grant('tenant-a').value };
    const asking = request(`${url}/api/v0/data/streams/heavy`, { headers, agent: false }).end();
    const [answer] = (await once(asking, 'response')) as [IncomingMessage];
    expect(answer.statusCode).toBe(200);
    await backend.query('ALTER TABLE store.messages RENAME TO away');
    try {
      const taking = (async () => {
        for await (const piece of answer) expect(piece).toBeInstanceOf(Buffer);
      })();
      await expect(taking).rejects.toMatchObject({ code: 'ECONNRESET' });
    } finally {
      await backend.query('ALTER TABLE store.away RENAME TO messages');
    }
    expect(await read('heavy')).toHaveLength(21);
  });

  it('reads no more than it holds for HEAD', () =>
    withinWindow(60_000, async () => {
      const key = keys.grant('tenant-a', { limits: { streamReadsPerMinute: 30 } }).value;
      const limited = apiClient(url, key);
      const head = await fetch(`${url}/api/v0/data/streams/heavy`, { method: 'HEAD', headers: { 'X-API-KEY': key } });
      expect(head.status).toBe(200);
      // All of it would have been read by now.
      expect((await limited.get('/api/v0/data/streams/heavy')).status).toBe(200);
      expect((await limited.get('/api/v0/data/streams/heavy?limit=1')).status).toBe(200);
    }));

  it('STO-012 keeps the messages of a time range, both bounds included', async () => {
    await api.post('/api/v0/data/bulk', [
      { streamId: 'range', timestamp: '2016-05-08T23:59:59.999Z', value: { n: 0 } },
      { streamId: 'range', timestamp: '2016-05-09T00:00:00Z', value: { n: 1 } },
      { streamId: 'range', timestamp: '2016-05-10T00:00:00Z', value: { n: 2 } },
      { streamId: 'range', timestamp: '2016-05-10T00:00:00.001Z', value: { n: 3 } },
    ]);
    await stored('range', 4);
    const values = async (query: string): Promise<unknown[]> =>
      (await read('range', query)).map((message) => message.value!['n']);
    expect(await values('?timeRange=2016-05-09T00:00:00Z,2016-05-10T00:00:00Z')).toEqual([2, 1]);
    expect(await values('?timeRange=2016-05-10T00:00:00Z,')).toEqual([3, 2]);
    for (const bad of ['x,y', '2016-05-09', ',,', '2016-05-09&timeRange=2016-05'])
      expect((await api.get(`/api/v0/data/streams/range?timeRange=${bad}`)).status).toBe(400);
  });

  it('STO-013 continues after a bookmark, also while newer messages arrive', async () => {
    await api.post('/api/v0/data/bulk', series('book', 5));
    await stored('book', 5);
    const page = await read('book', '?limit=2');
    await api.post('/api/v0/data/bulk', series('book', 1, Date.UTC(2020, 0, 1)));
    await stored('book', 6);
    const next = await read('book', `?limit=2&bookmarkId=${page[1]!.id}`);
    expect(next.map((message) => message.value)).toEqual([{ n: 2 }, { n: 1 }]);
    for (const bad of ['x', '0'.repeat(24)])
      expect((await api.get(`/api/v0/data/streams/book?bookmarkId=${bad}`)).status).toBe(400);
  });

  it('STO-014 LIM-060 answers 429 once the messages of a minute have been read', async () => {
    const { value } = keys.grant('tenant-reads', { limits: { streamReadsPerMinute: 10 } });
    const limited = apiClient(url, value);
    await limited.post('/api/v0/data/bulk', series('s', 10));
    // Two reads of ten in one window are one too many; a window may end in between, so a third decides.
    const refused = await eventually(async () => {
      const seen: number[] = [];
      for (let i = 0; i < 3; i++) seen.push((await limited.get('/api/v0/data/streams/s')).status);
      // The limit is checked before the parameters.
      seen.push((await limited.get('/api/v0/data/streams/no%20stream')).status);
      return seen.slice(0, 3).includes(429) && seen[3] === 429;
    });
    expect(refused).toBe(true);
  });

  it('STO-015 LIM-061 no longer returns a message after the retention delay', async () => {
    await api.post('/api/v0/data/streams/old', { value: {} });
    await stored('old', 1);
    const id = (age: number): string =>
      (Date.now() - age * 24 * 3600 * 1000).toString(16).padStart(12, '0') + '000000000000';
    for (const age of [364, 366])
      await backend.query(
        `INSERT INTO store.messages SELECT tenant_id, stream_id, timestamp, $1, now() - $2 * interval '1 day', body FROM store.messages WHERE stream_id = 'old' LIMIT 1`,
        [id(age), age],
      );
    expect(await read('old')).toHaveLength(2);
  });
});

describe('REST conventions', () => {
  it('API-006 API-007 API-008 tells missing, unknown and invalid keys apart', async () => {
    expect(await apiClient(url).get('/api/v0/data/streams/s')).toMatchObject({
      status: 403,
      body: { code: 'FORBIDDEN' },
    });
    expect(await apiClient(url, '0123456789abcdef0123456789abcdef').get('/api/v0/data/streams/s')).toMatchObject({
      status: 403,
      body: { code: 'FORBIDDEN' },
    });
    const expired = keys.grant('tenant-a', { to: Date.now() - 1000 });
    expect(await apiClient(url, expired.value).get('/api/v0/data/streams/s')).toMatchObject({
      status: 401,
      body: { code: 'UNAUTHORIZED', message: 'Authentication failure.' },
    });
  });

  it('ACC-030 a key disabled elsewhere is refused at once', async () => {
    const { value } = keys.grant('tenant-a');
    expect((await apiClient(url, value).get('/api/v0/data/streams/s')).status).toBe(200);
    keys.change(value, { active: false });
    await eventually(async () => (await apiClient(url, value).get('/api/v0/data/streams/s')).status === 401);
  });

  it('API-002 API-003 takes and returns JSON alone, whether it is declared or not', async () => {
    const key = keys.grant('tenant-a').value;
    const post = (headers: Record<string, string>): Promise<Response> =>
      fetch(`${url}/api/v0/data/streams/types`, {
        method: 'POST',
        headers: { 'X-API-KEY': key, ...headers },
        body: new Blob(['{"value":{}}']),
      });
    expect((await post({})).status).toBe(202);
    expect((await post({ 'content-type': 'text/xml' })).status).toBe(415);
    expect((await post({ 'content-type': 'application/json', accept: 'text/xml' })).status).toBe(406);
  });

  it('API-012 API-013 gives each error an id, and unknown paths 404', async () => {
    const first = await api.get<{ id: string; code: string }>('/api/v1/nosuchpath');
    const second = await api.get<{ id: string; code: string }>('/api/v1/nosuchpath');
    expect(first).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } });
    expect(first.body.id).not.toBe(second.body.id);
  });

  it('API-025 describes the API in a browsable page', async () => {
    const page = await fetch(`${url}/swagger-ui/index.html`);
    expect(page.status).toBe(200);
    expect(page.headers.get('content-type')).toContain('html');
    const document = (await (await fetch(`${url}/swagger-ui-json`)).json()) as {
      paths: Record<string, Record<string, Record<string, unknown>>>;
    };
    expect(document.paths['/api/v0/data/streams/{streamId}']!['post']!['x-roles']).toEqual(['DATA_W']);
  });

  it('answers health and metrics without a key', async () => {
    const ready = await apiClient(url).get('/health/ready');
    expect(ready).toMatchObject({
      status: 200,
      body: {
        status: 'up',
        parts: { nats: { status: 'up' }, redis: { status: 'up' }, 'postgres:store': { status: 'up' } },
      },
    });
    expect(await (await fetch(`${url}/metrics`)).text()).toContain('orrery_reader_messages_total{reader="store"}');
  });
});
