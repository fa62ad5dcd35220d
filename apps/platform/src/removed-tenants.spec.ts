import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect, type MqttClient } from 'mqtt';
import { deadSubject } from '@orrery/core/bus';
import { Database } from '@orrery/core/database';
import { encodeEntry } from '@orrery/core/messages';
import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  startBackend,
  type TestPlatform,
} from '@orrery/core/testing';
import { bootstrap, identity } from '@orrery/identity';
import { mqttPorts } from '@orrery/mqtt-connector';
import { services } from './services.js';

const VENDOR_KEY = 'the-key-of-the-vendor';
const PASSWORD = 'Aa1!aaaa';
const CUSTOMERS = '/api/v1/vendor/customers';
const MANY = 25_000;

let backend: Backend;
let platform: TestPlatform;
let vendor: ApiClient;
beforeAll(async () => {
  backend = await startBackend(services);
  platform = await backend.boot(services);
  vendor = apiClient(platform.url, VENDOR_KEY);
  const database = await Database.connect({ url: backend.config.DATABASE_URL, schema: identity.schema!, poolSize: 1 });
  await bootstrap(database, { ORRERY_BOOTSTRAP_LOGIN: 'admin', ORRERY_BOOTSTRAP_VENDOR_API_KEY: VENDOR_KEY });
  await database.close();
});
afterAll(() => backend.stop());

interface Customer {
  id: string;
  name: string;
  login: string;
  email: string;
  path: string;
  subscribe(displayName: string): Promise<number>;
  /** Removes the subscription to the option Disabled. @returns the status */
  enable(): Promise<number>;
  logIn(): Promise<{ status: number; body: { apiKey: { value: string; parentId: string } } }>;
}

async function newCustomer(name: string): Promise<Customer> {
  const login = `${name}-login`;
  const email = `${login}@example.com`;
  const { status, body } = await vendor.post<{ id: string }>(CUSTOMERS, { name, login, email });
  expect(status).toBe(201);
  const subscriptions = `/api/v1/vendor/bss/customers/${body.id}/subscriptions`;
  return {
    id: body.id,
    name,
    login,
    email,
    path: `${CUSTOMERS}/${body.id}`,
    subscribe: async (displayName) => (await vendor.post(`${subscriptions}?ruleDisplayName=${displayName}`)).status,
    async enable() {
      const all = (await vendor.get<Array<{ id: string; displayName: string }>>(subscriptions)).body;
      const { id } = all.find(({ displayName }) => displayName === 'Disabled')!;
      return (await vendor.delete(`${subscriptions}?ruleId=${id}`)).status;
    },
    logIn: () => apiClient(platform.url).post('/api/v0/auth', { login, password: PASSWORD }),
  };
}

/** Mails to this address: without SMTP server they are files in the data directory. */
async function mailsTo(address: string): Promise<string[]> {
  const folder = join(backend.config.ORRERY_DATA_DIR, 'mail');
  const files = await readdir(folder).catch(() => []);
  const texts = await Promise.all(files.map((file) => readFile(join(folder, file), 'utf8')));
  return texts.map((text) => text.replaceAll(/=\r?\n/g, '')).filter((text) => text.includes(`To: ${address}`));
}

/** Activates the customer and its main user. @returns the value of a key with all roles. */
async function activate(customer: Customer): Promise<string> {
  expect(await customer.subscribe('Unlimited')).toBe(201);
  const mail = await eventually(async () => (await mailsTo(customer.email))[0]);
  const tokenId = /"tokenId": "([\w-]+)"/.exec(mail)?.[1];
  const anybody = apiClient(platform.url);
  expect((await anybody.post('/api/v0/setpwd', { tokenId, password: PASSWORD })).status).toBe(200);
  const { body } = await customer.logIn();
  const session = apiClient(platform.url, body.apiKey.value);
  const { masterApiKeyId, ...me } = (await session.get<{ masterApiKeyId: string; id: string }>('/api/v0/tenants/me'))
    .body;
  expect(me.id).toBe(customer.id);
  const { roles } = (await session.get<{ roles: string[] }>(`/api/v0/apiKeys/${masterApiKeyId}`)).body;
  const key = await session.post<{ value: string }>('/api/v0/apiKeys', {
    parentId: masterApiKeyId,
    label: 'all',
    roles,
  });
  expect(key.status).toBe(200);
  return key.body.value;
}

