import { setTimeout as delay } from 'node:timers/promises';
import type { IConnectPacket } from 'mqtt-packet';
import mqtt from 'mqtt-packet';
import { createWebSocketStream, WebSocket } from 'ws';
import { eventually, type TestPlatform } from '@orrery/core/testing';
import { mqttConnector, mqttPorts } from '../mqtt-connector.js';
import { RawClient } from '../testing/raw-client.js';
import { startSurroundings, type Surroundings } from '../testing/surroundings.js';

const SILENCE_MS = 120_000;

let around: Surroundings;
let key: string;
let silent: { client: RawClient; since: number };
const clients: RawClient[] = [];
const open = async (port = around.ports.plain): Promise<RawClient> => {
  const client = await RawClient.open(port);
  clients.push(client);
  return client;
};
const device = async (clientId: string, options: Partial<IConnectPacket> = {}, port?: number): Promise<RawClient> => {
  const client = await open(port);
  expect(await client.connect('json+device', key, clientId, options)).toBe(0);
  return client;
};
const marked = (mark: string): unknown[] => around.messages.filter(({ message }) => message.value?.['mark'] === mark);
const connectPacket = (more: Partial<IConnectPacket> = {}): Buffer =>
  mqtt.generate({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    keepalive: 600,
    clientId: 'raw',
    username: 'json+device',
    password: Buffer.from(key),
    ...more,
  });

beforeAll(async () => {
  around = await startSurroundings();
  key = around.keys.grant('acme').value;
  silent = { client: await device('never-silenced', { keepalive: 0 }), since: Date.now() };
});
afterAll(async () => {
  for (const client of clients) client.end();
  await around.backend.stop();
});

describe('packets in pieces', () => {
  it('are put together, down to single bytes', async () => {
    const client = await open();
    const publish = { cmd: 'publish', topic: 'dev/data', qos: 1, messageId: 3, dup: false, retain: false } as const;
    const bytes = Buffer.concat([
      connectPacket({ clientId: 'bytewise' }),
      mqtt.generate({ ...publish, payload: '{"value":{"mark":"bytewise"}}' }),
    ]);
    for (const byte of bytes) {
      client.sendBytes(Uint8Array.of(byte));
      await new Promise(setImmediate);
    }
    expect((await client.next('puback')).messageId).toBe(3);
    await around.message('bytewise');
  });

  it('are put together although each byte is a frame of its own', async () => {
    const webSocket = new WebSocket(`wss://127.0.0.1:${around.platform.httpsPort}/mqtt`, 'mqtt', {
      rejectUnauthorized: false,
    });
    const stream = createWebSocketStream(webSocket, { allowHalfOpen: false });
    const client = new RawClient(stream);
    clients.push(client);
    expect(await client.connect('json+device', key, 'framewise')).toBe(0);
    const payload = JSON.stringify({ value: { mark: 'framewise', pad: 'x'.repeat(20_000) } });
    const bytes = mqtt.generate({
      cmd: 'publish',
      topic: 'dev/data',
      qos: 1,
      messageId: 4,
      dup: false,
      retain: false,
      payload,
    });
    for (const byte of bytes) webSocket.send(Uint8Array.of(byte));
    expect((await client.next('puback')).messageId).toBe(4);
    expect((await around.message('framewise')).value).toHaveProperty('pad', 'x'.repeat(20_000));
  });

  it('are forgotten when the connection ends in the middle', async () => {
    const client = await device('half');
    client.sendBytes(Buffer.from('3020', 'hex'));
    client.end();
    await around.event('nodeDisconnected', 'half');
    const again = await device('half');
    await again.ping();
  });

  it('that never make a CONNECT end after ten seconds', async () => {
    const started = Date.now();
    const drip = await open();
    const mute = await open();
    const webSocket = new WebSocket(`wss://127.0.0.1:${around.platform.httpsPort}/mqtt`, 'mqtt', {
      rejectUnauthorized: false,
    });
    const framed = new RawClient(createWebSocketStream(webSocket, { allowHalfOpen: false }));
    const handshake = await open(around.ports.tls);
    const packet = connectPacket({ clientId: 'x'.repeat(100) });
    for (let i = 0; !drip.closed && i < packet.length; i++) {
      drip.sendBytes(packet.subarray(i, i + 1));
      await delay(200);
    }
    for (const client of [drip, mute, framed, handshake]) await client.isClosed();
    expect(Date.now() - started).toBeGreaterThan(9000);
    expect(drip.bytes).toHaveLength(0);
  });
});

