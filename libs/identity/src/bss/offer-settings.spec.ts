import { type Backend, eventually, startBackend, type TestPlatform } from '@orrery/core/testing';
import { identity } from '../index.js';
import {
  answers,
  type FirstAccounts,
  firstAccounts,
  type RuleBody,
  type TenantBody,
} from '../testing/first-accounts.js';

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

const names = async (path: string, api = on.vendor): Promise<string[]> =>
  (await api.get<RuleBody[]>(path)).body.map(({ displayName }) => displayName);

describe('offer settings', () => {
  it('TEN-018 the last option wins, and its removal brings the one before back', async () => {
    const [a, b] = [await on.rule(SET(10)), await on.rule(SET(20))];
    const { subscriptions, subscribe, setting } = await on.newCustomer();
    for (const { displayName } of [offer, a!, b!]) await subscribe(displayName);
    expect(await setting(...TAGS)).toBe(20);
    expect((await on.vendor.delete(`${subscriptions}?ruleId=${b!.id}`)).status).toBe(204);
    expect(await setting(...TAGS)).toBe(10);
  });

  it('TEN-018 an offer that replaces another one still applies before the options', async () => {
    const option = await on.rule(SET(11));
    const other = await on.rule({ type: 'OFFER', ...SET(5) });
    const { subscribe, setting } = await on.newCustomer();
    for (const { displayName } of [offer, option, other]) await subscribe(displayName);
    expect(await setting(...TAGS)).toBe(11);
  });

  it('TEN-019 admin options apply last of all', async () => {
    const [restricted, option] = [await on.rule({ type: 'ADMIN_OPTION', ...SET(5) }), await on.rule(SET(20))];
    const { subscriptions, subscribe, setting } = await on.newCustomer();
    await subscribe(offer.displayName);
    await on.admin.post(`${subscriptions}?ruleId=${restricted!.id}`);
    expect(await subscribe(option!.displayName)).toBe(201);
    expect(await setting(...TAGS)).toBe(5);
    expect(await names(subscriptions)).toEqual([offer, option!, restricted!].map(({ displayName }) => displayName));
  });

  it('TEN-021 SET replaces a section, or what is at a path of it', async () => {
    const conditions = (...all: object[]): Record<string, unknown> => ({ offerSettingsPostConditions: all });
    const cellular = { settingSection: 'cellular', action: 'SET' };
    const whole = await on.rule(conditions({ ...cellular, value: { enabled: true } }));
    const parts = await on.rule(
      conditions(
        { ...cellular, settingPath: 'limits.sms.day', value: [1] },
        { ...cellular, settingPath: 'enabled', value: false },
      ),
    );
    const { subscribe, read } = await on.newCustomer();
    for (const { displayName } of [offer, whole]) await subscribe(displayName);
    expect((await read()).offerSettings['cellular']!.content).toEqual({ enabled: true });
    await subscribe(parts.displayName);
    expect((await read()).offerSettings['cellular']!.content).toEqual({
      enabled: false,
      limits: { sms: { day: [1] } },
    });
    await subscribe(whole.displayName);
    expect((await read()).offerSettings['cellular']!.content).toEqual({ enabled: true });
  });

  it('TEN-022 TEN-028 ADD adds each time, and only the last application is removed', async () => {
    const option = await on.rule(ADD(10));
    const { subscriptions, subscribe, setting } = await on.newCustomer();
    await subscribe(offer.displayName);
    expect(await setting(...TAGS)).toBe(10);
    await subscribe(option.displayName);
    expect(await setting(...TAGS)).toBe(20);
    await subscribe(option.displayName);
    expect(await setting(...TAGS)).toBe(30);
    const remove = async (): Promise<number> => (await on.vendor.delete(`${subscriptions}?ruleId=${option.id}`)).status;
    expect(await remove()).toBe(204);
    expect(await setting(...TAGS)).toBe(20);
    expect(await remove()).toBe(204);
    expect(await setting(...TAGS)).toBe(10);
    expect(await remove()).toBe(404);
  });

  it('ADD stays finite: what JSON cannot write would be read as unlimited', async () => {
    const option = await on.rule(ADD(1e308));
    const { subscribe, setting } = await on.newCustomer();
    await subscribe(offer.displayName);
    expect(await subscribe(option.displayName)).toBe(201);
    expect(await subscribe(option.displayName)).toBe(400);
    expect(await setting(...TAGS)).toBe(1e308);
  });

  it('ADD begins with 0, and leaves unlimited what is unlimited', async () => {
    const option = await on.rule(ADD(3));
    const [empty, unlimited] = [await on.rule({ type: 'OFFER' }), await on.rule({ type: 'OFFER', ...SET(null) })];
    const { subscribe, setting } = await on.newCustomer();
    for (const { displayName } of [empty!, option]) await subscribe(displayName);
    expect(await setting(...TAGS)).toBe(3);
    await subscribe(unlimited!.displayName);
    expect(await setting(...TAGS)).toBeNull();
  });

  it('TEN-023 the revision of a section grows when its content changes, and only then', async () => {
    const [change, nothing] = [await on.rule(SET(11)), await on.rule(SET(11))];
    const { subscribe, read } = await on.newCustomer();
    const revision = async (): Promise<unknown> => (await read()).offerSettings['deviceManagement']?.revision;
    await subscribe(offer.displayName);
    expect(await revision()).toBe(1);
    await subscribe(change!.displayName);
    expect(await revision()).toBe(2);
    await subscribe(nothing!.displayName);
    expect(await revision()).toBe(2);
  });

  it('TEN-025 are changed by rules alone', async () => {
    const offerSettings = { deviceManagement: { content: { maximumTagsNumber: 1000 }, revision: 1 } };
    const customer = await on.newCustomer();
    await customer.subscribe(offer.displayName);
    const master = await customer.master();
    const before = await customer.read();
    const created = await on.vendor.post<TenantBody>('/api/v1/vendor/customers', {
      name: 'sly',
      login: 'sly',
      email: 'sly@example.com',
      offerSettings,
      status: 'ACTIVATED',
      active: true,
    });
    expect(created.body).toMatchObject({ status: 'DEACTIVATED', offerSettings: {} });
    expect((await master.put('/api/v0/tenants/me/settings/offerSettings', offerSettings)).status).toBe(200);
    expect((await master.put('/api/v0/tenants/me/settings/deviceManagement', { maximumTagsNumber: 1000 })).status).toBe(
      200,
    );
    for (const write of ['put', 'post', 'patch'] as const)
      for (const path of ['/api/v0/tenants/me', `/api/v1/vendor/customers/${customer.id}`])
        for (const api of [master, on.vendor]) expect((await api[write](path, { offerSettings })).status).toBe(404);
    const query = `${customer.subscriptions}?ruleId=${(await on.rule()).id}`;
    expect((await on.vendor.post(query, { offerSettings })).status).toBe(201);
    expect((await customer.read()).offerSettings).toEqual(before.offerSettings);
    const me = await master.get<TenantBody>('/api/v0/tenants/me');
    expect(me.body.offerSettings).toEqual(before.offerSettings);
  });

  it('govern the keys of the tenant as soon as they change', async () => {
    const limited = (value: number): Record<string, unknown> => ({
      offerSettingsPostConditions: [
        { settingSection: 'accessManagement', settingPath: 'maximumApiKeysNumber', value, action: 'ADD' },
      ],
    });
    const [none, two] = [await on.rule({ type: 'OFFER', ...limited(0) }), await on.rule(limited(2))];
    const customer = await on.newCustomer();
    await customer.subscribe(none!.displayName);
    const master = await customer.master();
    const { body } = await master.get<{ masterApiKeyId: string }>('/api/v0/tenants/me');
    const create = async (): Promise<number> =>
      (await master.post('/api/v0/apiKeys', { parentId: body.masterApiKeyId, roles: [] })).status;
    expect(await create()).toBe(403);
    await customer.subscribe(two!.displayName);
    await eventually(async () => (await create()) === 200);
  });
});

