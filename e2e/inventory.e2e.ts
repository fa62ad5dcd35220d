import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import mqttPacket, { type IConnectPacket } from 'mqtt-packet';
import { eventually } from '@orrery/core/testing';
import { type EndToEnd, startEndToEnd } from './platform.js';

type Json = Record<string, unknown>;
const ISO = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
const CAPABILITY_TOPICS = { command: 'dev/cmd', configuration: 'dev/cfg/upd', resource: 'dev/rsc/upd' } as const;
const NOTHING = { command: false, configuration: false, resource: false };

// What the inventory shows of devices and their sessions, and what it adds to their messages.

let e2e: EndToEnd;
beforeAll(async () => {
  e2e = await startEndToEnd();
});
afterAll(() => e2e.stop());

const device = async (id: string): Promise<Json> => {
  const answer = await e2e.api.get<Json>(`/api/v1/deviceMgt/devices/${id}`);
  expect(answer.status).toBe(200);
  return answer.body;
};
const register = async (body: Json): Promise<Json> => {
  const answer = await e2e.api.post<Json>('/api/v1/deviceMgt/devices', body);
  expect(answer.status).toBe(200);
  return answer.body;
};
const mqttInterface = async (id: string): Promise<Json> => {
  const interfaces = (await device(id))['interfaces'] as Json[];
  expect(interfaces).toHaveLength(1);
  return interfaces[0]!;
};
const activity = async (id: string): Promise<Json> => (await mqttInterface(id))['activity'] as Json;
const becomes = (id: string, status: string): Promise<true> =>
  eventually(async () => (await mqttInterface(id))['status'] === status);
const capabilities = async (id: string): Promise<Json> => {
  const shown = (await mqttInterface(id))['capabilities'] as Record<string, Json>;
  return Object.fromEntries(Object.keys(NOTHING).map((name) => [name, shown[name]!['available']]));
};
const becomesCapable = (id: string, expected: Json): Promise<true> =>
  eventually(async () => {
    expect(await capabilities(id)).toEqual(expected);
    return true;
  });
const stored = (streamId: string, count = 1): Promise<Json[]> =>
  eventually(async () => {
    const { body } = await e2e.api.get<Json[]>(`/api/v0/data/streams/${streamId}`);
    return body.length === count && body;
  });

/** A device of bare bytes: neither pings nor closes by itself. */
async function bareDevice(clientId: string, more: Partial<IConnectPacket> = {}) {
  const socket: Socket = connect(e2e.platform.mqttPort, '127.0.0.1');
  const ended = once(socket, 'end');
  await once(socket, 'connect');
  const packet: IConnectPacket = {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    keepalive: 60,
    clientId,
    username: 'json+device',
    password: Buffer.from(e2e.apiKey),
    ...more,
  };
  socket.write(mqttPacket.generate(packet));
  const [connack] = (await once(socket, 'data')) as [Buffer];
  if (connack[3] !== 0) socket.destroy();
  expect([...connack]).toEqual([0x20, 2, 0, 0]);
  socket.resume();
  return { socket, ended };
}

describe('device', () => {
  it('DEV-038 DEV-041 that registered itself is shown in full', async () => {
    const id = 'urn:lo:nsid:mqtt:myTest';
    const client = await e2e.device(id);
    await becomes(id, 'ONLINE');
    expect(await device(id)).toEqual({
      id,
      name: `Auto-created device (mqtt / ${id})`,
      description: `This device was auto registered by the connector [mqtt] with the nodeId [${id}]`,
      group: { id: 'root', path: '/' },
      defaultDataStreamId: id,
      tags: [],
      properties: {},
      activityState: 'NOT_MONITORED',
      created: ISO,
      updated: ISO,
      interfaces: [
        {
          connector: 'mqtt',
          nodeId: id,
          deviceId: id,
          enabled: true,
          status: 'ONLINE',
          definition: { clientId: id },
          activity: expect.objectContaining({ lastSessionStartTime: ISO }),
          capabilities: expect.objectContaining({ command: { available: false, version: 1 } }),
          created: ISO,
          updated: ISO,
        },
      ],
    });
    await client.endAsync();
  });

  it('MQD-012 that was registered with a client id is the device of that client', async () => {
    const id = 'urn:lo:nsid:a:b';
    await register({ id, interfaces: [{ connector: 'mqtt', definition: { clientId: 'cid1' } }] });
    expect((await mqttInterface(id))['status']).toBe('REGISTERED');
    const client = await e2e.device('cid1');
    await becomes(id, 'ONLINE');
    await client.publishAsync('dev/data', '{"value":{"n":1}}', { qos: 1 });
    expect(await stored(id)).toMatchObject([{ metadata: { source: id } }]);
    const { body } = await e2e.api.get<Json[]>('/api/v1/deviceMgt/devices?interfaces.nodeId=cid1');
    expect(body.map((each) => each['id'])).toEqual([id]);
    expect((await e2e.api.get('/api/v1/deviceMgt/devices/urn:lo:nsid:mqtt:cid1')).status).toBe(404);
    await client.endAsync();
  });
});

