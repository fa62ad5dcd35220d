import { once } from 'node:events';
import { connect } from 'node:net';
import mqttPacket from 'mqtt-packet';
import { loadConfig } from '@orrery/core/config';
import { Bus, callRpc } from '@orrery/core/bus';
import type { Role } from '@orrery/core/auth';
import { type SectionContents, UNLIMITED_CONTENTS } from '@orrery/core/limits';
import { createLogger } from '@orrery/core/telemetry';
import { type ApiClient, apiClient, eventually } from '@orrery/core/testing';
import { certificateAuthority } from '@orrery/core/testing/certificates';
import { createTenant } from '@orrery/identity/contract';
import { type EndToEnd, received, startEndToEnd } from './platform.js';

type Json = Record<string, unknown>;
interface CreatedKey {
  id: string;
  value: string;
}
const DEVICES = '/api/v1/deviceMgt/devices';
const FIFOS = '/api/v0/topics/fifo';
const POLICIES = '/api/v1/event2action/actionPolicies';

// What API keys may do over REST and MQTT, what the audit log says of it, and what tenants see of each other: nothing.

let e2e: EndToEnd;
let masterKeyId: string;
beforeAll(async () => {
  e2e = await startEndToEnd();
  const { body } = await e2e.api.get<{ data: Array<{ id: string; masterKey: boolean }> }>('/api/v0/apiKeys');
  masterKeyId = body.data.find((key) => key.masterKey)!.id;
});
afterAll(() => e2e.stop());

const grant = async (roles: Role[], more: Json = {}): Promise<CreatedKey> => {
  const key = await e2e.api.post<CreatedKey>('/api/v0/apiKeys', { parentId: masterKeyId, label: 'k', roles, ...more });
  expect(key.status).toBe(200);
  return key.body;
};
const rest = (key: CreatedKey): ApiClient => apiClient(e2e.platform.httpUrl, key.value);
const createFifo = async (name: string, api = e2e.api): Promise<void> =>
  expect((await api.post(FIFOS, { name })).status).toBe(200);
const fifoLength = async (name: string): Promise<unknown> =>
  (await e2e.api.get<Json>(`${FIFOS}/${name}`)).body['messages'];
const stored = (streamId: string, count: number, api = e2e.api): Promise<Json[]> =>
  eventually(async () => {
    const { body } = await api.get<Json[]>(`/api/v0/data/streams/${streamId}`);
    return body.length === count && body;
  });
const audited = async (filter: string, api = e2e.api): Promise<Json[]> =>
  (await api.get<Json[]>(`/api/v0/auditlog/messages?${filter}`)).body;

/** @returns the value of its master key. */
async function createAccount(name: string, settings: SectionContents): Promise<string> {
  const config = loadConfig(e2e.process('edge').env);
  const bus = await Bus.connect({
    url: config.NATS_URL,
    name: 'e2e',
    partitions: config.ORRERY_PARTITIONS,
    leaseTtlMs: config.ORRERY_LEASE_TTL_MS,
    logger: createLogger('e2e', 'silent'),
  });
  try {
    return (await callRpc(bus, createTenant, { name, settings })).masterKey;
  } finally {
    await bus.close();
  }
}

