import type { Socket } from 'node:net';
import { connectAsync } from 'mqtt';
import { AUDIT_SUBJECT } from '@orrery/core/bus';
import { eventually, withinWindow } from '@orrery/core/testing';
import { RawClient } from '../testing/raw-client.js';
import { startSurroundings, type Surroundings } from '../testing/surroundings.js';

let around: Surroundings;
let key: { id: string; value: string };
const clients: RawClient[] = [];
const open = async (): Promise<RawClient> => {
  const client = await RawClient.open(around.ports.plain);
  clients.push(client);
  return client;
};
const device = async (clientId: string, value = key.value): Promise<RawClient> => {
  const client = await open();
  expect(await client.connect('json+device', value, clientId)).toBe(0);
  return client;
};
let packetId = 0;
/** Publishes with QoS 1 and waits for the answer. */
const publish = async (client: RawClient, payload: string | Buffer, topic = 'dev/data'): Promise<void> => {
  const id = (packetId = (packetId % 60_000) + 1);
  client.publish(topic, payload, id);
  expect((await client.next('puback')).messageId).toBe(id);
};
const stored = (clientId: string) =>
  around.messages.filter(({ header }) => header.deviceId === `urn:lo:nsid:mqtt:${clientId}`);

beforeAll(async () => {
  around = await startSurroundings();
  key = around.keys.grant('acme', { roles: ['DEVICE_ACCESS'] });
});
afterAll(async () => {
  for (const client of clients) client.end();
  await around.backend.stop();
});

