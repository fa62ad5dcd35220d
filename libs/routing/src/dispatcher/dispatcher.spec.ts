import { randomUUID } from 'node:crypto';
import { type Bus, callRpc } from '@orrery/core/bus';
import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  type KeyRing,
  keyRing,
  startBackend,
} from '@orrery/core/testing';
import { fifoPublish } from '../contract.js';
import { routing } from '../index.js';
import { FifoConnector } from '../testing/fifo-connector.js';

const FIFOS = '/api/v0/topics/fifo';

let backend: Backend;
let bus: Bus;
let keys: KeyRing;
let url: string;
let tenantId: string;
let api: ApiClient;
let connectors: FifoConnector[] = [];

beforeAll(async () => {
  backend = await startBackend([routing]);
  bus = await backend.bus();
  keys = keyRing(bus);
  ({ url } = await backend.boot([routing]));
});
afterAll(() => backend.stop());
beforeEach(() => {
  tenantId = randomUUID();
  api = apiClient(url, keys.grant(tenantId).value);
});
afterEach(() => {
  for (const connector of connectors) connector.vanish();
  connectors = [];
});

function newConnector(): FifoConnector {
  const connector = new FifoConnector(bus);
  connectors.push(connector);
  return connector;
}

const createFifo = async (name = 'f', options = {}): Promise<void> => {
  expect((await api.post(FIFOS, { name, ...options })).status).toBe(200);
};
/** @param messageTtl seconds */
const keepFor = async (messageTtl: number): Promise<void> => {
  expect((await api.put(`${FIFOS}/f`, { messageTtl })).status).toBe(200);
};
const publish = (body: string, fifoName = 'f'): Promise<object> =>
  callRpc(bus, fifoPublish, { tenantId, fifoName, body });
const publishAll = async (from: number, to: number): Promise<void> => {
  for (let n = from; n <= to; n++) await publish(String(n));
};
const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => String(from + i));
const read = async (name = 'f'): Promise<{ messages: number; messageBytes: number; consumers: number }> =>
  (await api.get<{ messages: number; messageBytes: number; consumers: number }>(`${FIFOS}/${name}`)).body;

