import { eventually } from '@orrery/core/testing';
import { Dispatcher } from '../testing/dispatcher.js';
import { RawClient } from '../testing/raw-client.js';
import { startSurroundings, type Surroundings } from '../testing/surroundings.js';
import type { IConnectPacket } from 'mqtt-packet';
import type { ApiKeyIdentity } from '@orrery/core/auth';

let around: Surroundings;
let fifos: Dispatcher;
const clients: RawClient[] = [];
const open = async (): Promise<RawClient> => {
  const client = await RawClient.open(around.ports.tls, { rejectUnauthorized: false });
  clients.push(client);
  return client;
};
const application = async (
  clientId: string,
  key: Partial<ApiKeyIdentity> = {},
  options: Partial<IConnectPacket> = {},
): Promise<RawClient> => {
  const client = await open();
  const { value } = around.keys.grant('acme', key);
  expect(await client.connect('application', value, clientId, options)).toBe(0);
  return client;
};
const received = async (client: RawClient): Promise<{ body: string; id?: number; qos: number; topic: string }> => {
  const { payload, messageId, qos, topic, retain, dup } = await client.next('publish');
  expect([retain, dup]).toEqual([false, false]);
  return { body: String(payload), qos, topic, ...(messageId === undefined ? {} : { id: messageId }) };
};
const acknowledge = (client: RawClient, messageId: number): void => client.send({ cmd: 'puback', messageId });
const acks = (): unknown[] => fifos.requests.filter(({ method }) => method === 'ack');

beforeAll(async () => {
  around = await startSurroundings();
  fifos = new Dispatcher(await around.backend.bus());
  fifos.start();
});
afterAll(async () => {
  for (const client of clients) client.end();
  await around.backend.stop();
});

describe('connection', () => {
  it('MQA-001 takes a key with BUS_R or DATA_W, and the same client id twice', async () => {
    const first = await application('same', { roles: ['BUS_R'] });
    const second = await application('same', { roles: ['DATA_W'] });
    await first.ping();
    await second.ping();
    const { value } = around.keys.grant('acme', { roles: ['BUS_W', 'DEVICE_ACCESS'] });
    expect(await (await open()).connect('application', value, 'no-role')).toBe(4);
  });
});

