import { type ApiClient, type Backend, eventually, startBackend, type TestPlatform } from '@orrery/core/testing';
import { identity } from '../index.js';
import { type FirstAccounts, firstAccounts, type RuleBody, type TenantBody } from '../testing/first-accounts.js';

const ADD = (value: number): Record<string, unknown> => ({
  offerSettingsPostConditions: [
    { settingSection: 'deviceManagement', settingPath: 'maximumTagsNumber', value, action: 'ADD' },
  ],
});
const SET = (value: unknown): Record<string, unknown> => ({
  offerSettingsPostConditions: [
    { settingSection: 'deviceManagement', settingPath: 'maximumTagsNumber', value, action: 'SET' },
  ],
});
const TAGS = ['deviceManagement', 'maximumTagsNumber'] as const;
const FORBIDDEN = [403, 'GENERIC_ACTION_FORBIDDEN_ERROR'];

let backend: Backend;
let platform: TestPlatform;
let on: FirstAccounts;
/** Sets 10 tags. */
let offer: RuleBody;
beforeAll(async () => {
  backend = await startBackend([identity]);
  platform = await backend.boot([identity]);
  on = await firstAccounts(backend, platform);
  offer = await on.rule({ type: 'OFFER', ...SET(10) });
});
afterAll(() => backend.stop());

const post = async (api: ApiClient, path: string, query: string): Promise<[number, string]> => {
  const { status, body } = await api.post<RuleBody>(`${path}?${query}`);
  return [status, body.code];
};
const names = async (path: string, api = on.vendor): Promise<string[]> =>
  (await api.get<RuleBody[]>(path)).body.map(({ displayName }) => displayName);
const validated = (id: string): string => `/api/v1/vendor/bss/customers/${id}/compliance/validated`;

describe('who may subscribe', () => {
  it('TEN-001 vendors, for their customers; a customer may call nothing of it', async () => {
    const { subscriptions, id } = await on.newCustomer();
    expect((await on.vendor.get(subscriptions)).status).toBe(200);
    for (const path of [subscriptions, validated(id), '/api/v1/vendor/customers', `/api/v1/vendor/customers/${id}`]) {
      const { status, body } = await on.customer.get<RuleBody>(path);
      expect([status, body.code]).toEqual(FORBIDDEN);
    }
    expect(await post(on.customer, subscriptions, 'ruleDisplayName=Standard')).toEqual(FORBIDDEN);
    expect((await on.customer.delete(`/api/v1/vendor/customers/${id}`)).status).toBe(403);
  });

  it('TEN-002 no vendor sees the customer of another one', async () => {
    const { subscriptions, id, read } = await on.newCustomer();
    const { api: other } = await on.newVendor();
    const refused = [
      await other.get<RuleBody>(subscriptions),
      await other.get<RuleBody>(validated(id)),
      await other.post<RuleBody>(`${subscriptions}?ruleDisplayName=Standard`),
      await other.delete<RuleBody>(`${subscriptions}?ruleId=${offer.id}`),
      await other.get<RuleBody>(`/api/v1/vendor/customers/${id}`),
      await other.delete<RuleBody>(`/api/v1/vendor/customers/${id}`),
    ];
    for (const { status, body } of refused) expect([status, body.code]).toEqual([404, 'NOT_FOUND']);
    expect((await other.get('/api/v1/vendor/customers')).body).toEqual([]);
    expect(await read()).toMatchObject({ id, status: 'DEACTIVATED', offerSettings: {} });
  });

  it('TEN-003 a support vendor acts on the customers of the vendor that lists it, no other', async () => {
    const support = await on.newVendor();
    const stranger = await on.newVendor();
    const { id: vendorId, api: helped } = await on.newVendor([support.id]);
    const { subscriptions, id } = await on.newCustomer(helped);
    expect((await support.api.get(subscriptions)).status).toBe(200);
    expect(await post(support.api, subscriptions, 'ruleDisplayName=Standard')).toEqual([201, undefined]);
    expect((await stranger.api.get(subscriptions)).status).toBe(404);
    // Not on the vendor itself, and not the other way round.
    expect((await support.api.get(`/api/v1/vendor/customers/${vendorId}`)).status).toBe(404);
    const own = await on.newCustomer(support.api);
    expect((await helped.get(own.subscriptions)).status).toBe(404);
    const patched = await on.admin.patch<TenantBody>(`/api/v1/admin/vendors/${vendorId}`, { supportVendorIds: [] });
    expect(patched.status).toBe(200);
    expect((await support.api.get(`/api/v1/vendor/customers/${id}`)).status).toBe(404);
  });

  it('needs a role', async () => {
    const { subscriptions } = await on.newCustomer();
    const me = await on.vendor.get<{ masterApiKeyId: string }>('/api/v0/tenants/me');
    const child = await on.vendor.post<{ value: string }>('/api/v0/apiKeys', {
      parentId: me.body.masterApiKeyId,
      roles: ['SETTINGS_R'],
    });
    const headers = { 'x-api-key': child.body.value };
    expect((await on.vendor.get(subscriptions, headers)).status).toBe(200);
    const { status } = await on.vendor.post(`${subscriptions}?ruleDisplayName=Standard`, undefined, headers);
    expect(status).toBe(403);
  });
});

