import { type Bus, PackingPublisher } from '@orrery/core/bus';
import { type DataMessage, type EventHeader, newMessageId, partitionOf } from '@orrery/core/messages';
import { type ApiClient, apiClient, type Backend, eventually, keyRing, startBackend } from '@orrery/core/testing';
import { store } from '../index.js';

const TENANT = 'tenant';
const DEVICE = 'urn:lo:nsid:mqtt:1234';

let backend: Backend;
let bus: Bus;
let api: ApiClient;
let events: PackingPublisher;

beforeAll(async () => {
  backend = await startBackend([store]);
  bus = await backend.bus();
  const { url } = await backend.boot([store]);
  api = apiClient(url, keyRing(bus).grant(TENANT).value);
  events = new PackingPublisher(bus, 'EVENTS');
});
afterAll(async () => {
  await events.close();
  await backend.stop();
});

const publish = (header: Partial<EventHeader>, body: object): Promise<unknown> =>
  events.publish(
    partitionOf(TENANT, DEVICE, bus.partitions),
    JSON.stringify({ tenantId: TENANT, key: DEVICE, ...header }),
    JSON.stringify({ version: 1, deviceId: DEVICE, ...body }),
  );
const read = async (): Promise<DataMessage[]> =>
  (await api.get<DataMessage[]>(`/api/v0/data/streams/event:${DEVICE}`)).body;

describe('events', () => {
  it('are stored when they say how, and once, in the stream of the device that they are about', async () => {
    const timestamp = '2020-06-09T07:47:00.004Z';
    const activityRule = { name: 'test 10 min', id: 'r', silentPolicy: { duration: 'PT10M' }, enabled: true };
    const id = newMessageId();
    await publish({ type: 'deviceCreated' }, { type: 'deviceCreated', timestamp });
    await publish(
      { type: 'deviceActivity', stored: { id, rules: { activityRule }, tags: ['of the rule'] } },
      { type: 'deviceActivity', state: 'SILENT', timestamp, activityRule: { id: 'r', name: 'test 10 min' } },
    );
    await publish({ type: 'deviceDeleted' }, { type: 'deviceDeleted', timestamp });
    const last = newMessageId();
    await publish(
      { type: 'deviceActivity', stored: { id: last, rules: {} } },
      { type: 'deviceActivity', state: 'ACTIVE', timestamp: '2020-06-09T08:00:00.000Z' },
    );
    const stored = await eventually(async () => {
      const found = await read();
      return found.some((each) => each.id === last) && found;
    });
    expect(stored.map((each) => each.id)).toEqual([last, id]);
    expect(stored[1]).toEqual({
      metadata: null,
      streamId: `event:${DEVICE}`,
      created: expect.any(String),
      extra: null,
      location: null,
      model: 'event:DeviceActivity',
      id,
      value: { deviceId: DEVICE, state: 'SILENT', timestamp, activityRule },
      timestamp,
      tags: ['event', 'of the rule'],
    });
  });
});
