import { randomUUID } from 'node:crypto';
import { connect, type TLSSocket } from 'node:tls';
import mqtt from 'mqtt-packet';
import { type Bus, callRpc } from '@orrery/core/bus';
import { decodeEntry, encodeEntry } from '@orrery/core/messages';
import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  type KeyRing,
  keyRing,
  startBackend,
  type TestPlatform,
} from '@orrery/core/testing';
import { mqttConnector, mqttPorts } from '@orrery/mqtt-connector';
import { routing } from '@orrery/routing';
import {
  fifoDeliverSubject,
  type FifoDeliveryHeader,
  type FifoDeliveryReply,
  fifoPublish,
  type FifoRecallHeader,
} from '@orrery/routing/contract';

// A FIFO with one subscriber: its connector has more than the window of the client, so that the client does not wait for the
// dispatcher. Whoever is lost or comes meanwhile, each message goes to one client at a time, in order.

const TOTAL = 2000;

let backend: Backend;
let bus: Bus;
let keys: KeyRing;
let port: number;
let fifoName: string;
let tenantId: string;
let apiKey: string;
let api: ApiClient;
/** Messages that the connector was given. */
let handed: number;
/** Of the last delivery. */
let last: { subject: string; subscription: string };
const clients: Client[] = [];
const platforms: TestPlatform[] = [];

/** An application's client that acknowledges as long as it is told to. */
class Client {
  readonly numbers: number[] = [];
  /** Acknowledges until it has had so many. */
  most = Number.POSITIVE_INFINITY;
  private unacknowledged: number[] = [];
  private readonly socket: TLSSocket;

  constructor() {
    this.socket = connect({ port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false });
    const parser = mqtt.parser({ protocolVersion: 4 } as Parameters<typeof mqtt.parser>[0]);
    parser.on('packet', (packet) => {
      if (packet.cmd === 'connack')
        this.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: `fifo/${fifoName}`, qos: 1 }] });
      if (packet.cmd !== 'publish') return;
      this.numbers.push(Number(packet.payload));
      this.unacknowledged.push(packet.messageId!);
    });
    this.socket.on('data', (data) => {
      parser.parse(data);
      this.acknowledge();
    });
    this.socket.on('error', () => undefined);
    const credentials = { clientId: randomUUID(), username: 'application', password: Buffer.from(apiKey) };
    this.send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, keepalive: 60, ...credentials });
    clients.push(this);
  }

  get held(): number {
    return this.unacknowledged.length;
  }

  acknowledge(): void {
    while (this.unacknowledged.length > 0 && this.numbers.length - this.unacknowledged.length < this.most)
      this.send({ cmd: 'puback', messageId: this.unacknowledged.shift()! });
  }

  leave(): void {
    this.socket.destroy();
  }

  private send(packet: mqtt.Packet): void {
    this.socket.write(mqtt.generate(packet));
  }
}

beforeAll(async () => {
  backend = await startBackend([routing, mqttConnector]);
  bus = await backend.bus();
  keys = keyRing(bus);
  port = mqttPorts((await backend.boot([mqttConnector])).app).tls;
  bus.connection.subscribe(fifoDeliverSubject('*'), {
    callback: (_, { subject, data }) => {
      for (const { header } of decodeEntry(data)) {
        const { seq, subscription } = JSON.parse(header) as FifoDeliveryHeader;
        if (!seq) continue;
        handed++;
        last = { subject, subscription };
      }
    },
  });
});
afterAll(() => backend.stop());
beforeEach(() => {
  tenantId = randomUUID();
  fifoName = 'f';
  handed = 0;
  apiKey = keys.grant(tenantId).value;
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.leave();
  for (const platform of platforms.splice(0)) await platform.close();
});

async function boot(): Promise<TestPlatform> {
  const platform = await backend.boot([routing]);
  platforms.push(platform);
  return platform;
}

const numbers = (from: number, to = TOTAL): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const read = async (): Promise<{ messages: number; consumers: number }> =>
  (await api.get<{ messages: number; consumers: number }>(`/api/v0/topics/fifo/${fifoName}`)).body;

async function fill(url: string): Promise<void> {
  api = apiClient(url, apiKey);
  expect((await api.post('/api/v0/topics/fifo', { name: fifoName })).status).toBe(200);
  await eventually(async () => {
    await callRpc(bus, fifoPublish, { tenantId, fifoName, body: '1' });
    return true;
  });
  await Promise.all(numbers(2).map((n) => callRpc(bus, fifoPublish, { tenantId, fifoName, body: String(n) })));
}

/** Has acknowledged half of the messages and has stopped, with some more in its connector than it has itself. */
async function stopped(): Promise<Client> {
  const client = new Client();
  client.most = TOTAL / 2;
  await eventually(() => client.numbers.length === TOTAL / 2 + 100, 60_000);
  expect(client.numbers).toEqual(numbers(1, TOTAL / 2 + 100));
  await eventually(() => handed > client.numbers.length);
  return client;
}

describe('what waits in the connector of the only subscriber', () => {
  it('MQA-010 goes to another one that comes, while the first one acknowledges nothing', async () => {
    await fill((await boot()).url);
    const slow = await stopped();
    const other = new Client();
    await eventually(() => other.numbers.length === TOTAL / 2 - 100, 60_000);
    expect(other.numbers.toSorted((a, b) => a - b)).toEqual(numbers(TOTAL / 2 + 101));
    await eventually(async () => (await read()).messages === 100);
    slow.most = TOTAL;
    slow.acknowledge();
    await eventually(async () => (await read()).messages === 0);
    expect([slow.numbers.length, slow.held]).toEqual([TOTAL / 2 + 100, 0]);
  });

  it('MQA-008 goes back in its order when the subscriber is lost', async () => {
    await fill((await boot()).url);
    (await stopped()).leave();
    await eventually(async () => (await read()).consumers === 0);
    const next = new Client();
    await eventually(() => next.numbers.length === TOTAL / 2, 60_000);
    expect(next.numbers).toEqual(numbers(TOTAL / 2 + 1));
    await eventually(async () => (await read()).messages === 0);
  });

  it('stays there when a former dispatcher wakes up and wants it back', async () => {
    await fill((await boot()).url);
    const client = await stopped();
    const header: FifoRecallHeader = { recall: last.subscription, term: randomUUID() };
    const recall = encodeEntry([{ header: JSON.stringify(header), body: '' }]);
    const answer = (await bus.connection.request(last.subject, recall, { timeout: 60_000 })).json<FifoDeliveryReply>();
    expect(answer.kept!.length).toBeGreaterThanOrEqual(100);
    client.most = TOTAL;
    client.acknowledge();
    await eventually(() => client.numbers.length === TOTAL, 60_000);
    expect(client.numbers).toEqual(numbers(1));
    await eventually(async () => (await read()).messages === 0);
  });

  it('stays there when its dispatcher is lost, and is delivered once', async () => {
    const lost = await boot();
    await fill(lost.url);
    const next = await boot();
    const client = await stopped();
    await lost.close();
    api = apiClient(next.url, apiKey);
    client.most = TOTAL;
    client.acknowledge();
    await eventually(() => client.numbers.length === TOTAL, 60_000);
    expect(client.numbers).toEqual(numbers(1));
    await eventually(async () => (await read()).messages === 0);
    expect(client.numbers).toHaveLength(TOTAL);
  });
});