describe('removing subscriptions', () => {
  it('TEN-026 lists them in the order in which they apply', async () => {
    const [a, b] = [await on.rule(), await on.rule()];
    const { subscriptions, subscribe } = await on.newCustomer();
    expect((await on.vendor.get(subscriptions)).body).toEqual([]);
    for (const { displayName } of [offer, b!, a!]) await subscribe(displayName);
    const { status, body } = await on.vendor.get<RuleBody[]>(subscriptions);
    expect(status).toBe(200);
    expect(body).toEqual(
      [offer, b, a].map((rule) => ({
        id: rule!.id,
        name: rule!.name,
        displayName: rule!.displayName,
        type: rule!.type,
      })),
    );
  });

  it('TEN-027 takes the id of the rule alone', async () => {
    const option = await on.rule(SET(42));
    const { subscriptions, subscribe, setting } = await on.newCustomer();
    for (const { displayName } of [offer, option]) await subscribe(displayName);
    for (const query of [
      `ruleDisplayName=${option.displayName}`,
      `ruleName=${option.name}`,
      '',
      `ruleId=${option.id}&ruleName=x`,
    ])
      expect((await on.vendor.delete(`${subscriptions}?${query}`)).status).toBe(400);
    expect(await setting(...TAGS)).toBe(42);
    expect((await on.vendor.delete(`${subscriptions}?ruleId=${option.id}`)).status).toBe(204);
    expect(await setting(...TAGS)).toBe(10);
    expect((await on.vendor.delete(`${subscriptions}?ruleId=${option.id}`)).status).toBe(404);
  });

  it('TEN-029 leaves no customer without an offer', async () => {
    const { subscriptions, subscribe, read } = await on.newCustomer();
    await subscribe(offer.displayName);
    const before = await read();
    const { status, body } = await on.vendor.delete<RuleBody>(`${subscriptions}?ruleId=${offer.id}`);
    expect([status, body.code]).toEqual(FORBIDDEN);
    expect(await read()).toEqual(before);
  });

  it('deactivates by the option Disabled, and activates when it is removed', async () => {
    const customer = await on.newCustomer();
    await customer.subscribe('Standard');
    const master = await customer.master();
    await answers(master, 200);
    expect(await customer.subscribe('Disabled')).toBe(201);
    expect((await customer.read()).status).toBe('DEACTIVATED');
    await answers(master, 401);
    const disabled = (await on.vendor.get<RuleBody[]>(customer.subscriptions)).body.at(-1)!;
    expect((await on.vendor.delete(`${customer.subscriptions}?ruleId=${disabled.id}`)).status).toBe(204);
    await answers(master, 200);
  });
});