async function device(clientId: string, password: string): Promise<MqttClient> {
  const client = connect({
    host: '127.0.0.1',
    port: mqttPorts(platform.app).plain,
    protocolVersion: 4,
    clientId,
    username: 'json+device',
    password,
    reconnectPeriod: 0,
  });
  await new Promise<void>((resolve, reject) => {
    client.once('connect', () => resolve());
    client.once('error', reject);
  });
  return client;
}

const statusOf = async (key: string): Promise<number> =>
  (await apiClient(platform.url, key).get('/api/v0/tenants/me')).status;

const orderedAgo = (id: string, ago: string): Promise<unknown> =>
  backend.query('UPDATE identity.tenants SET deletion_ordered = now() - $2::interval WHERE id = $1', [id, ago]);

/** Rows that contain this text, of every table of every schema. */
async function rowsWith(text: string): Promise<Record<string, number>> {
  const tables = await backend.query<{ name: string }>(
    `SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1`,
  );
  const rows: Record<string, number> = {};
  for (const { name } of tables) {
    const [found] = await backend.query<{ count: string }>(
      `SELECT count(*) FROM ${name} t WHERE t::text LIKE '%' || $1 || '%'`,
      [text],
    );
    if (found!.count !== '0') rows[name] = Number(found!.count);
  }
  return rows;
}

const fifoMessages = async (fifoId: number): Promise<number> =>
  (await backend.query('SELECT FROM routing.fifo_messages WHERE fifo_id = $1', [fifoId])).length;

async function deadLetters(tenantId: string): Promise<number> {
  const bus = await backend.bus();
  const { state } = await bus.jsm.streams.info('DEAD', { subjects_filter: deadSubject(tenantId) });
  return state.subjects?.[deadSubject(tenantId)] ?? 0;
}

/** Leaves something of the tenant in every service. @returns the id of its FIFO, with messages in it */
async function fill(tenantId: string, key: string): Promise<number> {
  const api = apiClient(platform.url, key);
  const group = await api.post<{ id: string }>('/api/v1/deviceMgt/groups', { pathNode: 'site' });
  expect(group.status).toBe(201);
  const inner = await api.post('/api/v1/deviceMgt/groups', { pathNode: 'hall', parentId: group.body.id });
  expect(inner.status).toBe(201);
  const created = await api.post('/api/v1/deviceMgt/devices', {
    id: 'urn:lo:nsid:mqtt:machine',
    tags: ['a'],
    properties: { p: 'q' },
    group: { id: group.body.id },
    interfaces: [{ connector: 'mqtt', enabled: true, definition: { clientId: 'machine' } }],
  });
  expect(created.status).toBe(200);
  expect((await api.post('/api/v0/topics/fifo', { name: 'queue' })).status).toBe(200);
  const policy = await api.post('/api/v1/event2action/actionPolicies', {
    enabled: true,
    triggers: { dataMessage: { version: 1 } },
    actions: { fifoPublish: [{ fifoName: 'queue' }] },
  });
  expect(policy.status).toBe(200);
  expect((await api.put('/api/v0/tenants/me/settings/portal', { dark: true })).status).toBe(200);
  const user = { login: `${tenantId}-second`, email: 'second@example.com', roles: ['DEVICE_R'] };
  expect((await api.post('/api/v0/users', user)).status).toBe(200);
  const client = await device('machine', key);
  await client.publishAsync('dev/data', JSON.stringify({ value: { temperature: 20 } }), { qos: 1 });
  await client.publishAsync('dev/data', 'no JSON', { qos: 1 });
  await client.endAsync();
  for (const stream of ['one', 'two'])
    expect((await api.post(`/api/v0/data/streams/${stream}`, { value: { n: 1 } })).status).toBe(202);
  await eventually(async () => (await api.get<unknown[]>('/api/v0/data/streams/two')).body.length === 1);
  await eventually(async () => (await api.get<unknown[]>('/api/v0/auditlog/messages')).body.length > 0);
  // More than goes in one statement.
  await backend.query(
    `INSERT INTO audit.messages (tenant_id, id, timestamp, entry)
     SELECT $1, 'many' || n, now(), '{}' FROM generate_series(1, ${MANY}) n`,
    [tenantId],
  );
  const [fifo] = await backend.query<{ id: number }>('SELECT id FROM routing.fifos WHERE tenant_id = $1', [tenantId]);
  await eventually(async () => (await fifoMessages(fifo!.id)) >= 3);
  // What nobody can handle.
  const bus = await backend.bus();
  await bus.js.publish('ready.0', encodeEntry([{ header: JSON.stringify({ tenantId }), body: 'no JSON' }]));
  await eventually(async () => (await deadLetters(tenantId)) > 0);
  return fifo!.id;
}

