import { UNLIMITED_OFFER } from '@orrery/core/limits';
import { type ApiClient, apiClient, type Backend, keyRing, startBackend } from '@orrery/core/testing';
import { deviceManager } from '../index.js';
import type { DeviceView } from './device.dto.js';

const DEVICES = '/api/v1/deviceMgt/devices';

let backend: Backend;
let fleet: ApiClient;
let api: ApiClient;

const ids = async (query: string, client = api): Promise<string[]> => {
  const { status, body } = await client.get<DeviceView[]>(`${DEVICES}?limit=100&${query}`);
  expect([query, status]).toEqual([query, 200]);
  return body.map((device) => device.id.slice('urn:lo:nsid:l:'.length));
};
const codeOf = async (query: string): Promise<[number, string]> => {
  const { status, body } = await api.get<{ code: string }>(`${DEVICES}?${query}`);
  return [status, body.code];
};
const BAD = [400, 'GENERIC_INVALID_PARAMETER_ERROR'];

beforeAll(async () => {
  backend = await startBackend([deviceManager]);
  const keys = keyRing(await backend.bus());
  const { url } = await backend.boot([deviceManager]);
  fleet = apiClient(url, keys.grant('fleet', { limits: UNLIMITED_OFFER }).value);
  for (let i = 0; i < 25; i++) await fleet.post(DEVICES, { id: `urn:lo:nsid:l:${String(i).padStart(2, '0')}` });

  api = apiClient(url, keys.grant('tenantA', { limits: UNLIMITED_OFFER }).value);
  const group = async (pathNode: string, parentId?: string): Promise<string> =>
    (await api.post<{ id: string }>('/api/v1/deviceMgt/groups', { pathNode, parentId })).body.id;
  const foo = await group('foo');
  await group('bar', foo);
  await group('other');
  await group('foo%');
  const mqtt = (clientId: string, enabled: boolean): unknown => ({
    connector: 'mqtt',
    enabled,
    definition: { clientId },
  });
  const devices: Array<Record<string, unknown>> = [
    {
      id: '1',
      name: 'foo',
      group: { path: '/foo' },
      tags: ['a', 'b'],
      properties: { temperature: '25', humidity: '58' },
    },
    { id: '2', name: 'foo1', group: { path: '/foo/bar' }, tags: ['a'], properties: { temperature: '25' } },
    { id: '3', name: '1foo', group: { path: '/other' }, tags: ['b'], interfaces: [mqtt('n3', true)] },
    { id: '4', name: '1foo1', interfaces: [mqtt('n4', false), mqtt('n4b', true)] },
    { id: '5', name: 'FOO_x' },
    { id: '6', interfaces: [mqtt('n6', false)] },
  ];
  for (const device of devices) {
    const { status } = await api.post(DEVICES, { ...device, id: `urn:lo:nsid:l:${String(device['id'])}` });
    expect(status).toBe(200);
  }
});
afterAll(() => backend.stop());

describe('paging', () => {
  it('API-019 returns 20 by default, as a bare array', async () => {
    const first = await fleet.get<DeviceView[]>(DEVICES);
    expect(first.body).toHaveLength(20);
    const rest = await fleet.get<DeviceView[]>(`${DEVICES}?offset=20`);
    expect(rest.body).toHaveLength(5);
  });

  it('API-020 counts the offset in items', async () => {
    const page = async (query: string): Promise<string[]> =>
      (await fleet.get<DeviceView[]>(`${DEVICES}?sort=id&${query}`)).body.map((device) => device.id.slice(-2));
    expect(await page('limit=10&offset=0')).toEqual(['00', '01', '02', '03', '04', '05', '06', '07', '08', '09']);
    const shifted = await page('limit=20&offset=1');
    expect([shifted.length, shifted[0], shifted.at(-1)]).toEqual([20, '01', '20']);
  });

  it('API-021 API-022 says how many in headers', async () => {
    const page = await fleet.get(`${DEVICES}?limit=10&offset=20`);
    expect([page.headers.get('x-result-count'), page.headers.get('x-result-limit')]).toEqual(['5', '10']);
    expect(page.headers.get('x-total-count')).toBeNull();
    const counted = await fleet.get(`${DEVICES}?limit=10`, { 'x-total-count': 'true' });
    expect(counted.headers.get('x-total-count')).toBe('25');
    const uncounted = await fleet.get(`${DEVICES}?limit=10`, { 'x-total-count': 'false' });
    expect(uncounted.headers.get('x-total-count')).toBeNull();
    const filtered = await fleet.get(`${DEVICES}?id=urn:lo:nsid:l:07&sort=-created`, { 'x-total-count': 'true' });
    expect(filtered.headers.get('x-total-count')).toBe('1');
  });

  it('API-023 applies a limit of at most 1000 and refuses what is no number', async () => {
    const page = await fleet.get(`${DEVICES}?limit=2000`);
    expect([page.status, page.headers.get('x-result-limit')]).toEqual([200, '1000']);
    for (const query of ['limit=abc', 'offset=-1', 'limit=1.5']) expect(await codeOf(query)).toEqual(BAD);
  });
});