describe('interface', () => {
  it('DEV-054 shows its contact since its first message, and its node is taken', async () => {
    const id = 'urn:lo:nsid:fresh:1';
    await register({ id, interfaces: [{ connector: 'mqtt', definition: { clientId: 'fresh' } }] });
    expect(await mqttInterface(id)).toEqual({
      connector: 'mqtt',
      nodeId: 'fresh',
      deviceId: id,
      enabled: true,
      status: 'REGISTERED',
      definition: { clientId: 'fresh' },
      activity: {},
      capabilities: expect.objectContaining({ command: { available: false } }),
      created: ISO,
      updated: ISO,
    });
    const client = await e2e.device('fresh');
    await becomes(id, 'ONLINE');
    expect(await mqttInterface(id)).not.toHaveProperty('lastContact');
    await client.publishAsync('dev/data', '{"value":{"n":1}}', { qos: 1 });
    const [message] = await stored(id);
    const contact = await eventually(async () => (await mqttInterface(id))['lastContact'] as string | undefined);
    expect(contact).toEqual(ISO);
    expect(Math.abs(Date.parse(contact) - Date.parse(message!['created'] as string))).toBeLessThanOrEqual(1000);

    await register({ id: 'urn:lo:nsid:fresh:2' });
    const second = await e2e.api.post('/api/v1/deviceMgt/devices/urn:lo:nsid:fresh:2/interfaces', {
      connector: 'mqtt',
      definition: { clientId: 'fresh' },
    });
    expect(second).toMatchObject({ status: 409, body: { code: 'DM_INTERFACE_DUPLICATE' } });
    await client.endAsync();
  });

  it('DEV-059 becomes ONLINE from REGISTERED and from OFFLINE', async () => {
    const id = 'urn:lo:nsid:status:1';
    await register({ id, interfaces: [{ connector: 'mqtt', definition: { clientId: 'status' } }] });
    expect((await mqttInterface(id))['status']).toBe('REGISTERED');
    let started = '';
    for (const _ of ['REGISTERED', 'OFFLINE']) {
      const client = await e2e.device('status');
      await becomes(id, 'ONLINE');
      const { lastSessionStartTime } = await activity(id);
      expect(lastSessionStartTime).toEqual(ISO);
      expect((lastSessionStartTime as string) > started).toBe(true);
      started = lastSessionStartTime as string;
      await client.endAsync();
      await becomes(id, 'OFFLINE');
    }
  });

  it.each([
    ['DISCONNECT', 'goodbye', 60],
    ['the end of the TCP connection', 'cut', 60],
    ['the keep-alive time-out', 'silent', 5],
  ])('DEV-060 becomes OFFLINE with %s', async (_, how, keepalive) => {
    const id = `urn:lo:nsid:mqtt:${how}`;
    const { socket, ended } = await bareDevice(how, { keepalive });
    const pings = setInterval(() => socket.write(Buffer.of(0xc0, 0)), 500);
    await becomes(id, 'ONLINE').finally(() => clearInterval(pings));
    expect(await activity(id)).not.toHaveProperty('lastSessionEndTime');
    if (how === 'goodbye') socket.write(Buffer.of(0xe0, 0));
    if (how === 'cut') socket.destroy();
    await becomes(id, 'OFFLINE');
    expect((await activity(id))['lastSessionEndTime']).toEqual(ISO);
    if (how !== 'cut') await ended;
    socket.destroy();
  });

  it('DEV-061 that is disabled ends its session and takes no other', async () => {
    const id = 'urn:lo:nsid:mqtt:switched';
    const path = `/api/v1/deviceMgt/devices/${id}/interfaces/mqtt:switched`;
    const client = await e2e.device('switched');
    await becomes(id, 'ONLINE');
    const closed = new Promise((resolve) => client.once('close', () => resolve(true)));
    expect(await e2e.api.patch(path, { enabled: false })).toMatchObject({
      status: 200,
      body: { enabled: false, status: 'DEACTIVATED' },
    });
    await closed;
    await expect(e2e.device('switched')).rejects.toMatchObject({ code: 5 });
    // What the connector reported of the old session has been applied once its end shows.
    await eventually(async () => (await activity(id))['lastSessionEndTime']);
    expect(await mqttInterface(id)).toMatchObject({ enabled: false, status: 'DEACTIVATED' });

    const created = await register({
      id: 'urn:lo:nsid:off:1',
      interfaces: [{ connector: 'mqtt', enabled: false, definition: { clientId: 'off' } }],
    });
    expect((created['interfaces'] as Json[])[0]).toMatchObject({ enabled: false, status: 'DEACTIVATED' });
    await expect(e2e.device('off')).rejects.toMatchObject({ code: 5 });
    expect((await mqttInterface('urn:lo:nsid:off:1'))['status']).toBe('DEACTIVATED');
  });

  it('DEV-064 DEV-065 shows the activity and the security of its session', async () => {
    const keys = await e2e.api.get<{ data: Array<{ id: string; masterKey: boolean }> }>('/api/v0/apiKeys');
    const apiKeyId = keys.body.data.find((key) => key.masterKey)!.id;
    const session = {
      apiKeyId,
      mqttVersion: 4,
      mqttUsername: 'json+device',
      mqttTimeout: 60,
      remoteAddress: expect.stringMatching(/^[\da-f.:]+\/\d+$/),
      lastSessionStartTime: ISO,
    };
    const plain = await e2e.device('plain', { keepalive: 60 });
    await becomes('urn:lo:nsid:mqtt:plain', 'ONLINE');
    expect(await activity('urn:lo:nsid:mqtt:plain')).toEqual({
      ...session,
      security: { secured: false, clientCertAuthentication: false },
    });
    await plain.endAsync();
    await becomes('urn:lo:nsid:mqtt:plain', 'OFFLINE');
    expect(await activity('urn:lo:nsid:mqtt:plain')).toEqual({
      ...session,
      security: { secured: false, clientCertAuthentication: false },
      lastSessionEndTime: ISO,
    });

    const tls = await e2e.mqtt({
      clientId: 'tls12',
      username: 'json+device',
      password: e2e.apiKey,
      keepalive: 60,
      secure: true,
      maxVersion: 'TLSv1.2',
    });
    await becomes('urn:lo:nsid:mqtt:tls12', 'ONLINE');
    expect(await activity('urn:lo:nsid:mqtt:tls12')).toEqual({
      ...session,
      security: {
        secured: true,
        protocol: 'TLSv1.2',
        cipher: expect.stringMatching(/^TLS_/),
        clientCertAuthentication: false,
        sniHostname: 'localhost',
      },
    });
    await tls.endAsync();
  });
});