describe('sessions', () => {
  it('asks the inventory once for a new device, and not again when it comes back', async () => {
    for (let i = 0; i < 2; i++) (await device('newcomer')).end();
    const asked = around.inventory.requests.filter(({ nodeId }) => nodeId === 'newcomer');
    expect(asked).toMatchObject([{ autoRegister: true }]);
  });

  it('MQD-003 reports the session with its activity', async () => {
    const client = await open();
    await client.connect('json+device', key.value, 'activity', { keepalive: 60 });
    const connected = await around.event('nodeConnected', 'activity');
    expect(connected).toMatchObject({
      connector: 'mqtt',
      deviceId: 'urn:lo:nsid:mqtt:activity',
      activity: {
        apiKeyId: key.id,
        mqttVersion: 4,
        mqttUsername: 'json+device',
        mqttTimeout: 60,
        remoteAddress: `127.0.0.1/${(client.socket as Socket).localPort}`,
        lastSessionStartTime: expect.stringMatching(/Z$/),
        security: { secured: false, clientCertAuthentication: false },
      },
    });
    client.send({ cmd: 'disconnect' });
    const ended = await around.event('nodeDisconnected', 'activity');
    expect(ended.sessionId).toBe(connected.sessionId);
    expect(ended.activity).toEqual({ lastSessionEndTime: expect.stringMatching(/Z$/) });
  });

  it('MQD-006 lets a second connection of a client take over, without reporting an end', async () => {
    const first = await device('twice');
    const second = await device('twice');
    await first.isClosed();
    await second.ping();
    await publish(second, '{"value":{"mark":"taken-over"}}');
    expect(around.events.filter(({ event }) => event.nodeId === 'twice' && event.type === 'nodeDisconnected')).toEqual(
      [],
    );
    second.send({ cmd: 'disconnect' });
    await around.event('nodeDisconnected', 'twice');
  });

  it('keeps clients of the same name in two tenants apart', async () => {
    const other = around.keys.grant('globex');
    const mine = await device('shared-name');
    const theirs = await device('shared-name', other.value);
    await publish(mine, '{"value":{"mark":"mine"}}');
    await publish(theirs, '{"value":{"mark":"theirs"}}');
    await around.message('theirs');
    expect(around.messages.find(({ message }) => message.value?.['mark'] === 'mine')!.header.tenantId).toBe('acme');
    expect(around.messages.find(({ message }) => message.value?.['mark'] === 'theirs')!.header.tenantId).toBe('globex');
  });

  it('MQD-007 MQD-009 takes URNs and plain ids, and refuses other URNs with 0x02', async () => {
    await device('urn:lo:nsid:tempSensor:17872800001W');
    expect((await around.event('nodeConnected', 'urn:lo:nsid:tempSensor:17872800001W')).deviceId).toBe(
      'urn:lo:nsid:tempSensor:17872800001W',
    );
    expect(await (await open()).connect('json+device', key.value, 'urn:lo:nsid:foo')).toBe(2);
  });

  it('MQD-013 refuses a disabled interface with 0x05 and an audit entry', async () => {
    around.inventory.set('acme', 'disabled', {}, false);
    expect(await (await open()).connect('json+device', key.value, 'disabled')).toBe(5);
    await around.audit('connection_refused', 'disabled');
  });

  it('MQD-014 closes the session of an interface that is disabled or deleted', async () => {
    const client = await device('to-disable');
    around.inventory.set('acme', 'to-disable', {}, false);
    around.inventory.announce('acme', 'to-disable');
    await client.isClosed();
    await around.event('nodeDisconnected', 'to-disable');

    const deleted = await device('to-delete');
    around.inventory.nodes.delete('acme/to-delete');
    around.inventory.announce('acme', 'to-delete');
    await deleted.isClosed();
    expect(around.inventory.nodes.has('acme/to-delete')).toBe(false);
  });

  it('MQD-015 refuses an unknown client at the device limit with 0x05, and takes known ones', async () => {
    around.inventory.set('acme', 'known', {});
    around.inventory.full = true;
    try {
      expect(await (await open()).connect('json+device', key.value, 'one-too-many')).toBe(5);
      await around.audit('connection_refused', 'one-too-many');
      await device('known');
    } finally {
      around.inventory.full = false;
    }
  });

  it('MQT-059 logs connections in the debug mode of the key only', async () => {
    await (await device('no-debug')).ping();
    const debug = around.keys.grant('acme', { debugUntil: Date.now() + 60_000 });
    const client = await device('debug', debug.value);
    client.send({ cmd: 'disconnect' });
    expect((await around.audit('connected', 'debug')).level).toBe('info');
    await around.audit('disconnected', 'debug');
    expect(around.audits.some(({ content }) => content?.['clientId'] === 'no-debug')).toBe(false);
    const busOnly = around.keys.grant('acme', { roles: ['BUS_R'] });
    await (await open()).connect('json+device', busOnly.value, 'debug-refused');
    expect((await around.audit('connection_refused', 'debug-refused')).level).toBe('error');
  });

  it('announces capabilities by subscriptions', async () => {
    const client = await device('capable');
    await client.subscribe(['dev/cmd', 'dev/cfg/upd']);
    expect((await around.event('nodeSubscribed', 'capable')).capabilities).toEqual({
      command: { available: true, version: 1 },
      configuration: { available: true, version: 1 },
    });
    client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['dev/cmd'] });
    await client.next('unsuback');
    expect(around.events.findLast(({ event }) => event.nodeId === 'capable')!.event.capabilities).toEqual({
      command: { available: false, version: 1 },
    });
    client.end();
    expect((await around.event('nodeDisconnected', 'capable')).capabilities).toMatchObject({
      configuration: { available: false },
    });
  });

  it('MQD-048 reports contact at most once a second, as of when it was', async () => {
    const client = await device('contact');
    const before = Date.now();
    for (let i = 0; i < 50; i++) client.publish('dev/data', '{"value":{"a":1}}');
    await client.ping();
    const after = Date.now();
    const contact = Date.parse((await around.event('nodeContact', 'contact')).timestamp);
    expect(contact).toBeGreaterThanOrEqual(before);
    expect(contact).toBeLessThanOrEqual(after);
    await client.ping();
    // Each time the second turned meanwhile, one more.
    const seconds = Math.ceil((Date.now() - before) / 1000);
    const contacts = around.events.filter(({ event }) => event.nodeId === 'contact' && event.type === 'nodeContact');
    expect(contacts.length).toBeLessThanOrEqual(1 + seconds);
  });
});