describe('packets that are too large, or too many', () => {
  it('end the connection as soon as their length is known', async () => {
    const unknown = await open();
    // A CONNECT of one MiB: five bytes say so.
    unknown.sendBytes(Buffer.from('10ffff3f00', 'hex'));
    await unknown.isClosed();
    const known = await device('too-large', { protocolVersion: 5 });
    known.sendBytes(Buffer.from('30ffffff7f00', 'hex'));
    expect((await known.next('disconnect')).reasonCode).toBe(0x95);
    await known.isClosed();
  });

  it('may come right behind CONNECT when they are not', async () => {
    const client = await open();
    const answer = client.connect('json+device', key, 'eager-large');
    client.publish('dev/data', JSON.stringify({ value: { mark: 'eager-large', pad: 'x'.repeat(900_000) } }), 5);
    for (let id = 6; id < 200; id++) client.publish('dev/data', '{"value":{"mark":"eager"}}', id);
    expect(await answer).toBe(0);
    for (let id = 5; id < 200; id++) expect((await client.next('puback')).messageId).toBe(id);
    await around.message('eager-large');
  });

  it('MQT-056 takes a topic of 64 KiB for what it is: not allowed', async () => {
    const client = await device('long-topic');
    client.publish('t'.repeat(65_535), 'x', 1);
    await client.next('puback');
    const { content } = await around.audit('bad_topic', 'long-topic');
    expect(content).toMatchObject({ clientId: 'long-topic', topic: 't'.repeat(256) });
    expect(await client.subscribe('t'.repeat(65_535))).toEqual([0x80]);
    await client.ping();
  });

  it('MQT-020 answers a thousand SUBSCRIBEs, each with its codes, and a thousand filters of one', async () => {
    const client = await device('thousand');
    for (let id = 1; id <= 1000; id++)
      client.send({
        cmd: 'subscribe',
        messageId: id,
        subscriptions: [
          { topic: id % 2 ? 'dev/cmd' : 'dev/unknown', qos: 1 },
          { topic: 'dev/cfg/upd', qos: 0 },
        ],
      });
    for (let id = 1; id <= 1000; id++)
      expect(await client.next('suback')).toMatchObject({ messageId: id, granted: [id % 2 ? 1 : 0x80, 0] });
    expect(await client.subscribe(Array.from({ length: 1000 }, () => 'dev/cmd'))).toHaveLength(1000);
    client.send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: Array.from({ length: 1001 }, () => ({ topic: 'dev/cmd', qos: 0 as const })),
    });
    await client.isClosed();
  });
});

