import type { IConnectPacket } from 'mqtt-packet';
import { eventually } from '@orrery/core/testing';
import { RawClient } from '../testing/raw-client.js';
import { startSurroundings, type Surroundings } from '../testing/surroundings.js';

let around: Surroundings;
let key: string;
const clients: RawClient[] = [];
const open = async (): Promise<RawClient> => {
  const client = await RawClient.open(around.ports.plain);
  clients.push(client);
  return client;
};
const device = async (clientId: string, options: Partial<IConnectPacket> = {}): Promise<RawClient> => {
  const client = await open();
  expect(await client.connect('json+device', key, clientId, options)).toBe(0);
  return client;
};

beforeAll(async () => {
  around = await startSurroundings();
  key = around.keys.grant('acme', { roles: ['DEVICE_ACCESS'] }).value;
});
afterAll(async () => {
  for (const client of clients) client.end();
  await around.backend.stop();
});

describe('CONNECT', () => {
  it('MQT-001 MQT-006 MQT-028 accepts MQTT 3.1.1 with a valid key on the plain port', async () => {
    const client = await device('connect-311');
    expect(client.bytes.toString('hex')).toBe('20020000');
  });

  it('MQT-002 accepts MQTT 3.1', async () => {
    await device('connect-31', { protocolId: 'MQIsdp', protocolVersion: 3 });
  });

  it('MQT-003 refuses other protocol levels with 0x01 and closes', async () => {
    const client = await open();
    client.sendBytes(Buffer.from('101000044d51545406020000000474657374', 'hex'));
    await client.isClosed();
    expect(client.bytes.toString('hex')).toBe('20020001');
  });

  it('MQT-004 serves MQTT 5 by the same rules, with its own reason codes', async () => {
    const refused = await open();
    expect(await refused.connect('json+device', 'nope', 'connect-5', { protocolVersion: 5 })).toBe(0x86);
    const mistaken = await open();
    expect(await mistaken.connect('json+device', key, 'my device', { protocolVersion: 5 })).toBe(0x85);
    const plain = await open();
    expect(await plain.connect('application', key, 'connect-5', { protocolVersion: 5 })).toBe(0x87);
    const client = await device('connect-5', { protocolVersion: 5 });
    client.publish('dev/data', '{"value":{"mark":"v5"}}', 9);
    expect((await client.next('puback')).messageId).toBe(9);
    expect(await around.message('v5')).toMatchObject({ metadata: { source: 'urn:lo:nsid:mqtt:connect-5' } });
  });

  it('MQT-005 closes without an answer when the first packet is another one, and on a second CONNECT', async () => {
    const client = await open();
    client.publish('dev/data', '{}');
    await client.isClosed();
    expect(client.bytes).toHaveLength(0);
    const twice = await device('connect-twice');
    twice.send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clientId: 'connect-twice', clean: true });
    await twice.isClosed();
  });

  it('closes a connection that sends no CONNECT within 10 s', async () => {
    const client = await open();
    const started = Date.now();
    client.sendBytes(Buffer.from([0x10]));
    await client.isClosed();
    expect(Date.now() - started).toBeGreaterThan(9000);
    expect(client.bytes).toHaveLength(0);
  });

  it('MQT-007 refuses an unknown key with 0x04 and closes', async () => {
    const client = await open();
    expect(await client.connect('json+device', 'nope', 'unknown-key')).toBe(4);
    await client.isClosed();
  });

  it('MQT-008 treats an expired or deactivated key as invalid', async () => {
    const expired = around.keys.grant('acme', { to: Date.now() - 1000 });
    expect(await (await open()).connect('json+device', expired.value, 'expired-key')).toBe(4);
    const inactive = around.keys.grant('acme', { active: false });
    expect(await (await open()).connect('json+device', inactive.value, 'inactive-key')).toBe(4);
    expect(await around.audit('connection_refused', 'inactive-key')).toMatchObject({ tenantId: 'acme' });
  });

  it('MQT-009 refuses other user names and a missing password with 0x04', async () => {
    expect(await (await open()).connect('JSON+DEVICE', key, 'a')).toBe(4);
    expect(await (await open()).connect(undefined, undefined, 'a')).toBe(4);
    expect(await (await open()).connect('json+device', undefined, 'a')).toBe(4);
  });

  it('MQT-010 refuses a key without the role of the mode with 0x04 and an audit entry', async () => {
    const busOnly = around.keys.grant('acme', { roles: ['BUS_R'] });
    expect(await (await open()).connect('json+device', busOnly.value, 'no-role')).toBe(4);
    expect(await around.audit('connection_refused', 'no-role')).toMatchObject({
      level: 'error',
      category: 'connectivity',
      subcategory: 'mqtt',
    });
  });

  it('ACC-046 refuses a key that is restrained to FIFOs with 0x04, and ends the session of one that becomes so', async () => {
    const restrained = around.keys.grant('acme', { fifos: ['f1'] });
    expect(await (await open()).connect('json+device', restrained.value, 'restrained')).toBe(4);
    expect((await around.audit('connection_refused', 'restrained')).description).toContain('restrained to FIFOs');
    const free = around.keys.grant('acme');
    const client = await open();
    expect(await client.connect('json+device', free.value, 'restrained-later')).toBe(0);
    around.keys.change(free.value, { fifos: ['f1'] });
    await client.isClosed();
  });

  it('MQT-011 refuses client ids that are empty, too long or hold other characters with 0x02', async () => {
    for (const clientId of ['my device', 'a'.repeat(129), '', 'a/b'])
      expect(await (await open()).connect('json+device', key, clientId)).toBe(2);
    await device('a'.repeat(128));
  });

  it('MQT-029 refuses the modes that need encryption on the plain port with 0x05', async () => {
    const all = around.keys.grant('acme');
    expect(await (await open()).connect('connector', all.value, 'plain')).toBe(5);
    expect(await (await open()).connect('application', all.value, 'plain')).toBe(5);
  });

  it('MQT-013 ignores the will', async () => {
    const payload = Buffer.from('{"value":{"mark":"will"}}');
    const client = await device('will', { will: { topic: 'dev/data', payload, qos: 1, retain: false } });
    client.end();
    await around.event('nodeDisconnected', 'will');
    const after = await device('after-will');
    after.publish('dev/data', '{"value":{"mark":"after-will"}}', 1);
    await around.message('after-will');
    expect(around.messages.some(({ message }) => message.value?.['mark'] === 'will')).toBe(false);
  });

  it('MQT-016 never has a session from before', async () => {
    const first = await device('not-clean', { clean: false });
    await first.subscribe('dev/cmd');
    first.end();
    await around.event('nodeDisconnected', 'not-clean');
    const client = await open();
    await client.connect('json+device', key, 'not-clean', { clean: false });
    expect(client.bytes.toString('hex')).toBe('20020000');
  });

  it('refuses keys that need a client certificate', async () => {
    const bound = around.keys.grant('acme', { clientCert: { caCertIds: ['x'], required: true } });
    expect(await (await open()).connect('json+device', bound.value, 'no-certificate')).toBe(4);
  });

  it('takes what a client sends right behind its CONNECT', async () => {
    const client = await open();
    const answer = client.connect('json+device', key, 'eager');
    client.publish('dev/data', '{"value":{"mark":"eager"}}', 3);
    expect(await answer).toBe(0);
    expect((await client.next('puback')).messageId).toBe(3);
    await around.message('eager');
  });
});

