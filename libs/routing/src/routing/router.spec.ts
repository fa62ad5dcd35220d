import { randomUUID } from 'node:crypto';
import { AUDIT_SUBJECT, type Bus } from '@orrery/core/bus';
import { partitionOf } from '@orrery/core/messages';
import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  type KeyRing,
  keyRing,
  startBackend,
} from '@orrery/core/testing';
import type { ActionPolicyDto } from '../action-policies/action-policy.dto.js';
import { routing } from '../index.js';
import { FifoConnector } from '../testing/fifo-connector.js';
import { Producer } from '../testing/producer.js';

const POLICIES = '/api/v1/event2action/actionPolicies';
const FIFOS = '/api/v0/topics/fifo';

let backend: Backend;
let bus: Bus;
let keys: KeyRing;
let url: string;
let producer: Producer;
let consumer: FifoConnector;
let tenantId: string;
let api: ApiClient;
let flushed: boolean;
const audited: Array<{ tenantId: string; type: string; source?: object }> = [];

beforeAll(async () => {
  backend = await startBackend([routing]);
  bus = await backend.bus();
  keys = keyRing(bus);
  bus.connection.subscribe(AUDIT_SUBJECT, { callback: (_, message) => void audited.push(message.json()) });
  ({ url } = await backend.boot([routing]));
  producer = new Producer(bus);
  consumer = new FifoConnector(bus);
});
afterAll(async () => {
  consumer.vanish();
  await producer.close();
  await backend.stop();
});
beforeEach(() => {
  flushed = false;
  tenantId = randomUUID();
  api = apiClient(url, keys.grant(tenantId).value);
});

async function route(triggers: object, fifoNames = ['mydata'], actionFields = {}): Promise<ActionPolicyDto> {
  const actions = { fifoPublish: fifoNames.map((fifoName) => ({ fifoName, ...actionFields })) };
  const { status, body } = await api.post<ActionPolicyDto>(POLICIES, { enabled: true, triggers, actions });
  expect(status).toBe(200);
  return body;
}

async function consume(fifoName = 'mydata', options = {}): Promise<string> {
  await api.post(FIFOS, { name: fifoName, ...options });
  return consumer.subscribe(tenantId, fifoName);
}

const nameOf = (message: Record<string, unknown>): string => String(message['streamId'] ?? message['deviceId']);
const isLast = (message: Record<string, unknown>): boolean => nameOf(message).startsWith('last');

/** Waits for the messages that end a test, and returns what came beside them. */
async function before(subscription: string): Promise<Array<Record<string, unknown>>> {
  const lasts = flushed ? bus.partitions : 1;
  const got = await eventually(() => {
    const all = consumer.json(subscription);
    return new Set(all.filter(isLast).map(nameOf)).size === lasts && all;
  });
  return got.filter((each) => !isLast(each));
}
const devicesOf = async (subscription: string): Promise<unknown[]> => (await before(subscription)).map(nameOf);

/** An event of the partition that all events of a test share, in which they keep their order. */
const event = (type: string, deviceId: string, header: object = {}, body: object = {}): Promise<void> =>
  producer.event(
    { tenantId, type, key: 'one', ...header },
    { type, version: 1, deviceId, timestamp: new Date().toISOString(), ...body },
  );

/** Sends a routed message through each partition: what was sent before has been handled when all of them are there. */
async function flush(): Promise<void> {
  const names = new Map<number, string>();
  for (let i = 0; names.size < bus.partitions; i++)
    names.set(partitionOf(tenantId, `last${i}`, bus.partitions), `last${i}`);
  await route({ dataMessage: { version: 1, filter: { deviceIds: [...names.values()] } } });
  for (const name of names.values()) await producer.data(tenantId, name, { connector: 'http', tags: ['last'] });
  flushed = true;
}