describe('packets that are wrong', () => {
  it.each([
    ['a topic that is no UTF-8', '3206000261ff0001'],
    ['a topic with a NUL', '320600026100 0001'],
    ['a PUBLISH that ends before its packet id', '3203000161'],
    ['a PUBLISH whose packet id is in the next packet', '3203000161c000'],
    ['a PUBACK without packet id', '4000'],
    ['a PUBREL without packet id', '6200'],
    ['a PUBREL with packet id 0', '62020000'],
    ['a SUBSCRIBE without packet id', '8200'],
    ['a SUBSCRIBE with packet id 0', '82060000000161 00'],
    ['a filter that is no UTF-8', '8206000100 01ff01'],
    ['an empty filter', '82050001000001'],
    ['an UNSUBSCRIBE without filter', 'a2020001'],
    ['an UNSUBSCRIBE without packet id', 'a200'],
    ['wrong flags of a SUBSCRIBE', '80060001000161 01'],
    ['a packet type of 15', 'f000'],
    ['a second CONNECT', ''],
  ])('MQT-058 %s ends the connection, and no other', async (_, hex) => {
    const client = await device('wrong');
    const witness = await device('witness');
    client.sendBytes(hex ? Buffer.from(hex.replaceAll(' ', ''), 'hex') : connectPacket());
    await client.isClosed();
    expect(client.packets).toEqual([]);
    await witness.ping();
  });

  it('refuses names that are no UTF-8', async () => {
    for (const [field, code] of [
      ['raw', 2],
      ['json+device', 4],
    ] as const) {
      const packet = connectPacket();
      packet[packet.indexOf(field) + 1] = 0xff;
      const client = await open();
      client.sendBytes(packet);
      expect((await client.next('connack')).returnCode).toBe(code);
      await client.isClosed();
    }
  });

  it('MQT-004 tells MQTT 5 clients by reason codes and texts what is wrong', async () => {
    const MQTT5: Partial<IConnectPacket> = { protocolVersion: 5 };
    const refused = async (more: Partial<IConnectPacket>, password = key): Promise<[number, string?]> => {
      const client = await open();
      client.send({ ...mqtt5Connect, password: Buffer.from(password), ...more });
      const { reasonCode, properties } = await client.next('connack');
      await client.isClosed();
      return [reasonCode!, properties?.reasonString];
    };
    const mqtt5Connect = {
      cmd: 'connect',
      protocolId: 'MQTT',
      clientId: 'five',
      username: 'json+device',
      ...MQTT5,
    } as const;
    expect(await refused({}, 'nope')).toEqual([0x86, undefined]);
    expect(await refused({ clientId: 'my device' })).toEqual([0x85, expect.stringContaining('1 to 128')]);
    expect(await refused({ username: 'application' })).toEqual([0x87, expect.stringContaining('encrypted')]);
    expect(await refused({ username: 'JSON+DEVICE' })).toEqual([0x86, expect.stringContaining('json+device')]);
    const noTexts = { clientId: 'my device', properties: { maximumPacketSize: 30 } };
    expect(await refused(noTexts)).toEqual([0x85, undefined]);
    const method = { properties: { authenticationMethod: 'SCRAM', authenticationData: Buffer.from('x') } };
    expect(await refused(method)).toEqual([0x8c, expect.stringContaining('password')]);
    const properties = { receiveMaximum: 10, topicAliasMaximum: 10 };
    const packet = mqtt.generate({
      ...mqtt5Connect,
      clean: true,
      keepalive: 600,
      password: Buffer.from(key),
      properties,
    });
    packet[packet.indexOf(0x22)] = 0x21;
    const twice = await open();
    twice.expect5();
    twice.sendBytes(packet);
    expect(await twice.next('connack')).toMatchObject({ reasonCode: 0x82 });
    await twice.isClosed();

    const ended = async (name: string, act: (client: RawClient) => void): Promise<[number, string?]> => {
      const client = await device(name, MQTT5);
      act(client);
      const { reasonCode, properties } = await client.next('disconnect');
      await client.isClosed();
      return [reasonCode!, properties?.reasonString];
    };
    const publish = { cmd: 'publish', topic: 'dev/data', payload: '{}', qos: 0, dup: false, retain: false } as const;
    expect(await ended('alias', (client) => client.send({ ...publish, properties: { topicAlias: 1 } }))).toEqual([
      0x94,
      expect.stringContaining('alias'),
    ]);
    const subscribe = { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'dev/cmd', qos: 1 }] } as const;
    expect(
      await ended('identifier', (client) =>
        client.send({
          ...subscribe,
          subscriptions: [...subscribe.subscriptions],
          properties: { subscriptionIdentifier: 5 },
        }),
      ),
    ).toEqual([0xa1, expect.stringContaining('identifiers')]);
    expect(await ended('wildcard', (client) => client.publish('dev/#', 'x'))).toEqual([0x81, expect.any(String)]);
    expect(await ended('taken', () => void device('taken'))).toEqual([0x8e, expect.stringContaining('took over')]);
    const client = await device('unknown-id', MQTT5);
    client.send({ cmd: 'pubrel', messageId: 77 });
    expect((await client.next('pubcomp')).reasonCode).toBe(0x92);
    client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['dev/cmd'] });
    expect((await client.next('unsuback')).granted).toEqual([0x11]);
  });
});

describe('QoS 2', () => {
  const again = (client: RawClient, messageId: number, mark: string, dup: boolean): void =>
    client.send({
      cmd: 'publish',
      topic: 'dev/data',
      payload: `{"value":{"mark":"${mark}"}}`,
      qos: 2,
      messageId,
      dup,
      retain: false,
    });

  it('MQT-018 stores a publication once that is sent again before it is released', async () => {
    const client = await device('exactly');
    again(client, 9, 'exactly', false);
    again(client, 9, 'exactly', true);
    for (let i = 0; i < 2; i++) expect((await client.next('pubrec')).messageId).toBe(9);
    again(client, 9, 'exactly', true);
    expect((await client.next('pubrec')).messageId).toBe(9);
    for (let i = 0; i < 2; i++) {
      client.send({ cmd: 'pubrel', messageId: 9 });
      expect((await client.next('pubcomp')).messageId).toBe(9);
    }
    await around.message('exactly');
    // Once it is released, the packet id is that of another publication.
    again(client, 9, 'released', false);
    await client.next('pubrec');
    await around.message('released');
    expect(marked('exactly')).toHaveLength(1);
  });

  it('keeps packet ids apart, and forgets them with the session', async () => {
    const client = await device('ids');
    for (let id = 1; id <= 500; id++) again(client, id, `id-${id}`, false);
    for (let id = 1; id <= 500; id++) expect((await client.next('pubrec')).messageId).toBe(id);
    client.end();
    const next = await device('ids');
    again(next, 1, 'id-of-the-next', false);
    await next.next('pubrec');
    await around.message('id-of-the-next');
    await eventually(() => around.messages.filter(({ header }) => header.deviceId?.endsWith(':ids')).length === 501);
  });
});

