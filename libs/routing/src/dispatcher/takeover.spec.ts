import { type Bus, callRpc } from '@orrery/core/bus';
import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  keyRing,
  startBackend,
  type TestPlatform,
} from '@orrery/core/testing';
import { fifoPartition, fifoPublish, fifoSubscribe } from '../contract.js';
import { routing } from '../index.js';
import { FifoConnector } from '../testing/fifo-connector.js';
import { Producer } from '../testing/producer.js';

const FIFOS = '/api/v0/topics/fifo';
const POLICIES = '/api/v1/event2action/actionPolicies';
const TENANT = 'tenant';

let backend: Backend;
let bus: Bus;
let key: string;
let platforms: TestPlatform[];
let connector: FifoConnector;
let api: ApiClient;

beforeEach(async () => {
  backend = await startBackend([routing]);
  bus = await backend.bus();
  key = keyRing(bus).grant(TENANT, { limits: { fifoBytes: null, fifos: null } }).value;
  platforms = [];
  await boot();
  connector = new FifoConnector(bus);
});
afterEach(async () => {
  connector.vanish();
  await backend.stop();
});

async function boot(): Promise<TestPlatform> {
  const platform = await backend.boot([routing]);
  platforms.push(platform);
  api = apiClient(platform.url, key);
  return platform;
}
const publish = (fifoName: string, body: string): Promise<object> =>
  callRpc(bus, fifoPublish, { tenantId: TENANT, fifoName, body });
const leases = async (platform: string): Promise<number> => {
  let count = 0;
  for await (const name of await bus.leases.keys(`${platform}.lease.*`)) count += name ? 1 : 0;
  return count;
};
const owners = async (): Promise<number> => {
  const instances = new Set<string>();
  for await (const name of await bus.leases.keys('fifo-dispatcher.lease.*'))
    instances.add((await bus.leases.get(name))?.string() ?? '');
  return instances.size;
};

