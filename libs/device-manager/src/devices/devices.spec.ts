import { UNLIMITED_OFFER } from '@orrery/core/limits';
import { decodeEntry } from '@orrery/core/messages';
import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  keyRing,
  type KeyRing,
  startBackend,
} from '@orrery/core/testing';
import { deviceManager } from '../index.js';
import type { DeviceView } from './device.dto.js';

const DEVICES = '/api/v1/deviceMgt/devices';
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

let backend: Backend;
let keys: KeyRing;
let url: string;
let api: ApiClient;
const events: Array<{ header: Record<string, unknown>; body: Record<string, unknown> }> = [];
const notices: Array<Record<string, unknown>> = [];

const errorCode = (body: unknown): string => (body as { code: string }).code;
const badFields = (body: unknown): string[] =>
  (body as { details: Array<{ field: string }> }).details.map((d) => d.field);

beforeAll(async () => {
  backend = await startBackend([deviceManager]);
  const bus = await backend.bus();
  keys = keyRing(bus);
  bus.connection.subscribe('events.*', {
    callback: (_error, message) =>
      decodeEntry(message.data).forEach(({ header, body }) =>
        events.push({ header: JSON.parse(header), body: JSON.parse(body) }),
      ),
  });
  bus.connection.subscribe('control.device', {
    callback: (_error, message) => decodeEntry(message.data).forEach(({ header }) => notices.push(JSON.parse(header))),
  });
  ({ url } = await backend.boot([deviceManager]));
  api = apiClient(url, keys.grant('tenantA', { limits: UNLIMITED_OFFER }).value);
});
afterAll(() => backend.stop());