describe('rules that fit a customer', () => {
  it('TEN-008 are those that are enabled, whose pre-conditions hold and that need no administrator', async () => {
    const lora = await on.rule({
      type: 'OFFER',
      offerSettingsPostConditions: [{ settingSection: 'lora', value: { enabled: true }, action: 'SET' }],
    });
    const option = await on.rule({
      preConditions: [{ tenantContextLogic: { '==': [{ var: 'offerSettings.lora.content.enabled' }, true] } }],
    });
    const disabled = await on.rule({ disabled: true });
    const restricted = await on.rule({ type: 'ADMIN_OPTION' });
    const { id, subscribe } = await on.newCustomer();
    const before = await names(validated(id));
    expect(before).toEqual(expect.arrayContaining(['Standard', lora.displayName]));
    for (const absent of [option, disabled, restricted]) expect(before).not.toContain(absent.displayName);
    expect(await subscribe(lora.displayName)).toBe(201);
    const after = await names(validated(id));
    expect(after).toContain(option.displayName);
    for (const absent of [disabled, restricted]) expect(after).not.toContain(absent.displayName);
  });

  it('TEN-009 TEN-024 show all that there is to know of a rule that an administrator made', async () => {
    const logic = { '!=': [{ var: 'name' }, 'nobody'] };
    const made = await on.rule({ tags: ['a', 'b'], preConditions: [{ tenantContextLogic: logic }], ...ADD(1) });
    const { id } = await on.newCustomer();
    const { status, body } = await on.vendor.get<RuleBody[]>(validated(id));
    expect(status).toBe(200);
    const properties = ['id', 'name', 'displayName', 'type', 'disabled', 'created', 'tags', 'preConditions'];
    for (const rule of body)
      expect(Object.keys(rule).sort()).toEqual([...properties, 'offerSettingsPostConditions'].sort());
    expect(body.find((rule) => rule.id === made.id)).toEqual({
      ...made,
      type: 'OPTION',
      disabled: false,
      created: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      tags: ['a', 'b'],
      preConditions: [{ tenantContextLogic: logic }],
      ...ADD(1),
    });
    for (const answer of [
      await on.vendor.post<RuleBody>('/api/v1/admin/bss/rules', { name: 'n', displayName: 'n', type: 'OFFER' }),
      await on.vendor.patch<RuleBody>(`/api/v1/admin/bss/rules/${made.id}`, { disabled: true }),
      await on.vendor.get<RuleBody>('/api/v1/admin/bss/rules'),
    ])
      expect([answer.status, answer.body.code]).toEqual(FORBIDDEN);
  });

  it('TEN-016 read the vendor of the customer as parent', async () => {
    const path = 'parent.offerSettings.bss-vendor.content.options.SMS-Connect "OFR';
    const option = await on.rule({ preConditions: [{ tenantContextLogic: { '==': [{ var: path }, true] } }] });
    const grant = await on.rule({
      type: 'OFFER',
      offerSettingsPostConditions: [
        { settingSection: 'bss-vendor', value: { options: { 'SMS-Connect "OFR': true } }, action: 'SET' },
      ],
    });
    const { id: vendorId, api } = await on.newVendor();
    const { id, subscribe, subscriptions } = await on.newCustomer(api);
    expect(await subscribe(offer.displayName)).toBe(201);
    expect(await names(validated(id), api)).not.toContain(option.displayName);
    expect(await subscribe(option.displayName)).toBe(403);
    const granted = `/api/v1/vendor/bss/customers/${vendorId}/subscriptions?ruleId=${grant.id}`;
    expect((await on.admin.post(granted)).status).toBe(201);
    expect(await names(validated(id), api)).toContain(option.displayName);
    expect(await subscribe(option.displayName)).toBe(201);
    expect(await names(subscriptions, api)).toEqual([offer.displayName, option.displayName]);
    // A vendor does not grant itself anything.
    expect((await api.post(granted)).status).toBe(404);
  });
});