describe('several routing instances', () => {
  it('share the FIFOs; messages held by consumers are neither lost nor delivered twice when one stops', async () => {
    const names = Array.from({ length: 16 }, (_, i) => `f${i}`);
    for (const name of names) await api.post(FIFOS, { name });
    await boot();
    await eventually(async () => (await leases('fifo-dispatcher')) === bus.partitions && (await owners()) === 2);
    const subscriptions = new Map<string, string>();
    for (const name of names)
      subscriptions.set(name, await connector.subscribe(TENANT, name, { prompt: false, window: 3 }));
    for (let n = 1; n <= 5; n++) for (const name of names) await publish(name, String(n));
    await eventually(() => names.every((name) => connector.texts(subscriptions.get(name)!).length === 3));
    for (const name of names) await connector.acknowledge(subscriptions.get(name)!, 1);

    await platforms[0]!.close();
    api = apiClient(platforms[1]!.url, key);
    await eventually(() => names.every((name) => connector.texts(subscriptions.get(name)!).length === 4));
    for (const name of names) {
      await connector.acknowledge(subscriptions.get(name)!);
      await eventually(() => connector.texts(subscriptions.get(name)!).length === 5);
      await connector.acknowledge(subscriptions.get(name)!);
      expect(connector.texts(subscriptions.get(name)!)).toEqual(['1', '2', '3', '4', '5']);
      expect((await api.get(`${FIFOS}/${name}`)).body).toMatchObject({ messages: 0, messageBytes: 0, consumers: 1 });
    }
  });

  it('put each message into the FIFO once, in the order of its device, while instances come and go', async () => {
    const devices = Array.from({ length: 20 }, (_, i) => `d${i}`);
    await api.post(FIFOS, { name: 'f', maxLengthBytes: 100_000_000 });
    await api.post(POLICIES, {
      enabled: true,
      triggers: { dataMessage: { version: 1 } },
      actions: { fifoPublish: [{ fifoName: 'f' }] },
    });
    const subscription = await connector.subscribe(TENANT, 'f');
    const producer = new Producer(bus);
    const send = (from: number, to: number): Promise<unknown> =>
      Promise.all(
        Array.from({ length: to - from }, (_, i) =>
          devices.map((device) => producer.data(TENANT, device, { value: { n: from + i } })),
        ).flat(),
      );
    await send(0, 50);
    const second = await boot();
    await send(50, 100);
    await eventually(async () => (await owners()) === 2);
    await send(100, 150);
    await platforms[0]!.close();
    await send(150, 200);
    expect(second.url).toBeTruthy();
    await eventually(() => connector.texts(subscription).length >= 200 * devices.length);
    const got = connector.json<{ streamId: string; value: { n: number } }>(subscription);
    for (const device of devices)
      expect(got.filter(({ streamId }) => streamId === device).map(({ value }) => value.n)).toEqual(
        Array.from({ length: 200 }, (_, n) => n),
      );
    await producer.close();
  });

  it('FIF-008 FIF-012 keep messages over a restart, with a TTL of 0 while the consumer is there', async () => {
    await api.post(FIFOS, { name: 'f' });
    await api.post(FIFOS, { name: 'zero', messageTtl: 0 });
    const zero = await connector.subscribe(TENANT, 'zero', { prompt: false, window: 1 });
    for (let n = 1; n <= 3; n++) {
      await publish('f', String(n));
      await publish('zero', String(n));
    }
    await eventually(() => connector.texts(zero).length === 1);
    await platforms[0]!.close();
    await boot();
    const subscription = await connector.subscribe(TENANT, 'f');
    await eventually(() => connector.texts(subscription).length === 3);
    expect(connector.texts(subscription)).toEqual(['1', '2', '3']);
    await connector.acknowledge(zero);
    await eventually(() => connector.texts(zero).length === 2);
    await connector.acknowledge(zero);
    await eventually(() => connector.texts(zero).length === 3);
    expect(connector.texts(zero)).toEqual(['1', '2', '3']);
    expect((await api.get(`${FIFOS}/zero`)).body).toMatchObject({ messages: 1, consumers: 1 });
  });

  it('FIF-009 do not deliver what another instance drops', async () => {
    await boot();
    await eventually(async () => (await leases('fifo-dispatcher')) === bus.partitions && (await owners()) === 2);
    await api.post(FIFOS, { name: 'f', maxLengthBytes: 306 });
    const subscription = await connector.subscribe(TENANT, 'f', { prompt: false, window: 1 });
    await publish('f', '1');
    await eventually(() => connector.texts(subscription).length === 1);
    // Each is written by any of the two, and drops the oldest from the fourth on.
    const rounds = [2, 12, 22];
    for (const from of rounds) {
      for (let n = from; n < from + 10; n++) await publish('f', String(n));
      await connector.acknowledge(subscription);
      await eventually(() => connector.texts(subscription).length === 2 + rounds.indexOf(from));
    }
    expect(connector.texts(subscription)).toEqual(['1', '9', '19', '29']);
  });

  it('count the bytes that a consumer brings along', async () => {
    await api.post(FIFOS, { name: 'f', maxLengthBytes: 12 << 20 });
    for (let n = 1; n <= 6; n++) await publish('f', String(n).padEnd(100_000, '.'));
    const subscription = await connector.subscribe(TENANT, 'f', { prompt: false, windowBytes: 250_000 });
    await eventually(() => connector.texts(subscription).length === 3);
    await platforms[0]!.close();
    await boot();
    await publish('f', 'last');
    await eventually(async () => {
      const { body } = await api.get<{ messages: number; consumers: number }>(`${FIFOS}/f`);
      return body.messages === 7 && body.consumers === 1;
    });
    await connector.acknowledge(subscription, 1);
    await eventually(() => connector.texts(subscription).length === 4);
    await connector.acknowledge(subscription, 1);
    await eventually(() => connector.texts(subscription).length === 5);
    expect(connector.texts(subscription).map((text) => parseInt(text))).toEqual([1, 2, 3, 4, 5]);
  });

  it('MQA-008 give back what a connector had ahead of its window that is gone', async () => {
    const [total, left] = [3000, 2000];
    await api.post(FIFOS, { name: 'f' });
    await Promise.all(Array.from({ length: total }, (_, i) => publish('f', String(i + 1))));
    const lost = await connector.subscribe(TENANT, 'f', { window: 20, ahead: 500, prompt: total - left });
    await eventually(
      () => connector.held(lost) > 20 && connector.texts(lost).length - connector.held(lost) === total - left,
    );
    connector.vanish();
    connector = new FifoConnector(bus);
    const next = await connector.subscribe(TENANT, 'f');
    await eventually(() => connector.texts(next).length === left);
    expect(connector.texts(next)).toEqual(Array.from({ length: left }, (_, i) => String(total - left + i + 1)));
  });

  it('tell a subscription that comes back what another one has been given', async () => {
    await api.post(FIFOS, { name: 'f' });
    await Promise.all(Array.from({ length: 5 }, (_, i) => publish('f', String(i))));
    const other = await connector.subscribe(TENANT, 'f', { window: 3, prompt: false });
    await eventually(() => connector.held(other) === 3);
    const rows = await backend.query<{ seq: string }>('SELECT seq FROM routing.fifo_messages ORDER BY seq');
    const held = rows.map(({ seq }) => Number(seq));
    const back = { subscription: 'back', tenantId: TENANT, fifoName: 'f', instance: connector.instance };
    const to = String(fifoPartition(TENANT, 'f', bus.partitions));
    const request = { ...back, window: 10, autoAck: false, held };
    const { kept } = await callRpc(bus, fifoSubscribe, request, { to, timeoutMs: 60_000 });
    expect(kept).toEqual(held.slice(3));
  });

  it('forget consumers that did not come back after a restart', async () => {
    await api.post(FIFOS, { name: 'zero', messageTtl: 0 });
    const zero = await connector.subscribe(TENANT, 'zero', { prompt: false, window: 1 });
    await publish('zero', '1');
    await eventually(() => connector.texts(zero).length === 1);
    await platforms[0]!.close();
    connector.vanish();
    await boot();
    await eventually(async () => {
      const { body } = await api.get<{ messages: number; consumers: number }>(`${FIFOS}/zero`);
      return body.consumers === 0 && body.messages === 0;
    });
  });
});