describe('registration', () => {
  it('DEV-001 accepts ids of the expression, up to 128 characters a part', async () => {
    for (const id of [
      `urn:lo:nsid:${'n'.repeat(128)}:${'i'.repeat(128)}`,
      'urn:lo:nsid:gtw_M50:7891:001',
      'urn:lo:nsid:a-b:c_d',
    ]) {
      const { status, body } = await api.post<DeviceView>(DEVICES, { id });
      expect([status, body.id]).toEqual([200, id]);
      expect((await api.get<DeviceView>(`${DEVICES}/${id}`)).body.id).toBe(id);
    }
  });

  it('DEV-002 refuses other ids', async () => {
    const long = 'x'.repeat(129);
    for (const id of [
      'abc',
      'urn:lo:nsid::x',
      'urn:lo:nsid:a:b#c',
      'urn:lo:nsid:a:b+c',
      `urn:lo:nsid:a:${long}`,
      'urn:lo:nsid:a:b c',
      'urn:lo:nsid:a:b\n',
      7,
      null,
      ['urn:lo:nsid:a:b'],
    ]) {
      const { status, body } = await api.post(DEVICES, { id });
      expect([id, status, errorCode(body)]).toEqual([id, 400, 'GENERIC_INVALID_PARAMETER_ERROR']);
    }
  });

  it('DEV-004 needs the id alone', async () => {
    const { status, body } = await api.post<DeviceView>(DEVICES, { id: 'urn:lo:nsid:sensor:temp001' });
    expect(status).toBe(200);
    expect(body).toMatchObject({ id: 'urn:lo:nsid:sensor:temp001', created: expect.stringMatching(ISO) });
    expect(body.updated).toBe(body.created);
    for (const wrong of [{}, [], 'text', undefined, '{"id":'])
      expect([wrong, (await api.post(DEVICES, wrong)).status]).toEqual([wrong, 400]);
  });

  it('DEV-005 fills in the defaults', async () => {
    const id = 'urn:lo:nsid:sensor:defaults';
    await api.post(DEVICES, { id });
    const { body } = await api.get<DeviceView>(`${DEVICES}/${id}`);
    expect(body).toEqual({
      id,
      group: { id: 'root', path: '/' },
      defaultDataStreamId: id,
      tags: [],
      properties: {},
      activityState: 'NOT_MONITORED',
      created: expect.stringMatching(ISO),
      updated: expect.stringMatching(ISO),
    });
  });

  it('DEV-006 DEV-007 DEV-009 DEV-017 keeps what it is given', async () => {
    const france = await api.post<{ id: string }>('/api/v1/deviceMgt/groups', { pathNode: 'france' });
    const lyon = await api.post<{ id: string }>('/api/v1/deviceMgt/groups', {
      pathNode: 'lyon',
      parentId: france.body.id,
    });
    const given = {
      id: 'urn:lo:nsid:sensor:moisture',
      tags: ['Lyon', 'Test', 'Lyon'],
      name: 'mySensor001',
      description: 'moisture sensor',
      defaultDataStreamId: 'myStream',
      properties: { manufacturer: 'Orange', model: 'MoistureSensorV3' },
      group: { path: '/france/lyon' },
      staticLocation: { lat: 48.86, lon: 2.33 },
      interfaces: [
        { connector: 'mqtt', enabled: 'true', definition: { clientId: 'moisture', encoding: 'myEncoding' } },
      ],
    };
    const { status, body } = await api.post<DeviceView>(DEVICES, given);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      name: 'mySensor001',
      description: 'moisture sensor',
      defaultDataStreamId: 'myStream',
      properties: given.properties,
      group: { id: lyon.body.id, path: '/france/lyon' },
      staticLocation: { lat: 48.86, lon: 2.33 },
      interfaces: [
        {
          connector: 'mqtt',
          nodeId: 'moisture',
          enabled: true,
          status: 'REGISTERED',
          definition: given.interfaces[0]!.definition,
        },
      ],
    });
    expect([...body.tags].sort()).toEqual(['Lyon', 'Test']);
    expect(body.staticLocation).not.toHaveProperty('alt');
    expect((await api.get(`${DEVICES}/${given.id}`)).body).toEqual(body);
    const byId = await api.post<DeviceView>(DEVICES, {
      id: 'urn:lo:nsid:sensor:byid',
      group: { id: lyon.body.id, path: '/elsewhere' },
    });
    expect(byId.body.group).toEqual({ id: lyon.body.id, path: '/france/lyon' });
  });

  it('keeps properties whatever they are called', async () => {
    const path = `${DEVICES}/urn:lo:nsid:sensor:names`;
    const properties = Object.fromEntries(
      ['toString', 'valueOf', 'then', 'length', 'é.à b'].map((name) => [name, name]),
    );
    await api.post(DEVICES, { id: 'urn:lo:nsid:sensor:names', properties });
    expect((await api.get<DeviceView>(path)).body.properties).toEqual(properties);
    const fewer = { hasOwnProperty: '', toJSON: 'x' };
    expect((await api.patch<DeviceView>(path, { properties: fewer })).body.properties).toEqual(fewer);
    expect((await api.patch<DeviceView>(path, { name: 'n' })).body.properties).toEqual(fewer);
  });

  it('DEV-008 DEV-018 names each field that has another shape', async () => {
    const id = 'urn:lo:nsid:sensor:wrong';
    const wrong: Array<[Record<string, unknown>, string]> = [
      [{ properties: { a: { b: 1 } } }, 'properties'],
      [{ properties: { a: 'nul\u0000' } }, 'properties'],
      [{ properties: ['a'] }, 'properties'],
      [{ tags: 'x' }, 'tags'],
      [{ tags: [1] }, 'tags'],
      [{ tags: ['\ud800'] }, 'tags'],
      [{ name: 5 }, 'name'],
      [{ name: 'a\u0000b' }, 'name'],
      [{ group: 'root' }, 'group'],
      [{ group: { id: 7 } }, 'group.id'],
      [{ defaultDataStreamId: 'a b' }, 'defaultDataStreamId'],
      [{ staticLocation: { lat: 91, lon: 0 } }, 'staticLocation'],
      [{ staticLocation: { lat: 0, lon: -181 } }, 'staticLocation'],
      [{ staticLocation: { lat: 1 } }, 'staticLocation'],
      [{ staticLocation: {} }, 'staticLocation'],
      [{ staticLocation: { lat: 'x', lon: 1 } }, 'staticLocation'],
      [{ staticLocation: { lat: 1, lon: 1, alt: 10_001 } }, 'staticLocation'],
      [{ interfaces: {} }, 'interfaces'],
      [{ interfaces: [{ connector: 'mqtt', definition: {} }] }, 'interfaces.0.definition.clientId'],
      [{ interfaces: [{ connector: 'mqtt' }] }, 'interfaces.0.definition'],
    ];
    for (const [fields, field] of wrong) {
      const { status, body } = await api.post(DEVICES, { id, ...fields });
      expect([fields, status]).toEqual([fields, 400]);
      expect(badFields(body)).toContain(field);
    }
    expect((await api.get(`${DEVICES}/${id}`)).status).toBe(404);
    const both = await api.post(DEVICES, { id, tags: 'x', name: 5 });
    expect(badFields(both.body)).toEqual(expect.arrayContaining(['tags', 'name']));
  });

  it('refuses a body that is too deep or too large to be checked', async () => {
    const id = 'urn:lo:nsid:bodies:1';
    for (const body of [
      `{"id":"${id}","properties":{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}}`,
      `{"id":"${id}","interfaces":[${'{},'.repeat(1_000_000)}{}]}`,
      `{"id":"${id}","tags":[${'"a",'.repeat(1_000_000)}"a"]}`,
    ])
      expect((await api.post(DEVICES, body)).status).toBe(400);
  });

  it('DEV-010 refuses an unknown group', async () => {
    const id = 'urn:lo:nsid:sensor:nowhere';
    for (const group of [{ path: '/nowhere' }, { id: 'nope00' }]) {
      const { status, body } = await api.post(DEVICES, { id, group });
      expect([status, body]).toEqual([
        404,
        expect.objectContaining({ code: 'DM_GROUP_NOT_FOUND', message: 'Group not found' }),
      ]);
    }
    expect((await api.get(`${DEVICES}/${id}`)).status).toBe(404);
  });

  it('DEV-011 refuses an existing id and leaves the device as it was', async () => {
    const id = 'urn:lo:nsid:sensor:twice';
    await api.post(DEVICES, { id, name: 'first' });
    const { status, body } = await api.post(DEVICES, { id, name: 'second' });
    expect([status, body]).toEqual([
      409,
      expect.objectContaining({ code: 'DM_DEVICE_DUPLICATE', message: 'Conflict on device id' }),
    ]);
    expect((await api.get<DeviceView>(`${DEVICES}/${id}`)).body.name).toBe('first');
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => api.post(DEVICES, { id: 'urn:lo:nsid:sensor:race' })),
    );
    expect(answers.map((answer) => answer.status).sort()).toEqual([200, ...Array.from({ length: 9 }, () => 409)]);
  });

  it('DEV-016 says 405 where an example of the manual is wrong', async () => {
    const id = 'urn:lo:nsid:a:b';
    const { status, body } = await api.post(`${DEVICES}/${id}`, { id });
    expect([status, errorCode(body)]).toEqual([405, 'METHOD_NOT_ALLOWED']);
    expect((await api.get(`${DEVICES}/${id}`)).status).toBe(404);
  });

  it('LIM-065 LIM-066 holds the limits of the offer', async () => {
    const small = apiClient(url, keys.grant('tenantSmall').value);
    const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `n${i}`);
    const properties = (count: number): Record<string, string> => Object.fromEntries(names(count).map((n) => [n, n]));
    const interfaces = (count: number): unknown[] =>
      names(count).map((clientId) => ({ connector: 'mqtt', definition: { clientId } }));
    const id = 'urn:lo:nsid:small:0';
    for (const over of [{ tags: names(11) }, { properties: properties(11) }, { interfaces: interfaces(6) }])
      expect((await small.post(DEVICES, { id, ...over })).status).toBe(400);
    const full = { id, tags: names(10), properties: properties(10), interfaces: interfaces(5) };
    expect((await small.post(DEVICES, full)).status).toBe(200);
    expect((await small.patch(`${DEVICES}/${id}`, { tags: names(11) })).status).toBe(400);
    // Nine more fit, however many ask at once.
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => small.post(DEVICES, { id: `urn:lo:nsid:small:${i + 1}` })),
    );
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(9);
    for (const { status, body } of answers.filter((answer) => answer.status !== 200))
      expect([status, errorCode(body)]).toEqual([403, 'GENERIC_QUOTA_EXCEEDED_ERROR']);
    expect((await small.delete(`${DEVICES}/${id}`)).status).toBe(204);
    expect((await small.post(DEVICES, { id })).status).toBe(200);
    expect((await small.post(DEVICES, { id: 'urn:lo:nsid:small:more' })).status).toBe(403);
  });
});

