import { findApiKey, hashApiKey, ROLES } from '@orrery/core/auth';
import { callRpc } from '@orrery/core/bus';
import { Database } from '@orrery/core/database';
import { limitOf, type LimitName, LIMITS, limitsOf, UNLIMITED_OFFER } from '@orrery/core/limits';
import { apiClient, type Backend, startBackend, type TestPlatform } from '@orrery/core/testing';
import { createTenant } from '../contract.js';
import { bootstrap, identity } from '../index.js';
import { BOOTSTRAP, type RuleBody, type TenantBody } from '../testing/first-accounts.js';

const ME = '/api/v0/tenants/me';

let backend: Backend;
let platform: TestPlatform;
let database: Database;
beforeEach(async () => {
  backend = await startBackend([identity]);
  database = await Database.connect({ url: backend.config.DATABASE_URL, schema: identity.schema! });
  platform = await backend.boot([identity]);
});
afterEach(async () => {
  await database.close();
  await backend.stop();
});

const meOf = async (key: string): Promise<TenantBody> => (await apiClient(platform.url, key).get<TenantBody>(ME)).body;
const logIn = async (login: string, password: string) =>
  apiClient(platform.url).post<{ apiKey: { value: string; roles: string[] } }>('/api/v0/auth', { login, password });

describe('a new installation', () => {
  it('gets an administrator, a vendor and a customer, all without limits, once', async () => {
    const runs = await Promise.all([bootstrap(database, BOOTSTRAP), bootstrap(database, BOOTSTRAP)]);
    expect(runs.filter((run) => Object.keys(run).length > 0)).toHaveLength(1);
    const [customer, vendor, admin] = [
      await meOf(BOOTSTRAP.ORRERY_BOOTSTRAP_API_KEY),
      await meOf(BOOTSTRAP.ORRERY_BOOTSTRAP_VENDOR_API_KEY),
      await meOf(BOOTSTRAP.ORRERY_BOOTSTRAP_ADMIN_API_KEY),
    ];
    expect([customer, vendor, admin].map(({ name, accountType, status }) => [name, accountType, status])).toEqual([
      ['default', 'CUSTOMER', 'ACTIVATED'],
      ['vendor', 'VENDOR', 'ACTIVATED'],
      ['administration', 'ADMIN', 'ACTIVATED'],
    ]);
    for (const { offerSettings } of [customer!, vendor!, admin!])
      expect(limitsOf(offerSettings)).toEqual(UNLIMITED_OFFER);
    const bus = await backend.bus();
    const { key } = await callRpc(bus, findApiKey, { hash: hashApiKey(BOOTSTRAP.ORRERY_BOOTSTRAP_API_KEY) });
    expect(limitOf(key!.limits, 'httpPerKeyMinute')).toBe(Number.POSITIVE_INFINITY);
    const login = await logIn('admin', BOOTSTRAP.ORRERY_BOOTSTRAP_PASSWORD);
    expect(login.status).toBe(200);
    expect(login.body.apiKey.roles).toEqual(ROLES);
    expect((await meOf(login.body.apiKey.value)).name).toBe('default');
  });

  it('generates what is not given, and tells it once', async () => {
    const made = await bootstrap(database, { ORRERY_BOOTSTRAP_LOGIN: 'first@example.com' });
    expect(await bootstrap(database, { ORRERY_BOOTSTRAP_LOGIN: 'other' })).toEqual({});
    expect((await meOf(made.apiKey!)).name).toBe('default');
    expect((await meOf(made.vendorApiKey!)).name).toBe('vendor');
    expect((await meOf(made.adminApiKey!)).name).toBe('administration');
    expect((await logIn('first@example.com', made.password!)).status).toBe(200);
    expect((await logIn('other', made.password!)).status).toBe(401);
  });

  it('has an offer with the defaults of the manual', async () => {
    await bootstrap(database, BOOTSTRAP);
    const vendor = apiClient(platform.url, BOOTSTRAP.ORRERY_BOOTSTRAP_VENDOR_API_KEY);
    const creation = { name: 'c', login: 'c-login', email: 'c@example.com' };
    const { body } = await vendor.post<TenantBody>('/api/v1/vendor/customers', creation);
    const path = `/api/v1/vendor/bss/customers/${body.id}`;
    const offers = await vendor.get<RuleBody[]>(`${path}/compliance/validated`);
    expect(offers.body.map(({ displayName, type }) => [displayName, type])).toEqual([
      ['Disabled', 'OPTION'],
      ['Standard', 'OFFER'],
      ['Unlimited', 'OFFER'],
    ]);
    expect((await vendor.post(`${path}/subscriptions?ruleDisplayName=Standard`)).status).toBe(201);
    const customer = (await vendor.get<TenantBody>(`/api/v1/vendor/customers/${body.id}`)).body;
    const limits = limitsOf(customer.offerSettings);
    for (const [name, { value }] of Object.entries(LIMITS))
      expect([name, limitOf(limits, name as LimitName)]).toEqual([name, value ?? Number.POSITIVE_INFINITY]);
  });

  it('keeps the customer of an earlier version, with its key and data', async () => {
    const bus = await backend.bus();
    const { tenantId, masterKey } = await callRpc(bus, createTenant, { name: 'default' });
    const made = await bootstrap(database, { ORRERY_BOOTSTRAP_LOGIN: 'admin' });
    expect(made.apiKey).toBeUndefined();
    expect(await meOf(masterKey)).toMatchObject({ id: tenantId, name: 'default', status: 'ACTIVATED' });
    const vendor = apiClient(platform.url, made.vendorApiKey);
    const subscriptions = await vendor.get<RuleBody[]>(`/api/v1/vendor/bss/customers/${tenantId}/subscriptions`);
    expect(subscriptions.body.map(({ displayName }) => displayName)).toEqual(['Unlimited']);
    const session = await logIn('admin', made.password!);
    expect((await meOf(session.body.apiKey.value)).id).toBe(tenantId);
  });

  it('says which value it cannot use, and makes nothing', async () => {
    const same = 'the-same-key-for-both';
    for (const [wrong, variable] of [
      [{ ORRERY_BOOTSTRAP_LOGIN: 'a b' }, 'ORRERY_BOOTSTRAP_LOGIN'],
      [{ ORRERY_BOOTSTRAP_PASSWORD: 'weak' }, 'ORRERY_BOOTSTRAP_PASSWORD'],
      [{ ORRERY_BOOTSTRAP_API_KEY: same, ORRERY_BOOTSTRAP_ADMIN_API_KEY: same }, 'API_KEY'],
    ] as const)
      await expect(bootstrap(database, { ...BOOTSTRAP, ...wrong })).rejects.toThrow(variable);
    expect(await backend.query('SELECT id FROM identity.tenants')).toEqual([]);
  });
});
