import { PROFILES } from '@orrery/core/auth';
import { apiClient, type Backend, eventually, startBackend, type TestPlatform } from '@orrery/core/testing';
import { identity } from '../index.js';
import { type Accounts, accounts, PASSWORD } from '../testing/accounts.js';
import {
  answers,
  type FirstAccounts,
  firstAccounts,
  type RuleBody,
  type TenantBody,
} from '../testing/first-accounts.js';
import { type Mailbox, startMailbox } from '../testing/mailbox.js';

const PATH = '/api/v1/vendor/customers';
const VENDORS = '/api/v1/admin/vendors';

let mailbox: Mailbox;
let backend: Backend;
let platform: TestPlatform;
let on: FirstAccounts;
let users: Accounts;
beforeAll(async () => {
  mailbox = await startMailbox();
  backend = await startBackend([identity], { SMTP_URL: mailbox.url });
  platform = await backend.boot([identity]);
  on = await firstAccounts(backend, platform);
  users = accounts(platform.url, await backend.bus(), mailbox);
});
afterAll(async () => {
  await backend.stop();
  await mailbox.close();
});

const create = (fields: Record<string, unknown>, path = PATH, api = on.vendor) => api.post<TenantBody>(path, fields);
const mailsTo = (address: string): number => mailbox.mails.filter(({ to }) => to.includes(address)).length;
/** Moves the order of a deletion into the past. */
const orderedAgo = (id: string, ago: string) =>
  backend.query(`UPDATE identity.tenants SET deletion_ordered = now() - $2::interval WHERE id = $1`, [id, ago]);

describe('creating customers', () => {
  it('TEN-004 TEN-005 answers a deactivated customer without settings', async () => {
    const { status, body } = await create({
      name: 'customerName',
      login: 'customerMainUserLogin',
      email: 'mainuser@home.com',
    });
    expect(status).toBe(201);
    expect(body).toMatchObject({ name: 'customerName', status: 'DEACTIVATED', accountType: 'CUSTOMER' });
    expect(body.id).toMatch(/^[0-9a-f]{24}$/);
    expect(body.offerSettings).toEqual({});
    expect((await on.vendor.get(`${PATH}/${body.id}`)).body).toEqual(body);
    const whole = { name: 'half', login: 'half', email: 'half@example.com' };
    for (const [field, value] of [
      ['email', undefined],
      ['email', 'x'],
      ['email', 'a@example.com\r\nBcc: b@example.com'],
      ['login', undefined],
      ['login', 'a b'],
      ['name', undefined],
      ['name', ' '],
      ['name', 'a\u0000b'],
      ['name', '\ud800'],
      ['name', 'x'.repeat(257)],
      ['name', { $gt: '' }],
    ] as const) {
      const refused = await create({ ...whole, [field]: value });
      expect([refused.status, refused.body.code]).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
      expect(refused.body.details).toEqual([{ field, expected: expect.any(String) }]);
    }
    expect((await create(whole)).status).toBe(201);
  });

  it('TEN-006 refuses a used name or login, and writes nothing then', async () => {
    const first = { name: 'Unique', login: 'unique-login', email: 'u@example.com' };
    expect((await create(first)).status).toBe(201);
    const count = async (): Promise<number> =>
      Number((await on.vendor.get(PATH, { 'x-total-count': 'true' })).headers.get('x-total-count'));
    const before = await count();
    for (const fields of [
      { ...first, login: 'another-login' },
      { ...first, name: 'another name' },
    ]) {
      const { status, body } = await create(fields);
      expect([status, body.code]).toEqual([409, 'CONFLICT']);
    }
    // Names of vendors are names of tenants too.
    expect((await create({ ...first, login: 'v' + first.login }, VENDORS, on.admin)).status).toBe(409);
    expect(await count()).toBe(before);
    const race = await Promise.all(
      Array.from({ length: 5 }, (_, i) => create({ name: 'race', login: `race${i}`, email: 'r@example.com' })),
    );
    expect(race.map(({ status }) => status).sort()).toEqual([201, 409, 409, 409, 409]);
    expect(await count()).toBe(before + 1);
  });

  it('lists the customers of a vendor page by page, and for the administrator all tenants', async () => {
    const { id: vendorId, api } = await on.newVendor();
    const made = [await on.newCustomer(api), await on.newCustomer(api), await on.newCustomer(api)];
    const ids = async (query: string): Promise<string[]> =>
      (await api.get<TenantBody[]>(PATH + query)).body.map(({ id }) => id);
    expect(await ids('')).toEqual(made.map(({ id }) => id));
    expect(await ids('?limit=1&offset=1')).toEqual([made[1]!.id]);
    expect((await api.get(`${PATH}?limit=x`)).status).toBe(400);
    const all = (await on.admin.get<TenantBody[]>(`${PATH}?limit=1000`)).body.map(({ id }) => id);
    expect(all).toEqual(expect.arrayContaining([vendorId, ...made.map(({ id }) => id)]));
    const me = await on.admin.get<TenantBody>('/api/v0/tenants/me');
    expect(all).not.toContain(me.body.id);
    expect((await on.admin.get(`${PATH}/${me.body.id}`)).status).toBe(404);
    const vendors = await on.admin.get<TenantBody[]>(`${VENDORS}?limit=1000`);
    expect(vendors.body.every(({ accountType }) => accountType === 'VENDOR')).toBe(true);
    expect(vendors.body.map(({ id }) => id)).toContain(vendorId);
  });
});