describe('FIFO consumption', () => {
  it('delivers messages that together, or quoted, are larger than a message of the bus', async () => {
    await createFifo('f', { maxLengthBytes: 12 << 20 });
    const bodies = ['1', '2', '3'].map((n) => '\n'.repeat(1_500_000) + n);
    for (const body of bodies) await publish(body);
    await expect(publish('"'.repeat(4_193_000))).rejects.toMatchObject({ code: 'GENERIC_INVALID_PARAMETER_ERROR' });
    const connector = newConnector();
    const subscription = await connector.subscribe(tenantId, 'f');
    await eventually(() => connector.texts(subscription).length === 3);
    expect(connector.texts(subscription).map((text) => text.slice(-1))).toEqual(['1', '2', '3']);
    await connector.unsubscribe(subscription);
  });

  it('delivers what is stored, oldest first, then what comes', async () => {
    await createFifo();
    await publishAll(1, 3);
    expect(await read()).toMatchObject({ messages: 3, messageBytes: 303, consumers: 0 });
    const connector = newConnector();
    const subscription = await connector.subscribe(tenantId, 'f');
    await eventually(() => connector.texts(subscription).length === 3);
    await publishAll(4, 5);
    await eventually(() => connector.texts(subscription).length === 5);
    expect(connector.texts(subscription)).toEqual(numbers(1, 5));
    await eventually(async () => (await read()).messages === 0);
    expect(await read()).toEqual(expect.objectContaining({ messageBytes: 0, consumers: 1 }));
    await connector.unsubscribe(subscription);
    expect(await read()).toMatchObject({ consumers: 0 });
  });

  it('keeps any text as it was published, and refuses what it cannot keep', async () => {
    await createFifo('f', { maxLengthBytes: 2 << 20 });
    const texts = ['', 'a\nb\r\n\tc\\n', '{"a":\n1}', 'é€😀', '"quoted"', 'x'.repeat(1 << 20)];
    for (const text of texts) await publish(text);
    const connector = newConnector();
    const subscription = await connector.subscribe(tenantId, 'f');
    await eventually(() => connector.texts(subscription).length === texts.length);
    expect(connector.texts(subscription)).toEqual(texts);
    await expect(publish('a\0b')).rejects.toMatchObject({ code: 'GENERIC_INVALID_PARAMETER_ERROR' });
    await expect(publish('a', 'absent')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(callRpc(bus, fifoPublish, { tenantId: 'other', fifoName: 'f', body: 'a' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  it('refuses a FIFO that the tenant does not have', async () => {
    await createFifo();
    const connector = newConnector();
    await expect(connector.subscribe(tenantId, 'absent')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(connector.subscribe(randomUUID(), 'f')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('MQA-006 gives each message to one of two consumers in turn', async () => {
    await createFifo();
    const [a, b] = [newConnector(), newConnector()];
    const subscriptions = [await a.subscribe(tenantId, 'f'), await b.subscribe(tenantId, 'f')] as const;
    await Promise.all(numbers(1, 10).map((n) => publish(n)));
    const got = (): string[][] => [a.texts(subscriptions[0]), b.texts(subscriptions[1])];
    await eventually(() => got().flat().length === 10);
    expect(got().map((texts) => texts.length)).toEqual([5, 5]);
    expect(new Set(got().flat()).size).toBe(10);
  });

  it('MQA-007 keeps a message until it is acknowledged', async () => {
    await createFifo();
    const connector = newConnector();
    const subscription = await connector.subscribe(tenantId, 'f', { prompt: false });
    await publish('m');
    await eventually(() => connector.texts(subscription).length === 1);
    expect(await read()).toMatchObject({ messages: 1 });
    await connector.acknowledge(subscription);
    expect(await read()).toMatchObject({ messages: 0, messageBytes: 0 });
  });

  it('MQA-008 gives back what an unsubscribed consumer held, ahead of newer messages', async () => {
    await createFifo();
    const [a, b] = [newConnector(), newConnector()];
    const first = await a.subscribe(tenantId, 'f', { prompt: false, window: 2 });
    await publishAll(1, 4);
    await eventually(() => a.texts(first).length === 2);
    const second = await b.subscribe(tenantId, 'f', { prompt: false, window: 1 });
    await eventually(() => b.texts(second).length === 1);
    await a.acknowledge(first, 1);
    await eventually(() => a.texts(first).length === 3);
    await a.unsubscribe(first);
    for (let i = 0; i < 3; i++) {
      await b.acknowledge(second);
      await eventually(() => b.texts(second).length === Math.min(2 + i, 3));
    }
    // 1 was acknowledged by the first consumer, 3 by the second; 2 and 4 come back in their order.
    expect(b.texts(second)).toEqual(['3', '2', '4']);
    await eventually(async () => (await read()).messages === 0);
  });

  it('MQA-008 gives back what a consumer held that fell silent', async () => {
    await createFifo();
    const [a, b] = [newConnector(), newConnector()];
    const lost = await a.subscribe(tenantId, 'f', { prompt: false });
    await publishAll(1, 3);
    await eventually(() => a.texts(lost).length === 3);
    const subscription = await b.subscribe(tenantId, 'f');
    a.vanish();
    await eventually(() => b.texts(subscription).length === 3);
    expect(b.texts(subscription)).toEqual(numbers(1, 3));
    await eventually(async () => (await read()).consumers === 1);
  });

  it('MQA-008 gives back what a connector held that is gone before a new consumer gets what is newer', async () => {
    await createFifo();
    await publishAll(1, 6);
    const [a, b] = [newConnector(), newConnector()];
    const lost = await a.subscribe(tenantId, 'f', { prompt: false, window: 3 });
    await eventually(() => a.texts(lost).length === 3);
    a.vanish();
    const subscription = await b.subscribe(tenantId, 'f');
    await eventually(() => b.texts(subscription).length === 6);
    expect(b.texts(subscription)).toEqual(numbers(1, 6));
  });

  it('MQA-008 gives back what a connector did not take', async () => {
    await createFifo();
    const [a, b] = [newConnector(), newConnector()];
    await a.subscribe(tenantId, 'f');
    a.vanish();
    const subscription = await b.subscribe(tenantId, 'f');
    await Promise.all(numbers(1, 6).map((n) => publish(n)));
    await eventually(() => b.texts(subscription).length === 6);
    expect(b.texts(subscription).toSorted()).toEqual(numbers(1, 6));
  });

  it('MQA-009 removes a message as soon as it is delivered with QoS 0', async () => {
    await createFifo();
    const connector = newConnector();
    const subscription = await connector.subscribe(tenantId, 'f', { autoAck: true, window: 2 });
    await publishAll(1, 5);
    await eventually(() => connector.texts(subscription).length === 5);
    await eventually(async () => (await read()).messages === 0);
    expect(connector.texts(subscription)).toEqual(numbers(1, 5));
  });

  it('MQA-010 leaves what is beyond the window of a consumer to others', async () => {
    await createFifo();
    await Promise.all(numbers(1, 150).map((n) => publish(n)));
    const [a, b] = [newConnector(), newConnector()];
    const first = await a.subscribe(tenantId, 'f', { prompt: false });
    await eventually(() => a.texts(first).length === 100);
    const second = await b.subscribe(tenantId, 'f', { prompt: false });
    await eventually(() => b.texts(second).length === 50);
    expect(new Set([...a.texts(first), ...b.texts(second)]).size).toBe(150);
    expect(a.texts(first)).toHaveLength(100);
  });

  it('bounds the bytes that a consumer holds, unless it is a single message', async () => {
    await createFifo('f', { maxLengthBytes: 12 << 20 });
    const body = (n: number): string => String(n).padEnd(100_000, 'é');
    for (let n = 1; n <= 9; n++) await publish(body(n));
    const starts = (connector: FifoConnector, id: string): number[] =>
      connector.texts(id).map((text) => parseInt(text));
    const connector = newConnector();
    // A message has nearly 200,000 bytes: the third is the one that fills the window.
    const slow = await connector.subscribe(tenantId, 'f', { prompt: false, windowBytes: 500_000 });
    await eventually(() => connector.texts(slow).length === 3);
    const other = newConnector();
    const large = await other.subscribe(tenantId, 'f', { prompt: false, windowBytes: 1 });
    await eventually(() => other.texts(large).length === 1);
    await connector.acknowledge(slow, 1);
    await eventually(() => connector.texts(slow).length === 4);
    await other.acknowledge(large);
    await eventually(() => other.texts(large).length === 2);
    expect(starts(connector, slow)).toEqual([1, 2, 3, 5]);
    expect(starts(other, large)).toEqual([4, 6]);
    await connector.acknowledge(slow);
    await eventually(() => connector.texts(slow).length === 7);
    await other.unsubscribe(large);
    expect(starts(connector, slow)).toEqual([1, 2, 3, 5, 7, 8, 9]);
    await connector.acknowledge(slow, 1);
    await eventually(() => connector.texts(slow).length === 8);
    expect(starts(connector, slow).at(-1)).toBe(6);
  });

  it('does not deliver again what was acknowledged just before its consumer left', async () => {
    await createFifo();
    for (let round = 0; round < 10; round++) {
      await publish(String(round));
      const connector = newConnector();
      const subscription = await connector.subscribe(tenantId, 'f', { prompt: false });
      await eventually(() => connector.texts(subscription).length > 0);
      expect(connector.texts(subscription)).toEqual([String(round)]);
      const acknowledged = connector.acknowledge(subscription);
      await Promise.all([acknowledged, connector.unsubscribe(subscription)]);
    }
    expect((await read()).messages).toBe(0);
  });

  it('splits what is too large for one delivery', async () => {
    await createFifo('f', { maxLengthBytes: 20_971_520 });
    const texts = numbers(1, 15).map((n) => n.padEnd(1 << 20, '.'));
    for (const text of texts) await publish(text);
    const connector = newConnector();
    const subscription = await connector.subscribe(tenantId, 'f', { prompt: false });
    await eventually(() => connector.texts(subscription).length === 15);
    await connector.unsubscribe(subscription);
    const again = await connector.subscribe(tenantId, 'f');
    await eventually(() => connector.texts(again).length === 15);
    expect(connector.texts(again)).toEqual(texts);
  });
});

describe('FIFO life', () => {
  it('FIF-009 drops the oldest messages of a full FIFO although a consumer holds them', async () => {
    await createFifo('f', { maxLengthBytes: 303 });
    const [a, b] = [newConnector(), newConnector()];
    const first = await a.subscribe(tenantId, 'f', { prompt: false, window: 2 });
    await publishAll(1, 2);
    await eventually(() => a.texts(first).length === 2);
    await publishAll(3, 4);
    expect(await read()).toMatchObject({ messages: 3, messageBytes: 303 });
    await a.acknowledge(first, 1);
    expect(await read()).toMatchObject({ messages: 3, messageBytes: 303 });
    await eventually(() => a.texts(first).length === 3);
    await a.unsubscribe(first);
    const second = await b.subscribe(tenantId, 'f');
    await eventually(() => b.texts(second).length === 3);
    expect(b.texts(second)).toEqual(['2', '3', '4']);
    await eventually(async () => (await read()).messages === 0);
    expect(await read()).toMatchObject({ messageBytes: 0 });
  });

  it('FIF-009 does not deliver what is dropped while the window of its consumer is full', async () => {
    await createFifo('f', { maxLengthBytes: 404 });
    const connector = newConnector();
    const subscription = await connector.subscribe(tenantId, 'f', { prompt: false, window: 1 });
    await publish('1');
    await eventually(() => connector.texts(subscription).length === 1);
    // The dispatcher has them in memory when the oldest are dropped, then by a smaller size.
    await publishAll(2, 6);
    await connector.acknowledge(subscription);
    await eventually(() => connector.texts(subscription).length === 2);
    expect((await api.put(`${FIFOS}/f`, { maxLengthBytes: 202 })).status).toBe(200);
    for (let n = 3; n <= 4; n++) {
      await connector.acknowledge(subscription);
      await eventually(() => connector.texts(subscription).length === n);
    }
    expect(connector.texts(subscription)).toEqual(['1', '3', '5', '6']);
    await connector.acknowledge(subscription);
    expect(await read()).toMatchObject({ messages: 0, messageBytes: 0 });
  });

  it('FIF-011 does not deliver what expires while the window of its consumer is full', async () => {
    await createFifo();
    const connector = newConnector();
    const subscription = await connector.subscribe(tenantId, 'f', { prompt: false, window: 1 });
    await publish('held');
    await eventually(() => connector.texts(subscription).length === 1);
    await keepFor(1);
    await publish('old');
    await eventually(async () => (await read()).messages === 0);
    await keepFor(3600);
    await publish('new');
    await connector.acknowledge(subscription);
    await eventually(() => connector.texts(subscription).length === 2);
    expect(connector.texts(subscription)).toEqual(['held', 'new']);
  });

  it('FIF-011 drops a message that is older than the TTL', async () => {
    await createFifo('f', { messageTtl: 2 });
    await publish('old');
    // Until the row is gone, not only hidden.
    await eventually(async () => (await read()).messages === 0);
    await keepFor(3600);
    await publish('new');
    const connector = newConnector();
    const subscription = await connector.subscribe(tenantId, 'f');
    await eventually(() => connector.texts(subscription).length > 0);
    expect(connector.texts(subscription)).toEqual(['new']);
  });

  it('FIF-011 applies a changed TTL to what waits', async () => {
    await createFifo();
    await publish('old');
    await eventually(async () => {
      await api.put(`${FIFOS}/f`, { messageTtl: 1 });
      return (await read()).messages === 0;
    });
  });

  it('FIF-012 with a TTL of 0 keeps messages only while there is a consumer', async () => {
    await createFifo('f', { messageTtl: 0 });
    await publish('nobody');
    expect((await read()).messages).toBe(0);
    const connector = newConnector();
    const subscription = await connector.subscribe(tenantId, 'f', { prompt: false, window: 1 });
    await publishAll(1, 2);
    await eventually(() => connector.texts(subscription).length === 1);
    expect((await read()).messages).toBe(2);
    await connector.acknowledge(subscription);
    await eventually(() => connector.texts(subscription).length === 2);
    expect(connector.texts(subscription)).toEqual(numbers(1, 2));
    await connector.unsubscribe(subscription);
    expect((await read()).messages).toBe(0);
  });

  it('FIF-015 ends the subscriptions of a deleted FIFO; one of the same name is another', async () => {
    await createFifo();
    const connector = newConnector();
    const subscription = await connector.subscribe(tenantId, 'f', { prompt: false, window: 1 });
    await publish('old');
    await eventually(() => connector.texts(subscription).length === 1);
    // In the memory of the dispatcher when the FIFO is deleted.
    await publish('older');
    expect((await api.delete(`${FIFOS}/f`)).status).toBe(200);
    await connector.acknowledge(subscription);
    await createFifo();
    await publish('new');
    expect(await read()).toMatchObject({ messages: 1 });
    // The connector subscribes again and names what it holds of the deleted one: that is no message of the new one.
    await eventually(() => connector.texts(subscription).length === 2);
    expect(connector.texts(subscription)).toEqual(['old', 'new']);
    expect((await api.delete(`${FIFOS}/f`)).status).toBe(200);
    await eventually(() => connector.ended.has(subscription));
  });
});
