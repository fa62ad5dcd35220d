import { once } from 'node:events';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { createWebSocketStream, WebSocket } from 'ws';
import { eventually, type TestPlatform } from '@orrery/core/testing';
import { mqttConnector, mqttPorts } from '../mqtt-connector.js';
import { RawClient } from '../testing/raw-client.js';
import { startSurroundings, type Surroundings } from '../testing/surroundings.js';
import { Reason } from './return-codes.js';

// A process that stops answers what it has read, says that it goes, and ends.

let around: Surroundings;
let key: string;
const clients: RawClient[] = [];
const open = async (platform: TestPlatform, over: 'tcp' | 'webSocket' = 'tcp'): Promise<RawClient> => {
  if (over === 'tcp') clients.push(await RawClient.open(mqttPorts(platform.app).plain));
  else {
    const webSocket = new WebSocket(`wss://localhost:${platform.httpsPort}/mqtt`, 'mqtt', {
      rejectUnauthorized: false,
    });
    await once(webSocket, 'open');
    clients.push(new RawClient(createWebSocketStream(webSocket, { allowHalfOpen: false })));
  }
  return clients.at(-1)!;
};
beforeAll(async () => {
  around = await startSurroundings({ ORRERY_STREAM_MAX_BYTES: String(1 << 20) });
  key = around.keys.grant('acme').value;
});
afterAll(async () => {
  for (const client of clients) client.end();
  await around.backend.stop();
});

const purge = async (): Promise<void> => {
  for (let p = 0; p < around.bus.partitions; p++) await around.bus.jsm.streams.purge(`READY_${p}`);
};
/** Publishes twice what the bus takes, which acknowledges one half. @returns packet ids of all */
async function publishTooMuch(client: RawClient, first: number): Promise<number[]> {
  const ids = Array.from({ length: 10 }, (_, i) => first + i);
  const pad = 'x'.repeat(200_000);
  for (const n of ids) client.publish('dev/data', `{"value":{"mark":${n},"pad":"${pad}"}}`, n);
  // Answered at once, and only once all before it was read.
  await client.ping();
  await eventually(() => client.packets.filter(({ cmd }) => cmd === 'puback').length === ids.length / 2);
  return ids;
}

it.each([
  ['over TCP', 'tcp', 100],
  ['over WebSocket', 'webSocket', 200],
] as const)('%s, publications that wait for the bus are acknowledged first', async (_title, over, first) => {
  await purge();
  const platform = await around.backend.boot([mqttConnector]);
  const [old, modern] = [await open(platform, over), await open(platform, over)];
  await old.connect('json+device', key, `waiting-old-${first}`);
  await modern.connect('json+device', key, `waiting-${first}`, { protocolVersion: 5 });
  const ids = await publishTooMuch(modern, first);
  const stopped = platform.close();
  // Who has nothing to wait for is gone.
  await old.isClosed();
  expect(old.packets).toEqual([]);
  expect(modern.closed).toBe(false);
  modern.publish('dev/data', `{"value":{"mark":"too late ${first}"}}`, 1);
  await purge();
  await stopped;
  await modern.isClosed();
  const told = modern.packets.filter(({ cmd }) => cmd === 'puback' || cmd === 'disconnect');
  expect(told.map((packet) => packet.messageId)).toEqual([...ids, undefined]);
  expect(told.at(-1)).toMatchObject({ cmd: 'disconnect', reasonCode: Reason.ShuttingDown });
  await eventually(() => ids.every((n) => around.messages.some(({ message }) => message.value?.['mark'] === n)));
  // It was not read, and not acknowledged.
  expect(around.messages.some(({ message }) => message.value?.['mark'] === `too late ${first}`)).toBe(false);
});

it('a client that is not known yet is refused or closed, and nobody else is accepted', async () => {
  const platform = await around.backend.boot([mqttConnector]);
  const { plain } = mqttPorts(platform.app);
  const silent = await open(platform);
  const opening = await open(platform);
  around.inventory.silent = true;
  const refused = opening.connect('json+device', key, 'opening');
  await eventually(() => around.inventory.requests.some(({ nodeId }) => nodeId === 'opening'));
  const stopped = platform.close();
  expect(await refused).toBe(3);
  around.inventory.silent = false;
  await silent.isClosed();
  await stopped;
  await expect(RawClient.open(plain)).rejects.toThrow('ECONNREFUSED');
});

it('closes who is still in its TLS handshake when the process begins to stop', async () => {
  await purge();
  const platform = await around.backend.boot([mqttConnector]);
  const waiting = await open(platform);
  await waiting.connect('json+device', key, 'waiting-300');
  await publishTooMuch(waiting, 300);
  const socket = connect(mqttPorts(platform.app).tls, '127.0.0.1');
  await once(socket, 'connect');
  const stopped = platform.close();
  const refused = async (): Promise<boolean> =>
    RawClient.open(mqttPorts(platform.app).plain).then(
      (client) => (client.end(), false),
      () => true,
    );
  await eventually(refused);
  const late = new RawClient(connectTls({ socket, servername: 'localhost', rejectUnauthorized: false }));
  await late.isClosed();
  expect(waiting.closed).toBe(false);
  await purge();
  await stopped;
});
