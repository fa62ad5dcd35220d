import { type Backend, startBackend, type TestPlatform } from '@orrery/core/testing';
import { identity } from '../index.js';
import { type FirstAccounts, firstAccounts, type RuleBody } from '../testing/first-accounts.js';

const PATH = '/api/v1/admin/bss/rules';

let backend: Backend;
let platform: TestPlatform;
let on: FirstAccounts;
beforeAll(async () => {
  backend = await startBackend([identity]);
  platform = await backend.boot([identity]);
  on = await firstAccounts(backend, platform);
});
afterAll(() => backend.stop());

let count = 0;
const create = (fields: Record<string, unknown>) =>
  on.admin.post<RuleBody>(PATH, {
    name: `name ${++count}`,
    displayName: `display ${count}`,
    type: 'OPTION',
    ...fields,
  });
const SET = { settingSection: 's', value: { a: 1 }, action: 'SET' };
const conditions = (...all: unknown[]): Record<string, unknown> => ({ offerSettingsPostConditions: all });

describe('rules', () => {
  it('are created, read and listed by administrators', async () => {
    const { status, body } = await create({ displayName: 'Größe 🚀', tags: ['x'], ...conditions(SET) });
    expect(status).toBe(201);
    expect((await on.admin.get(`${PATH}/${body.id}`)).body).toEqual(body);
    const list = await on.admin.get<RuleBody[]>(`${PATH}?limit=1000`, { 'x-total-count': 'true' });
    expect(list.body.at(-1)).toEqual(body);
    expect(Number(list.headers.get('x-total-count'))).toBe(list.body.length);
    expect((await on.admin.get(`${PATH}/unknown`)).status).toBe(404);
    expect((await on.admin.get(`${PATH}/%00`)).status).toBe(404);
    expect((await on.customer.get(PATH)).status).toBe(403);
  });

  it('have unique names, whoever is first', async () => {
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => create({ name: 'wanted', displayName: 'wanted' })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409, 409, 409]);
  });

  it('keep their type from version to version', async () => {
    await create({ displayName: 'versions', type: 'OFFER' });
    const { status, body } = await create({ displayName: 'versions', type: 'OPTION' });
    expect([status, body.details[0]!.field]).toEqual([400, 'type']);
    expect((await create({ displayName: 'versions', type: 'OFFER' })).status).toBe(201);
  });

  it.each([
    ['name', { name: ' ' }],
    ['name', { name: 'a\nb' }],
    ['displayName', { displayName: undefined }],
    ['type', { type: 'GIFT' }],
    ['disabled', { disabled: 'no' }],
    ['tags', { tags: [''] }],
    ['tags', { tags: 'a' }],
    ['preConditions', { preConditions: {} }],
    ['preConditions.0.tenantContextLogic', { preConditions: [{}] }],
    [
      'preConditions.1.tenantContextLogic.log',
      { preConditions: [{ tenantContextLogic: true }, { tenantContextLogic: { log: 1 } }] },
    ],
    [
      'preConditions.0.tenantContextLogic.var',
      { preConditions: [{ tenantContextLogic: { var: 'parent.constructor' } }] },
    ],
    ['offerSettingsPostConditions', { offerSettingsPostConditions: [1] }],
    ['offerSettingsPostConditions.0.settingSection', conditions({ ...SET, settingSection: '' })],
    ['offerSettingsPostConditions.0.settingSection', conditions({ ...SET, settingSection: '__proto__' })],
    ['offerSettingsPostConditions.0.settingPath', conditions({ ...SET, settingPath: 'a..b' })],
    ['offerSettingsPostConditions.0.settingPath', conditions({ ...SET, settingPath: 'a.__proto__.b' })],
    ['offerSettingsPostConditions.1.settingPath', conditions(SET, { ...SET, settingPath: 'constructor' })],
    ['offerSettingsPostConditions.0.value', conditions({ ...SET, value: 5 })],
    ['offerSettingsPostConditions.0.value', conditions({ ...SET, value: undefined })],
    ['offerSettingsPostConditions.0.value', conditions({ ...SET, action: 'ADD', settingPath: 'a', value: '1' })],
    ['offerSettingsPostConditions.0.settingPath', conditions({ ...SET, action: 'ADD', value: 1 })],
    ['offerSettingsPostConditions.0.action', conditions({ ...SET, action: 'REMOVE' })],
    ['body', conditions({ ...SET, value: { text: 'x'.repeat(70_000) } })],
    ['body', conditions({ ...SET, value: { text: 'a\u0000b' } })],
    ['body', conditions({ ...SET, value: { '\ud800': 1 } })],
  ])('refuse a bad %s', async (field, fields) => {
    const { status, body } = await create(fields);
    expect([status, body.details?.[0]?.field]).toEqual([400, field]);
  });

  it('refuse what only JSON text can say', async () => {
    const rule = (value: string): string =>
      `{"name":"odd","displayName":"odd","type":"OPTION","offerSettingsPostConditions":[{"settingSection":"s","action":"SET","value":${value}}]}`;
    for (const value of [
      '{"__proto__":{"a":1}}',
      '{"a":1e999}',
      '{"constructor":{}}',
      `${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`,
    ])
      expect((await on.admin.post(PATH, rule(value))).status).toBe(400);
    for (const body of ['[]', 'null', '1', '{', '']) expect((await on.admin.post(PATH, body)).status).toBe(400);
    expect((await on.admin.patch(`${PATH}/unknown`, { disabled: 1 })).status).toBe(400);
    expect((await on.admin.patch(`${PATH}/unknown`, { disabled: true })).status).toBe(404);
  });
});
