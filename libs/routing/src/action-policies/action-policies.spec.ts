import { type ApiClient, apiClient, type Backend, type KeyRing, keyRing, startBackend } from '@orrery/core/testing';
import { routing } from '../index.js';
import type { ActionPolicyDto } from './action-policy.dto.js';

const PATH = '/api/v1/event2action/actionPolicies';
const ACTIONS = { fifoPublish: [{ fifoName: 'mydata' }] };
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

let backend: Backend;
let keys: KeyRing;
let url: string;
let api: ApiClient;
let tenants = 0;

const newTenant = (limits = {}): ApiClient => apiClient(url, keys.grant(`tenant${++tenants}`, { limits }).value);
const policy = (triggers: unknown, more: object = {}): object => ({
  enabled: true,
  triggers,
  actions: ACTIONS,
  ...more,
});
const create = async (body: unknown): Promise<ActionPolicyDto> => {
  const { status, body: created } = await api.post<ActionPolicyDto>(PATH, body);
  expect({ status, created }).toMatchObject({ status: 200 });
  return created;
};
const accepts = async (triggers: unknown): Promise<void> => void (await create(policy(triggers)));
const refuses = async (body: unknown, field: string): Promise<void> => {
  expect(await api.post(PATH, body)).toMatchObject({
    status: 400,
    body: {
      code: 'GENERIC_INVALID_PARAMETER_ERROR',
      details: expect.arrayContaining([{ field, expected: expect.any(String) }]),
    },
  });
};

beforeAll(async () => {
  backend = await startBackend([routing]);
  keys = keyRing(await backend.bus());
  ({ url } = await backend.boot([routing]));
});
afterAll(() => backend.stop());
beforeEach(() => {
  api = newTenant();
});