describe('FIFOs', () => {
  it('MQA-003 MQT-014 subscribes, and delivers the oldest first', async () => {
    fifos.create('acme', 'f1', 'one', 'two', 'three');
    const client = await application('oldest-first');
    expect(await client.subscribe('fifo/f1')).toEqual([1]);
    const messages = [await received(client), await received(client), await received(client)];
    expect(messages.map(({ body }) => body)).toEqual(['one', 'two', 'three']);
    expect(messages.every(({ qos, topic }) => qos === 1 && topic === 'fifo/f1')).toBe(true);
  });

  it('MQA-003 sends SUBACK before the first message', async () => {
    fifos.create('acme', 'early', 'one');
    const client = await application('suback-first');
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'fifo/early', qos: 1 }] });
    await eventually(() => client.packets.length === 2);
    expect(client.packets.map(({ cmd }) => cmd)).toEqual(['suback', 'publish']);
  });

  it('MQA-004 MQT-022 answers for an absent FIFO with a failure and an audit entry', async () => {
    const client = await application('absent');
    expect(await client.subscribe('fifo/absent')).toEqual([0x80]);
    expect(await around.audit('fifo_not_found', 'absent')).toMatchObject({
      category: 'connectivity',
      subcategory: 'mqtt',
    });
    const old = await application('absent-31', {}, { protocolId: 'MQIsdp', protocolVersion: 3 });
    expect(await old.subscribe('fifo/absent')).toEqual([1]);
  });

  it('MQA-002 refuses what the key or the mode does not allow', async () => {
    fifos.create('acme', 'roles');
    const writer = await application('only-data', { roles: ['DATA_W'] });
    expect(await writer.subscribe('fifo/roles')).toEqual([0x80]);
    await around.audit('forbidden', 'only-data');
    const reader = await application('only-bus', { roles: ['BUS_R'] });
    reader.publish('application/v1/data', '{"streamId":"s1","value":{"mark":"forbidden"}}', 5);
    await reader.next('puback');
    await around.audit('forbidden', 'only-bus');
    reader.publish('dev/data', '{"value":{"mark":"forbidden"}}', 6);
    await reader.next('puback');
    expect(await reader.subscribe(['#', 'fifo/+', 'dev/cmd'])).toEqual([0x80, 0x80, 0x80]);
    await around.audit('bad_topic', 'only-bus');
    expect(around.messages.some(({ message }) => message.value?.['mark'] === 'forbidden')).toBe(false);
  });

  it('MQA-005 keeps to the FIFOs that the key is restricted to, and to those of its tenant', async () => {
    fifos.create('acme', 'mine');
    fifos.create('acme', 'not-mine');
    fifos.create('globex', 'theirs');
    const client = await application('restricted', { fifos: ['mine', 'theirs'] });
    expect(await client.subscribe(['fifo/mine', 'fifo/not-mine', 'fifo/theirs'])).toEqual([1, 0x80, 0x80]);
    await around.audit('forbidden', 'restricted');
    client.publish('application/v1/data', '{"streamId":"s1","value":{"mark":"restricted"}}', 5);
    await client.next('puback');
    const free = await application('not-restricted');
    free.publish('application/v1/data', '{"streamId":"s1","value":{"mark":"not-restricted"}}', 5);
    await around.message('not-restricted');
    expect(around.messages.some(({ message }) => message.value?.['mark'] === 'restricted')).toBe(false);
  });

  it('MQA-007 acknowledges to the FIFO what the client has acknowledged, and nothing else', async () => {
    fifos.create('acme', 'acks', 'one', 'two');
    const client = await application('acks');
    await client.subscribe('fifo/acks');
    const [one, two] = [await received(client), await received(client)];
    await client.ping();
    expect(fifos.left('acme', 'acks')).toEqual(['one', 'two']);
    acknowledge(client, two.id!);
    await eventually(() => fifos.left('acme', 'acks').length === 1);
    expect(fifos.left('acme', 'acks')).toEqual(['one']);
    acknowledge(client, one.id!);
    await eventually(() => fifos.left('acme', 'acks').length === 0);
  });

  it('gives back what a lost consumer held', async () => {
    fifos.create('acme', 'back', 'm1', 'm2');
    const first = await application('back-1');
    await first.subscribe('fifo/back');
    await received(first);
    first.end();
    const second = await application('back-2');
    await second.subscribe('fifo/back');
    expect([(await received(second)).body, (await received(second)).body]).toEqual(['m1', 'm2']);
  });

  it('MQA-009 delivers with QoS 0 without waiting for the client', async () => {
    fifos.create('acme', 'qos0', 'one');
    const client = await application('qos0');
    expect(await client.subscribe('fifo/qos0', 0)).toEqual([0]);
    expect(await received(client)).toEqual({ body: 'one', qos: 0, topic: 'fifo/qos0' });
    expect(fifos.left('acme', 'qos0')).toEqual([]);
  });

  it('holds at most 100 messages without acknowledgement', async () => {
    const bodies = Array.from({ length: 150 }, (_, i) => String(i));
    fifos.create('acme', 'window', ...bodies);
    const first = await application('window-1');
    await first.subscribe('fifo/window');
    const got: string[] = [];
    while (got.length < 100) got.push((await received(first)).body);
    const second = await application('window-2');
    await second.subscribe('fifo/window');
    while (got.length < 150) got.push((await received(second)).body);
    await first.ping();
    expect(first.packets).toEqual([]);
    expect(got).toEqual(bodies);
  });

  it('keeps to the receive maximum of an MQTT 5 client', async () => {
    fifos.create('acme', 'narrow', '1', '2', '3');
    const client = await application('narrow', {}, { protocolVersion: 5, properties: { receiveMaximum: 2 } });
    await client.subscribe('fifo/narrow');
    const first = await received(client);
    await received(client);
    await client.ping();
    expect(client.packets).toEqual([]);
    acknowledge(client, first.id!);
    expect((await received(client)).body).toBe('3');
  });

  it('MQT-023 answers UNSUBSCRIBE when the subscription is closed, and delivers no more', async () => {
    fifos.create('acme', 'unsubscribe', 'one');
    const client = await application('unsubscribe');
    await client.subscribe('fifo/unsubscribe');
    const { id } = await received(client);
    acknowledge(client, id!);
    client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['fifo/unsubscribe'] });
    await client.next('unsuback');
    // The acknowledgement went first: nothing comes twice.
    expect(fifos.left('acme', 'unsubscribe')).toEqual([]);
    fifos.put('acme', 'unsubscribe', 'two');
    await client.ping();
    expect(client.packets).toEqual([]);
    expect(fifos.left('acme', 'unsubscribe')).toEqual(['two']);
  });

  it('tells the dispatcher who has left, though others never stop to acknowledge', async () => {
    fifos.create('acme', 'busy');
    const [busy, leaving] = [await application('busy'), await application('leaving')];
    await busy.subscribe('fifo/busy');
    await leaving.subscribe('fifo/busy');
    fifos.writeMs = 100;
    const work = setInterval(() => {
      fifos.put('acme', 'busy', 'one more');
      for (const { cmd, messageId } of busy.packets.splice(0)) if (cmd === 'publish') acknowledge(busy, messageId!);
    }, 20);
    try {
      await eventually(() => acks().length > 0);
      leaving.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['fifo/busy'] });
      await eventually(
        () => [...fifos.subscriptions.values()].filter(({ fifoName }) => fifoName === 'busy').length < 2,
      );
    } finally {
      clearInterval(work);
      fifos.writeMs = 0;
    }
  });

  it('batches acknowledgements', async () => {
    fifos.create('acme', 'batch', ...Array.from({ length: 100 }, (_, i) => String(i)));
    const client = await application('batch');
    await client.subscribe('fifo/batch');
    const before = acks().length;
    const ids: number[] = [];
    while (ids.length < 100) ids.push((await received(client)).id!);
    for (const id of ids) acknowledge(client, id);
    await eventually(() => fifos.left('acme', 'batch').length === 0);
    expect(acks().length - before).toBeLessThan(20);
  });

  it('subscribes again after a change of the dispatcher, naming what it holds', async () => {
    fifos.create('acme', 'moved', 'one', 'two');
    const client = await application('moved');
    await client.subscribe('fifo/moved');
    const one = await received(client);
    await received(client);
    fifos.takeOver();
    fifos.put('acme', 'moved', 'three');
    expect((await received(client)).body).toBe('three');
    acknowledge(client, one.id!);
    await eventually(() => fifos.left('acme', 'moved').length === 2);
    expect(client.packets).toEqual([]);
  });

  it('subscribes again when the dispatcher does not know it', async () => {
    fifos.create('acme', 'forgotten');
    const client = await application('forgotten');
    await client.subscribe('fifo/forgotten');
    fifos.subscriptions.clear();
    fifos.put('acme', 'forgotten', 'one');
    expect((await received(client)).body).toBe('one');
  });

  it('ends the subscription of a FIFO that is deleted, and keeps the session', async () => {
    fifos.create('acme', 'deleted');
    const client = await application('deleted');
    await client.subscribe('fifo/deleted');
    fifos.fifos.delete('acme/deleted');
    const asked = fifos.requests.length;
    fifos.takeOver();
    await eventually(() => fifos.requests.slice(asked).some(({ method }) => method === 'subscribe'));
    await client.ping();
    fifos.create('acme', 'deleted', 'new');
    expect(await client.subscribe('fifo/deleted')).toEqual([1]);
    expect((await received(client)).body).toBe('new');
  });

  it('waits for a dispatcher that is moving, and gives up after 5 s', async () => {
    fifos.create('acme', 'moving', 'one');
    fifos.stop();
    const client = await application('moving');
    expect(await client.subscribe('fifo/moving')).toEqual([0x80]);
    await around.audit('subscription_failed', 'moving');
    const answer = client.subscribe('fifo/moving', 1, 2);
    fifos.start();
    expect(await answer).toEqual([1]);
    expect((await received(client)).body).toBe('one');
  });

  it('MQA-011 puts a publication into a FIFO with BUS_W only', async () => {
    fifos.create('acme', 'put');
    const client = await application('put');
    client.publish('fifo/put', '{"hello":1}', 1);
    client.publish('fifo/absent', 'x', 2);
    expect((await client.next('puback')).messageId).toBe(1);
    expect((await client.next('puback')).messageId).toBe(2);
    await around.audit('fifo_not_found', 'put');
    await client.subscribe('fifo/put');
    expect((await received(client)).body).toBe('{"hello":1}');
    const reader = await application('put-refused', { roles: ['BUS_R'] });
    reader.publish('fifo/put', 'refused', 1);
    await reader.next('puback');
    await around.audit('forbidden', 'put-refused');
    expect(fifos.left('acme', 'put')).toEqual(['{"hello":1}']);
  });

  it('acknowledges a publication when the FIFO has it, however long that takes', async () => {
    fifos.create('acme', 'failing');
    const client = await application('failing', { roles: ['BUS_R', 'BUS_W'] });
    fifos.failing = true;
    client.publish('fifo/failing', 'one', 1);
    client.publish('fifo/failing', 'two', 2);
    await eventually(() => fifos.failures >= 2);
    expect(client.packets).toEqual([]);
    fifos.failing = false;
    expect([(await client.next('puback')).messageId, (await client.next('puback')).messageId]).toEqual([1, 2]);
    expect(fifos.left('acme', 'failing')).toEqual(['one', 'two']);
  });

  it.each<[string, Partial<ApiKeyIdentity>]>([
    ['loses BUS_R', { roles: ['DATA_W'] }],
    ['is restrained to other FIFOs', { fifos: ['other'] }],
    ['is restrained at all', { fifos: ['other', 'lost'] }],
  ])('ends a session that consumes when its key %s', async (name, change) => {
    fifos.create('acme', 'lost');
    const client = await open();
    const before: Partial<ApiKeyIdentity> = name.endsWith('other FIFOs') ? { fifos: ['lost'] } : {};
    const { value } = around.keys.grant('acme', before);
    await client.connect('application', value, 'loses');
    await client.subscribe('fifo/lost');
    around.keys.change(value, change);
    await client.isClosed();
    fifos.put('acme', 'lost', 'secret');
    expect(client.packets).toEqual([]);
  });

  it('goes on when its key may be used for more, or for less that nobody consumes', async () => {
    fifos.create('acme', 'kept');
    const client = await open();
    const { value } = around.keys.grant('acme', { fifos: ['kept'] });
    await client.connect('application', value, 'gains');
    await client.subscribe('fifo/kept');
    around.keys.change(value, { fifos: ['kept', 'more'], roles: ['BUS_R', 'BUS_W'] });
    around.keys.change(value, { fifos: [], roles: ['BUS_R'] });
    await client.ping();
    fifos.put('acme', 'kept', 'message');
    expect((await received(client)).body).toBe('message');
  });

  it('bounds what it keeps for a client that does not read', async () => {
    fifos.create('acme', 'unread');
    const client = await application('unread');
    await client.subscribe('fifo/unread', 0);
    client.socket.pause();
    const body = 'x'.repeat(500_000);
    await eventually(async () => {
      fifos.put('acme', 'unread', body);
      return fifos.subscriptions.size === 0 || ![...fifos.subscriptions.values()].some((s) => s.fifoName === 'unread');
    });
  });
});