describe('subscribing', () => {
  it('TEN-010 answers the subscription, and refuses an unknown rule or none', async () => {
    const { subscriptions } = await on.newCustomer();
    const { status, body } = await on.vendor.post(`${subscriptions}?ruleDisplayName=${offer.displayName}`);
    expect(status).toBe(201);
    const { id, name, displayName, type } = offer;
    expect(body).toEqual({ id, name, displayName, type });
    expect(await post(on.vendor, subscriptions, 'ruleDisplayName=none')).toEqual([404, 'NOT_FOUND']);
    for (const query of ['', 'ruleDisplayName=', 'ruleId=a&ruleId=b', 'displayName=Standard'])
      expect(await post(on.vendor, subscriptions, query)).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
    for (const odd of ['%00', 'x'.repeat(5000), '%F0%9F%9A%80', '__proto__'])
      for (const selector of ['ruleId', 'ruleName', 'ruleDisplayName'])
        expect(await post(on.vendor, subscriptions, `${selector}=${odd}`)).toEqual([404, 'NOT_FOUND']);
    for (const id of ['%00', '0'.repeat(24), 'me']) {
      const path = `/api/v1/vendor/bss/customers/${id}/subscriptions`;
      expect(await post(on.vendor, path, 'ruleDisplayName=Standard')).toEqual([404, 'NOT_FOUND']);
    }
  });

  it('TEN-011 designates a rule by id, name or display name, in one way at a time', async () => {
    for (const [name, value] of Object.entries({
      ruleId: offer.id,
      ruleName: offer.name,
      ruleDisplayName: offer.displayName,
    })) {
      const { subscriptions, setting } = await on.newCustomer();
      expect(await post(on.vendor, subscriptions, `${name}=${encodeURIComponent(value)}`)).toEqual([201, undefined]);
      expect(await setting(...TAGS)).toBe(10);
    }
    const { subscriptions } = await on.newCustomer();
    const both = `ruleId=${offer.id}&ruleDisplayName=${offer.displayName}`;
    expect(await post(on.vendor, subscriptions, both)).toEqual([400, 'GENERIC_INVALID_PARAMETER_ERROR']);
  });

  it('TEN-012 follows the latest version of a display name; id and name stay with theirs', async () => {
    const first = await on.rule({ type: 'OFFER', ...SET(10) });
    const [byDisplayName, byId, byName] = [await on.newCustomer(), await on.newCustomer(), await on.newCustomer()];
    await byDisplayName!.subscribe(first.displayName);
    await on.vendor.post(`${byId!.subscriptions}?ruleId=${first.id}`);
    await on.vendor.post(`${byName!.subscriptions}?ruleName=${first.name}`);
    const second = await on.rule({ type: 'OFFER', displayName: first.displayName, ...SET(20) });
    await eventually(async () => (await byDisplayName!.setting(...TAGS)) === 20);
    // Also when their settings are made anew.
    const option = await on.rule();
    for (const customer of [byDisplayName!, byId!, byName!])
      expect(await customer.subscribe(option.displayName)).toBe(201);
    expect(await byDisplayName!.setting(...TAGS)).toBe(20);
    expect(await byId!.setting(...TAGS)).toBe(10);
    expect(await byName!.setting(...TAGS)).toBe(10);
    const [{ id }] = (await on.vendor.get<[RuleBody]>(byDisplayName!.subscriptions)).body;
    expect(id).toBe(second.id);
    expect(await post(on.vendor, byId!.subscriptions, `ruleDisplayName=${first.displayName}`)).toEqual([
      201,
      undefined,
    ]);
    expect(await byId!.setting(...TAGS)).toBe(20);
  });

  it('TEN-012 follows a version that was created while no worker ran, one of two then', async () => {
    const first = await on.rule({ type: 'OFFER', ...SET(1) });
    const customers = await Promise.all(Array.from({ length: 5 }, () => on.newCustomer()));
    for (const customer of customers) await customer.subscribe(first.displayName);
    await platform.close();
    const doors = await backend.boot([identity], { api: true, worker: false });
    on = await firstAccounts(backend, doors);
    await on.rule({ type: 'OFFER', displayName: first.displayName, ...SET(2) });
    await doors.close();
    platform = await backend.boot([identity]);
    const second = await backend.boot([identity]);
    on = await firstAccounts(backend, platform);
    for (const { id } of customers)
      await eventually(async () => {
        const { body } = await on.vendor.get<TenantBody>(`/api/v1/vendor/customers/${id}`);
        const { content, revision } = body.offerSettings['deviceManagement']!;
        return content['maximumTagsNumber'] === 2 && revision === 2;
      });
    await second.close();
  });

  it('TEN-014 a customer has one offer, and no option before', async () => {
    const { subscriptions, subscribe } = await on.newCustomer();
    const option = await on.rule();
    expect(await post(on.vendor, subscriptions, `ruleId=${option.id}`)).toEqual(FORBIDDEN);
    expect(await subscribe(offer.displayName)).toBe(201);
    expect(await subscribe(option.displayName)).toBe(201);
    const other = await on.rule({ type: 'OFFER' });
    expect(await subscribe(other.displayName)).toBe(201);
    const { body } = await on.vendor.get<RuleBody[]>(subscriptions);
    expect(body.map(({ id, type }) => [id, type])).toEqual([
      [other.id, 'OFFER'],
      [option.id, 'OPTION'],
    ]);
  });

  it('TEN-015 refuses a rule whose pre-conditions do not all hold, and changes nothing', async () => {
    const { subscriptions, subscribe, read } = await on.newCustomer();
    await subscribe(offer.displayName);
    const before = await read();
    const lora = { '==': [{ var: 'offerSettings.lora.content.enabled' }, true] };
    for (const conditions of [
      [{ tenantContextLogic: true }, { tenantContextLogic: lora }],
      [{ tenantContextLogic: { '+': [{ var: 'name' }, 1] } }],
    ]) {
      const option = await on.rule({ preConditions: conditions, ...SET(99) });
      expect(await post(on.vendor, subscriptions, `ruleId=${option.id}`)).toEqual(FORBIDDEN);
    }
    expect(await read()).toEqual(before);
    expect(await names(subscriptions)).toEqual([offer.displayName]);
  });

  it('TEN-017 a disabled rule takes no new customers, and keeps those it has', async () => {
    const option = await on.rule(SET(77));
    const other = await on.rule();
    const [first, second] = [await on.newCustomer(), await on.newCustomer()];
    for (const customer of [first!, second!]) await customer.subscribe(offer.displayName);
    await first!.subscribe(option.displayName);
    const { status, body } = await on.admin.patch<RuleBody>(`/api/v1/admin/bss/rules/${option.id}`, { disabled: true });
    expect([status, body.disabled]).toEqual([200, true]);
    for (const query of [`ruleId=${option.id}`, `ruleDisplayName=${option.displayName}`])
      expect(await post(on.vendor, second!.subscriptions, query)).toEqual(FORBIDDEN);
    expect(await first!.subscribe(other.displayName)).toBe(201);
    expect(await first!.setting(...TAGS)).toBe(77);
  });

  it('TEN-020 only an administrator subscribes to an admin option', async () => {
    const option = await on.rule({ type: 'ADMIN_OPTION' });
    const { subscriptions, subscribe } = await on.newCustomer();
    await subscribe(offer.displayName);
    expect(await post(on.vendor, subscriptions, `ruleId=${option.id}`)).toEqual(FORBIDDEN);
    expect(await post(on.admin, subscriptions, `ruleId=${option.id}`)).toEqual([201, undefined]);
  });

  it('counts each of many subscriptions at once', async () => {
    const { subscriptions, subscribe, setting } = await on.newCustomer();
    await subscribe(offer.displayName);
    const option = await on.rule(ADD(1));
    const answers_ = await Promise.all(
      Array.from({ length: 12 }, () => on.vendor.post(`${subscriptions}?ruleId=${option.id}`)),
    );
    expect(answers_.every(({ status }) => status === 201)).toBe(true);
    expect(await setting(...TAGS)).toBe(22);
    const offers = await Promise.all(Array.from({ length: 6 }, () => subscribe(offer.displayName)));
    expect(offers).toEqual(Array.from({ length: 6 }, () => 201));
    expect((await names(subscriptions)).filter((name) => name === offer.displayName)).toHaveLength(1);
  });

  it('refuses a rule that does not fit the settings, and changes nothing', async () => {
    const words = await on.rule({
      type: 'OFFER',
      offerSettingsPostConditions: [
        { settingSection: 'deviceManagement', value: { maximumTagsNumber: 'many' }, action: 'SET' },
      ],
    });
    const { subscriptions, subscribe, read } = await on.newCustomer();
    await subscribe(words.displayName);
    const before = await read();
    const deeper = {
      offerSettingsPostConditions: [
        { settingSection: 'deviceManagement', settingPath: 'maximumTagsNumber.a', value: 1, action: 'SET' },
      ],
    };
    for (const fields of [ADD(1), deeper]) {
      const option = await on.rule(fields);
      const { status, body } = await on.vendor.post<RuleBody>(`${subscriptions}?ruleId=${option.id}`);
      expect(status).toBe(400);
      expect(body.details[0]!.expected).toContain('deviceManagement.maximumTagsNumber');
    }
    expect(await read()).toEqual(before);
    expect(await names(subscriptions)).toEqual([words.displayName]);
  });
});