describe('routing of data messages', () => {
  it('FIF-013 RTE-019 RTE-006 puts the whole message with type and version into the FIFO', async () => {
    const fifo = await consume();
    await route({ dataMessage: { version: 1 } }, ['mydata'], { content: '{{streamId}}' });
    await producer.data(tenantId, 'urn:lo:nsid:mqtt:1', { value: { text: 'a\nb\t\\ é', n: 1 }, tags: ['t'] });
    const [message] = await eventually(() => consumer.json(fifo).length === 1 && consumer.json(fifo));
    expect(message).toMatchObject({
      type: 'dataMessage',
      version: 1,
      streamId: 'urn:lo:nsid:mqtt:1',
      value: { text: 'a\nb\t\\ é', n: 1 },
      tags: ['t'],
      metadata: { connector: 'mqtt', source: 'urn:lo:nsid:mqtt:1', group: { path: '/' } },
      id: expect.any(String),
      created: expect.any(String),
    });
  });

  it('RTE-004 routes what arrives while the policy is enabled', async () => {
    const fifo = await consume();
    const { id, ...policy } = await route({ dataMessage: { version: 1 } });
    await producer.data(tenantId, 'old', { arrived: Date.now() - 60_000 });
    await producer.data(tenantId, 'first');
    await eventually(() => consumer.texts(fifo).length === 1);
    await api.put(`${POLICIES}/${id}`, { ...policy, enabled: false });
    await producer.data(tenantId, 'second');
    await flush();
    expect(await devicesOf(fifo)).toEqual(['first']);
    await api.put(`${POLICIES}/${id}`, { ...policy, enabled: true });
    await producer.data(tenantId, 'third');
    await eventually(() => consumer.json(fifo).some((each) => each['streamId'] === 'third'));
    expect(consumer.json(fifo).some((each) => each['streamId'] === 'second')).toBe(false);
  });

  it('has a change of policy in force for every message after its answer', async () => {
    const fifo = await consume();
    for (let i = 0; i < 20; i++) {
      const { id } = await route({ dataMessage: { version: 1, filter: { deviceIds: [`d${i}`] } } });
      await producer.data(tenantId, `d${i}`);
      await eventually(() => consumer.texts(fifo).length === i + 1);
      await api.delete(`${POLICIES}/${id}`);
      await producer.data(tenantId, `d${i}`);
    }
    await flush();
    expect(await devicesOf(fifo)).toHaveLength(20);
  });

  it('RTE-007 RTE-010 combines criteria with AND and the items of a list with OR', async () => {
    const fifo = await consume();
    const groupPaths = [{ path: '/europe/france', includeSubPath: false }];
    await route({ dataMessage: { version: 1, filter: { connectors: ['mqtt', 'sms'], groupPaths } } });
    await producer.data(tenantId, 'passes', { connector: 'sms', groupPath: '/europe/france' });
    await producer.data(tenantId, 'above', { connector: 'mqtt', groupPath: '/europe' });
    await producer.data(tenantId, 'lora', { connector: 'lora', groupPath: '/europe/france' });
    await producer.data(tenantId, 'below', { connector: 'mqtt', groupPath: '/europe/france/lyon' });
    await flush();
    expect(await devicesOf(fifo)).toEqual(['passes']);
  });

  it('RTE-008 filters by connector', async () => {
    const fifo = await consume();
    await route({ dataMessage: { version: 1, filter: { connectors: ['http'] } } });
    await producer.data(tenantId, 'a', { connector: 'mqtt' });
    await producer.data(tenantId, 'b', { connector: 'http' });
    await flush();
    expect(await devicesOf(fifo)).toEqual(['b']);
  });

  it('RTE-009 filters by device', async () => {
    const fifo = await consume();
    await route({ dataMessage: { version: 1, filter: { deviceIds: ['urn:lo:nsid:mqtt:deviceId2'] } } });
    await producer.data(tenantId, 'urn:lo:nsid:mqtt:deviceId1');
    await producer.data(tenantId, 'urn:lo:nsid:mqtt:deviceId2');
    await flush();
    expect(await devicesOf(fifo)).toEqual(['urn:lo:nsid:mqtt:deviceId2']);
  });

  it('RTE-011 filters by sets of tags', async () => {
    const fifo = await consume();
    await route({ dataMessage: { version: 1, filter: { tags: [['HIGH', 'ALERT'], ['PROD']] } } });
    await producer.data(tenantId, 'high', { tags: ['HIGH'] });
    await producer.data(tenantId, 'prod', { tags: ['PROD'] });
    await producer.data(tenantId, 'both', { tags: ['ALERT', 'HIGH', 'x'] });
    await producer.data(tenantId, 'none');
    await flush();
    expect((await devicesOf(fifo)).toSorted()).toEqual(['both', 'prod']);
  });

  it('puts one copy per policy and FIFO, in the order of the device, exactly once', async () => {
    const [one, two] = [await consume('one'), await consume('two')];
    await route({ dataMessage: { version: 1 } }, ['one', 'two', 'one']);
    await route({ dataMessage: { version: 1 } }, ['one']);
    const numbers = Array.from({ length: 300 }, (_, i) => i);
    await Promise.all(numbers.map((n) => producer.data(tenantId, 'd', { value: { n } })));
    const values = (subscription: string): unknown[] =>
      consumer.json<{ value: { n: number } }>(subscription).map(({ value }) => value.n);
    await eventually(() => values(one).length >= 600 && values(two).length >= 300);
    expect(values(one)).toEqual(numbers.flatMap((n) => [n, n]));
    expect(values(two)).toEqual(numbers);
  });

  it('routes a message to the FIFOs of its tenant only', async () => {
    const mine = await consume();
    await route({ dataMessage: { version: 1 } });
    const other = randomUUID();
    const otherApi = apiClient(url, keys.grant(other).value);
    await otherApi.post(FIFOS, { name: 'mydata' });
    await otherApi.post(POLICIES, {
      enabled: true,
      triggers: { dataMessage: { version: 1 } },
      actions: { fifoPublish: [{ fifoName: 'mydata' }] },
    });
    const theirs = await consumer.subscribe(other, 'mydata');
    await producer.data(tenantId, 'd');
    await producer.data(other, 'd', { value: { other: true } });
    await eventually(() => consumer.texts(mine).length + consumer.texts(theirs).length === 2);
    expect(consumer.json(mine)).toEqual([expect.objectContaining({ value: {} })]);
    expect(consumer.json(theirs)).toEqual([expect.objectContaining({ value: { other: true } })]);
  });
});