describe('API keys', () => {
  it('API-001 open both versions of the REST API', async () => {
    expect((await e2e.api.get(FIFOS)).status).toBe(200);
    expect((await e2e.api.get(DEVICES)).status).toBe(200);
  });

  it('are checked before roles, roles before parameters, parameters before existence, and that before conflicts', async () => {
    const known = { id: 'urn:lo:nsid:order:1' };
    expect((await e2e.api.post(DEVICES, known)).status).toBe(200);
    const malformed = { id: 'no urn', tags: 1 };
    const refused = (code: string, status: number): Json => ({ status, body: expect.objectContaining({ code }) });
    const roleless = rest(await grant([]));
    const invalid = refused('GENERIC_INVALID_PARAMETER_ERROR', 400);
    expect(await apiClient(e2e.platform.httpUrl).post(DEVICES, malformed)).toMatchObject(refused('FORBIDDEN', 403));
    for (const body of [malformed, '{', known])
      expect(await roleless.post(DEVICES, body)).toMatchObject(refused('GENERIC_ACTION_FORBIDDEN_ERROR', 403));
    expect(await e2e.api.get(`${DEVICES}/no-urn`)).toMatchObject(invalid);
    expect(await e2e.api.patch(`${DEVICES}/urn:lo:nsid:order:unknown`, { tags: 1 })).toMatchObject(invalid);
    expect(await e2e.api.post(DEVICES, { ...known, tags: 1 })).toMatchObject(invalid);
    expect(await e2e.api.post(DEVICES, { ...known, group: { id: 'unknown' } })).toMatchObject({ status: 404 });
    expect(await e2e.api.post(DEVICES, known)).toMatchObject(refused('DM_DEVICE_DUPLICATE', 409));
  });

  it('ACC-047 ACC-048 are the password over MQTT, and are known by their id alone', async () => {
    const socket = connect(e2e.platform.mqttPort, '127.0.0.1');
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    const password = Buffer.from('no-such-key');
    socket.write(mqttPacket.generate({ cmd: 'connect', clientId: 'guess', username: 'json+device', password }));
    await once(socket, 'end');
    expect(Buffer.concat(chunks)).toEqual(Buffer.of(0x20, 2, 0, 4));
    expect((await e2e.api.get(`${DEVICES}/urn:lo:nsid:mqtt:guess`)).status).toBe(404);

    const key = await grant(['DEVICE_ACCESS']);
    const client = await e2e.device('known', { password: key.value });
    await client.publishAsync('dev/data', '{"value":{"n":1}}', { qos: 1 });
    const messages = await stored('urn:lo:nsid:mqtt:known', 1);
    const device = await eventually(async () => {
      const { body } = await e2e.api.get<{ interfaces: Json[] }>(`${DEVICES}/urn:lo:nsid:mqtt:known`);
      return body.interfaces[0]!['status'] === 'ONLINE' && body;
    });
    expect(device.interfaces[0]!['activity']).toMatchObject({ apiKeyId: key.id });
    const rows = await e2e.query(`SELECT * FROM store.messages WHERE stream_id = 'urn:lo:nsid:mqtt:known'`);
    expect(rows).toHaveLength(1);
    expect(JSON.stringify([messages, device, rows])).not.toContain(key.value);
    await client.endAsync();
  });

  it('ACC-040 open nothing but device mode with DEVICE_ACCESS alone', async () => {
    const { value } = await grant(['DEVICE_ACCESS']);
    const device = await e2e.device('device-access', { password: value });
    await device.endAsync();
    for (const username of ['connector', 'application'])
      await expect(e2e.mqtt({ clientId: 'x', username, password: value, secure: true })).rejects.toMatchObject({
        code: 4,
      });
    const { body } = await e2e.api.get<{ paths: Record<string, Record<string, { 'x-roles'?: Role[] }>> }>(
      '/swagger-ui-json',
    );
    const guarded = Object.entries(body.paths).flatMap(([path, methods]) =>
      Object.entries(methods)
        .filter(([, { 'x-roles': roles = [] }]) => roles.length > 0 && !roles.includes('DEVICE_ACCESS'))
        .map(([method]) => [method.toUpperCase(), path.replaceAll(/\{\w+\}/g, 'x')] as const),
    );
    expect(guarded.length).toBeGreaterThan(20);
    for (const [method, path] of guarded) {
      const headers = { 'x-api-key': value };
      const { status } = await fetch(e2e.platform.httpUrl + path, { method, headers });
      expect([method, path, status]).toEqual([method, path, 403]);
    }
  });

  it('MQT-041 that are tied to CA certificates open MQTT to certified clients alone', async () => {
    const authority = await certificateAuthority('CN=Acme CA');
    const registered = await e2e.api.post<{ id: string }>('/api/v0/certificates/ca', { certificate: authority.pem });
    const { id, value: password } = await grant(['DEVICE_ACCESS']);
    const clientCert = { caCertIds: [registered.body.id], required: true };
    expect((await e2e.api.post(`/api/v0/apiKeys/${id}`, { clientCert })).status).toBe(200);
    expect((await e2e.api.get<Json>(`/api/v0/apiKeys/${id}`)).body).toMatchObject({ clientCert });
    const options = { clientId: 'certified', username: 'json+device', password, secure: true };
    await expect(e2e.mqtt(options)).rejects.toMatchObject({ code: 5 });
    const client = await e2e.mqtt({ ...options, ...(await authority.issue('CN=certified')) });
    await client.publishAsync('dev/data', '{"value":{"n":1}}', { qos: 1 });
    await stored('urn:lo:nsid:mqtt:certified', 1);
    await client.endAsync();
  });

  it('ACC-042 read the bus with BUS_R, write it with BUS_W, and publish data with DATA_W', async () => {
    await createFifo('f1');
    await expect(e2e.application((await grant(['LOGS_R'])).value)).rejects.toMatchObject({ code: 4 });

    const reader = await e2e.application((await grant(['BUS_R'])).value, { clientId: 'reader' });
    expect(await reader.subscribeAsync('fifo/f1', { qos: 1 })).toEqual([{ topic: 'fifo/f1', qos: 1 }]);
    const read = received(reader);
    const data = (n: number): string => JSON.stringify({ streamId: 'published', value: { n } });
    await reader.publishAsync('application/v1/data', data(1), { qos: 1 });
    await reader.publishAsync('fifo/f1', data(1), { qos: 1 });

    const writer = await e2e.application((await grant(['BUS_R', 'BUS_W'])).value, { clientId: 'writer' });
    await writer.publishAsync('application/v1/data', data(2), { qos: 1 });
    await writer.publishAsync('fifo/f1', data(2), { qos: 1 });
    await eventually(() => read.length === 1);
    expect(read[0]!.payload).toEqual({ streamId: 'published', value: { n: 2 } });

    // What had been stored would stand before it in the same stream.
    const injector = await e2e.application((await grant(['DATA_W'])).value, { clientId: 'injector' });
    await injector.publishAsync('application/v1/data', data(3), { qos: 1 });
    expect(await stored('published', 1)).toMatchObject([{ value: { n: 3 } }]);
    await Promise.all([reader.endAsync(), writer.endAsync(), injector.endAsync()]);
  });

  it('ACC-045 FIF-014 reach the FIFOs of their scope, as it is when they subscribe', async () => {
    await createFifo('scoped-1');
    await createFifo('scoped-2');
    const key = await grant(['BUS_R'], { scope: { fifos: ['scoped-1'] } });
    const application = await e2e.application(key.value);
    const granted = async (fifo: string): Promise<number> =>
      application.subscribeAsync(`fifo/${fifo}`, { qos: 1 }).then(
        ([each]) => each!.qos,
        (error: { packet: { granted: number[] } }) => error.packet.granted[0]!,
      );
    expect(await granted('scoped-1')).toBe(1);
    expect(await granted('scoped-2')).toBe(0x80);
    expect((await e2e.api.post(`/api/v0/apiKeys/${key.id}`, { scope: { fifos: [] } })).status).toBe(200);
    // The change reaches the connector by the bus, a moment after it was answered.
    await eventually(async () => (await granted('scoped-2')) === 1);
    expect(application.connected).toBe(true);
    await application.endAsync();
    // Without a scope there is no restriction either.
    const free = await e2e.application((await grant(['BUS_R'])).value);
    for (const name of ['scoped-1', 'scoped-2']) await free.subscribeAsync(`fifo/${name}`, { qos: 1 });
    await free.endAsync();
  });
});

