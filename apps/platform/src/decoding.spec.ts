import { connectAsync, type MqttClient } from 'mqtt';
import { streamSubject } from '@orrery/core/bus';
import { UNLIMITED_OFFER } from '@orrery/core/limits';
import { type DataMessage, decodeEntry } from '@orrery/core/messages';
import { type ApiClient, apiClient, type Backend, eventually, keyRing, startBackend } from '@orrery/core/testing';
import { decoder } from '@orrery/decoder';
import { deviceManager } from '@orrery/device-manager';
import { mqttConnector, mqttPorts } from '@orrery/mqtt-connector';
import { search } from '@orrery/search';
import { store } from '@orrery/store';

// What MQTT clients send encoded, from the connector through the decoder to the store and the index (manual 6.5.5.2, 11.3,
// 13.3.2 and 16.2.2.4).

const PAYLOAD = '000003F5000000DD';
const TWO_INTEGERS = { encoding: 'twointegers', format: 'int pressure;int temperature;' };
const MY_ENCODING = { encoding: 'my_encoding_v0', format: 'float sent_value;', model: 'my_encoding_model_v0' };

let backend: Backend;
let api: ApiClient;
let apiKey: string;
let port: number;
let application: MqttClient;
const clients: MqttClient[] = [];
/** Encodings of what was sent to be decoded. */
const visited = new Set<string | undefined>();

const connect = async (username: string, clientId: string): Promise<MqttClient> => {
  const client = await connectAsync(`mqtts://localhost:${port}`, {
    username,
    password: apiKey,
    clientId,
    rejectUnauthorized: false,
    reconnectPeriod: 0,
  });
  clients.push(client);
  return client;
};
const publish = async (client: MqttClient, topic: string, content: object | Buffer): Promise<void> => {
  const payload = Buffer.isBuffer(content) ? content : JSON.stringify(content);
  await client.publishAsync(topic, payload, { qos: 1 });
};
/** Creates an enabled decoder, and waits until the connector knows of it. */
const provide = async (kind: string, body: { encoding: string; [field: string]: unknown }): Promise<void> => {
  expect(await api.post(`/api/v0/decoders/${kind}`, { enabled: true, ...body })).toMatchObject({ status: 201 });
  const probe = { streamId: 'probes', value: { payload: 'probe' }, metadata: { encoding: body.encoding } };
  await eventually(async () => {
    await publish(application, 'application/v1/data', probe);
    return visited.has(body.encoding);
  });
};
const createDevice = async (id: string, definition: object): Promise<string> => {
  const deviceId = `urn:lo:nsid:mqtt:${id}`;
  const interfaces = [{ connector: 'mqtt', enabled: true, definition: { clientId: deviceId, ...definition } }];
  const answer = await api.post('/api/v1/deviceMgt/devices', { id: deviceId, interfaces });
  expect(answer).toMatchObject({ status: 200 });
  return deviceId;
};
const stored = (streamId: string): Promise<DataMessage> =>
  eventually(async () => (await api.get<DataMessage[]>(`/api/v0/data/streams/${streamId}`)).body[0]);

beforeAll(async () => {
  const services = [deviceManager, store, search, decoder, mqttConnector];
  backend = await startBackend(services);
  const bus = await backend.bus();
  for (let partition = 0; partition < bus.partitions; partition++)
    bus.connection.subscribe(streamSubject('DECODE', partition), {
      callback: (_, { data }) =>
        decodeEntry(data).forEach(({ body }) => visited.add((JSON.parse(body) as DataMessage).metadata.encoding)),
    });
  apiKey = keyRing(bus).grant('tenant', { limits: UNLIMITED_OFFER }).value;
  const platform = await backend.boot(services);
  api = apiClient(platform.url, apiKey);
  port = mqttPorts(platform.app).tls;
  application = await connect('application', 'app');
  await provide('binary', TWO_INTEGERS);
  await provide('binary', MY_ENCODING);
});
afterAll(async () => {
  for (const client of clients) client.end(true);
  await backend.stop();
});

it('ENR-008 MQD-026 decodes bytes with the decoder of the interface', async () => {
  const deviceId = await createDevice('of-interface', { encoding: 'my_encoding_v0' });
  await publish(await connect('json+device', deviceId), 'dev/v1/data/binary', Buffer.from('41200000', 'hex'));
  expect(await stored(deviceId)).toMatchObject({
    value: { payload: '41200000', sent_value: 10 },
    model: 'my_encoding_model_v0',
    metadata: { encoding: 'my_encoding_v0', connector: 'mqtt', source: deviceId },
  });
});

it('MQD-027 decodes bytes with the decoder of the topic', async () => {
  const deviceId = 'urn:lo:nsid:mqtt:of-topic';
  await publish(
    await connect('json+device', deviceId),
    'dev/v1/data/binary/my_encoding_v0',
    Buffer.from([65, 32, 0, 0]),
  );
  expect(await stored(deviceId)).toMatchObject({
    value: { payload: '41200000', sent_value: 10 },
    metadata: { encoding: 'my_encoding_v0' },
  });
});

