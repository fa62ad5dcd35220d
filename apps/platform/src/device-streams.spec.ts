import { deviceManager } from '@orrery/device-manager';
import { type ApiClient, apiClient, type Backend, eventually, keyRing, startBackend } from '@orrery/core/testing';
import { search } from '@orrery/search';
import { store } from '@orrery/store';

interface DeviceStream {
  streamId: string;
  count: number;
  lastUpdate: string;
}

const services = [deviceManager, store, search];
const DEVICE = 'urn:lo:nsid:sensor:1234';

let backend: Backend;
let api: ApiClient;
let stranger: ApiClient;

beforeAll(async () => {
  backend = await startBackend(services);
  const keys = keyRing(await backend.bus());
  const { url } = await backend.boot(services);
  api = apiClient(url, keys.grant('owner').value);
  stranger = apiClient(url, keys.grant('stranger').value);
});
afterAll(() => backend.stop());

const path = (deviceId: string): string => `/api/v1/deviceMgt/devices/${deviceId}/data/streams`;
async function send(by: ApiClient, streamId: string, source: string, timestamp?: string): Promise<string> {
  const message = { value: { t: 1 }, metadata: { source }, ...(timestamp ? { timestamp } : {}) };
  const { status, body } = await by.post<{ id: string }>(`/api/v0/data/streams/${streamId}`, message);
  expect(status).toBe(202);
  return body.id;
}
const streams = async (by: ApiClient, query = ''): Promise<DeviceStream[]> =>
  (await by.get<DeviceStream[]>(`${path(DEVICE)}${query}`)).body;

describe('streams of a device', () => {
  it('lists them with their messages, the one that something arrived in last first', async () => {
    for (const by of [api, stranger])
      expect((await by.post('/api/v1/deviceMgt/devices', { id: DEVICE })).status).toBe(200);
    expect(await streams(api)).toEqual([]);

    await send(api, 'measures', DEVICE);
    // Sent late: the stream is one that the device uses now.
    const late = await send(api, 'alarms', DEVICE, '2020-01-01T00:00:00Z');
    await send(api, 'measures', 'urn:lo:nsid:sensor:another');
    await send(stranger, 'measures', DEVICE);
    const first = await eventually(async () => {
      const found = await streams(api);
      return found.length === 2 && found;
    });
    const { body } = await api.get<Array<{ id: string; created: string }>>('/api/v0/data/streams/alarms');
    expect(body).toMatchObject([{ id: late }]);
    expect(first).toEqual([
      { streamId: 'alarms', count: 1, lastUpdate: body[0]!.created },
      { streamId: 'measures', count: 1, lastUpdate: expect.any(String) },
    ]);

    await send(api, 'measures', DEVICE);
    await eventually(async () => (await streams(api))[0]?.count === 2);
    expect((await streams(api)).map(({ streamId, count }) => [streamId, count])).toEqual([
      ['measures', 2],
      ['alarms', 1],
    ]);
    expect(await streams(api, '?limit=1')).toHaveLength(1);
    expect(await streams(api, '?limit=5000')).toHaveLength(2);
  });

  it('refuses a limit that is none, and says when there is no such device', async () => {
    for (const limit of ['0', '-1', 'x', '1&limit=2'])
      expect(await api.get(`${path(DEVICE)}?limit=${limit}`)).toMatchObject({
        status: 400,
        body: { details: [{ field: 'limit', expected: 'a whole number from 1' }] },
      });
    expect(await api.get(path('urn:lo:nsid:sensor:none'))).toMatchObject({
      status: 404,
      body: { code: 'DM_DEVICE_NOT_FOUND' },
    });
    expect((await api.get(path('sensor'))).status).toBe(400);
  });
});