describe('vendors', () => {
  it('are created by administrators, and can be used at once', async () => {
    const fields = { name: 'Seller', login: 'seller', email: 'seller@example.com' };
    for (const api of [on.vendor, on.customer]) expect((await create(fields, VENDORS, api)).status).toBe(403);
    const { status, body } = await create(fields, VENDORS, on.admin);
    expect([status, body.status, body.accountType]).toEqual([201, 'ACTIVATED', 'VENDOR']);
    await users.setPassword(await mailbox.token(fields.email), PASSWORD);
    const session = await users.session('seller');
    expect((await create({ name: 'sold', login: 'sold', email: 'sold@example.com' }, PATH, session)).status).toBe(201);
  });

  it('are helped by vendors alone', async () => {
    const { id } = await on.newVendor();
    const customer = await on.newCustomer();
    for (const supportVendorIds of [['0'.repeat(24)], [customer.id], 'x', [1], null, undefined]) {
      const changed = await on.admin.patch<TenantBody>(`${VENDORS}/${id}`, { supportVendorIds });
      expect([changed.status, changed.body.code]).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
    }
    expect((await on.admin.patch(`${VENDORS}/${customer.id}`, { supportVendorIds: [] })).status).toBe(404);
    expect((await on.admin.patch(`${VENDORS}/${'0'.repeat(24)}`, { supportVendorIds: [] })).status).toBe(404);
    expect((await on.vendor.patch(`${VENDORS}/${id}`, { supportVendorIds: [] })).status).toBe(403);
  });
});

describe('activation', () => {
  it('TEN-013 ACC-004 the offer activates the customer and invites its main user, who is an administrator of it', async () => {
    const customer = await on.newCustomer();
    expect((await users.logIn(customer.login)).status).toBe(401);
    expect(await customer.subscribe('Unlimited')).toBe(201);
    expect((await customer.read()).status).toBe('ACTIVATED');
    const chosen = await users.setPassword(await mailbox.token(customer.email), PASSWORD);
    expect(chosen.status).toBe(200);
    const { status, body } = await users.logIn(customer.login);
    expect(status).toBe(200);
    expect(body.apiKey.roles).toEqual(PROFILES.ADMIN);
    expect(body.apiKey.roles).toHaveLength(21);
    const session = apiClient(platform.url, body.apiKey.value);
    const colleague = { login: 'colleague', email: 'colleague@example.com', roles: ['DEVICE_R'] };
    expect((await session.post('/api/v0/users', colleague)).status).toBe(200);
    // No second mail, neither for another offer nor for another activation.
    const option = await on.rule({ type: 'OFFER' });
    for (const name of [option.displayName, 'Disabled', 'Unlimited']) expect(await customer.subscribe(name)).toBe(201);
    const [disabled] = (await on.vendor.get<RuleBody[]>(customer.subscriptions)).body.slice(-1);
    expect((await on.vendor.delete(`${customer.subscriptions}?ruleId=${disabled!.id}`)).status).toBe(204);
    await users.session(customer.login);
    await mailbox.token(colleague.email);
    expect(mailsTo(customer.email)).toBe(1);
  });
});