describe('packets', () => {
  it('MQT-015 processes a PUBLISH with DUP as a new one', async () => {
    const client = await device('dup');
    for (const dup of [false, true])
      client.send({
        cmd: 'publish',
        topic: 'dev/data',
        payload: '{"value":{"mark":"dup"}}',
        qos: 1,
        messageId: 5,
        dup,
        retain: false,
      });
    await client.next('puback');
    await client.next('puback');
    expect(around.messages.filter(({ message }) => message.value?.['mark'] === 'dup')).toHaveLength(2);
  });

  it('MQT-017 answers QoS 1 with the same packet id, and QoS 0 never', async () => {
    const client = await device('qos');
    client.publish('dev/data', '{"value":{"mark":"qos0"}}');
    client.publish('dev/data', '{"value":{"mark":"qos1"}}', 7);
    expect((await client.next('puback')).messageId).toBe(7);
    await around.message('qos0');
    await client.ping();
    expect(client.packets).toHaveLength(0);
  });

  it('MQT-018 completes the exchange of QoS 2', async () => {
    const client = await device('qos2');
    client.publish('dev/data', '{"value":{"mark":"qos2"}}', 9, 2);
    expect((await client.next('pubrec')).messageId).toBe(9);
    client.send({ cmd: 'pubrel', messageId: 9 });
    expect((await client.next('pubcomp')).messageId).toBe(9);
    await around.message('qos2');
  });

  it('answers publications in their order, good and bad ones mixed', async () => {
    const client = await device('in-order');
    for (let id = 1; id <= 300; id++) client.publish('dev/data', id % 3 === 0 ? 'bad' : `{"value":{"n":${id}}}`, id);
    const ids: number[] = [];
    while (ids.length < 300) ids.push((await client.next('puback')).messageId!);
    expect(ids).toEqual(Array.from({ length: 300 }, (_, i) => i + 1));
    const numbers = await eventually(() => {
      const of = around.messages.filter(({ header }) => header.deviceId === 'urn:lo:nsid:mqtt:in-order');
      return of.length >= 200 && of.map(({ message }) => message.value!['n'] as number);
    });
    expect(numbers).toEqual(Array.from({ length: 300 }, (_, i) => i + 1).filter((n) => n % 3 !== 0));
  });

  it('MQT-014 takes a retained PUBLISH like any other', async () => {
    const client = await device('retain');
    client.send({
      cmd: 'publish',
      topic: 'dev/data',
      payload: '{"value":{"mark":"retain"}}',
      qos: 1,
      messageId: 1,
      dup: false,
      retain: true,
    });
    await client.next('puback');
    expect(around.messages.filter(({ message }) => message.value?.['mark'] === 'retain')).toHaveLength(1);
  });

  it('MQT-019 MQT-020 MQT-021 answers SUBSCRIBE with a code for each filter', async () => {
    const client = await device('subscribe');
    expect(await client.subscribe('dev/cmd', 2)).toEqual([1]);
    expect(await client.subscribe('dev/cmd', 0)).toEqual([0]);
    expect(await client.subscribe(['dev/cmd', 'foo/bar'])).toEqual([1, 0x80]);
    expect(await client.subscribe('dev/unknown')).toEqual([0x80]);
  });

  it('answers UNSUBSCRIBE', async () => {
    const client = await device('unsubscribe');
    await client.subscribe('dev/cmd');
    client.send({ cmd: 'unsubscribe', messageId: 4, unsubscriptions: ['dev/cmd', 'dev/unknown'] });
    expect((await client.next('unsuback')).messageId).toBe(4);
  });

  it('MQT-024 answers PINGREQ', async () => {
    const client = await device('ping');
    client.sendBytes(Buffer.from([0xc0, 0]));
    await eventually(() => client.bytes.toString('hex') === '20020000d000');
  });

  it('MQT-025 closes a connection that is silent for 1.5 times its keep alive', async () => {
    const patient = await device('silent-for-longer', { keepalive: 30 });
    const started = Date.now();
    const client = await device('silent', { keepalive: 2 });
    await client.isClosed();
    expect(Date.now() - started).toBeGreaterThan(2900);
    expect(patient.closed).toBe(false);
    await around.event('nodeDisconnected', 'silent');
  });

  it('keeps a connection whose keep alive is kept', async () => {
    const client = await device('alive', { keepalive: 1 });
    const until = Date.now() + 4000;
    await eventually(async () => {
      await client.ping();
      return Date.now() > until;
    });
  });

  it('closes on DISCONNECT', async () => {
    const client = await device('disconnect');
    client.sendBytes(Buffer.from([0xe0, 0]));
    await client.isClosed();
    await around.event('nodeDisconnected', 'disconnect');
  });

  it.each([
    ['a wildcard in a topic', Buffer.from('300a00056465762f23616263', 'hex')],
    ['an empty topic', Buffer.from('30030000aa', 'hex')],
    ['both bits of QoS', Buffer.from('36070001610001aabb', 'hex')],
    ['a packet id of zero', Buffer.from('32060001610000aa', 'hex')],
    ['a SUBSCRIBE without filter', Buffer.from('82020001', 'hex')],
    ['a packet of the server', Buffer.from('20020000', 'hex')],
    ['a length that never ends', Buffer.from('30ffffffffff', 'hex')],
  ])('MQT-058 closes on %s', async (_, bytes) => {
    const client = await device('malformed');
    client.sendBytes(bytes);
    await client.isClosed();
  });

  it('closes on a packet above 4 MiB, and takes one above 1 MiB', async () => {
    const client = await device('large');
    client.publish(
      'dev/data',
      `{"value":{"mark":"large","pad":"${'x'.repeat(1_000_000)}"},"model":"${'m'.repeat(500_000)}"}`,
      1,
    );
    await client.next('puback');
    await around.message('large');
    client.publish('dev/data', 'x'.repeat((4 << 20) + 1), 2);
    await client.isClosed();
  });

  it('MQT-012 closes the sessions of a key that is deactivated, deleted or expires', async () => {
    for (const change of [{ active: false }, null, { roles: [] }, { to: Date.now() + 1000 }]) {
      const own = around.keys.grant('acme');
      const client = await open();
      expect(await client.connect('json+device', own.value, 'revoked')).toBe(0);
      around.keys.change(own.value, change);
      await client.isClosed(change && 'to' in change ? 3000 : 2000);
      if (change && 'roles' in change) continue;
      expect(await (await open()).connect('json+device', own.value, 'revoked')).toBe(4);
    }
  });
});
