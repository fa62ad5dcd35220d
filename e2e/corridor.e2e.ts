import { execFile } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { promisify } from 'node:util';
import { eventually } from '@orrery/core/testing';
import { findMosquittoClients } from '../tools/services/mosquitto.mjs';
import { type EndToEnd, received, startEndToEnd } from './platform.js';

type Json = Record<string, unknown>;
const run = promisify(execFile);
const ISO = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);

/** The main corridor with clients that are not ours, in both ways of running the platform. */
describe.each([
  ['two processes', {}],
  ['one process per service', { separate: true }],
])('%s', (_mode, options) => {
  let e2e: EndToEnd;
  let mosquitto: Awaited<ReturnType<typeof findMosquittoClients>>;
  beforeAll(async () => {
    [e2e, mosquitto] = await Promise.all([startEndToEnd(options), findMosquittoClients({ log: () => undefined })]);
  });
  afterAll(() => e2e.stop());

  const device = async (id: string): Promise<Json> => {
    const answer = await e2e.api.get<Json>(`/api/v1/deviceMgt/devices/${id}`);
    expect(answer.status).toBe(200);
    return answer.body;
  };
  const status = async (id: string): Promise<unknown> => ((await device(id))['interfaces'] as Json[])[0]!['status'];
  const publish = (clientId: string, payload: unknown, ...more: string[]) =>
    run(
      mosquitto.pub,
      [
        '-h',
        'localhost',
        '-p',
        String(e2e.platform.mqttPort),
        '-i',
        clientId,
        '-u',
        'json+device',
        '-P',
        e2e.apiKey,
        '-q',
        '1',
        '-t',
        'dev/data',
        '-m',
        JSON.stringify(payload),
        ...more,
      ],
      { env: mosquitto.env },
    );
  const stored = (streamId: string, count = 1): Promise<Json[]> =>
    eventually(async () => {
      const { body } = await e2e.api.get<Json[]>(`/api/v0/data/streams/${streamId}`);
      return body.length === count && body;
    });
  const createFifo = async (name: string, policy: Json): Promise<void> => {
    expect((await e2e.api.post('/api/v0/topics/fifo', { name })).status).toBe(200);
    expect(
      (
        await e2e.api.post('/api/v1/event2action/actionPolicies', {
          enabled: true,
          triggers: policy,
          actions: { fifoPublish: [{ fifoName: name }] },
        })
      ).status,
    ).toBe(200);
  };

  it('MQD-001 MQD-002 MQD-008 MQD-010 DEV-063 a device registers itself, is ONLINE while connected and OFFLINE after', async () => {
    const client = await e2e.device('sensor-1');
    const id = 'urn:lo:nsid:mqtt:sensor-1';
    await eventually(async () => (await status(id)) === 'ONLINE');
    expect(await device(id)).toMatchObject({
      id,
      name: 'Auto-created device (mqtt / sensor-1)',
      description: 'This device was auto registered by the connector [mqtt] with the nodeId [sensor-1]',
      group: { id: 'root', path: '/' },
      defaultDataStreamId: id,
      interfaces: [
        {
          connector: 'mqtt',
          nodeId: 'sensor-1',
          enabled: true,
          activity: { mqttVersion: 4, mqttUsername: 'json+device', security: { secured: false } },
        },
      ],
    });
    await client.endAsync();
    await eventually(async () => (await status(id)) === 'OFFLINE');
  });

  it('MQD-007 DEV-003 a client id that is a URN is the device id', async () => {
    await publish('urn:lo:nsid:tempSensor:17872800001W', { value: { temp: 1 } });
    expect((await stored('urn:lo:nsid:tempSensor:17872800001W'))[0]).toMatchObject({
      metadata: { source: 'urn:lo:nsid:tempSensor:17872800001W' },
    });
  });

  it('MSG-012 ENR-002 ENR-003 ENR-004 ENR-005 ENR-006 LOC-005 a message is enriched and read back as the manual prints it', async () => {
    const id = 'urn:lo:nsid:mqtt:12345';
    const group = await e2e.api.post<Json>('/api/v1/deviceMgt/groups', { pathNode: 'europe', parentId: 'root' });
    expect(group.status).toBe(201);
    expect(
      (
        await e2e.api.post('/api/v1/deviceMgt/devices', {
          id,
          tags: ['b', 'c'],
          properties: { propertyDevice1: '12:1b:2e' },
          group: { path: '/europe' },
          interfaces: [{ connector: 'mqtt', definition: { clientId: '12345' } }],
        })
      ).status,
    ).toBe(200);
    const value = { revmin: 9992, CO2: 683, doorOpen: false, hygrometry: 45, temperature: 139, pressure: 1367 };
    const location = { provider: 'GPS', lon: 2.30886, lat: 48.81839 };
    await publish('12345', { value, location, tags: ['a', 'b'] });
    expect(await stored(id)).toEqual([
      {
        metadata: {
          connector: 'mqtt',
          source: id,
          transformation: { published: { location } },
          group: { path: '/europe', id: group.body['id'] },
          network: { mqtt: { clientId: '12345' } },
        },
        streamId: id,
        created: ISO,
        extra: { propertyDevice1: '12:1b:2e' },
        location,
        id: expect.stringMatching(/^[0-9a-f]{24}$/),
        value,
        timestamp: ISO,
        tags: ['a', 'b', 'c'],
      },
    ]);
  });

  it('LOC-002 LOC-003 LOC-004 ENR-003 changes of the device show in its next message, while it stays connected', async () => {
    const id = 'urn:lo:nsid:mqtt:changing';
    const client = await e2e.device('changing');
    const published = { lat: 48.86667, lon: 2.33333, alt: 35.2, accuracy: 12.3, provider: 'My_embedded_GPS' };
    const next = async (expected: Json): Promise<void> => {
      // A change reaches the connector by the bus, a moment after it was answered.
      await eventually(async () => {
        const marker = Math.random();
        await client.publishAsync('dev/data', JSON.stringify({ value: { marker }, location: published }), { qos: 1 });
        const message = await eventually(
          async () =>
            (
              await e2e.query<{ body: string }>(`SELECT body FROM store.messages WHERE body LIKE '%' || $1 || '%'`, [
                String(marker),
              ])
            )[0],
        );
        expect(JSON.parse(message.body)).toMatchObject(expected);
        return true;
      });
    };
    const patch = (body: Json) => e2e.api.patch(`/api/v1/deviceMgt/devices/${id}`, body);
    await next({ streamId: id, location: published });
    await patch({ staticLocation: { lat: 80.8596736, lon: 164.7337728, alt: 12 }, defaultDataStreamId: 'abc' });
    await next({
      streamId: 'abc',
      location: { provider: 'static', lat: 80.8596736, lon: 164.7337728, alt: 12 },
      metadata: {
        device: { location: { provider: 'static', alt: 12, lon: 164.7337728, lat: 80.8596736 } },
        transformation: { published: { location: published } },
      },
    });
    await patch({ staticLocation: {} });
    await next({ location: published });
    await client.endAsync();
  });

  it('MQA-003 FIF-013 RTE-019 MSG-001 an application gets the routed messages of its FIFO, in order', async () => {
    await createFifo('mydata', { dataMessage: { version: 1, filter: { deviceIds: ['urn:lo:nsid:mqtt:routed'] } } });
    const device = await e2e.device('routed');
    for (let n = 0; n < 20; n++) await device.publishAsync('dev/data', JSON.stringify({ value: { n } }), { qos: 1 });
    await (await e2e.device('other')).publishAsync('dev/data', JSON.stringify({ value: { n: -1 } }), { qos: 1 });
    // mosquitto_sub ends by itself after 20 messages; its output is the messages.
    const { stdout } = await run(
      mosquitto.sub,
      [
        '-h',
        'localhost',
        '-p',
        String(e2e.platform.mqttsPort),
        '--cafile',
        e2e.platform.caFile,
        '-u',
        'application',
        '-P',
        e2e.apiKey,
        '-i',
        'app-1',
        '-q',
        '1',
        '-t',
        'fifo/mydata',
        '-C',
        '20',
        '-W',
        '20',
      ],
      { env: mosquitto.env },
    );
    const messages = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Json);
    expect(messages.map((message) => (message['value'] as Json)['n'])).toEqual(Array.from({ length: 20 }, (_, n) => n));
    expect(messages[0]).toEqual({
      type: 'dataMessage',
      version: 1,
      metadata: {
        connector: 'mqtt',
        source: 'urn:lo:nsid:mqtt:routed',
        group: { path: '/', id: 'root' },
        network: { mqtt: { clientId: 'routed' } },
      },
      streamId: 'urn:lo:nsid:mqtt:routed',
      created: ISO,
      extra: {},
      id: expect.stringMatching(/^[0-9a-f]{24}$/),
      value: { n: 0 },
      timestamp: ISO,
      tags: [],
    });
  });

  it('MQA-006 MQA-008 MQA-007 two consumers share a FIFO, and what one did not acknowledge goes to the other', async () => {
    await createFifo('shared', { dataMessage: { version: 1, filter: { deviceIds: ['urn:lo:nsid:mqtt:sharing'] } } });
    const [a, b] = [
      await e2e.application(e2e.apiKey, { clientId: 'a' }),
      await e2e.application(e2e.apiKey, { clientId: 'b' }),
    ];
    const [fromA, fromB] = [received(a), received(b)];
    await a.subscribeAsync('fifo/shared', { qos: 1 });
    await b.subscribeAsync('fifo/shared', { qos: 1 });
    const device = await e2e.device('sharing');
    for (let n = 0; n < 10; n++) await device.publishAsync('dev/data', JSON.stringify({ value: { n } }), { qos: 1 });
    await eventually(() => fromA.length + fromB.length === 10);
    expect([fromA.length, fromB.length]).toEqual([5, 5]);
    await Promise.all([a.endAsync(), b.endAsync()]);

    // mqtt.js acknowledges when this handler calls back: it never does.
    const silent = await e2e.application(e2e.apiKey, { clientId: 'silent' });
    const held: string[] = [];
    silent.handleMessage = (packet) => void held.push(packet.payload.toString());
    await silent.subscribeAsync('fifo/shared', { qos: 1 });
    for (const n of [100, 101]) await device.publishAsync('dev/data', JSON.stringify({ value: { n } }), { qos: 1 });
    await eventually(() => held.length > 0);
    await silent.endAsync(true);
    const next = await e2e.application(e2e.apiKey, { clientId: 'next' });
    const fromNext = received(next);
    await next.subscribeAsync('fifo/shared', { qos: 1 });
    await eventually(() => fromNext.length === 2);
    expect(fromNext.map(({ payload }) => (payload['value'] as Json)['n'])).toEqual([100, 101]);
    await eventually(
      async () =>
        (await e2e.api.get<Json>('/api/v0/topics/fifo/shared')).body['messages'] === 0 ||
        (
          await e2e.query(
            `SELECT 1 FROM routing.fifo_messages m JOIN routing.fifos f ON f.id = m.fifo_id WHERE f.name = 'shared'`,
          )
        ).length === 0,
    );
    await next.endAsync();
  });

  it('STO-002 STO-006 RTE-008 injection over HTTP takes the same way to the store and the FIFO', async () => {
    await createFifo('http', { dataMessage: { version: 1, filter: { connectors: ['http'] } } });
    const application = await e2e.application(e2e.apiKey, { clientId: 'http' });
    const messages = received(application);
    await application.subscribeAsync('fifo/http', { qos: 1 });
    expect((await e2e.api.post('/api/v0/data/streams/injected', { value: { n: 1 } })).status).toBe(202);
    expect(
      (
        await e2e.api.post('/api/v0/data/bulk', [
          { streamId: 'injected', value: { n: 2 } },
          { streamId: 'injected', value: { n: 3 } },
        ])
      ).status,
    ).toBe(202);
    await stored('injected', 3);
    await eventually(() => messages.length === 3);
    expect(messages.map(({ payload }) => (payload['value'] as Json)['n'])).toEqual([1, 2, 3]);
    await application.endAsync();
  });

  it('RTE-022 RTE-023 MQD-005 MQD-011 MSG-023 MSG-024 device events reach a FIFO as the manual prints them', async () => {
    await createFifo('created', { deviceCreated: { version: 1 } });
    await createFifo('status', { deviceStatus: { version: 1 } });
    const application = await e2e.application(e2e.apiKey, { clientId: 'events' });
    const messages = received(application);
    await application.subscribeAsync(['fifo/created', 'fifo/status'], { qos: 1 });
    const client = await e2e.device('myDevice');
    await client.endAsync();
    const of = (topic: string): Json[] =>
      messages
        .filter((message) => message.topic === topic && message.payload['deviceId'] === 'urn:lo:nsid:mqtt:myDevice')
        .map(({ payload }) => payload);
    await eventually(() => of('fifo/status').length >= 1 && of('fifo/created').length === 1);
    expect(of('fifo/created')).toEqual([
      { type: 'deviceCreated', version: 1, timestamp: ISO, deviceId: 'urn:lo:nsid:mqtt:myDevice' },
    ]);
    await eventually(() =>
      of('fifo/status').some(
        (event) => ((event['updatedInterface'] as Json)['status'] as Json)['current'] === 'OFFLINE',
      ),
    );
    expect(of('fifo/status').at(-1)).toEqual({
      type: 'deviceStatus',
      version: 1,
      deviceId: 'urn:lo:nsid:mqtt:myDevice',
      updatedInterface: {
        connector: 'mqtt',
        nodeId: 'myDevice',
        enabled: true,
        status: { current: 'OFFLINE', previous: 'ONLINE' },
      },
      timestamp: ISO,
    });
    await application.endAsync();
  });

  it('ACC-030 MQT-012 MQT-008 disabling a key ends its sessions and its use', async () => {
    const keys = await e2e.api.get<{ data: Array<{ id: string; masterKey: boolean }> }>('/api/v0/apiKeys');
    const parentId = keys.body.data.find((key) => key.masterKey)!.id;
    const key = await e2e.api.post<{ id: string; value: string }>('/api/v0/apiKeys', {
      parentId,
      label: 'field',
      roles: ['DEVICE_ACCESS'],
    });
    expect(key.status).toBe(200);
    const client = await e2e.device('revoked', { password: key.body.value });
    const closed = new Promise((resolve) => client.once('close', () => resolve(true)));
    expect((await e2e.api.post(`/api/v0/apiKeys/${key.body.id}`, { active: false })).status).toBe(200);
    await closed;
    await expect(e2e.device('revoked', { password: key.body.value })).rejects.toMatchObject({ code: 4 });
  });

  it('AUD-001 AUD-009 AUD-010 MQT-056 MQD-021 bad publications are acknowledged, audited, and cost nothing else', async () => {
    const client = await e2e.device('clumsy');
    await client.publishAsync('dev/data', 'hello', { qos: 1 });
    await client.publishAsync('connector/v1/nodes/x/data', '{}', { qos: 1 });
    await client.publishAsync('dev/data', JSON.stringify({ value: { a: 'x'.repeat(2_000_000) } }), { qos: 1 });
    await client.publishAsync('dev/data', JSON.stringify({ value: { fine: true } }), { qos: 1 });
    expect(await stored('urn:lo:nsid:mqtt:clumsy')).toMatchObject([{ value: { fine: true } }]);
    const entries = await eventually(async () => {
      const { body } = await e2e.api.get<Json[]>('/api/v0/auditlog/messages?level=error&source.nodeId=clumsy');
      return body.length >= 3 && body;
    });
    expect(entries).toHaveLength(3);
    expect(entries.every((entry) => entry['category'] === 'connectivity' && entry['subcategory'] === 'mqtt')).toBe(
      true,
    );
    expect(JSON.stringify(entries)).toContain('connector/v1/nodes/x/data');
    await client.endAsync();
  });

  it('MQT-031 a device connects over WebSocket, where REST is answered over TLS too', async () => {
    const client = await e2e.mqtt({
      protocol: 'wss',
      port: e2e.platform.httpsPort,
      path: '/mqtt',
      ca: e2e.ca,
      clientId: 'web-socket',
      username: 'json+device',
      password: e2e.apiKey,
    });
    await client.publishAsync('dev/data', '{"value":{"webSocket":true}}', { qos: 1 });
    await stored('urn:lo:nsid:mqtt:web-socket');
    const path = '/api/v1/deviceMgt/devices/urn:lo:nsid:mqtt:web-socket';
    const read = get({
      host: 'localhost',
      port: e2e.platform.httpsPort,
      path,
      ca: e2e.ca,
      headers: { 'x-api-key': e2e.apiKey },
    });
    const [answer] = (await once(read, 'response')) as [IncomingMessage];
    const body = JSON.parse(Buffer.concat((await answer.toArray()) as Buffer[]).toString()) as Json;
    expect([answer.statusCode, body['id']]).toEqual([200, 'urn:lo:nsid:mqtt:web-socket']);
    const { activity } = (body['interfaces'] as Json[])[0]! as { activity: Json };
    expect(activity).toMatchObject({
      remoteAddress: expect.stringMatching(/^(127\.0\.0\.1|::1)\/\d+$/),
      security: { secured: true },
    });
    await client.endAsync();
  });

  it('MQT-030 MQD-004 a device connects over TLS with the development CA', async () => {
    const sub = spawn(
      mosquitto.pub,
      [
        '-h',
        'localhost',
        '-p',
        String(e2e.platform.mqttsPort),
        '--cafile',
        e2e.platform.caFile,
        '-i',
        'secure',
        '-u',
        'json+device',
        '-P',
        e2e.apiKey,
        '-q',
        '1',
        '-t',
        'dev/data',
        '-m',
        '{"value":{"tls":true}}',
      ],
      { env: mosquitto.env },
    );
    expect(await new Promise((resolve) => sub.once('exit', resolve))).toBe(0);
    await stored('urn:lo:nsid:mqtt:secure');
    await eventually(async () => {
      const activity = ((await device('urn:lo:nsid:mqtt:secure'))['interfaces'] as Json[])[0]!['activity'] as Json;
      expect(activity['security']).toMatchObject({
        secured: true,
        sniHostname: 'localhost',
        clientCertAuthentication: false,
        protocol: expect.stringMatching(/^TLSv1\.[23]$/),
      });
      return true;
    });
  });

  it('API-025 the OpenAPI document in the repository is the one that is served, and can be browsed', async () => {
    const url = e2e.platform.httpUrl;
    const document = (await (await fetch(`${url}/swagger-ui-json`)).json()) as Json;
    const kept = JSON.parse(await readFile('docs/reference/openapi.json', 'utf8')) as Json;
    expect(document['paths']).toEqual(kept['paths']);
    expect(document['components']).toEqual(kept['components']);
    const page = await fetch(`${url}/swagger-ui/index.html`);
    expect([page.status, page.headers.get('content-type')]).toEqual([200, expect.stringContaining('text/html')]);
    expect((await fetch(`${url}/health/ready`)).status).toBe(200);
  });
});