describe('fields and order', () => {
  it('DEV-022 DEV-023 returns the fields asked for', async () => {
    const plain = await api.get<Array<Record<string, unknown>>>(`${DEVICES}?name=foo`);
    expect(plain.body.map((item) => Object.keys(item).sort())).toEqual([['group', 'id', 'name', 'tags']]);
    const chosen = await api.get<Array<Record<string, unknown>>>(`${DEVICES}?name=foo&fields=name,created,group`);
    expect(chosen.body.map((item) => Object.keys(item).sort())).toEqual([['created', 'group', 'id', 'name']]);
    const all = await api.get<DeviceView[]>(
      `${DEVICES}?interfaces.nodeId=n3&fields=interfaces,config,resources,firmwares`,
    );
    expect(all.body).toEqual([{ id: 'urn:lo:nsid:l:3', interfaces: [expect.objectContaining({ nodeId: 'n3' })] }]);
  });

  it('DEV-024 refuses unknown fields and sort keys', async () => {
    for (const query of ['fields=foo', 'sort=foo', 'sort=constructor', 'fields=["id"', 'sort=[1]'])
      expect([query, await codeOf(query)]).toEqual([query, BAD]);
  });

  it('refuses lists of what no device can have', async () => {
    for (const name of ['tags', 'connectors', 'fields'])
      for (const list of ['["\\u0000"]', '["a","\\ud800"]', '[1]', '['])
        expect([name, list, await codeOf(`${name}=${encodeURIComponent(list)}`)]).toEqual([name, list, BAD]);
  });

  it('DEV-025 DEV-026 sorts', async () => {
    expect(await ids('sort=-id')).toEqual(['6', '5', '4', '3', '2', '1']);
    expect(await ids('sort=name')).toEqual(['3', '4', '5', '1', '2', '6']);
    expect(await ids('sort=-created')).toEqual(['6', '5', '4', '3', '2', '1']);
    expect(await ids('sort=updated')).toEqual(['1', '2', '3', '4', '5', '6']);
    expect(await ids('sort=-group,-id')).toEqual(['3', '2', '1', '6', '5', '4']);
    expect(await ids('sort=interfaces.status')).toEqual(['4', '6', '3', '1', '2', '5']);
    expect(await ids('sort=-interfaces.enabled')).toEqual(['3', '4', '6', '1', '2', '5']);
    expect(await ids('sort=interfaces.lastContact')).toEqual(['1', '2', '3', '4', '5', '6']);
    expect(await ids('sort=-interfaces.status,-group,name&connectors=mqtt')).toEqual(['3', '4', '6']);
    expect(await ids('sort=interfaces.enabled,-id&interfaces.status=REGISTERED')).toEqual(['4', '3']);
    expect(await ids('sort=interfaces.status&offset=2&filterQuery=connector==mqtt or tags==b')).toEqual(['3', '1']);
    const expected = await ids('sort=-created,id');
    for (const sort of ['["-created","id"]', '["-creationTs","urn"]'])
      expect(await ids(`sort=${encodeURIComponent(sort)}`)).toEqual(expected);
    expect(await ids('sort=-created&sort=id')).toEqual(expected);
  });
});

describe('filters', () => {
  it('DEV-027 by id and group id', async () => {
    expect(await ids('id=urn:lo:nsid:l:3')).toEqual(['3']);
    expect(await ids('id=other')).toEqual([]);
    const { body } = await api.get<DeviceView>(`${DEVICES}/urn:lo:nsid:l:2`);
    expect(await ids(`groupId=${body.group.id}`)).toEqual(['2']);
    expect(await ids('groupId=root')).toEqual(['4', '5', '6']);
  });

  it('DEV-028 by group path', async () => {
    expect(await ids('groupPath=/foo')).toEqual(['1']);
    expect(await ids('groupPath=/foo/*')).toEqual(['1', '2']);
    expect(await ids('groupPath=/fo/*')).toEqual([]);
    expect(await ids('groupPath=/foo%25/*')).toEqual([]);
    expect(await ids('groupPath=/')).toEqual(['4', '5', '6']);
    expect(await ids('groupPath=/*')).toHaveLength(6);
  });

  it('DEV-029 by name with wildcards at its ends', async () => {
    expect(await ids('name=foo')).toEqual(['1']);
    expect(await ids('name="foo"')).toEqual(['1']);
    expect(await ids('name=foo*')).toEqual(['1', '2']);
    expect(await ids('name=*foo')).toEqual(['1', '3']);
    expect(await ids('name=*foo*')).toEqual(['1', '2', '3', '4']);
    expect(await ids('name=FOO%25*')).toEqual([]);
    expect(await ids('name=FOO_*')).toEqual(['5']);
  });

  it('DEV-030 by tags and connectors', async () => {
    expect(await ids('tags=a,b')).toEqual(['1']);
    expect(await ids('tags=a&tags=b')).toEqual(['1']);
    expect(await ids('tags=a')).toEqual(['1', '2']);
    expect(await ids('connectors=mqtt,lora')).toEqual(['3', '4', '6']);
    expect(await ids('connectors=lora')).toEqual([]);
  });

  it('DEV-031 by interface', async () => {
    expect(await ids('interfaces.nodeId=n4b')).toEqual(['4']);
    expect(await ids('interfaces.status=REGISTERED')).toEqual(['3', '4']);
    expect(await ids('interfaces.status=DEACTIVATED,REGISTERED')).toEqual(['3', '4', '6']);
    expect(await ids('interfaces.enabled=false')).toEqual(['4', '6']);
    for (const query of ['interfaces.status=online', 'interfaces.enabled=maybe'])
      expect(await codeOf(query)).toEqual(BAD);
  });

  it('DEV-032 by properties, all conditions together', async () => {
    expect(await ids('property.temperature=25')).toEqual(['1', '2']);
    expect(await ids('property.temperature=25&property.humidity=58')).toEqual(['1']);
    expect(await ids('property.temperature=25&name=foo1*')).toEqual(['2']);
    expect(await ids('property.temperature=26')).toEqual([]);
  });

  it('refuses what it cannot answer', async () => {
    for (const query of ['name=a%00b', 'property.%00=1', 'id=a&id=b', 'tags=a%00'])
      expect([query, await codeOf(query)]).toEqual([query, BAD]);
    expect(await ids("name=';DROP TABLE devices;--")).toEqual([]);
  });
});