describe('reading, updating, deleting', () => {
  it('DEV-039 DEV-043 tells a malformed id from an unknown one', async () => {
    for (const call of [api.get, api.delete, (path: string) => api.patch(path, {})]) {
      const malformed = await call(`${DEVICES}/foo`);
      expect([malformed.status, errorCode(malformed.body)]).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
      const unknown = await call(`${DEVICES}/urn:lo:nsid:a:none`);
      expect([unknown.status, unknown.body]).toEqual([
        404,
        expect.objectContaining({ code: 'DM_DEVICE_NOT_FOUND', message: 'Device not found' }),
      ]);
    }
  });

  it('DEV-040 refuses an expired key', async () => {
    const expired = apiClient(url, keys.grant('tenantA', { to: 1 }).value);
    const { status, body } = await expired.get(`${DEVICES}/urn:lo:nsid:a:none`);
    expect([status, body]).toEqual([
      401,
      expect.objectContaining({ code: 'UNAUTHORIZED', message: 'Authentication failure.' }),
    ]);
  });

  it('DEV-019 GRP-005 changes what is sent, keeps the rest, and tells the connectors', async () => {
    const id = 'urn:lo:nsid:sensor:patched';
    const { body: before } = await api.post<DeviceView>(DEVICES, {
      id,
      name: 'old',
      tags: ['a'],
      interfaces: [{ connector: 'mqtt', definition: { clientId: 'patched' } }],
    });
    const located = await api.patch<DeviceView>(`${DEVICES}/${id}`, { staticLocation: { lat: 1, lon: 2, alt: 3 } });
    expect(located.status).toBe(200);
    expect(located.body).toEqual({
      ...before,
      staticLocation: { lat: 1, lon: 2, alt: 3 },
      updated: expect.any(String),
    });
    expect(located.body.updated > before.updated).toBe(true);
    await api.post('/api/v1/deviceMgt/groups', { pathNode: 'patched1' });
    await api.post('/api/v1/deviceMgt/groups', { pathNode: 'patched2' });
    for (const path of ['/patched1', '/patched2']) await api.patch(`${DEVICES}/${id}`, { group: { path } });
    const { body } = await api.patch<DeviceView>(`${DEVICES}/${id}`, {
      name: 'new',
      description: 'd',
      tags: ['b', 'c'],
      properties: { p: 'q' },
      defaultDataStreamId: 's',
    });
    expect(body).toMatchObject({
      name: 'new',
      description: 'd',
      tags: ['b', 'c'],
      properties: { p: 'q' },
      defaultDataStreamId: 's',
    });
    expect(body.group.path).toBe('/patched2');
    expect((await api.get(`${DEVICES}/${id}`)).body).toEqual(body);
    expect((await api.get<unknown[]>(`${DEVICES}?groupPath=/patched1`)).body).toEqual([]);
    await eventually(() => notices.filter((notice) => notice['deviceId'] === id).length === 4);
    expect(notices.find((notice) => notice['deviceId'] === id)).toEqual({
      tenantId: 'tenantA',
      deviceId: id,
      nodes: [{ connector: 'mqtt', nodeId: 'patched' }],
    });
    expect((await api.patch(`${DEVICES}/${id}`, { group: { path: '/nowhere' } })).status).toBe(404);
  });

  it('DEV-020 removes the static location', async () => {
    const id = 'urn:lo:nsid:sensor:moved';
    for (const staticLocation of [{}, null]) {
      await api.delete(`${DEVICES}/${id}`);
      await api.post(DEVICES, { id, staticLocation: { lat: 1, lon: 2 } });
      expect((await api.patch(`${DEVICES}/${id}`, { staticLocation })).status).toBe(200);
      expect((await api.get(`${DEVICES}/${id}`)).body).not.toHaveProperty('staticLocation');
    }
  });

  it('DEV-042 deletes a device with its interfaces', async () => {
    const id = 'urn:lo:nsid:sensor:deleted';
    const interfaces = [{ connector: 'mqtt', definition: { clientId: 'deleted' } }];
    await api.post(DEVICES, { id, interfaces });
    const { status, body } = await api.delete(`${DEVICES}/${id}`);
    expect([status, body]).toEqual([204, undefined]);
    expect((await api.get(`${DEVICES}/${id}`)).status).toBe(404);
    expect((await api.delete(`${DEVICES}/${id}`)).status).toBe(404);
    await eventually(() => notices.some((notice) => notice['deviceId'] === id));
    expect((await api.post(DEVICES, { id: `${id}2`, interfaces })).status).toBe(200);
  });

  it('reports what is created and deleted in the exact shapes of manual 15.4.3', async () => {
    const id = 'urn:lo:nsid:sensor:reported';
    await api.post(DEVICES, {
      id,
      tags: ['t'],
      interfaces: [{ connector: 'mqtt', definition: { clientId: 'reported' } }],
    });
    await api.delete(`${DEVICES}/${id}`);
    const mine = await eventually(() => {
      const found = events.filter(({ header, body }) => header['key'] === id && 'version' in body);
      return found.length === 2 ? found : undefined;
    });
    expect(mine).toEqual(
      ['deviceCreated', 'deviceDeleted'].map((type) => ({
        header: { tenantId: 'tenantA', type, key: id, connectors: ['mqtt'], groupPath: '/', tags: ['t'] },
        body: { type, version: 1, deviceId: id, timestamp: expect.stringMatching(ISO) },
      })),
    );
  });
});