describe('the audit log', () => {
  it('AUD-011 has refused connections of known keys', async () => {
    const roleless = await grant([]);
    await e2e.api.post(DEVICES, {
      id: 'urn:lo:nsid:audit:off',
      interfaces: [{ connector: 'mqtt', enabled: false, definition: { clientId: 'refused-off' } }],
    });
    await expect(e2e.device('refused-unknown', { password: 'no-such-key' })).rejects.toMatchObject({ code: 4 });
    await expect(e2e.device('refused-name', { username: 'foo' })).rejects.toMatchObject({ code: 4 });
    await expect(e2e.device('refused-role', { password: roleless.value })).rejects.toMatchObject({ code: 4 });
    await expect(e2e.device('refused-off')).rejects.toMatchObject({ code: 5 });
    for (const nodeId of ['refused-name', 'refused-role', 'refused-off'])
      expect(
        await eventually(async () => {
          const entries = await audited(`source.nodeId=${nodeId}`);
          return entries.length > 0 && entries;
        }),
      ).toMatchObject([{ level: 'error', category: 'connectivity', subcategory: 'mqtt' }]);
    // It was refused first: an entry would be there by now.
    expect(await e2e.query(`SELECT 1 FROM audit.messages WHERE entry::text LIKE '%refused-unknown%'`)).toEqual([]);
  });

  it('AUD-013 has connections and disconnections in the debug mode of the key alone', async () => {
    const key = await grant(['DEVICE_ACCESS']);
    const session = async (clientId: string): Promise<void> => {
      const client = await e2e.device(clientId, { password: key.value });
      await client.endAsync();
    };
    const debug = async (activated: boolean): Promise<void> =>
      expect((await e2e.api.put(`/api/v0/apiKeys/${key.id}/debugMode`, { activated })).status).toBe(200);
    const entries = (): Promise<Json[]> => audited(`source.apiKeyId=${key.id}`);

    await session('quiet');
    await debug(true);
    // The change reaches the connector by the bus, a moment after it was answered.
    let sessions = 0;
    const logged = await eventually(async () => {
      await session(`debugged-${++sessions}`);
      // Not too many sessions: their entries are capped.
      return eventually(async () => {
        const found = await audited(`source.nodeId=debugged-${sessions}`);
        return found.length === 2 && found;
      }, 5000);
    });
    expect(logged.map(({ type }) => type).toSorted()).toEqual(['connected', 'disconnected']);
    for (const entry of logged)
      expect(entry).toMatchObject({ level: 'info', category: 'connectivity', subcategory: 'mqtt' });
    expect((await entries()).filter(({ source }) => (source as Json)['nodeId'] === 'quiet')).toEqual([]);
  });
});

