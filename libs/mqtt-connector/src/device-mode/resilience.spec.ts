import { connectorLeaseKey } from '@orrery/device-manager/contract';
import { eventually, type TestPlatform } from '@orrery/core/testing';
import { mqttConnector, mqttPorts } from '../mqtt-connector.js';
import { RawClient } from '../testing/raw-client.js';
import { startSurroundings, type Surroundings } from '../testing/surroundings.js';

let around: Surroundings;
let key: string;
const clients: RawClient[] = [];
const device = async (clientId: string, platform: TestPlatform = around.platform): Promise<RawClient> => {
  const client = await RawClient.open(mqttPorts(platform.app).plain);
  clients.push(client);
  expect(await client.connect('json+device', key, clientId)).toBe(0);
  return client;
};
const eventsOf = (clientId: string): string[] =>
  around.events.filter(({ event }) => event.nodeId === clientId).map(({ event }) => event.type);

beforeAll(async () => {
  around = await startSurroundings({ ORRERY_STREAM_MAX_BYTES: String(1 << 20) });
  key = around.keys.grant('acme').value;
});
afterAll(async () => {
  for (const client of clients) client.end();
  await around.backend.stop();
});

describe('two instances', () => {
  it('MQD-006 lets a session of one instance take over from the other', async () => {
    const second = await around.backend.boot([mqttConnector]);
    const there = await device('roaming', second);
    const here = await device('roaming');
    await there.isClosed();
    await here.ping();
    const back = await device('roaming', second);
    await here.isClosed();
    await back.ping();
    expect(eventsOf('roaming').filter((type) => type === 'nodeDisconnected')).toEqual([]);
    await second.close();
  });

  it('reports the end of its sessions when an instance stops, and that it is gone', async () => {
    const second = await around.backend.boot([mqttConnector]);
    const client = await device('stopped', second);
    const { instance } = await around.event('nodeConnected', 'stopped');
    const lease = connectorLeaseKey('mqtt', instance);
    expect((await around.bus.leases.get(lease))?.operation).toBe('PUT');
    await second.close();
    await client.isClosed();
    await around.event('nodeDisconnected', 'stopped');
    expect((await around.bus.leases.get(lease))?.operation).not.toBe('PUT');
  });

  it('ends its sessions when its own sign of life is gone, and starts over', async () => {
    const client = await device('presumed-dead');
    const { instance } = await around.event('nodeConnected', 'presumed-dead');
    const lease = connectorLeaseKey('mqtt', instance);
    await around.bus.leases.delete(lease);
    await client.isClosed();
    await around.event('nodeDisconnected', 'presumed-dead');
    await eventually(async () => (await around.bus.leases.get(lease))?.operation === 'PUT');
    await (await device('presumed-dead')).ping();
  });
});

describe('services that do not answer', () => {
  it('refuses connections with 0x03 while devices cannot be asked for', async () => {
    around.inventory.silent = true;
    const client = await RawClient.open(around.ports.plain);
    clients.push(client);
    expect(await client.connect('json+device', key, 'nobody-answers')).toBe(3);
    around.inventory.silent = false;
  });

  it('keeps publications and their order while the device is asked for again', async () => {
    const client = await device('waiting');
    const asked = around.inventory.requests.length;
    around.inventory.silent = true;
    around.inventory.announce('acme', 'waiting');
    await eventually(() => around.inventory.requests.length > asked);
    for (let n = 1; n <= 50; n++) client.publish('dev/data', `{"value":{"waiting":${n}}}`, n);
    expect(client.packets).toEqual([]);
    around.inventory.silent = false;
    for (let n = 1; n <= 50; n++) expect((await client.next('puback')).messageId).toBe(n);
    const numbers = around.messages.flatMap(({ message }) => message.value?.['waiting'] ?? []);
    expect(numbers).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
  });
});

it("asks for the devices of a tenant again when its groups change, and for nobody else's", async () => {
  const asked = (nodeId: string): number =>
    around.inventory.requests.filter((request) => request.nodeId === nodeId).length;
  // Registered by the first, remembered by the second.
  await device('bystander');
  await device('bystander');
  const client = await RawClient.open(around.ports.plain);
  clients.push(client);
  await client.connect('json+device', around.keys.grant('busy').value, 'moved');
  const before = [asked('moved'), asked('bystander')];
  around.inventory.announceGroups('busy');
  await eventually(() => {
    client.publish('dev/data', '{"value":{}}');
    return asked('moved') > before[0]!;
  });
  await device('bystander');
  expect(asked('bystander')).toBe(before[1]);
});

describe('a bus that is full', () => {
  it('acknowledges nothing, stops reading, and goes on when there is room', async () => {
    const client = await device('too-fast');
    const { deviceId } = await around.event('nodeConnected', 'too-fast');
    const pad = 'x'.repeat(20_000);
    const total = 2000;
    for (let n = 1; n <= total; n++) client.publish('dev/data', `{"value":{"n":${n},"pad":"${pad}"}}`, n);
    const full = await eventually(async () => {
      for (let p = 0; p < around.bus.partitions; p++) {
        const { state } = await around.bus.jsm.streams.info(`READY_${p}`);
        if (state.bytes > 700_000) return { partition: p };
      }
      return undefined;
    });
    expect(client.packets.length).toBeLessThan(100);
    expect(client.socket.writableLength).toBeGreaterThan(1_000_000);

    const purge = setInterval(() => void around.bus.jsm.streams.purge(`READY_${full.partition}`), 100);
    const ids: number[] = [];
    while (ids.length < total) ids.push((await client.next('puback')).messageId!);
    clearInterval(purge);
    expect(ids).toEqual(Array.from({ length: total }, (_, i) => i + 1));
    const seen = new Set(
      around.messages.filter(({ header }) => header.deviceId === deviceId).map(({ message }) => message.value!['n']),
    );
    expect(seen.size).toBe(total);
  });
});
