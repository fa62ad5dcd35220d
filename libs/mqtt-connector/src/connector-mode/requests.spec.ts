import { callRpc, RpcUnavailableError } from '@orrery/core/bus';
import { eventually, type TestPlatform } from '@orrery/core/testing';
import {
  externalConnectorRequest,
  type NodeRequests,
  type RequestKind,
  subscribedTo,
} from '@orrery/device-manager/contract';
import { mqttConnector, mqttPorts } from '../mqtt-connector.js';
import { ExternalConnectors } from '../testing/external-connectors.js';
import type { RawClient } from '../testing/raw-client.js';
import { startSurroundings, type Surroundings } from '../testing/surroundings.js';

const TOPIC = (kind: RequestKind): string => `connector/v1/requests/${kind}`;

let around: Surroundings;
let connectors: ExternalConnectors;
let second: TestPlatform;
beforeAll(async () => {
  around = await startSurroundings();
  second = await around.backend.boot([mqttConnector]);
  connectors = new ExternalConnectors(around);
});
afterAll(async () => {
  connectors.end();
  await around.backend.stop();
});

const TIME_OUT_MS = 60_000;
/** Sends as device management does. */
const send = <Kind extends RequestKind>(
  tenantId: string,
  kind: Kind,
  request: NodeRequests[Kind],
  timeoutMs = TIME_OUT_MS,
): Promise<unknown> =>
  callRpc(around.bus, externalConnectorRequest, request, { to: subscribedTo(tenantId, kind), timeoutMs });
const command = (id: string, value?: unknown): NodeRequests['command'] => ({
  id,
  nodeId: 'n1',
  ...(value === undefined ? {} : { value }),
  ackMode: 'APPLICATIVE',
});
const received = async (client: RawClient): Promise<{ topic: string; qos: number; body: unknown; id?: number }> => {
  const { topic, qos, payload, messageId } = await client.next('publish');
  return { topic, qos, body: JSON.parse(String(payload)), ...(messageId === undefined ? {} : { id: messageId }) };
};
const subscriber = async (tenant: string, qos: 0 | 1 | 2 = 1, port?: number): Promise<RawClient> => {
  const client = await connectors.connect(tenant, tenant, {}, port);
  expect(await client.subscribe(TOPIC('command'), qos)).toEqual([Math.min(qos, 1)]);
  return client;
};
/** A request that nobody can take is refused at once, not after its time-out. */
const refusedAtOnce = async (tenant: string): Promise<void> => {
  const began = Date.now();
  await expect(send(tenant, 'command', command('refused'))).rejects.toThrow(RpcUnavailableError);
  expect(Date.now() - began).toBeLessThan(TIME_OUT_MS);
};

