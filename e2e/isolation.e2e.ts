import { randomBytes, randomUUID } from 'node:crypto';
import { type Role, ROLES } from '@orrery/core/auth';
import { type ApiAnswer, type ApiClient, apiClient, eventually } from '@orrery/core/testing';
import { createCustomer, type Customer, logIn } from './customers.js';
import { type Operation, operations, type Things } from './operations.js';
import { type EndToEnd, received, startEndToEnd } from './platform.js';

type Json = Record<string, unknown>;

interface Documented {
  'x-roles'?: Role[];
  'x-account-types'?: string[];
  'x-public'?: true;
  description?: string;
}

let e2e: EndToEnd;
let a: Customer;
let b: Customer;
/** Keys of tenant A that hold all roles but one. */
const lacking = new Map<Role, ApiClient>();
let things: Things;
let vendorA: ApiClient;
let vendorB: ApiClient;
let documented: Map<string, Documented>;

const named = Object.entries(operations).map(([name, operation]) => ({ name, ...operation }));
const guarded = named.filter((operation) => !operation.public);
const owned = guarded.filter((operation) => operation.stranger !== 'nobody');

beforeAll(async () => {
  e2e = await startEndToEnd();
  vendorA = apiClient(e2e.platform.httpUrl, e2e.platform.vendorApiKey);
  a = await createCustomer(e2e, vendorA, 'isolated-a');
  b = await createCustomer(e2e, vendorA, 'isolated-b');
  vendorB = await secondVendor();
  for (const role of ROLES) {
    const roles = ROLES.filter((each) => each !== role);
    lacking.set(role, apiClient(e2e.platform.httpUrl, (await a.createKey({ roles })).value));
  }
  things = await fill(a);
  const document = (await (await fetch(`${e2e.platform.httpUrl}/swagger-ui-json`)).json()) as {
    paths: Record<string, Record<string, Documented>>;
  };
  documented = new Map(
    Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => [`${method.toUpperCase()} ${path}`, operation] as const),
    ),
  );
});
afterAll(() => e2e?.stop());

describe('Every operation of the REST API', () => {
  it('is in the table of required roles with the roles that its description names', () => {
    const stated = Object.fromEntries(
      [...documented].map(([name, { 'x-roles': roles = [], 'x-account-types': accounts, 'x-public': isPublic }]) => [
        name,
        { roles, ...(accounts ? { accounts } : {}), ...(isPublic ? { public: true } : {}) },
      ]),
    );
    const expected = Object.fromEntries(
      named.map(({ name, roles, accounts, public: isPublic }) => [
        name,
        { roles, ...(accounts ? { accounts } : {}), ...(isPublic ? { public: true } : {}) },
      ]),
    );
    expect(stated).toEqual(expected);
    for (const [name, { 'x-roles': roles = [], description }] of documented)
      for (const role of roles)
        expect({ name, description }).toMatchObject({ description: expect.stringContaining(role) });
  });

  it('is open to the role of its family alone', async () => {
    const lists: Partial<Record<Role, string>> = {
      API_KEY_R: '/api/v0/apiKeys',
      USER_R: '/api/v0/users',
      SETTINGS_R: '/api/v0/tenants/me/settings',
      DEVICE_R: '/api/v1/deviceMgt/devices',
      DATA_R: `/api/v0/data/streams/${things.streamId}`,
      DATA_PROCESSING_R: '/api/v1/event2action/actionPolicies',
      BUS_CONFIG_R: '/api/v0/topics/fifo',
      LOGS_R: '/api/v0/auditlog/messages',
    };
    for (const role of ROLES) {
      const api = apiClient(e2e.platform.httpUrl, (await a.createKey({ roles: [role] })).value);
      for (const [needed, path] of Object.entries(lists))
        expect([role, path, (await api.get(path)).status]).toEqual([role, path, role === needed ? 200 : 403]);
    }
  });

  it.each(guarded.map((operation) => [operation.name, operation] as const))(
    'refuses those without key, without role and of other accounts: %s',
    async (name, operation) => {
      const nobody = apiClient(e2e.platform.httpUrl);
      expect(await call(nobody, name, operation, things)).toMatchObject({ status: 403, body: { code: 'FORBIDDEN' } });
      const accounts = operation.accounts ?? ['CUSTOMER', 'VENDOR', 'ADMIN'];
      if (!accounts.includes('CUSTOMER'))
        expect(await call(a.api, name, operation, things)).toMatchObject({
          status: 403,
          body: { code: 'GENERIC_ACTION_FORBIDDEN_ERROR' },
        });
      for (const role of operation.roles)
        expect(await call(lacking.get(role)!, name, operation, things)).toMatchObject({
          status: 403,
          body: { code: 'GENERIC_ACTION_FORBIDDEN_ERROR' },
        });
    },
  );

  it.each(owned.map((operation) => [operation.name, operation] as const))(
    'ACC-002 shows and changes nothing of another tenant: %s',
    async (name, operation) => {
      const before = await everything();
      const stranger = strangerOf(operation);
      const answer = await call(stranger, name, operation, things);
      const unknown = await call(stranger, name, operation, strange);
      if (operation.stranger === 'absent') {
        // As if it did not exist anywhere: the same answer, but for the error's own id and the names that were sent.
        expect(answer.status).toBeGreaterThanOrEqual(400);
        expect([answer.status, anonymous(answer.body)]).toEqual([unknown.status, anonymous(unknown.body)]);
      } else {
        expect(answer.status).toBeLessThan(300);
        expect(answer.status).toBe(unknown.status);
        if (answer.body !== undefined) {
          expect(identifiersIn(answer.body, name, operation)).toEqual([]);
          expect(JSON.stringify(answer.body)).not.toContain('value-of-a');
        }
      }
      expect(await everything()).toEqual(before);
    },
  );
});