describe('data', () => {
  it('MQT-001 MQD-017 MQD-018 MQD-019 takes the message of the manual', async () => {
    const client = await connectAsync(`mqtt://127.0.0.1:${around.ports.plain}`, {
      clientId: 'manual',
      username: 'json+device',
      password: key.value,
    });
    const payload = {
      streamId: 'mydeviceTemp1234',
      timestamp: '2020-10-13T12:15:02Z',
      model: 'tempV2',
      value: { temp: 12.75, humidity: 62.1, doorOpen: true, mark: 'manual' },
      location: { lat: 48.86667, lon: 2.33333, alt: 35.2, accuracy: 12.3, provider: 'GPS' },
      tags: ['CityNYC', 'Prototype'],
    };
    await client.publishAsync('dev/data', JSON.stringify(payload), { qos: 1 });
    expect(await around.message('manual')).toEqual({
      ...payload,
      timestamp: '2020-10-13T12:15:02.000Z',
      id: expect.stringMatching(/^[0-9a-f]{24}$/),
      created: expect.stringMatching(/Z$/),
      extra: {},
      metadata: {
        connector: 'mqtt',
        source: 'urn:lo:nsid:mqtt:manual',
        group: { id: 'root', path: '/' },
        network: { mqtt: { clientId: 'manual' } },
        transformation: { published: { location: payload.location } },
      },
    });
    await client.endAsync();
  });

  it('is on disk when it is acknowledged', async () => {
    const client = await device('kept');
    await publish(client, '{"value":{"mark":"kept"}}');
    const { bus } = around;
    const last = await Promise.all(
      Array.from({ length: bus.partitions }, (_, p) =>
        bus.jsm.streams.getMessage(`READY_${p}`, { last_by_subj: `ready.${p}` }).catch(() => null),
      ),
    );
    expect(last.some((entry) => entry?.string().includes('"mark":"kept"'))).toBe(true);
  });

  it('MQD-020 uses the default stream of the device', async () => {
    around.inventory.set('acme', 'own-stream', { defaultDataStreamId: 'elsewhere' });
    await publish(await device('own-stream'), '{"value":{"mark":"own-stream"}}');
    expect((await around.message('own-stream')).streamId).toBe('elsewhere');
    await publish(await device('urn-stream'), '{"value":{"mark":"urn-stream"}}');
    expect((await around.message('urn-stream')).streamId).toBe('urn:lo:nsid:mqtt:urn-stream');
  });

  it.each([
    ['no JSON', 'hello'],
    ['no object', '[]'],
    ['a value that is no object', '{"value":5}'],
    ['a timestamp that is none', '{"timestamp":"yesterday"}'],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ['nesting without end', `{"value":{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}}`],
  ])('MQD-021 acknowledges, audits and drops %s', async (name, payload) => {
    const clientId = `bad-${name.replaceAll(' ', '-')}`;
    const client = await device(clientId);
    await publish(client, payload);
    expect(await around.audit('bad_message', clientId)).toMatchObject({
      level: 'error',
      category: 'connectivity',
      subcategory: 'mqtt',
      source: { connector: 'mqtt', nodeId: clientId, deviceId: `urn:lo:nsid:mqtt:${clientId}` },
    });
    await client.ping();
    expect(stored(clientId)).toEqual([]);
  });

  it('MQD-021 leaves an incomplete location out', async () => {
    const client = await device('bad-location');
    await publish(client, '{"value":{"mark":"bad-location"},"location":{"lat":"x"}}');
    expect(await around.message('bad-location')).not.toHaveProperty('location');
    await around.audit('bad_location', 'bad-location');
  });

  it.each([
    ['model', '{"model":"a.b"}'],
    ['field', '{"value":{"x.y":1}}'],
    ['stream', '{"streamId":"a b"}'],
  ])('MQD-022 refuses a bad %s', async (name, payload) => {
    const client = await device(`refused-${name}`);
    await publish(client, payload);
    await around.audit('bad_message', `refused-${name}`);
    expect(stored(`refused-${name}`)).toEqual([]);
  });

  it('MQD-023 refuses eleven tags and a value above 1 MiB', async () => {
    const client = await device('too-much');
    await publish(client, JSON.stringify({ tags: Array.from({ length: 11 }, (_, i) => `t${i}`) }));
    const overhead = JSON.stringify({ pad: '' }).length;
    await publish(client, JSON.stringify({ value: { pad: 'x'.repeat(1_048_577 - overhead) } }));
    await eventually(() => around.audits.filter((entry) => entry.content?.['clientId'] === 'too-much').length === 2);
    expect(stored('too-much')).toEqual([]);
    await publish(client, JSON.stringify({ value: { pad: 'x'.repeat(1_048_576 - overhead) } }));
    await eventually(() => stored('too-much').length === 1);
  });

  it('MQD-024 takes short keys', async () => {
    const client = await device('short');
    await publish(
      client,
      '{"s":"myStreamId","v":{"mark":"short"},"ts":"2020-01-01","m":"m1","t":["a"],"loc":[1.5,2.5]}',
    );
    expect(await around.message('short')).toMatchObject({
      streamId: 'myStreamId',
      timestamp: '2020-01-01T00:00:00.000Z',
      model: 'm1',
      tags: ['a'],
      location: { lat: 1.5, lon: 2.5 },
    });
  });

  it('MQD-025 stores binary publications as upper-case hex', async () => {
    const client = await device('binary');
    await publish(client, Buffer.from('412000ab', 'hex'), 'dev/v1/data/binary');
    const { message } = (await eventually(() => stored('binary')[0]))!;
    expect(message).toMatchObject({ streamId: 'urn:lo:nsid:mqtt:binary', value: { payload: '412000AB' } });
    expect(message.metadata).not.toHaveProperty('encoding');
    expect(message.timestamp).toBe(message.created);
  });

  it('MQD-028 prefers the encoding of the interface to that of the topic', async () => {
    const client = await device('encoded');
    await publish(client, Buffer.from('41200000', 'hex'), 'dev/v1/data/binary/my_encoding_v0');
    expect((await eventually(() => stored('encoded')[0]))!.message).toMatchObject({
      metadata: { encoding: 'my_encoding_v0' },
      value: { payload: '41200000' },
    });
    around.inventory.set('acme', 'own-encoding', { encoding: 'A' });
    await publish(await device('own-encoding'), Buffer.from('01', 'hex'), 'dev/v1/data/binary/B');
    expect((await eventually(() => stored('own-encoding')[0]))!.message.metadata.encoding).toBe('A');
  });

  it('ignores other metadata of the device than the encoding', async () => {
    const client = await device('metadata');
    await publish(
      client,
      '{"value":{"mark":"metadata","payload":"00"},"metadata":{"encoding":"e1","source":"x","connector":"lora","group":1}}',
    );
    expect((await around.message('metadata')).metadata).toEqual({
      connector: 'mqtt',
      source: 'urn:lo:nsid:mqtt:metadata',
      encoding: 'e1',
      group: { id: 'root', path: '/' },
      network: { mqtt: { clientId: 'metadata' } },
    });
  });

  it('MQD-016 MQT-056 MQT-057 takes the listed topics and audits all others', async () => {
    const client = await device('topics');
    const reports = ['dev/cmd/res', 'dev/cfg', 'dev/rsc', 'dev/rsc/upd/res', 'dev/rsc/upd/err'];
    for (const topic of ['dev/data', 'dev/v1/data/binary', 'dev/v1/data/binary/e', ...reports])
      await publish(client, '{}', topic);
    expect(await client.subscribe(['dev/cmd', 'dev/cfg/upd', 'dev/rsc/upd'])).toEqual([1, 1, 1]);
    await client.ping();
    expect(around.audits.some((entry) => entry.type === 'bad_topic' && entry.content?.['clientId'] === 'topics')).toBe(
      false,
    );

    const bad = [
      'dev/cmd',
      'dev/data/',
      'DEV/data',
      'dev/v1/data/binary/',
      'dev/v1/data/binary/a/b',
      'connector/v1/nodes/x/data',
    ];
    for (const topic of bad) await publish(client, '{"value":{"mark":"bad-topic"}}', topic);
    expect(await client.subscribe(['dev/data', '#', 'dev/+', 'fifo/f1'])).toEqual([0x80, 0x80, 0x80, 0x80]);
    const audited = (): unknown[] =>
      around.audits
        .filter((entry) => entry.type === 'bad_topic' && entry.content?.['clientId'] === 'topics')
        .map((entry) => entry.content!['topic']);
    await eventually(() => audited().length === 10);
    expect(audited()).toEqual([...bad, 'dev/data', '#', 'dev/+', 'fifo/f1']);
    const [first] = around.audits.filter((entry) => entry.type === 'bad_topic');
    expect(first!.description).toContain('topics');
    await client.ping();
    expect(around.messages.some(({ message }) => message.value?.['mark'] === 'bad-topic')).toBe(false);
  });
});