describe('a client that does not read', () => {
  /** Sends until nothing more is taken. @returns bytes sent */
  const flood = async (client: RawClient, bytes: Buffer): Promise<number> => {
    client.socket.pause();
    let sent = 0;
    let stalled = 0;
    while (stalled < 20 && !client.closed) {
      const before = client.socket.writableLength;
      if (before < 1 << 20) {
        client.sendBytes(bytes);
        sent += bytes.length;
        stalled = 0;
      } else stalled++;
      await delay(10);
    }
    return sent;
  };

  it.each([
    ['PINGREQ', Buffer.alloc(256 << 10, Buffer.from('c000', 'hex'))],
    ['bad publications', Buffer.alloc(256 << 10, Buffer.from('3206000178000178'.slice(0, 16), 'hex'))],
  ])(
    'is not read either once its %s have filled what is kept for it, and ends by its keep alive',
    async (name, bytes) => {
      const clientId = `deaf-${name.replaceAll(' ', '-')}`;
      const client = await device(clientId, { keepalive: 2 });
      const before = process.memoryUsage().rss;
      await flood(client, bytes);
      expect(process.memoryUsage().rss - before).toBeLessThan(200 << 20);
      const witness = await device('witness-of-the-deaf');
      await witness.ping();
      // What has been read before is answered first, if only into memory.
      await around.event('nodeDisconnected', clientId);
    },
  );

  it('is read again when it reads, and has lost nothing', async () => {
    const client = await device('slow-reader', { keepalive: 600 });
    const pings = (await flood(client, Buffer.alloc(256 << 10, Buffer.from('c000', 'hex')))) / 2;
    client.bytes = Buffer.alloc(0);
    let read = 0;
    client.socket.removeAllListeners('data');
    client.socket.on('data', (chunk: Buffer) => (read += chunk.length));
    client.socket.resume();
    await eventually(() => read === pings * 2);
  });
});

describe('many at once', () => {
  it('MQD-006 lets one of two sessions live that open at the same time on two instances', async () => {
    const second: TestPlatform = await around.backend.boot([mqttConnector]);
    for (let round = 0; round < 15; round++) {
      const clientId = `race-${round}`;
      const rivals = await Promise.all([around.ports.plain, mqttPorts(second.app).plain].map((port) => open(port)));
      await Promise.all(rivals.map((client) => client.connect('json+device', key, clientId)));
      const dead = await eventually(() => rivals.find(({ closed }) => closed));
      const alive = rivals.find((client) => client !== dead)!;
      await alive.ping();
      expect(
        around.events.filter(({ event }) => event.nodeId === clientId && event.type === 'nodeDisconnected'),
      ).toEqual([]);
      alive.end();
    }
    await second.close();
  });

  it('takes five hundred devices that come back at the same time', async () => {
    const names = Array.from({ length: 500 }, (_, i) => `storm-${i}`);
    const connect = (): Promise<RawClient[]> => Promise.all(names.map((name) => device(name)));
    let storm = await connect();
    for (let round = 0; round < 2; round++) {
      for (const client of storm) client.end();
      storm = await connect();
    }
    storm.forEach((client, i) => client.publish('dev/data', `{"value":{"mark":"storm","i":${i}}}`, 1));
    for (const client of storm) await client.next('puback');
    await eventually(() => marked('storm').length === 500);
    const last = new Map<string, string>();
    for (const { event } of around.events)
      if (event.nodeId.startsWith('storm-') && event.type === 'nodeConnected') last.set(event.nodeId, event.sessionId);
    // What the newest session of each device has reported last is that it is there.
    for (const [nodeId, sessionId] of last)
      expect(
        around.events.some(
          ({ event }) => event.nodeId === nodeId && event.sessionId === sessionId && event.type === 'nodeDisconnected',
        ),
      ).toBe(false);
    expect(last.size).toBe(500);
    for (const client of storm) client.end();
  });
});

describe('silence', () => {
  it('MQT-026 without keep alive lasts two minutes', async () => {
    await delay(Math.max(0, silent.since + SILENCE_MS - Date.now()));
    expect(silent.client.closed).toBe(false);
    await silent.client.ping();
  });
});
