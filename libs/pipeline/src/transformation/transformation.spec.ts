import type { DataMessage } from '@orrery/core/messages';
import { eventually } from '@orrery/core/testing';
import { PATH, type Sent, type Surroundings, startSurroundings, type Tenant } from '../testing/surroundings.js';
import type { TransformerServer } from '../testing/transformer-server.js';

let surroundings: Surroundings;
let server: TransformerServer;
let tenant: Tenant;

/** Of a message: the pipeline that handled it, or undefined. */
const handler = (message: DataMessage): string | undefined => message.metadata.transformation?.pipeline?.id;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;

beforeAll(async () => {
  surroundings = await startSurroundings();
  ({ server } = surroundings);
});
afterAll(() => surroundings.stop());
beforeEach(() => {
  tenant = surroundings.tenant();
});

describe('which pipeline handles a message', () => {
  /** Whether a pipeline with this filter handles each of these messages. */
  async function passes(filter: object | null, messages: Sent[]): Promise<boolean[]> {
    const { id } = await tenant.create(server.answer({}), { filter });
    const results = await Promise.all(messages.map(async (each) => handler(await tenant.send(each)) === id));
    await tenant.api.delete(`${PATH}/${id}`);
    return results;
  }

  it('PIP-002 is every one without filter, and none that is disabled', async () => {
    const { id, created: _, ...pipeline } = await tenant.create(server.answer({}), { filter: null });
    for (const connector of ['http', 'mqtt']) expect(handler(await tenant.send({ connector }))).toBe(id);
    await tenant.api.put(`${PATH}/${id}`, { ...pipeline, enabled: false });
    for (const connector of ['http', 'mqtt']) expect(handler(await tenant.send({ connector }))).toBeUndefined();
  });

  it('PIP-003 is selected by the connector', async () => {
    const messages = [{ connector: 'mqtt' }, { connector: 'http' }, { connector: 'lwm2m' }];
    expect(await passes({ connectors: ['mqtt'] }, messages)).toEqual([true, false, false]);
    expect(await passes({ connectors: ['http', 'lwm2m'] }, messages)).toEqual([false, true, true]);
    const step = { type: 'externalTransformation', url: server.answer({}) };
    const refused = { name: 'x', priorityLevel: 1, enabled: true, steps: [step], filter: { connectors: ['ftp'] } };
    expect((await tenant.api.post(PATH, refused)).status).toBe(400);
  });

  it('PIP-004 is selected by the encoding', async () => {
    const messages = [{ encoding: 'base64' }, { encoding: 'base32' }, {}];
    expect(await passes({ encodings: ['base64'] }, messages)).toEqual([true, false, false]);
  });

  it('PIP-005 is selected by the group, with or without those below', async () => {
    const messages = ['/europe', '/europe/france', '/europe2', '/'].map((path, i) => ({
      device: { deviceId: `urn:lo:nsid:d:${i}`, group: { id: String(i), path } },
    }));
    const groupPaths = (includeSubPath: boolean): object => ({ groupPaths: [{ path: '/europe', includeSubPath }] });
    expect(await passes(groupPaths(true), messages)).toEqual([true, true, false, false]);
    expect(await passes(groupPaths(false), messages)).toEqual([true, false, false, false]);
    expect(await passes(groupPaths(true), [{}])).toEqual([false]);
  });

  it('PIP-006 is selected by one group of tags of which the message has all', async () => {
    const messages = [['PROD'], ['HIGH', 'ALERT', 'x'], ['HIGH'], []].map((tags) => ({ tags }));
    const filter = { tags: [['HIGH', 'ALERT'], ['PROD']] };
    expect(await passes(filter, messages)).toEqual([true, true, false, false]);
  });

  it('PIP-007 is selected by all criteria together, and by one element of each', async () => {
    const messages = [
      { connector: 'sms', encoding: 'base64' },
      { connector: 'mqtt', encoding: 'other' },
      { connector: 'http', encoding: 'base64' },
    ];
    const filter = { connectors: ['mqtt', 'sms'], encodings: ['base64'] };
    expect(await passes(filter, messages)).toEqual([true, false, false]);
  });

  it('PIP-008 is the one with the lowest level, and the oldest of them', async () => {
    const urls = [server.answer({}), server.answer({}), server.answer({})];
    await tenant.create(urls[0]!, { priorityLevel: 10 });
    const b = await tenant.create(urls[1]!, { priorityLevel: 5 });
    await tenant.create(urls[2]!, { priorityLevel: 5 });
    expect(handler(await tenant.send())).toBe(b.id);
    expect(urls.map((url) => server.callsOf(url).length)).toEqual([0, 1, 0]);
  });

  it('is none of another tenant', async () => {
    const url = server.answer({});
    await surroundings.tenant().create(url);
    expect(handler(await tenant.send())).toBeUndefined();
    expect(server.callsOf(url)).toEqual([]);
  });
});