describe('Every MQTT topic', () => {
  const data = (by: string): string => JSON.stringify({ streamId: things.streamId, value: { by } });
  const published = [
    'dev/data',
    'dev/v1/data/binary',
    'dev/v1/data/binary/decoder',
    'dev/info',
    'dev/cmd/res',
    'dev/cfg',
  ]
    .concat(['dev/rsc', 'dev/rsc/upd/res', 'dev/rsc/upd/err'])
    .map((topic) => [topic] as const);

  it.each(published)('ACC-002 belongs to the tenant of the key, whatever the client id: publish %s', async (topic) => {
    const before = await everything();
    const client = await e2e.device(things.nodeId, { password: b.apiKey });
    await client.publishAsync(topic, data('stranger'), { qos: 1 });
    await client.endAsync();
    expect(await everything()).toEqual(before);
  });

  it('ACC-002 keeps what tenants publish under the same names apart', async () => {
    const mine = await b.api.get<Json[]>(`/api/v0/data/streams/${things.streamId}`);
    expect(mine.body.length).toBeGreaterThan(0);
    expect(JSON.stringify(mine.body)).not.toContain('value-of-a');
    const theirs = await a.api.get<Json[]>(`/api/v0/data/streams/${things.streamId}`);
    expect(JSON.stringify(theirs.body)).not.toContain('stranger');
  });

  it.each([['dev/cmd'], ['dev/cfg/upd'], ['dev/rsc/upd'], ['#'], ['+/+'], ['$SYS/#']])(
    'ACC-002 shows a device nothing of another tenant: subscribe %s',
    async (topic) => {
      const client = await e2e.device(things.nodeId, { password: b.apiKey });
      const messages = received(client);
      const granted = await client.subscribeAsync(topic, { qos: 1 }).catch(() => []);
      expect(granted).toHaveLength(topic.startsWith('dev/') ? 1 : 0);
      const other = await e2e.application(a.apiKey, { clientId: 'of-a' });
      await other.publishAsync('application/v1/data', JSON.stringify({ streamId: 'other-of-a', value: 1 }), { qos: 1 });
      await other.endAsync();
      // The answer comes after whatever was sent before.
      await client.publishAsync('dev/info', '{}', { qos: 1 });
      expect(messages).toEqual([]);
      await client.endAsync();
    },
  );

  it('ACC-002 gives no application the FIFO of another tenant', async () => {
    const before = await everything();
    const client = await e2e.application(b.apiKey, { clientId: 'stranger' });
    await expect(client.subscribeAsync(`fifo/${things.fifoName}`, { qos: 1 })).rejects.toThrow();
    await client.publishAsync(`fifo/${things.fifoName}`, data('stranger'), { qos: 1 });
    await client.publishAsync('application/v1/data', data('stranger'), { qos: 1 });
    await client.endAsync();
    expect(await everything()).toEqual(before);
  });

  it('ACC-042 needs its role', async () => {
    const keys = new Map<Role, string>();
    for (const role of ['DEVICE_ACCESS', 'BUS_R', 'BUS_W', 'DATA_W'] as const)
      keys.set(role, (await a.createKey({ roles: ROLES.filter((each) => each !== role) })).value);
    const before = await everything();
    await expect(e2e.device(things.nodeId, { password: keys.get('DEVICE_ACCESS')! })).rejects.toThrow();
    const reader = await e2e.application(keys.get('BUS_R')!, { clientId: 'no-reader' });
    await expect(reader.subscribeAsync(`fifo/${things.fifoName}`, { qos: 1 })).rejects.toThrow();
    const writer = await e2e.application(keys.get('BUS_W')!, { clientId: 'no-writer' });
    await writer.publishAsync(`fifo/${things.fifoName}`, data('no writer'), { qos: 1 });
    const storer = await e2e.application(keys.get('DATA_W')!, { clientId: 'no-storer' });
    await storer.publishAsync('application/v1/data', data('no storer'), { qos: 1 });
    await Promise.all([reader, writer, storer].map((client) => client.endAsync()));
    expect(await everything()).toEqual(before);
  });
});