describe('action policies', () => {
  it('RTE-001 creates, reads, lists, updates and deletes a policy', async () => {
    // The first policy of the manual (14.1.1).
    const given = {
      name: 'some_user_defined_policy_name',
      enabled: true,
      triggers: {
        dataMessage: {
          version: 1,
          filter: {
            connectors: ['lora'],
            groupPaths: [{ includeSubPath: false, path: '/europe/france' }],
            tags: [['HIGH', 'ALERT'], ['PROD']],
          },
        },
      },
      actions: { fifoPublish: [{ fifoName: 'myFifoAlreadyCreatedInLiveObjects' }] },
    };
    const created = await create(given);
    expect(created).toEqual({ id: expect.stringMatching(UUID), ...given });
    expect((await api.get(`${PATH}/${created.id}`)).body).toEqual(created);
    const list = await api.get<ActionPolicyDto[]>(PATH);
    expect(list.body).toEqual([created]);
    expect(list.headers.get('x-result-count')).toBe('1');
    expect((await api.get(`${PATH}?triggerType=deviceStatus`)).body).toEqual([]);
    const changed = { ...given, name: 'other', enabled: false };
    expect((await api.put(`${PATH}/${created.id}`, changed)).body).toEqual({ id: created.id, ...changed });
    expect((await api.get(`${PATH}/${created.id}`)).body).toEqual({ id: created.id, ...changed });
    expect((await api.put(`${PATH}/${created.id}`, { ...given, id: 'another' })).status).toBe(400);
    expect((await api.delete(`${PATH}/${created.id}`)).status).toBe(204);
    for (const answer of [
      await api.get(`${PATH}/${created.id}`),
      await api.put(`${PATH}/${created.id}`, given),
      await api.delete(`${PATH}/${created.id}`),
    ])
      expect(answer).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } });
    expect((await api.get(`${PATH}/abc`)).status).toBe(400);
  });

  it('RTE-002 needs enabled, triggers and one action, and no name', async () => {
    const triggers = { dataMessage: { version: 1 } };
    expect(await create({ enabled: true, triggers, actions: ACTIONS })).not.toHaveProperty('name');
    await refuses({ triggers, actions: ACTIONS }, 'enabled');
    await refuses({ enabled: true, actions: ACTIONS }, 'triggers');
    await refuses({ enabled: true, triggers }, 'actions');
    await refuses({ enabled: true, triggers, actions: { emails: [], httpPush: [] } }, 'actions');
    await refuses({ enabled: true, triggers, actions: { fifoPublish: [{}] } }, 'actions.fifoPublish[0].fifoName');
    await refuses({ enabled: true, triggers, actions: { carrierPigeon: [{}] } }, 'actions.carrierPigeon');
    await refuses([], '');
    // All other actions may be given as empty lists (manual 14.1.2).
    const actions = { emails: [], sms: [], httpPush: [], ...ACTIONS };
    expect((await create({ enabled: true, triggers, actions })).actions).toEqual(actions);
  });

  it('RTE-003 takes one trigger, or deviceCreated with deviceDeleted', async () => {
    const v1 = { version: 1 };
    await refuses(policy({ dataMessage: v1, deviceStatus: v1 }), 'triggers');
    await refuses(policy({ deviceCreated: v1, deviceStatus: v1 }), 'triggers');
    await refuses(policy({}), 'triggers');
    await refuses(policy([]), 'triggers');
    await refuses(policy({ dataNew: v1 }), 'triggers.dataNew');
    await accepts({ deviceCreated: v1, deviceDeleted: v1 });
    await accepts({ deviceCreated: v1, deviceDeleted: null });
  });

  it('RTE-005 takes enabled as text', async () => {
    const triggers = { dataMessage: { version: 1 } };
    const { id } = await create({ enabled: 'true', triggers, actions: ACTIONS });
    expect((await api.get(`${PATH}/${id}`)).body).toMatchObject({ enabled: true });
    expect((await create({ enabled: 'false', triggers, actions: ACTIONS })).enabled).toBe(false);
    for (const enabled of ['yes', 'TRUE', 1, null]) await refuses({ enabled, triggers, actions: ACTIONS }, 'enabled');
  });

  it('RTE-006 knows version 1 only', async () => {
    await refuses(policy({ dataMessage: { version: 2 } }), 'triggers.dataMessage.version');
    await refuses(policy({ dataMessage: { version: '1' } }), 'triggers.dataMessage.version');
  });

  it('RTE-008 takes connectors where they are available', async () => {
    const connectors = ['http', 'mqtt', 'lora', 'sms', 'x-connector', 'lwm2m', 'sigfox', 'sensoro'];
    for (const type of ['dataMessage', 'deviceStatus', 'deviceCreated', 'deviceDeleted']) {
      await accepts({ [type]: { version: 1, filter: { connectors } } });
      await refuses(
        policy({ [type]: { version: 1, filter: { connectors: ['mqtt', 'fax'] } } }),
        `triggers.${type}.filter.connectors[1]`,
      );
    }
    for (const type of ['commandStatus', 'loraNetwork', 'loraGatewayStatus', 'matchingFired'])
      await refuses(
        policy({ [type]: { version: 1, filter: { connectors: ['mqtt'] } } }),
        `triggers.${type}.filter.connectors`,
      );
  });

  it('checks the items of every filter', async () => {
    const bad: Array<[type: string, filter: object, field: string]> = [
      ['dataMessage', { deviceIds: [''] }, 'deviceIds[0]'],
      ['dataMessage', { deviceIds: 'd1' }, 'deviceIds'],
      ['dataMessage', { tags: ['HIGH'] }, 'tags[0]'],
      ['dataMessage', { tags: [['a'], []] }, 'tags[1]'],
      ['dataMessage', { groupPaths: ['/lyon'] }, 'groupPaths[0]'],
      ['dataMessage', { groupPaths: [{ path: 'lyon' }] }, 'groupPaths[0]'],
      ['dataMessage', { groupPaths: [{ path: '/lyon', includeSubPath: 'yes' }] }, 'groupPaths[0]'],
      ['deviceStatus', { tags: [['a']] }, 'tags'],
      ['commandStatus', { status: ['DONE'] }, 'status[0]'],
      ['loraNetwork', { messageTypes: ['REJOIN'] }, 'messageTypes[0]'],
      ['matchingFired', { ruleId: ['A'] }, 'ruleId'],
      ['matchingFired', { ruleIds: [7] }, 'ruleIds[0]'],
    ];
    for (const [type, filter, field] of bad)
      await refuses(policy({ [type]: { version: 1, filter } }), `triggers.${type}.filter.${field}`);
    await refuses(policy({ dataMessage: { version: 1, filter: [] } }), 'triggers.dataMessage.filter');
    await refuses({ ...policy({ dataMessage: { version: 1 } }), name: 5 }, 'name');
  });

  it('RTE-016 LIM-027 takes at most 20 items in a filter list', async () => {
    const ids = (count: number): string[] => Array.from({ length: count }, (_, i) => `d${i}`);
    const deviceIds = (count: number): object => ({ dataMessage: { version: 1, filter: { deviceIds: ids(count) } } });
    await accepts(deviceIds(20));
    await refuses(policy(deviceIds(21)), 'triggers.dataMessage.filter.deviceIds');
    const connectors = Array.from({ length: 21 }, () => 'mqtt');
    await refuses(
      policy({ dataMessage: { version: 1, filter: { connectors } } }),
      'triggers.dataMessage.filter.connectors',
    );
  });

  it('takes at most 10 actions of a type', async () => {
    const actions = (count: number): object => ({
      fifoPublish: Array.from({ length: count }, (_, i) => ({ fifoName: `f${i}` })),
    });
    await refuses(policy({ dataMessage: { version: 1 } }, { actions: actions(11) }), 'actions.fifoPublish');
    await create(policy({ dataMessage: { version: 1 } }, { actions: actions(10) }));
    await refuses(
      policy({ dataMessage: { version: 1 } }, { actions: { httpPush: Array.from({ length: 11 }, () => ({})) } }),
      'actions.httpPush',
    );
  });

  it('LIM-020 refuses the 51st policy, also of requests at the same time', async () => {
    const body = policy({ dataMessage: { version: 1 } });
    for (let i = 0; i < 45; i++) await create(body);
    const last = await Promise.all(Array.from({ length: 10 }, () => api.post<{ code?: string }>(PATH, body)));
    expect(last.filter(({ status }) => status === 200)).toHaveLength(5);
    expect(last.find(({ status }) => status !== 200)).toMatchObject({
      status: 403,
      body: { code: 'GENERIC_QUOTA_EXCEEDED_ERROR' },
    });
    api = newTenant({ actionPolicies: 1 });
    await create(body);
    expect((await api.post(PATH, body)).status).toBe(403);
  });

  it('RTE-021 ignores a suspension that is sent', async () => {
    const body = policy({ dataMessage: { version: 1 } }, { suspension: 'mine' });
    const { id } = await create(body);
    await api.put(`${PATH}/${id}`, body);
    expect((await api.get(`${PATH}/${id}`)).body).not.toHaveProperty('suspension');
  });

  it('shows and changes the policies of the own tenant only, with the right role', async () => {
    const { id } = await create(policy({ dataMessage: { version: 1 } }));
    const other = newTenant();
    expect((await other.get(PATH)).body).toEqual([]);
    expect((await other.get(`${PATH}/${id}`)).status).toBe(404);
    expect((await other.put(`${PATH}/${id}`, policy({ dataMessage: { version: 1 } }))).status).toBe(404);
    expect((await other.delete(`${PATH}/${id}`)).status).toBe(404);
    expect((await api.get(`${PATH}/${id}`)).status).toBe(200);
    const reader = apiClient(url, keys.grant('roles', { roles: ['DATA_PROCESSING_R'] }).value);
    expect((await reader.get(PATH)).status).toBe(200);
    expect((await reader.post(PATH, {})).status).toBe(403);
    const busReader = apiClient(url, keys.grant('roles', { roles: ['BUS_CONFIG_R', 'DATA_PROCESSING_W'] }).value);
    expect((await busReader.get(PATH)).status).toBe(403);
  });
});