describe('an external transformation', () => {
  it('PIP-009 follows the one before, on its result', async () => {
    const first = server.answer({ tags: ['s1'], model: 'm1' });
    const second = server.answer(({ body }, reply) =>
      reply.end(JSON.stringify({ ...body, tags: [...(body['tags'] as string[]), 's2'] })),
    );
    const steps = [first, second].map((url, i) => ({ type: 'externalTransformation', url, name: `step ${i}` }));
    await tenant.create(steps);
    expect(await tenant.send({ tags: ['s0'] })).toMatchObject({ tags: ['s1', 's2'], model: 'm1' });
    const [one] = server.callsOf(first);
    const [two] = server.callsOf(second);
    const header = 'x-orange-lo-pipeline-execution-id';
    expect(one!.headers[header]).toBe(two!.headers[header]);
    expect([one, two].map((call) => call!.headers['x-orange-lo-pipeline-step-name'])).toEqual(['step 0', 'step 1']);
    const pipeline = { name: 'x', priorityLevel: 1, enabled: true };
    for (const bad of [[], [{ ...steps[0], type: 'other' }]])
      expect((await tenant.api.post(PATH, { ...pipeline, steps: bad })).status).toBe(400);
  });

  const BASE64 = {
    streamId: 'device-001-alarm',
    timestamp: '2019-12-10T13:57:03.000Z',
    model: 'v1',
    value: { payload: 'bG93IGJhdHRlcnkgYWxhcm0gOiA5JSByZW1haW5pbmc=' },
    encoding: 'base64',
    connector: 'http',
  };

  it('PIP-010 gets the message in the routed format, without id', async () => {
    const url = server.answer({});
    await tenant.create([{ type: 'externalTransformation', name: 'base64 external decoder', url }]);
    const { created } = await tenant.send(BASE64);
    const [called] = server.callsOf(url);
    expect(called!.body).toEqual({
      type: 'dataMessage',
      version: 1,
      streamId: BASE64.streamId,
      timestamp: BASE64.timestamp,
      model: 'v1',
      value: BASE64.value,
      metadata: { connector: 'http', encoding: 'base64' },
      created,
      tags: [],
    });
    expect(called!.headers).toMatchObject({
      'content-type': 'application/json',
      'x-orange-lo-pipeline-execution-id': expect.stringMatching(UUID),
      'x-orange-lo-pipeline-step-name': 'base64 external decoder',
    });
    await tenant.send(BASE64);
    const [, again] = server.callsOf(url);
    const header = 'x-orange-lo-pipeline-execution-id';
    expect(again!.headers[header]).not.toBe(called!.headers[header]);
  });

  it('PIP-011 gets the headers of the step, and its name when it has one', async () => {
    const url = server.answer({});
    const headers = { 'x-transform-header': ['account-1234'], Authorization: ['Basic c2VjcmV0'], 'x-b': ['1', '2'] };
    await tenant.create([{ type: 'externalTransformation', url: `${url}?key=1`, headers }]);
    await tenant.send();
    const [called] = server.callsOf(url);
    expect(called!.headers).toMatchObject({
      'x-transform-header': 'account-1234',
      authorization: 'Basic c2VjcmV0',
      'x-b': '1, 2',
    });
    expect(called!.headers).not.toHaveProperty('x-orange-lo-pipeline-step-name');
  });

  it('PIP-013 keeps streamId, metadata, extra, payload and creation, whatever is answered', async () => {
    const device = { deviceId: 'urn:lo:nsid:d:1', properties: { plant: 'Lyon' } };
    const other = {
      streamId: 'other stream!',
      metadata: { connector: 'x', source: 7 },
      extra: { plant: 'x' },
      created: '2001-01-01T00:00:00Z',
      id: 'x',
      value: { payload: 'x', y: 2 },
    };
    const { id } = await tenant.create(server.answer(other));
    const sent = await tenant.send({ device, value: { payload: 'p' } });
    expect(sent).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{24}$/),
      streamId: device.deviceId,
      timestamp: sent.created,
      created: expect.any(String),
      extra: { plant: 'Lyon' },
      tags: [],
      value: { payload: 'p', y: 2 },
      metadata: {
        connector: 'mqtt',
        source: device.deviceId,
        group: { id: 'root', path: '/' },
        transformation: { pipeline: { id, success: true } },
      },
    });
    expect(Date.parse(sent.created)).toBe(Number.parseInt(sent.id.slice(0, 12), 16));
  });

  it('PIP-014 replaces model, location, tags and value, by nothing too', async () => {
    const before = { model: 'm', tags: ['a'], location: { lat: 1, lon: 2 }, value: { payload: 'p', x: 1 } };
    await tenant.create(server.answer({ value: { y: 2 } }));
    const sent = await tenant.send(before);
    expect(sent).toMatchObject({ tags: [], value: { payload: 'p', y: 2 } });
    expect(sent.value).toEqual({ payload: 'p', y: 2 });
    expect(sent).not.toHaveProperty('model');
    expect(sent).not.toHaveProperty('location');
    const nothing = surroundings.tenant();
    await nothing.create(server.answer({ value: null, tags: null, model: null, location: null }));
    expect((await nothing.send(before)).value).toEqual({ payload: 'p' });
    const without = await nothing.send({ value: { x: 1 } });
    expect(without).toMatchObject({ tags: [] });
    expect(without).not.toHaveProperty('value');
  });

  it('PIP-015 replaces the time unless it is null, and takes no other field', async () => {
    await tenant.create(server.answer({ timestamp: '2020-01-01T00:00:00Z', foo: 1 }));
    const sent = await tenant.send({ timestamp: '2019-01-01T00:00:00.000Z' });
    expect(sent).toMatchObject({ timestamp: '2020-01-01T00:00:00.000Z' });
    expect(sent).not.toHaveProperty('foo');
    // What is stored, and read by time, says the same.
    const { header } = tenant.arrived().find(({ message }) => message.id === sent.id)!;
    expect(header).toMatchObject({ timestamp: sent.timestamp, id: sent.id, tenantId: tenant.id });
    const keeping = surroundings.tenant();
    await keeping.create(server.answer({ timestamp: null }));
    const kept = await keeping.send({ timestamp: '2019-01-01T00:00:00.000Z' });
    expect(kept.timestamp).toBe('2019-01-01T00:00:00.000Z');
  });

  it('PIP-020 decodes as in the example of 11.4.3.1.1', async () => {
    const answer = {
      model: 'v1_base64_decoded',
      value: { alarm: 'low battery alarm : 9% remaining', battery_level: 9 },
      tags: ['ALARM', 'BASE64_DECODED'],
    };
    const { id } = await tenant.create(server.answer(answer), { filter: { encodings: ['base64'] } });
    expect(await tenant.send(BASE64)).toMatchObject({
      streamId: BASE64.streamId,
      timestamp: BASE64.timestamp,
      model: 'v1_base64_decoded',
      value: { payload: BASE64.value.payload, ...answer.value },
      tags: answer.tags,
      metadata: { encoding: 'base64', transformation: { pipeline: { id, success: true } } },
    });
  });

  it('PIP-017 leaves its id and success, and nothing where no pipeline was', async () => {
    const { id } = await tenant.create(server.answer({}), { filter: { tags: [['a']] } });
    const handled = await tenant.send({ tags: ['a'] });
    expect(handled.metadata.transformation).toEqual({ pipeline: { id, success: true } });
    expect((await tenant.send({ tags: ['b'] })).metadata).not.toHaveProperty('transformation');
  });

  it('LOC-010 LOC-013 gives the root location, and all others stay in the metadata', async () => {
    const location = { provider: 'custom', alt: null, accuracy: 412, lon: 2.2938888888888886, lat: 48.80138888888889 };
    const { id } = await tenant.create(server.answer({ location }));
    const { alt: _, ...root } = location;
    const published = { provider: 'My_embedded_GPS', alt: 35.2, accuracy: 12.3, lon: 2.33333, lat: 48.86667 };
    const staticLocation = { alt: 12, lon: 164.7337728, lat: 80.8596736 };
    const sent = await tenant.send({
      location: published,
      device: { deviceId: 'urn:lo:nsid:d:1', staticLocation },
    });
    expect(sent.location).toEqual(root);
    expect(sent.metadata).toMatchObject({
      transformation: {
        external: { location: root },
        published: { location: published },
        pipeline: { id, success: true },
      },
      device: { location: { provider: 'static', ...staticLocation } },
    });
  });

  it('takes the location away when it answers none', async () => {
    const { id } = await tenant.create(server.answer({ location: null }));
    const sent = await tenant.send({
      location: { lat: 1, lon: 2 },
      device: { deviceId: 'urn:lo:nsid:d:1', staticLocation: { lat: 3, lon: 4 } },
    });
    expect(sent).not.toHaveProperty('location');
    expect(sent.metadata.transformation).toEqual({
      published: { location: { lat: 1, lon: 2 } },
      pipeline: { id, success: true },
    });
    expect(sent.metadata.device).toEqual({ location: { provider: 'static', lat: 3, lon: 4 } });
  });

  it('is followed by what was changed before the message came', async () => {
    const url = server.answer({ tags: ['old'] });
    const { id, created: _, ...pipeline } = await tenant.create(url);
    expect((await tenant.send()).tags).toEqual(['old']);
    const steps = [{ type: 'externalTransformation', url: server.answer({ tags: ['new'] }) }];
    await tenant.api.put(`${PATH}/${id}`, { ...pipeline, steps });
    expect((await tenant.send()).tags).toEqual(['new']);
    await tenant.api.delete(`${PATH}/${id}`);
    expect(await tenant.send({ tags: ['own'] })).toMatchObject({ tags: ['own'], metadata: { connector: 'mqtt' } });
    expect(server.callsOf(url)).toHaveLength(1);
  });

  it('keeps the order of a device, with several at once', async () => {
    let open = 0;
    let most = 0;
    let mostOfDevice = 0;
    const perDevice = new Map<string, number>();
    const url = server.answer(async ({ body }, reply) => {
      const { source } = body['metadata'] as { source: string };
      most = Math.max(most, ++open);
      perDevice.set(source, (perDevice.get(source) ?? 0) + 1);
      mostOfDevice = Math.max(mostOfDevice, perDevice.get(source)!);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10));
      perDevice.set(source, perDevice.get(source)! - 1);
      open--;
      reply.end(JSON.stringify({ value: body['value'] }));
    });
    await tenant.create(url);
    const devices = Array.from({ length: 20 }, (_, i) => `urn:lo:nsid:d:${i}`);
    for (let n = 0; n < 10; n++)
      await Promise.all(devices.map((deviceId) => tenant.publish({ device: { deviceId }, value: { n } })));
    const arrived = await eventually(() => tenant.arrived().length >= 200 && tenant.arrived());
    expect(arrived).toHaveLength(200);
    for (const deviceId of devices)
      expect(
        arrived.filter(({ message }) => message.streamId === deviceId).map(({ message }) => message.value),
      ).toEqual(Array.from({ length: 10 }, (_, n) => ({ n })));
    expect(arrived.every(({ message }) => message.metadata.transformation?.pipeline?.success)).toBe(true);
    expect(mostOfDevice).toBe(1);
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(10);
  });
});