describe('routing of events', () => {
  it('RTE-003 routes the creation and deletion of devices as they are', async () => {
    const fifo = await consume();
    await route({ deviceCreated: { version: 1 }, deviceDeleted: { version: 1 } });
    await event('deviceCreated', 'urn:lo:nsid:mqtt:myDevice');
    await event('nodeConnected', 'internal');
    await event('deviceStatus', 'other');
    await event('deviceDeleted', 'urn:lo:nsid:mqtt:myDevice');
    await event('deviceDeleted', 'last');
    const got = await before(fifo);
    expect(got.map((each) => each['type'])).toEqual(['deviceCreated', 'deviceDeleted']);
    expect(got[0]).toEqual({
      type: 'deviceCreated',
      version: 1,
      deviceId: 'urn:lo:nsid:mqtt:myDevice',
      timestamp: expect.any(String),
    });
  });

  it('RTE-010 filters device events by group and connector', async () => {
    const fifo = await consume();
    const groupPaths = [{ path: '/lyon', includeSubPath: true }];
    await route({ deviceStatus: { version: 1, filter: { groupPaths, connectors: ['mqtt'] } } });
    const status = (connector: string): object => ({ updatedInterface: { connector } });
    const connectors = ['mqtt', 'lora'];
    await event('deviceStatus', 'north', { groupPath: '/lyon/nord', connectors }, status('mqtt'));
    await event('deviceStatus', 'lyonnaise', { groupPath: '/lyonnaise', connectors }, status('mqtt'));
    await event('deviceStatus', 'lora', { groupPath: '/lyon', connectors }, status('lora'));
    await event('deviceStatus', 'last', { groupPath: '/lyon', connectors }, status('mqtt'));
    expect(await devicesOf(fifo)).toEqual(['north']);
  });

  it('NTF-004 puts the whole event into the FIFO', async () => {
    const fifo = await consume();
    const groupPaths = [{ path: '/lyon', includeSubPath: true }];
    await route({ deviceStatus: { version: 1, filter: { groupPaths, connectors: ['mqtt'] } } });
    const updatedInterface = {
      connector: 'mqtt',
      nodeId: 'n1',
      enabled: true,
      status: { current: 'ONLINE', previous: 'OFFLINE' },
    };
    const context = { groupPath: '/lyon/nord', connectors: ['mqtt'] };
    await event('deviceStatus', 'd1', context, { updatedInterface });
    await event('deviceStatus', 'last', context, { updatedInterface });
    expect(await before(fifo)).toEqual([
      { type: 'deviceStatus', version: 1, deviceId: 'd1', updatedInterface, timestamp: expect.any(String) },
    ]);
  });

  it('RTE-012 filters command states without regard to case', async () => {
    const fifo = await consume();
    await route({ commandStatus: { version: 1, filter: { status: ['EXPIRED', 'error'] } } });
    for (const [deviceId, status] of [
      ['a', 'EXPIRED'],
      ['b', 'PROCESSED'],
      ['c', 'ERROR'],
      ['last', 'ERROR'],
    ] as const)
      await event('commandStatus', deviceId, {}, { status });
    expect(await devicesOf(fifo)).toEqual(['a', 'c']);
  });

  it('RTE-013 filters LoRa network events by message type', async () => {
    const fifo = await consume();
    await route({ loraNetwork: { version: 1, filter: { messageTypes: ['UNCONFIRMED_DATA_UP', 'JOIN_ACCEPT'] } } });
    await event('loraNetwork', 'a', {}, { messageType: 'JOIN_REQUEST' });
    await event('loraNetwork', 'b', {}, { messageType: 'JOIN_ACCEPT' });
    await event('loraNetwork', 'last', {}, { messageType: 'UNCONFIRMED_DATA_UP' });
    expect(await devicesOf(fifo)).toEqual(['b']);
  });

  it('RTE-014 filters alarms by rule, and activity also by device', async () => {
    const fifo = await consume();
    await route({ matchingFired: { version: 1, filter: { ruleIds: ['A', 'B'] } } });
    await route({ stateChange: { version: 1, filter: { ruleIds: ['S'] } } });
    await route({ deviceActivity: { version: 1, filter: { deviceIds: ['d1', 'last'], ruleIds: ['r1'] } } });
    for (const id of ['A', 'B', 'C']) await event('matchingFired', id, {}, { firingRule: { id } });
    for (const id of ['S', 'T']) await event('stateChange', id, {}, { stateProcessingRule: { id } });
    await event('deviceActivity', 'd1', {}, { activityRule: { id: 'r1' } });
    await event('deviceActivity', 'd1', {}, { activityRule: { id: 'r2' } });
    await event('deviceActivity', 'd2', {}, { activityRule: { id: 'r1' } });
    await event('deviceActivity', 'last', {}, { activityRule: { id: 'r1' } });
    expect(await devicesOf(fifo)).toEqual(['A', 'B', 'S', 'd1']);
  });

  it('RTE-015 RTE-004 routes each change of a LoRa gateway, not those from before the policy', async () => {
    const fifo = await consume();
    await route({ loraGatewayStatus: { version: 1 } });
    await event('loraGatewayStatus', 'old', {}, { timestamp: new Date(Date.now() - 60_000).toISOString() });
    await event('loraGatewayStatus', 'gw', {}, { status: { current: 'ONLINE', previous: 'OFFLINE' } });
    await event('loraGatewayStatus', 'last');
    expect(await devicesOf(fifo)).toEqual(['gw']);
  });
});