describe('an account without another offer', () => {
  it('LIM-064 has at most ten devices, however they are registered', async () => {
    const password = await createAccount('ten devices', {
      http: { rateLimiting: false },
      mqtt: { rateLimiting: false },
    });
    const api = apiClient(e2e.platform.httpUrl, password);
    for (let i = 1; i <= 10; i++) expect((await api.post(DEVICES, { id: `urn:lo:nsid:ten:${i}` })).status).toBe(200);
    const eleventh = await api.post(DEVICES, { id: 'urn:lo:nsid:ten:11' });
    expect(eleventh).toMatchObject({ status: 403, body: { code: 'GENERIC_QUOTA_EXCEEDED_ERROR' } });
    await expect(e2e.device('eleventh', { password })).rejects.toMatchObject({ code: 5 });
    const entries = await eventually(async () => {
      const found = await audited('', api);
      return found.length > 0 && found;
    });
    expect(entries.map(({ type, level }) => [type, level])).toEqual([['connection_refused', 'error']]);
    expect((await api.get<Json[]>(DEVICES)).body).toHaveLength(10);
  });
});

describe('two tenants', () => {
  const id = 'urn:lo:nsid:iso:1';
  let a: ApiClient;
  let b: ApiClient;
  let keyOfB: string;
  beforeAll(async () => {
    keyOfB = await createAccount('second', UNLIMITED_CONTENTS);
    [a, b] = [e2e.api, apiClient(e2e.platform.httpUrl, keyOfB)];
  });

  it('ACC-002 ACC-003 have devices of the same id, and none of the other', async () => {
    const register = (api: ApiClient, name: string) =>
      api.post(DEVICES, { id, name, interfaces: [{ connector: 'mqtt', definition: { clientId: 'iso' } }] });
    const nameOf = async (api: ApiClient): Promise<unknown> => (await api.get<Json>(`${DEVICES}/${id}`)).body['name'];
    const absent = { status: 404, body: { code: 'DM_DEVICE_NOT_FOUND' } };
    expect((await register(a, 'of A')).status).toBe(200);
    expect(await b.get(`${DEVICES}/${id}`)).toMatchObject(absent);
    expect(await b.patch(`${DEVICES}/${id}`, { name: 'stolen' })).toMatchObject(absent);
    expect(await b.delete(`${DEVICES}/${id}`)).toMatchObject(absent);
    expect((await b.get<Json[]>(DEVICES)).body).toEqual([]);
    expect(await nameOf(a)).toBe('of A');

    expect((await register(b, 'of B')).status).toBe(200);
    expect((await b.patch(`${DEVICES}/${id}`, { name: 'changed by B' })).status).toBe(200);
    expect([await nameOf(a), await nameOf(b)]).toEqual(['of A', 'changed by B']);
    expect((await b.get<Json[]>(DEVICES)).body).toHaveLength(1);
    expect((await b.get(`/api/v0/apiKeys/${masterKeyId}`)).status).toBe(404);
  });

  it('ACC-002 ACC-003 have sessions, streams and FIFOs of the same names, each with its own messages', async () => {
    const policy = {
      enabled: true,
      triggers: { dataMessage: { version: 1, filter: { deviceIds: [id] } } },
      actions: { fifoPublish: [{ fifoName: 'common' }] },
    };
    await createFifo('common', a);
    expect((await b.get(`${FIFOS}/common`)).status).toBe(404);
    const stranger = await e2e.application(keyOfB, { clientId: 'same' });
    await expect(stranger.subscribeAsync('fifo/common', { qos: 1 })).rejects.toThrow();
    await stranger.endAsync();
    await createFifo('common', b);
    const policies = [await a.post<Json>(POLICIES, policy), await b.post<Json>(POLICIES, policy)];
    expect(policies.map(({ status }) => status)).toEqual([200, 200]);
    expect((await b.get(`${POLICIES}/${String(policies[0]!.body['id'])}`)).status).toBe(404);

    const tenants = [
      { api: a, key: e2e.apiKey, name: 'A', count: 3 },
      { api: b, key: keyOfB, name: 'B', count: 2 },
    ];
    const clients = await Promise.all(
      tenants.map(async ({ key }) => {
        const application = await e2e.application(key, { clientId: 'same' });
        const messages = received(application);
        await application.subscribeAsync('fifo/common', { qos: 1 });
        return { application, messages, device: await e2e.device('iso', { password: key }) };
      }),
    );
    for (const [i, { name, count }] of tenants.entries())
      for (let n = 0; n < count; n++)
        await clients[i]!.device.publishAsync(
          'dev/data',
          JSON.stringify({ streamId: 'common', value: { name, n }, tags: ['iso'] }),
          { qos: 1 },
        );
    await eventually(() => clients.every(({ messages }, i) => messages.length >= tenants[i]!.count));
    for (const [i, { api, name, count }] of tenants.entries()) {
      const own = Array.from({ length: count }, (_, n) => ({ name, n }));
      const { messages, application, device } = clients[i]!;
      expect((await stored('common', count, api)).map(({ value }) => value)).toEqual(own.toReversed());
      expect(messages.map(({ payload }) => payload['value'])).toEqual(own);
      // Neither session was taken for the other.
      expect([application.connected, device.connected]).toEqual([true, true]);
    }
    const [ofA] = await stored('common', 3, a);
    expect((await b.get(`/api/v0/data/streams/common?bookmarkId=${String(ofA!['id'])}`)).status).toBe(400);
    await eventually(async () => (await fifoLength('common')) === 0);

    // B's end is not A's.
    await Promise.all([clients[1]!.application.endAsync(), clients[1]!.device.endAsync()]);
    expect((await b.delete(`${FIFOS}/common`)).status).toBe(200);
    expect((await b.delete(`${DEVICES}/${id}`)).status).toBe(204);
    await clients[0]!.device.publishAsync('dev/data', JSON.stringify({ value: { name: 'A', n: 3 } }), { qos: 1 });
    await eventually(() => clients[0]!.messages.length === 4);
    await Promise.all([clients[0]!.application.endAsync(), clients[0]!.device.endAsync()]);
  });

  it('AUD-007 have audit logs of their own', async () => {
    for (const [key, topic] of [
      [e2e.apiKey, 'secret/of/A'],
      [keyOfB, 'secret/of/B'],
    ] as const) {
      const client = await e2e.device('clumsy', { password: key });
      await client.publishAsync(topic, '{}', { qos: 1 });
      await client.endAsync();
    }
    for (const [api, own, other] of [
      [a, 'A', 'B'],
      [b, 'B', 'A'],
    ] as const) {
      const entries = await eventually(async () => {
        const found = await audited('source.nodeId=clumsy', api);
        return found.length > 0 && found;
      });
      expect(entries).toMatchObject([{ content: { topic: `secret/of/${own}` } }]);
      for (const filter of [`@any=secret/of/${other}`, `content.topic=secret/of/${other}`, 'limit=1000'])
        expect(JSON.stringify(await audited(filter, api))).not.toContain(`secret/of/${other}`);
    }
  });
});