describe('capabilities', () => {
  it('DEV-066 DEV-067 MQD-033 MQD-036 MQD-043 follow the subscriptions of the device', async () => {
    const id = 'urn:lo:nsid:mqtt:able';
    const client = await e2e.device('able');
    await becomes(id, 'ONLINE');
    expect(await capabilities(id)).toEqual(NOTHING);

    let expected: Json = NOTHING;
    for (const [name, topic] of Object.entries(CAPABILITY_TOPICS)) {
      await client.subscribeAsync(topic, { qos: 1 });
      expected = { ...expected, [name]: true };
      await becomesCapable(id, expected);
      const shown = (await mqttInterface(id))['capabilities'] as Json;
      expect(shown[name]).toEqual({ available: true, version: 1 });
    }
    for (const [name, topic] of Object.entries(CAPABILITY_TOPICS)) {
      await client.unsubscribeAsync(topic);
      await becomesCapable(id, { ...expected, [name]: false });
      await client.subscribeAsync(topic, { qos: 1 });
      await becomesCapable(id, expected);
    }
    await client.endAsync();
    await becomes(id, 'OFFLINE');
    expect(await capabilities(id)).toEqual(NOTHING);
  });

  it.each(['disconnected', 'torn', 'expelled'])('MQT-027 end with the connection (%s)', async (clientId) => {
    const id = `urn:lo:nsid:mqtt:${clientId}`;
    const enable = (enabled: boolean) =>
      e2e.api.patch(`/api/v1/deviceMgt/devices/${id}/interfaces/mqtt:${clientId}`, { enabled });
    const { socket, ended } = await bareDevice(clientId);
    socket.write(
      mqttPacket.generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'dev/cmd', qos: 1 }] }),
    );
    await becomesCapable(id, { ...NOTHING, command: true });
    if (clientId === 'torn') socket.destroy();
    else {
      if (clientId === 'expelled') await enable(false);
      else socket.write(Buffer.of(0xe0, 0));
      await ended;
    }
    await becomesCapable(id, NOTHING);
    // The next session starts without them.
    await enable(true);
    // The connector hears of it a moment after it was answered.
    const next = await eventually(() => bareDevice(clientId));
    await becomes(id, 'ONLINE');
    expect(await capabilities(id)).toEqual(NOTHING);
    next.socket.destroy();
    socket.destroy();
  });
});