describe('requests', () => {
  it('come on the topic of their kind in the form in which they were sent', async () => {
    const client = await connectors.connect('kinds');
    expect(await client.subscribe([TOPIC('command'), TOPIC('configuration'), TOPIC('resource')])).toEqual([1, 1, 1]);
    const requests: NodeRequests = {
      command: command('0f1253df', { req: 'on', args: { level: 75, text: 'été ☀' } }),
      configuration: { nodeId: 'n1', targetVersion: 363745365, parameters: { p: { type: 'INT32', value: 123 } } },
      resource: {
        nodeId: 'n1',
        resourceId: 'my_resource',
        updateCorrelationId: '5fc0db74e4332f0001aadf0c',
        sourceVersion: '1.0',
        targetVersion: '2.0',
        delivery: {
          type: 'HTTP_DELIVERY',
          uri: 'https://x/dl/r7',
          md5: '6dcdc9dcef09d8571994ac1b712b34c0',
          size: 1024,
        },
      },
    };
    for (const kind of ['command', 'configuration', 'resource'] as const) {
      await send('kinds', kind, requests[kind]);
      expect(await received(client)).toMatchObject({ topic: TOPIC(kind), qos: 1, body: requests[kind] });
    }
  });

  it('come to every session of the tenant that is subscribed, on every instance, and to nobody else', async () => {
    const there = mqttPorts(second.app).tls;
    const clients = [
      await subscriber('everyone'),
      await subscriber('everyone'),
      await subscriber('everyone', 1, there),
    ];
    const others = [
      await connectors.connect('everyone'),
      await subscriber('another'),
      await subscriber('another', 1, there),
    ];
    const configurations = await connectors.connect('everyone');
    await configurations.subscribe(TOPIC('configuration'));
    await send('everyone', 'command', command('1'));
    for (const client of clients) expect(await received(client)).toMatchObject({ body: { id: '1' } });
    for (const client of [...others, configurations]) {
      await client.ping();
      expect(client.packets).toEqual([]);
    }
  });

  it('are refused at once while nobody is subscribed', async () => {
    await refusedAtOnce('nobody');
    const idle = await connectors.connect('nobody');
    await refusedAtOnce('nobody');
    await idle.subscribe(TOPIC('command'));
    await send('nobody', 'command', command('taken'));
    idle.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: [TOPIC('command'), 'other'] });
    await idle.next('unsuback');
    await refusedAtOnce('nobody');
    const again = await subscriber('nobody');
    const other = await subscriber('nobody');
    again.end();
    await eventually(async () => {
      await send('nobody', 'command', command('to the other'));
      return other.packets.length > 0;
    });
    other.end();
    await eventually(() => refusedAtOnce('nobody').then(() => true));
  });

  it('can be sent again as soon as somebody subscribes, which is announced for each kind', async () => {
    const tenant = 'announced';
    const announced = (): unknown[] =>
      around.events
        .filter(({ header }) => header.tenantId === tenant && header.type === 'requestsSubscribed')
        .map(({ header, event }) => [header.key, event.connector, (event as unknown as { kind: string }).kind]);
    const client = await connectors.connect(tenant);
    expect(announced()).toEqual([]);
    await client.subscribe([TOPIC('command'), TOPIC('resource'), 'connector/v1/requests/other', TOPIC('command')]);
    await eventually(() => announced().length === 2);
    expect(announced().sort()).toEqual([
      [tenant, 'x-connector', 'command'],
      [tenant, 'x-connector', 'resource'],
    ]);
    await send(tenant, 'command', command('at once'));
    expect(await received(client)).toMatchObject({ body: { id: 'at once' } });
    // Nothing is new for somebody who is subscribed.
    await client.subscribe(TOPIC('command'), 0);
    await send(tenant, 'command', command('not acknowledged'));
    expect(await received(client)).toMatchObject({ qos: 0, body: { id: 'not acknowledged' } });
    expect(announced()).toHaveLength(2);
  });

  it('wait for acknowledgements as the client asked', async () => {
    const client = await connectors.connect('window', 'window', {
      protocolVersion: 5,
      properties: { receiveMaximum: 2 },
    });
    await client.subscribe(TOPIC('command'));
    for (const id of ['1', '2', '3', '4']) await send('window', 'command', command(id));
    const first = await received(client);
    expect(await received(client)).toMatchObject({ body: { id: '2' } });
    await client.ping();
    expect(client.packets).toEqual([]);
    client.send({ cmd: 'puback', messageId: first.id! });
    client.send({ cmd: 'puback', messageId: 999 });
    expect(await received(client)).toMatchObject({ body: { id: '3' } });
    await client.ping();
    expect(client.packets).toEqual([]);
  });

  it('are left out and audited when the client takes no packets of their size', async () => {
    const client = await connectors.connect('small', 'small', {
      protocolVersion: 5,
      properties: { maximumPacketSize: 200 },
    });
    await client.subscribe(TOPIC('command'));
    await send('small', 'command', command('large', 'x'.repeat(300)));
    await send('small', 'command', command('fits'));
    expect(await received(client)).toMatchObject({ body: { id: 'fits' } });
    expect((await around.audit('message_too_large', 'small')).content).toMatchObject({ topic: TOPIC('command') });
  });

  it('pass over a client that does not read, and nobody takes them when there is no other', async () => {
    const tenant = 'deaf';
    const deaf = await subscriber(tenant, 0);
    deaf.socket.pause();
    const large = 'x'.repeat(500_000);
    let taken = 0;
    // What the sockets buffer is the system's business; what waits in the process has an end.
    await eventually(async () => {
      try {
        await send(tenant, 'command', command(`large-${taken}`, large), 3000);
        taken++;
        return false;
      } catch (error) {
        return error instanceof RpcUnavailableError;
      }
    });
    expect(taken * large.length).toBeLessThan(40 << 20);
    const reading = await subscriber(tenant, 0);
    await send(tenant, 'command', command('heard'));
    expect(await received(reading)).toMatchObject({ body: { id: 'heard' } });
    deaf.socket.resume();
    for (let i = 0; i < taken; i++) expect(await received(deaf)).toMatchObject({ body: { id: `large-${i}` } });
    await send(tenant, 'command', command('back'));
    let next = await received(deaf);
    // Which was taken too late for its answer.
    if ((next.body as { id: string }).id === `large-${taken}`) next = await received(deaf);
    expect(next).toMatchObject({ body: { id: 'back' } });
  });
});