describe('removing customers', () => {
  it('TEN-031 is ordered for a deactivated customer alone', async () => {
    const customer = await on.newCustomer();
    await customer.subscribe('Standard');
    const path = `${PATH}/${customer.id}`;
    const refused = await on.vendor.delete<TenantBody>(path);
    expect([refused.status, refused.body.code]).toEqual([403, 'GENERIC_ACTION_FORBIDDEN_ERROR']);
    expect((await customer.read()).deletionTs).toBeUndefined();
    await customer.subscribe('Disabled');
    expect((await on.vendor.delete(path)).status).toBe(204);
    const { deletionTs } = await customer.read();
    expect(deletionTs! - Date.now()).toBeGreaterThan(7 * 24 * 3_600_000 - 60_000);
    // A second order does not begin the week anew.
    expect((await on.vendor.delete(path)).status).toBe(204);
    expect((await customer.read()).deletionTs).toBe(deletionTs);
    for (const id of ['0'.repeat(24), 'unknown', '%00'])
      expect((await on.vendor.delete(`${PATH}/${id}`)).status).toBe(404);
  });

  it('TEN-032 happens 7 days after the order, and frees the name and the login', async () => {
    const customer = await on.newCustomer();
    await customer.subscribe('Standard');
    const master = await customer.master();
    await answers(master, 200);
    await users.setPassword(await mailbox.token(customer.email), PASSWORD);
    await users.session(customer.login);
    await customer.subscribe('Disabled');
    await on.vendor.delete(`${PATH}/${customer.id}`);
    await orderedAgo(customer.id, '6 days 23 hours');
    // Somebody else's removal shows that the job has run.
    const other = await on.newCustomer();
    await on.vendor.delete(`${PATH}/${other.id}`);
    await orderedAgo(other.id, '7 days');
    await eventually(async () => (await on.vendor.get(`${PATH}/${other.id}`)).status === 404);
    expect(await customer.read()).toMatchObject({ status: 'DEACTIVATED' });
    expect((await users.logIn(customer.login)).status).toBe(401);
    expect((await master.get('/api/v0/tenants/me')).status).toBe(401);
    await orderedAgo(customer.id, '7 days');
    await eventually(async () => (await on.vendor.get(`${PATH}/${customer.id}`)).status === 404);
    await answers(master, 403);
    const again = await create({ name: customer.name, login: customer.login, email: customer.email });
    expect(again.status).toBe(201);
    expect(again.body.id).not.toBe(customer.id);
  });

  it('is given up when the customer is activated again', async () => {
    const customer = await on.newCustomer();
    await customer.subscribe('Standard');
    await users.setPassword(await mailbox.token(customer.email), PASSWORD);
    await customer.subscribe('Disabled');
    await on.vendor.delete(`${PATH}/${customer.id}`);
    const [disabled] = (await on.vendor.get<RuleBody[]>(customer.subscriptions)).body.slice(-1);
    expect((await on.vendor.delete(`${customer.subscriptions}?ruleId=${disabled!.id}`)).status).toBe(204);
    expect(await customer.read()).toMatchObject({ status: 'ACTIVATED' });
    expect((await customer.read()).deletionTs).toBeUndefined();
    await users.session(customer.login);
    // What is ordered later goes; this one stays.
    const other = await on.newCustomer();
    await on.vendor.delete(`${PATH}/${other.id}`);
    await orderedAgo(other.id, '8 days');
    await eventually(async () => (await on.vendor.get(`${PATH}/${other.id}`)).status === 404);
    const { body } = await users.logIn(customer.login);
    expect(body.apiKey.tenantId).toBe(customer.id);
  });

  it('takes a vendor after its customers, and takes it out of where it helps', async () => {
    const support = await on.newVendor();
    const helped = await on.newVendor([support.id]);
    const customer = await on.newCustomer(support.api);
    const offer = await on.rule({ type: 'OFFER' });
    const subscriptions = `/api/v1/vendor/bss/customers/${support.id}/subscriptions`;
    for (const name of [offer.displayName, 'Disabled'])
      expect((await on.admin.post(`${subscriptions}?ruleDisplayName=${name}`)).status).toBe(201);
    await answers(support.api, 401);
    const path = `${PATH}/${support.id}`;
    expect((await on.admin.delete(path)).status).toBe(403);
    expect((await on.admin.delete(`${PATH}/${customer.id}`)).status).toBe(204);
    await orderedAgo(customer.id, '7 days');
    await eventually(async () => (await on.admin.delete(path)).status === 204);
    await orderedAgo(support.id, '7 days');
    await eventually(async () => (await on.admin.get(path)).status === 404);
    const vendors = (await on.admin.get<Array<{ id: string; supportVendorIds: string[] }>>(`${VENDORS}?limit=1000`))
      .body;
    expect(vendors.find(({ id }) => id === helped.id)!.supportVendorIds).toEqual([]);
  });
});