describe('a customer that is not active', () => {
  it('TEN-007 cannot be used, and its people get no mail', async () => {
    const customer = await newCustomer('waiting');
    // Nobody is told the value of the master key: it gets one that is known here.
    const master = 'master-of-waiting';
    await backend.query(
      `UPDATE identity.api_keys SET hash = encode(sha256($2::bytea), 'hex') WHERE tenant_id = $1 AND parent_id IS NULL`,
      [customer.id, master],
    );
    const login = await customer.logIn();
    expect([login.status, login.body]).toEqual([401, expect.objectContaining({ code: 'UNAUTHORIZED' })]);
    const refused = await apiClient(platform.url, master).get<{ code: string }>('/api/v0/tenants/me');
    expect([refused.status, refused.body.code]).toEqual([401, 'UNAUTHORIZED']);
    await expect(device('waiting', master)).rejects.toMatchObject({ code: 4 });
    // Somebody who is activated later has got a mail by then.
    await activate(await newCustomer('active'));
    expect(await mailsTo(customer.email)).toEqual([]);
    await customer.subscribe('Standard');
    await eventually(async () => (await statusOf(master)) === 200);
    await eventually(async () => (await mailsTo(customer.email)).length === 1);
    const client = await device('waiting', master);
    await client.endAsync();
  });

  it('TEN-030 loses its keys and its MQTT sessions as soon as it is deactivated', async () => {
    const customer = await newCustomer('stopped');
    const key = await activate(customer);
    const client = await device('stopped', key);
    const closed = new Promise((resolve) => client.once('close', () => resolve(true)));
    expect(await customer.subscribe('Disabled')).toBe(201);
    const { body } = await vendor.get<{ status: string }>(customer.path);
    expect(body.status).toBe('DEACTIVATED');
    await closed;
    await eventually(async () => (await statusOf(key)) === 401);
    await expect(device('stopped', key)).rejects.toMatchObject({ code: 4 });
    expect((await customer.logIn()).status).toBe(401);
  });

  it('TEN-033 has all its people and devices again when it is activated within the week', async () => {
    const customer = await newCustomer('returning');
    const key = await activate(customer);
    const api = apiClient(platform.url, key);
    const id = 'urn:lo:nsid:mqtt:kept';
    expect((await api.post('/api/v1/deviceMgt/devices', { id })).status).toBe(200);
    await customer.subscribe('Disabled');
    expect((await vendor.delete(customer.path)).status).toBe(204);
    await orderedAgo(customer.id, '6 days 23 hours');
    expect(await customer.enable()).toBe(204);
    expect((await vendor.get<object>(customer.path)).body).toMatchObject({ status: 'ACTIVATED' });
    // Eight days after the order others go, which shows that the job has run.
    const gone = await newCustomer('gone');
    await vendor.delete(gone.path);
    await orderedAgo(gone.id, '8 days');
    await eventually(async () => (await vendor.get(gone.path)).status === 404);
    expect((await customer.logIn()).status).toBe(200);
    await eventually(async () => (await statusOf(key)) === 200);
    expect((await api.get(`/api/v1/deviceMgt/devices/${id}`)).status).toBe(200);
  });
});