describe('FIFOs that cannot take a message', () => {
  const stored = async (name: string): Promise<{ messages: number; messageBytes: number }> =>
    (await api.get<{ messages: number; messageBytes: number }>(`${FIFOS}/${name}`)).body;
  const large = (bytes: number, n: number): object => ({ value: { n, fill: 'x'.repeat(bytes) } });
  const numbers = (subscription: string): unknown[] =>
    consumer.json<{ value: { n: number } }>(subscription).map(({ value }) => value.n);

  it('FIF-009 FIF-005 keeps the newest messages that fit, counted with their overhead', async () => {
    const all = await consume('all');
    await api.post(FIFOS, { name: 'f', maxLengthBytes: 25_000 });
    await route({ dataMessage: { version: 1 } }, ['all', 'f']);
    // One by one, then many in one batch.
    for (let n = 1; n <= 3; n++) await producer.data(tenantId, 'd', large(10_000, n));
    await eventually(() => numbers(all).length === 3);
    expect(await stored('f')).toMatchObject({ messages: 2 });
    await Promise.all(Array.from({ length: 50 }, (_, i) => producer.data(tenantId, 'd', large(10_000, 4 + i))));
    await eventually(() => numbers(all).length === 53);
    const [rows] = await backend.query<{ bytes: string }>(
      `SELECT sum(octet_length(body) + 100) AS bytes FROM routing.fifo_messages m JOIN routing.fifos f ON f.id = m.fifo_id
       WHERE f.tenant_id = $1 AND f.name = 'f'`,
      [tenantId],
    );
    expect(await stored('f')).toMatchObject({ messages: 2, messageBytes: Number(rows!.bytes) });
    const fifo = await consumer.subscribe(tenantId, 'f');
    await eventually(() => numbers(fifo).length === 2);
    expect(numbers(fifo)).toEqual([52, 53]);
    await eventually(async () => (await stored('f')).messages === 0);
    expect(await stored('f')).toMatchObject({ messageBytes: 0 });
    expect(audited).toContainEqual(
      expect.objectContaining({ tenantId, type: 'fifo_overflow', source: { fifoName: 'f' } }),
    );
  });

  it('FIF-010 drops a message that is larger than the FIFO, with an audit entry', async () => {
    await api.post(FIFOS, { name: 'small', maxLengthBytes: 15_000 });
    await route({ dataMessage: { version: 1 } }, ['small']);
    await producer.data(tenantId, 'd', large(10_000, 1));
    await producer.data(tenantId, 'd', large(20_000, 2));
    await eventually(() =>
      audited.some((each) => each.tenantId === tenantId && each.type === 'fifo_message_too_large'),
    );
    const fifo = await consumer.subscribe(tenantId, 'small');
    await eventually(() => numbers(fifo).length === 1);
    expect(numbers(fifo)).toEqual([1]);
  });

  it('shrinks a FIFO to its new size at once', async () => {
    await api.post(FIFOS, { name: 'f', maxLengthBytes: 100_000 });
    await route({ dataMessage: { version: 1 } }, ['f']);
    for (let n = 1; n <= 4; n++) await producer.data(tenantId, 'd', large(10_000, n));
    await eventually(async () => (await stored('f')).messages === 4);
    await api.put(`${FIFOS}/f`, { maxLengthBytes: 25_000 });
    expect(await stored('f')).toMatchObject({ messages: 2 });
    const fifo = await consumer.subscribe(tenantId, 'f');
    await eventually(() => numbers(fifo).length === 2);
    expect(numbers(fifo)).toEqual([3, 4]);
  });

  it('FIF-015 RTE-020 RTE-021 suspends the policies of a deleted FIFO until they are enabled again', async () => {
    await consume('gone');
    const { id, ...policy } = await route({ dataMessage: { version: 1 } }, ['gone']);
    await api.delete(`${FIFOS}/gone`);
    await producer.data(tenantId, 'd');
    const read = async (): Promise<ActionPolicyDto> => (await api.get<ActionPolicyDto>(`${POLICIES}/${id}`)).body;
    expect(await read()).toMatchObject({ enabled: false, suspension: expect.stringContaining('"gone"') });
    await api.put(`${POLICIES}/${id}`, { ...policy, enabled: false });
    expect(await read()).toHaveProperty('suspension');
    const again = await consume('gone');
    expect((await api.put(`${POLICIES}/${id}`, { ...policy, enabled: true })).body).not.toHaveProperty('suspension');
    await producer.data(tenantId, 'resumed');
    await eventually(() => consumer.json(again).some((each) => each['streamId'] === 'resumed'));
  });

  it('RTE-020 suspends a policy whose FIFO never existed when it fires, and goes on with the others', async () => {
    const fifo = await consume();
    const { id } = await route({ dataMessage: { version: 1 } }, ['absent']);
    await route({ dataMessage: { version: 1 } });
    await producer.data(tenantId, 'd');
    await eventually(() => consumer.texts(fifo).length === 1);
    expect((await api.get(`${POLICIES}/${id}`)).body).toMatchObject({
      enabled: false,
      suspension: 'The FIFO "absent" does not exist',
    });
    expect(audited).toContainEqual(
      expect.objectContaining({
        tenantId,
        type: 'action_policy_suspended',
        source: { actionPolicyId: id, fifoName: 'absent' },
      }),
    );
  });

  it('sets aside a message that is no JSON, and goes on', async () => {
    const fifo = await consume();
    await route({ dataMessage: { version: 1, filter: { tags: [['good']] } } });
    await bus.js.publish('ready.0', `{"tenantId":"${tenantId}","id":"${'f'.repeat(24)}","streamId":"s"}\n{broken`);
    await producer.data(tenantId, 'good', { tags: ['good'] });
    await eventually(() => consumer.texts(fifo).length === 1);
    await eventually(async () => (await bus.jsm.streams.info('DEAD')).state.messages === 1);
  });
});