describe('changes', () => {
  it('enriches with what the device is once a change is announced', async () => {
    around.inventory.set('acme', 'changing', { tags: ['old'] });
    const client = await device('changing');
    await publish(client, '{"value":{"mark":"before"}}');
    expect((await around.message('before')).tags).toEqual(['old']);

    around.inventory.set('acme', 'changing', { tags: ['new'], properties: { p: '1' } });
    around.inventory.announce('acme', 'changing');
    await around.bus.connection.flush();
    await eventually(async () => {
      client.publish('dev/data', `{"value":{"mark":"after-${packetId}"}}`, ++packetId);
      await client.next('puback');
      const { tags, extra } = await around.message(`after-${packetId - 1}`);
      return tags[0] === 'new' && extra?.['p'] === '1';
    });
  });

  it('asks again for devices of a tenant whose groups change', async () => {
    around.inventory.set('acme', 'grouped', {});
    const client = await device('grouped');
    around.inventory.set('acme', 'grouped', { group: { id: 'g', path: '/moved' } });
    around.inventory.announceGroups('acme');
    let n = 0;
    await eventually(async () => {
      await publish(client, `{"value":{"mark":"grouped-${++n}"}}`);
      return (await around.message(`grouped-${n}`)).metadata.group?.path === '/moved';
    });
  });

  it('MSG-006 cuts device tags after the tenth, with an audit entry', async () => {
    around.inventory.set('acme', 'tagged', { tags: ['a', 'b', 'c', 'd'] });
    const client = await device('tagged');
    await publish(
      client,
      JSON.stringify({ value: { mark: 'tagged' }, tags: ['1', '2', '3', '4', '5', '6', '7', '8'] }),
    );
    expect((await around.message('tagged')).tags).toEqual(['1', '2', '3', '4', '5', '6', '7', '8', 'a', 'b']);
    await around.audit('too_many_tags', 'tagged');
  });

  let floods = 0;
  it('MQT-060 caps the audit entries of a minute', async () => {
    const scenario = async (): Promise<void> => {
      const tenant = `flooded-${++floods}`;
      const entries: string[] = [];
      around.bus.connection.subscribe(AUDIT_SUBJECT, {
        callback: (_, message) => {
          const { tenantId, type } = message.json<{ tenantId: string; type: string }>();
          if (tenantId === tenant) entries.push(type);
        },
      });
      const own = around.keys.grant(tenant);
      for (const client of [await device('flood-1', own.value), await device('flood-2', own.value)])
        for (let i = 0; i < 100; i++) await publish(client, 'bad');
      await eventually(() => entries.length === 101);
      expect(entries.filter((type) => type === 'bad_message')).toHaveLength(100);
      expect(entries.filter((type) => type === 'limit_reached')).toHaveLength(1);
    };
    await withinWindow(60_000, scenario, 10_000);
  });
});
