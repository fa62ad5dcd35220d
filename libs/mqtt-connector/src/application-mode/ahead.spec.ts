import { encodeEntry } from '@orrery/core/messages';
import { eventually } from '@orrery/core/testing';
import { type FifoDeliveryHeader, type FifoDeliveryReply, fifoDeliverSubject } from '@orrery/routing/contract';
import { Dispatcher } from '../testing/dispatcher.js';
import { RawClient } from '../testing/raw-client.js';
import { startSurroundings, type Surroundings } from '../testing/surroundings.js';

const WINDOW = 100;

let around: Surroundings;
let fifos: Dispatcher;
const clients: RawClient[] = [];

beforeAll(async () => {
  around = await startSurroundings();
  fifos = new Dispatcher(await around.backend.bus());
  fifos.ahead = 1000;
  fifos.start();
});
afterAll(async () => {
  for (const client of clients) client.end();
  await around.backend.stop();
});

async function application(clientId: string): Promise<RawClient> {
  const client = await RawClient.open(around.ports.tls, { rejectUnauthorized: false });
  clients.push(client);
  expect(await client.connect('application', around.keys.grant('acme').value, clientId)).toBe(0);
  return client;
}

it('what another subscription was given meanwhile is not passed on from before', async () => {
  const bodies = Array.from({ length: WINDOW + 50 }, (_, i) => String(i + 1));
  fifos.create('acme', 'given', ...bodies);
  const client = await application('given');
  await client.subscribe('fifo/given');
  const next = async (count: number): Promise<string[]> => {
    const got: string[] = [];
    for (let i = 0; i < count; i++) {
      const { payload, messageId } = await client.next('publish');
      got.push(String(payload));
      client.send({ cmd: 'puback', messageId: messageId! });
    }
    return got;
  };
  fifos.giveNewest('acme', 'given', 30);
  const [id] = await eventually(() => fifos.subscriptions.size === 1 && [...fifos.subscriptions.keys()]);
  // It is named again once the answer to its new subscription has been read.
  const before = fifos.requests.length;
  await eventually(() =>
    fifos.requests
      .slice(before)
      .some(
        ({ method, request }) =>
          method === 'heartbeat' && (request as { subscriptions: string[] }).subscriptions.includes(id!),
      ),
  );
  expect(await next(WINDOW + 20)).toEqual(bodies.slice(0, WINDOW + 20));
  fifos.put('acme', 'given', 'new');
  expect(await next(1)).toEqual(['new']);
  await eventually(() => fifos.left('acme', 'given').length === 30);
});

it('takes nothing that comes after a delivery that was lost', async () => {
  fifos.create('acme', 'lossy');
  const client = await application('lossy');
  await client.subscribe('fifo/lossy');
  const { subscription, instance } = [...fifos.subscriptions.values()].find(({ fifoName }) => fifoName === 'lossy')!;
  const bus = await around.backend.bus();
  const deliver = async (...headers: Array<Omit<FifoDeliveryHeader, 'subscription'>>): Promise<string[]> => {
    const items = headers.map((header) => ({
      header: JSON.stringify({ subscription, ...header }),
      body: String(header.seq),
    }));
    const answer = await bus.connection.request(fifoDeliverSubject(instance), encodeEntry(items), { timeout: 60_000 });
    return answer.json<FifoDeliveryReply>().gone;
  };
  const [a, b, c, d, e] = [10_001, 10_002, 10_003, 10_004, 10_005] as const;
  expect(await deliver({ seq: a }, { seq: b, after: a })).toEqual([]);
  expect(await deliver({ seq: d, after: c }, { seq: e, after: d })).toEqual([subscription]);
  expect(await deliver({ seq: c, after: b })).toEqual([]);
  // Another dispatcher, or the same one anew.
  expect(await deliver({ seq: d }, { seq: e, after: d })).toEqual([]);
  const got: string[] = [];
  for (let i = 0; i < 5; i++) got.push(String((await client.next('publish')).payload));
  expect(got).toEqual([a, b, c, d, e].map(String));
});