it('MQD-029 decodes a payload in JSON, and keeps no other metadata of the device', async () => {
  const deviceId = 'urn:lo:nsid:mqtt:in-json';
  await publish(await connect('json+device', deviceId), 'dev/data', {
    value: { payload: PAYLOAD },
    metadata: { encoding: 'twointegers', source: 'x' },
  });
  expect(await stored(deviceId)).toMatchObject({
    value: { payload: PAYLOAD, pressure: 1013, temperature: 221 },
    metadata: { source: deviceId, encoding: 'twointegers' },
  });
});

it('goes by the encoding of the interface rather than by that of the message', async () => {
  const deviceId = await createDevice('overridden', { encoding: 'my_encoding_v0' });
  await publish(await connect('json+device', deviceId), 'dev/data', {
    value: { payload: '41200000' },
    metadata: { encoding: 'twointegers' },
  });
  expect(await stored(deviceId)).toMatchObject({
    value: { payload: '41200000', sent_value: 10 },
    metadata: { encoding: 'my_encoding_v0' },
  });
});

it('MQD-030 does not decode bytes as CSV, nor without a decoder', async () => {
  await provide('csv', { encoding: 'c1', columns: [{ name: 'text', jsonType: 'STRING' }], model: 'c1' });
  const deviceId = 'urn:lo:nsid:mqtt:csv';
  const client = await connect('json+device', deviceId);
  for (const encoding of ['c1', 'unknown']) {
    const before = (await api.get<DataMessage[]>(`/api/v0/data/streams/${deviceId}`)).body.length;
    await publish(client, `dev/v1/data/binary/${encoding}`, Buffer.from('abc'));
    const message = await eventually(async () => {
      const { body } = await api.get<DataMessage[]>(`/api/v0/data/streams/${deviceId}`);
      return body.length > before && body[0];
    });
    expect(message.value).toEqual({ payload: '616263' });
    expect(message).not.toHaveProperty('model');
    expect(message.metadata.encoding).toBe(encoding);
  }
  await publish(client, 'dev/data', { streamId: 'text', value: { payload: 'abc' }, metadata: { encoding: 'c1' } });
  expect(await stored('text')).toMatchObject({ value: { payload: 'abc', text: 'abc' }, model: 'c1' });
});

it('MQA-014 decodes what applications publish', async () => {
  await publish(application, 'application/v1/data', {
    streamId: 'of-application',
    value: { payload: PAYLOAD },
    metadata: { encoding: 'twointegers' },
  });
  expect(await stored('of-application')).toMatchObject({
    value: { payload: PAYLOAD, pressure: 1013, temperature: 221 },
    metadata: { encoding: 'twointegers' },
  });
});

it('MQX-019 decodes what external connectors publish', async () => {
  const connector = await connect('connector', 'adapter');
  await publish(connector, 'connector/v1/nodes/n1/data', {
    value: { payload: PAYLOAD },
    tags: ['kept'],
    metadata: { encoding: 'twointegers' },
  });
  expect(await stored('urn:lo:nsid:x-connector:n1')).toMatchObject({
    value: { payload: PAYLOAD, pressure: 1013, temperature: 221 },
    tags: ['kept'],
    metadata: { encoding: 'twointegers', connector: 'x-connector' },
  });
});

/** Waits until so many messages match. */
const found = (count: number, ...filter: object[]): Promise<unknown> =>
  eventually(async () => {
    const answer = await api.post('/api/v1/data/search', {
      size: 0,
      query: { bool: { filter } },
    });
    expect(answer).toMatchObject({ status: 200, body: { hits: { total: { value: count } } } });
    return true;
  });

it('DEC-051 tells the messages of a split apart, so that one of them is counted', async () => {
  await provide('javascript-split', {
    encoding: 'measures',
    script: 'function decode(p) { return p.split(",").map(function (n) { return { value: { n: Number(n) } }; }); }',
  });
  await provide('javascript', { encoding: 'single', script: 'function decode(p) { return { n: Number(p) }; }' });
  for (const encoding of ['measures', 'single'])
    await publish(application, 'application/v1/data', {
      streamId: 'counted',
      value: { payload: encoding === 'single' ? '4' : '1,2,3' },
      metadata: { encoding },
    });
  const messages = await eventually(async () => {
    const { body } = await api.get<DataMessage[]>('/api/v0/data/streams/counted');
    return body.length === 4 && body.toSorted((a, b) => Number(a.value!['n']) - Number(b.value!['n']));
  });
  expect(messages.map(({ metadata }) => metadata.transformation)).toEqual([
    { decoder: { split: { rank: 0 } } },
    { decoder: { split: { rank: 1 } } },
    { decoder: { split: { rank: 2 } } },
    undefined,
  ]);
  const rank = 'metadata.transformation.decoder.split.rank';
  const stream = { term: { streamId: 'counted' } };
  await found(4, stream);
  await found(1, stream, { term: { [rank]: 0 } });
  await found(1, stream, { bool: { must_not: { exists: { field: rank } } } });
});

it('IDX-011 finds messages by the fields that were decoded, under the model of the decoder', async () => {
  await provide('binary', { encoding: 'indexed', format: 'int temperature;', model: 't1' });
  await publish(application, 'application/v1/data', {
    streamId: 'indexed',
    value: { payload: '000000DD' },
    metadata: { encoding: 'indexed' },
  });
  await found(1, { term: { '@t1.value.temperature': 221 } });
});