describe('messages of a device', () => {
  it('STO-001 land in its default stream, or in the one that they name', async () => {
    const id = 'urn:lo:nsid:mqtt:streams';
    const client = await e2e.device('streams');
    const payload = { value: { temp: 23.8 }, model: 'data_model_v1' };
    const streams = [undefined, 'my_stream_1', 'my_stream_2', undefined];
    for (const [n, streamId] of streams.entries())
      await client.publishAsync('dev/data', JSON.stringify({ ...payload, tags: [`t${n}`], streamId }), { qos: 1 });
    for (const [streamId, tags] of [
      [id, [['t3'], ['t0']]],
      ['my_stream_1', [['t1']]],
      ['my_stream_2', [['t2']]],
    ] as const) {
      const messages = await stored(streamId, tags.length);
      expect(messages).toMatchObject(tags.map((each) => ({ ...payload, streamId, tags: each })));
      expect(messages.every((message) => (message['metadata'] as Json)['source'] === id)).toBe(true);
    }
    await client.endAsync();
  });

  it('ENR-001 are enriched when the device publishes them, not when they are injected over HTTP', async () => {
    const id = 'urn:lo:nsid:enriched:1';
    const group = await e2e.api.post<Json>('/api/v1/deviceMgt/groups', { pathNode: 'europe', parentId: 'root' });
    await register({
      id,
      tags: ['t'],
      properties: { p: '1' },
      group: { path: '/europe' },
      interfaces: [{ connector: 'mqtt', definition: { clientId: 'enriched' } }],
    });
    const client = await e2e.device('enriched');
    await client.publishAsync('dev/data', '{"value":{"n":1},"tags":["own"]}', { qos: 1 });
    expect((await stored(id))[0]).toMatchObject({
      metadata: { connector: 'mqtt', source: id, group: { id: group.body['id'], path: '/europe' } },
      extra: { p: '1' },
      tags: ['own', 't'],
    });
    await client.endAsync();

    const injected = { value: { n: 2 }, tags: ['own'], metadata: { source: id } };
    expect((await e2e.api.post('/api/v0/data/streams/s1', injected)).status).toBe(202);
    const [message] = await stored('s1');
    expect(message).toMatchObject({ tags: ['own'] });
    expect(message!['metadata']).toEqual({ connector: 'http', source: id });
    // Null and absent are the same to readers.
    expect(message!['extra'] ?? null).toBeNull();
  });

  it('ENR-007 have the encoding of the interface, or else their own', async () => {
    const id = 'urn:lo:nsid:encoded:1';
    const definition = { clientId: 'encoded', encoding: 'encA' };
    await register({ id, interfaces: [{ connector: 'mqtt', definition }] });
    const client = await e2e.device('encoded');
    let published = 0;
    const encodings = async (): Promise<unknown> => {
      await client.publishAsync('dev/data', '{"value":{"n":1},"metadata":{"encoding":"encB"}}', { qos: 1 });
      const [newest] = await stored(id, ++published);
      return (newest!['metadata'] as Json)['encoding'];
    };
    expect(await encodings()).toBe('encA');
    const changed = await e2e.api.patch<Json>(`/api/v1/deviceMgt/devices/${id}/interfaces/mqtt:encoded`, {
      definition: { encoding: null },
    });
    expect(changed).toMatchObject({ status: 200, body: { definition: { clientId: 'encoded' } } });
    // The change reaches the connector by the bus, a moment after it was answered.
    await eventually(async () => (await encodings()) === 'encB');
    await client.endAsync();
  });
});