describe('a removed customer', () => {
  it('TEN-032 leaves nothing after its week in any service, and others keep everything', async () => {
    const [leaving, staying] = [await newCustomer('leaving'), await newCustomer('staying')];
    const [leavingKey, stayingKey] = [await activate(leaving!), await activate(staying!)];
    const [leavingFifo, stayingFifo] = [await fill(leaving!.id, leavingKey), await fill(staying!.id, stayingKey)];
    const before = await rowsWith(leaving!.id);
    expect(Object.keys(before)).toEqual(
      expect.arrayContaining([
        'audit.messages',
        'device_manager.devices',
        'device_manager.groups',
        'device_manager.interfaces',
        'identity.api_keys',
        'identity.bss_subscriptions',
        'identity.tenants',
        'identity.user_settings',
        'identity.users',
        'routing.action_policies',
        'routing.fifos',
      ]),
    );
    expect(Object.keys(before).filter((table) => table.startsWith('store.messages'))).toHaveLength(1);

    await leaving!.subscribe('Disabled');
    expect((await vendor.delete(leaving!.path)).status).toBe(204);
    await orderedAgo(leaving!.id, '6 days 23 hours');
    expect((await vendor.get(leaving!.path)).status).toBe(200);
    expect((await leaving!.logIn()).status).toBe(401);
    const kept = await eventually(async () => {
      // What is on its way to be published comes and goes.
      const {
        'identity.outbox': _i,
        'routing.outbox': _r,
        'device_manager.outbox': _d,
        ...rows
      } = await rowsWith(staying!.id);
      return rows['audit.messages']! > MANY && rows;
    });
    const keptMessages = await fifoMessages(stayingFifo!);

    await orderedAgo(leaving!.id, '7 days');
    await eventually(async () => (await vendor.get(leaving!.path)).status === 404);
    await eventually(async () => {
      expect(await rowsWith(leaving!.id)).toEqual({ 'identity.removed_tenants': 1 });
      return true;
    });
    expect(await fifoMessages(leavingFifo!)).toBe(0);
    expect(await deadLetters(leaving!.id)).toBe(0);
    expect(await statusOf(leavingKey)).toBe(403);

    expect(await rowsWith(staying!.id)).toMatchObject(kept);
    expect(await fifoMessages(stayingFifo!)).toBe(keptMessages);
    expect(await deadLetters(staying!.id)).toBeGreaterThan(0);
    const api = apiClient(platform.url, stayingKey);
    expect((await api.get('/api/v1/deviceMgt/devices/urn:lo:nsid:mqtt:machine')).status).toBe(200);
    const { name, login, email } = leaving!;
    expect((await vendor.post(CUSTOMERS, { name, login, email })).status).toBe(201);

    // What arrives late goes too, also when it comes while nobody runs; an hour later nobody looks for it any more.
    await platform.close();
    await backend.query(
      `INSERT INTO audit.messages (tenant_id, id, timestamp, entry) VALUES ($1, 'late', now(), '{}')`,
      [leaving!.id],
    );
    platform = await backend.boot(services);
    vendor = apiClient(platform.url, VENDOR_KEY);
    await eventually(async () => Object.keys(await rowsWith(leaving!.id)).length === 1);
    const seq = async (): Promise<number> => {
      const [row] = await backend.query<{ seq: string }>('SELECT seq FROM audit.tenant_removal');
      return Number(row!.seq);
    };
    expect(await seq()).toBe(0);
    await backend.query(`UPDATE identity.removed_tenants SET removed = removed - interval '2 hours'`);
    await platform.close();
    platform = await backend.boot(services);
    const [last] = await backend.query<{ seq: string }>('SELECT max(seq) AS seq FROM identity.removed_tenants');
    await eventually(async () => (await seq()) === Number(last!.seq));
  });
});