/** Who has no right to the things of tenant A but may use the operation. */
function strangerOf({ accounts }: Operation): ApiClient {
  if (!accounts || accounts.includes('CUSTOMER')) return b.api;
  return vendorB;
}

async function call(api: ApiClient, name: string, operation: Operation, named: Things): Promise<ApiAnswer<unknown>> {
  const [method = '', template = ''] = name.split(' ');
  const path = template.replaceAll(/\{(\w+)\}/g, (_, parameter: keyof Things) => encodeURIComponent(named[parameter]));
  const query = operation.query ? `?${operation.query(named)}` : '';
  const body = operation.body?.(named);
  switch (method) {
    case 'GET':
      return api.get(path + query);
    case 'POST':
      return api.post(path + query, body);
    case 'PUT':
      return api.put(path + query, body);
    case 'PATCH':
      return api.patch(path + query, body);
    case 'DELETE':
      return api.delete(path + query, body);
    default:
      throw new Error(`no way to call ${name}`);
  }
}

/** What has been asked for, so that an answer may repeat it. */
const asked = (name: string, operation: Operation, named: Things): string =>
  JSON.stringify([filled(name, named), operation.query?.(named), operation.body?.(named)]);

const filled = (name: string, named: Things): string =>
  name.replaceAll(/\{(\w+)\}/g, (_, parameter: keyof Things) => named[parameter]);

/** Identifiers of tenant A that an answer shows although the request did not name them. */
function identifiersIn(body: unknown, name: string, operation: Operation): string[] {
  const [text, request] = [JSON.stringify(body), asked(name, operation, things)];
  const { section: _common, ...own } = things;
  return Object.values(own).filter((value) => text.includes(value) && !request.includes(value));
}

/** An error without what differs between two requests: its own id, and the names that were sent. */
function anonymous(body: unknown): unknown {
  let text = JSON.stringify({ ...(body as Json), id: 'any' });
  // Long ones first: one name may be part of another.
  const names = [things, strange].flatMap((each) => Object.entries(each));
  for (const [thing, value] of names.toSorted(([, x], [, y]) => y.length - x.length))
    text = text.replaceAll(JSON.stringify(value).slice(1, -1), thing);
  return JSON.parse(text);
}

const hex = (): string => randomBytes(12).toString('hex');