describe('data', () => {
  it('MQA-012 MQA-013 takes a message without device', async () => {
    const client = await application('data');
    client.publish(
      'application/v1/data',
      '{"streamId":"s1","value":{"mark":"app"},"metadata":{"source":"urn:lo:nsid:x:y","connector":"lora"}}',
      1,
    );
    await client.next('puback');
    const message = await around.message('app');
    expect(message).toMatchObject({ streamId: 's1', tags: [] });
    expect(message.timestamp).toBe(message.created);
    expect(message.metadata).toEqual({ connector: 'mqtt', source: 'urn:lo:nsid:x:y' });
    expect(around.inventory.requests).toEqual([]);
    client.publish('application/v1/data', '{"value":{"mark":"no-stream"}}', 2);
    await client.next('puback');
    expect((await around.audit('bad_message', 'data')).description).toContain('streamId');
    expect(around.messages.some(({ message }) => message.value?.['mark'] === 'no-stream')).toBe(false);
  });

  it.each([
    ['json', '{'],
    ['value', '{"streamId":"s","value":1}'],
    ['stream', '{"streamId":"a b"}'],
    ['model', '{"streamId":"s","model":"a b"}'],
    ['field', '{"streamId":"s","value":{"a.b":1}}'],
    ['timestamp', '{"streamId":"s","timestamp":"now"}'],
    ['tags', '{"streamId":"s","tags":["1","2","3","4","5","6","7","8","9","10","11"]}'],
    ['size', `{"streamId":"s","value":{"a":"${'x'.repeat(1_048_576)}"}}`],
  ])('MQA-015 acknowledges, audits and drops a bad %s', async (name, payload) => {
    const client = await application(`bad-${name}`);
    const before = around.messages.length;
    client.publish('application/v1/data', payload, 1);
    await client.next('puback');
    await around.audit('bad_message', `bad-${name}`);
    expect(around.messages).toHaveLength(before);
  });
});