/** Identifiers like those of tenant A that nobody has. */
const strange: Things = {
  activityRuleId: randomUUID(),
  apiKeyId: hex(),
  certificateId: hex(),
  contextKey: 'context-of-nobody',
  decoderId: randomUUID(),
  deviceId: 'urn:lo:nsid:nobody:1',
  fifoName: 'of-nobody',
  firingGuardId: randomUUID(),
  firingRuleId: randomUUID(),
  groupId: 'Zz9nobody',
  interfaceId: 'mqtt:nobody-1',
  licenseId: randomUUID(),
  matchingRuleId: randomUUID(),
  messageId: hex(),
  nodeId: 'nobody-1',
  pipelineId: randomUUID(),
  policyId: randomUUID(),
  reindexingId: randomUUID(),
  ruleId: randomUUID(),
  section: 'nothing',
  stateProcessingRuleId: randomUUID(),
  streamId: 'stream-of-nobody',
  tenantId: hex(),
  userId: hex(),
  zoneId: 'zone-of-nobody',
};

/** One thing of each kind, over the public API. */
async function fill({ api, apiKey, tenantId, login, session }: Customer): Promise<Things> {
  const make = async (path: string, body: unknown): Promise<Json> => {
    const answer = await api.post<Json>(path, body);
    if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const [deviceId, nodeId, fifoName, streamId] = ['urn:lo:nsid:of-a:1', 'of-a-1', 'fifo-of-a', 'stream-of-a'];
  const group = await make('/api/v1/deviceMgt/groups', { pathNode: 'group-of-a' });
  await make('/api/v1/deviceMgt/devices', {
    id: deviceId,
    group: { id: group['id'] },
    interfaces: [{ connector: 'mqtt', definition: { clientId: nodeId } }],
  });
  const license = await make(`/api/v1/deviceMgt/devices/${deviceId}/licenses`, {
    data: 'license-of-a',
    signature: 'a',
  });
  await make('/v1/devices/register', { sn: nodeId });
  await make('/api/v0/topics/fifo', { name: fifoName, maxLengthBytes: 65_536, messageTtl: 3600 });
  const policy = await make('/api/v1/event2action/actionPolicies', {
    enabled: true,
    triggers: { dataMessage: { version: 1, filter: { deviceIds: [deviceId] } } },
    actions: { fifoPublish: [{ fifoName }] },
  });
  const pipeline = await make('/api/v0/pipelines', {
    name: 'pipeline-of-a',
    priorityLevel: 1,
    enabled: false,
    steps: [{ type: 'externalTransformation', url: 'https://transformer.example.com/of-a' }],
  });
  const decoder = await make('/api/v0/decoders/binary', { encoding: 'decoder-of-a', format: 'ubyte a;' });
  const rules = '/api/v0/eventprocessing';
  const isOfStream = { '==': [{ var: 'streamId' }, streamId] };
  const [contextKey, zoneId] = ['context-of-a', 'zone-of-a'];
  const coordinates = [[[2, 48], [3, 48], [3, 49], [2, 48]]]; // prettier-ignore
  await api.put(`${rules}/context/${contextKey}`, { contextData: 'value-of-a' });
  await api.put(`${rules}/geozones/${zoneId}`, { geometry: { type: 'Polygon', coordinates } });
  const matchingRule = await make(`${rules}/matching-rule`, {
    name: 'matching-of-a',
    enabled: true,
    dataPredicate: isOfStream,
  });
  const firingRule = await make(`${rules}/firing-rule`, {
    name: 'firing-of-a',
    enabled: true,
    firingType: 'ONCE',
    matchingRuleIds: [matchingRule['id']],
  });
  const stateRule = await make(`${rules}/stateprocessing-rule`, {
    name: 'states-of-a',
    enabled: true,
    stateKeyPath: 'streamId',
    stateFunction: isOfStream,
  });
  const certificate = await make('/api/v0/certificates/ca', {
    certificate: e2e.ca.toString('utf8'),
    comment: 'certificate-of-a',
  });
  expect((await api.put('/api/v0/tenants/me/settings/portal', { theme: 'theme-of-a' })).status).toBe(200);
  const client = await e2e.device(nodeId, { password: apiKey });
  await client.publishAsync('dev/data', JSON.stringify({ streamId, value: { secret: 'value-of-a' } }), { qos: 1 });
  await client.publishAsync('topic/of/a', '{}', { qos: 1 });
  await client.endAsync();
  const messageId = await eventually(
    async () => (await api.get<Json[]>(`/api/v0/data/streams/${streamId}`)).body[0]?.['id'] as string | undefined,
  );
  // After all activity of the device: its state stays as it is.
  const activityRule = await make(`${rules}/activity/rules`, {
    name: 'activity-of-a',
    enabled: true,
    silentPolicy: { duration: 'P1D' },
    targets: { deviceIds: [deviceId] },
  });
  await eventually(
    async () => (await api.get<Json[]>(`${rules}/activity/states?deviceId=${deviceId}`)).body.length === 1,
  );
  const reindexings = '/api/v1/data/search/reindexings';
  const reindexing = await make(reindexings, {});
  const firingGuardId = await eventually(
    async () => (await api.get<Json[]>(`${rules}/firing-guard`)).body[0]?.['id'] as string | undefined,
  );
  // What changes by itself has changed before anybody looks.
  await eventually(async () => {
    const { stored, indexed } = (await api.get<Json>('/api/v1/data/search/counts')).body;
    const { status } = (await api.get<Json>(`${reindexings}/${String(reindexing['id'])}`)).body;
    return status === 'DONE' && stored === indexed;
  });
  await eventually(async () => {
    const device = (await api.get<{ interfaces: Json[] }>(`/api/v1/deviceMgt/devices/${deviceId}`)).body;
    const log = await api.get<Json[]>(`/api/v0/auditlog/messages?source.deviceId=${deviceId}`);
    return device.interfaces[0]!['status'] === 'OFFLINE' && log.body.length > 0;
  });
  const own = await session.get<{ id: string }>('/api/v0/users/me');
  const keys = await api.get<{ data: Array<{ id: string; masterKey: boolean }> }>('/api/v0/apiKeys');
  const [subscription] = (
    await vendorA.get<Array<{ id: string }>>(`/api/v1/vendor/bss/customers/${tenantId}/subscriptions`)
  ).body;
  expect(login).toBeDefined();
  return {
    activityRuleId: activityRule['id'] as string,
    apiKeyId: keys.body.data.find(({ masterKey }) => !masterKey)!.id,
    certificateId: certificate['id'] as string,
    contextKey,
    decoderId: decoder['id'] as string,
    deviceId,
    fifoName,
    firingGuardId,
    firingRuleId: firingRule['id'] as string,
    groupId: group['id'] as string,
    interfaceId: `mqtt:${nodeId}`,
    licenseId: license['id'] as string,
    matchingRuleId: matchingRule['id'] as string,
    messageId,
    nodeId,
    pipelineId: pipeline['id'] as string,
    policyId: policy['id'] as string,
    reindexingId: reindexing['id'] as string,
    ruleId: subscription!.id,
    section: 'portal',
    stateProcessingRuleId: stateRule['id'] as string,
    streamId,
    tenantId,
    userId: own.body.id,
    zoneId,
  };
}

/** All that tenant A and its vendor can read of it. */
async function everything(): Promise<unknown[]> {
  const reads = named.filter(
    ({ name, public: isPublic, stranger }) => name.startsWith('GET ') && !isPublic && stranger !== 'nobody',
  );
  return Promise.all(
    reads.map(async ({ name, ...operation }) => {
      const reader = operation.accounts ? vendorA : a.api;
      const { status, body } = await call(reader, name, operation, things);
      // An error's id is its own.
      return [name, status, status < 400 ? body : undefined];
    }),
  );
}

/** A vendor that has nothing to do with tenant A. */
async function secondVendor(): Promise<ApiClient> {
  const admin = apiClient(e2e.platform.httpUrl, e2e.platform.adminApiKey);
  const email = 'second-vendor@example.com';
  const vendor = { name: 'second-vendor', login: 'second-vendor', email };
  expect((await admin.post('/api/v1/admin/vendors', vendor)).status).toBe(201);
  return apiClient(e2e.platform.httpUrl, (await logIn(e2e, vendor.login, email)).apiKey);
}
