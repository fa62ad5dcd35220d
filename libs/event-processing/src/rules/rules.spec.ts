import { type ApiClient, apiClient, type Backend, type KeyRing, keyRing, startBackend } from '@orrery/core/testing';
import { eventProcessing } from '../index.js';
import type { FiringRuleDto, MatchingRuleDto, StateProcessingRuleDto } from './rule.dto.js';

const ROOT = '/api/v0/eventprocessing';
const MATCHING = `${ROOT}/matching-rule`;
const FIRING = `${ROOT}/firing-rule`;
const STATE = `${ROOT}/stateprocessing-rule`;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const UNKNOWN = '00000000-0000-4000-8000-000000000000';
const PREDICATE = { '>': [{ var: 'value.temp' }, 99] };

let backend: Backend;
let keys: KeyRing;
let url: string;
let api: ApiClient;
let tenants = 0;

const newTenant = (options = {}): ApiClient => apiClient(url, keys.grant(`tenant${++tenants}`, options).value);
const create = async <Rule>(path: string, body: unknown): Promise<Rule> => {
  const { status, body: created } = await api.post<Rule>(path, body);
  expect({ status, created }).toMatchObject({ status: 201 });
  return created;
};
const refuses = async (path: string, body: unknown, field: string): Promise<void> => {
  expect(await api.post(path, body)).toMatchObject({
    status: 400,
    body: {
      code: 'GENERIC_INVALID_PARAMETER_ERROR',
      details: expect.arrayContaining([{ field, expected: expect.any(String) }]),
    },
  });
};

beforeAll(async () => {
  backend = await startBackend([eventProcessing]);
  keys = keyRing(await backend.bus());
  ({ url } = await backend.boot([eventProcessing], { api: true, worker: false }));
});
afterAll(() => backend.stop());
beforeEach(() => {
  api = newTenant();
});

// The second threshold of 17.4.3.
const alert = {
  name: 'no2-alert-level-reached-threshold2',
  dataPredicate: {
    and: [
      { '>': [{ var: 'value.NO2' }, { ctx: 'no2-alert-threshold-2' }] },
      {
        or: [
          { '==': [{ ctx: 'no2-previous-day-medium-level-reached' }, true] },
          { '==': [{ ctx: 'no2-previous-day-high-level-reached' }, true] },
        ],
      },
      { '==': [{ var: 'value.type' }, 'hourly'] },
    ],
  },
  enabled: true,
};

describe('matching rules', () => {
  it('SEP-001 creates, reads, lists, updates and deletes a rule', async () => {
    const created = await create<MatchingRuleDto>(MATCHING, alert);
    expect(created).toEqual({ id: expect.stringMatching(UUID), ...alert });
    const path = `${MATCHING}/${created.id}`;
    expect((await api.get(path)).body).toEqual(created);
    const other = await create<MatchingRuleDto>(MATCHING, { name: 'other', dataPredicate: PREDICATE });
    expect(other.enabled).toBe(false);
    expect((await api.get(MATCHING)).body).toEqual([created, other]);
    expect((await api.get(`${MATCHING}?name=other`)).body).toEqual([other]);
    expect((await api.get(`${MATCHING}?name=%00`)).status).toBe(400);

    const changed = { name: 'changed', enabled: false, dataPredicate: { '==': [1, 2] } };
    expect((await api.put(path, changed)).status).toBe(204);
    expect((await api.get(path)).body).toEqual({ id: created.id, ...changed });
    expect((await api.put(path, { ...changed, id: other.id })).status).toBe(400);
    expect((await api.put(path, { ...changed, name: 'other' })).status).toBe(409);
    expect((await api.delete(path)).status).toBe(204);
    for (const unknown of [path, `${MATCHING}/${UNKNOWN}`, `${MATCHING}/none`]) {
      expect((await api.get(unknown)).status).toBe(404);
      expect((await api.put(unknown, changed)).status).toBe(404);
      expect((await api.delete(unknown)).status).toBe(404);
    }
  });

  it('SEP-019 LIM-028 LIM-029 STP-014 LIM-030 refuses one rule more than the offer has of each kind', async () => {
    const bodies: Array<[string, (i: number) => object]> = [
      [MATCHING, (i) => ({ name: `r${i}`, dataPredicate: PREDICATE })],
      [FIRING, (i) => ({ name: `r${i}`, firingType: 'ALWAYS' })],
      [STATE, (i) => ({ name: `r${i}`, enabled: true, stateKeyPath: 'streamId', stateFunction: PREDICATE })],
    ];
    const small = newTenant({
      limits: { httpPerKeyMinute: null, matchingRules: 2, firingRules: 2, stateProcessingRules: 2 },
    });
    for (const [path, body] of bodies) {
      for (let i = 0; i < 50; i++) await create(path, body(i));
      for (let i = 0; i < 2; i++) expect((await small.post(path, body(i))).status).toBe(201);
      for (const full of [api, small])
        expect(await full.post(path, body(50))).toMatchObject({
          status: 403,
          body: { code: 'GENERIC_QUOTA_EXCEEDED_ERROR' },
        });
    }
  });

  it('counts exactly when rules are created at once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) => api.post(MATCHING, { name: `r${i}`, dataPredicate: PREDICATE })),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(50);
    expect(answers.filter(({ status }) => status === 403)).toHaveLength(10);
  });

  it('keeps names unique within a kind and a tenant', async () => {
    await create(MATCHING, { name: 'n', dataPredicate: PREDICATE });
    expect(await api.post(MATCHING, { name: 'n', dataPredicate: PREDICATE })).toMatchObject({
      status: 409,
      body: { code: 'CONFLICT' },
    });
    await create(FIRING, { name: 'n', firingType: 'ALWAYS' });
    expect((await newTenant().post(MATCHING, { name: 'n', dataPredicate: PREDICATE })).status).toBe(201);
  });

  it('returns what it was given, whatever the texts hold', async () => {
    const dataPredicate = { in: [{ var: 'value.é\\.x' }, ['\u0000', '\ud83d\ude00', '\ud83d', '"];x', '\u2028']] };
    const { id } = await create<MatchingRuleDto>(MATCHING, { name: 'n', dataPredicate });
    expect((await api.get<MatchingRuleDto>(`${MATCHING}/${id}`)).body.dataPredicate).toEqual(dataPredicate);
  });

  it('JLG-002 refuses log, and the test says so', async () => {
    await refuses(MATCHING, { name: 'n', dataPredicate: { log: 'x' } }, 'dataPredicate.log');
    const tested = await api.post(`${MATCHING}/test`, { data: {}, dataPredicate: { log: 'x' } });
    expect(tested.body).toEqual({ dataPredicateValid: false, dataValid: true });
  });

  it('JLG-012 refuses currentstate outside of state functions', async () => {
    const dataPredicate = { '==': [{ currentstate: [] }, 'hot'] };
    await refuses(MATCHING, { name: 'n', dataPredicate }, 'dataPredicate.==.0.currentstate');
    const state = { enabled: true, stateKeyPath: 'streamId', stateFunction: { currentstate: [] } };
    await refuses(STATE, { ...state, filterPredicate: dataPredicate }, 'filterPredicate.==.0.currentstate');
    await create(STATE, state);
    const tested = await api.post(`${STATE}/test`, {
      currentState: {},
      data: {},
      stateProcessingFunction: { currentstate: [] },
    });
    expect(tested.body).toEqual({ stateFunctionValid: true, dataValid: true, stateFunctionResult: null });
  });

  it('refuses hostile logic where it stands', async () => {
    for (const [dataPredicate, field] of [
      [{ and: [true, { nosuch: [1] }] }, 'dataPredicate.and.1.nosuch'],
      [{ if: [true, { constructor: ['return 1'] }] }, 'dataPredicate.if.1.constructor'],
      [{ var: 'a.__proto__.b' }, 'dataPredicate.var'],
      [{ filter: [{ var: 'a' }] }, 'dataPredicate.filter'],
      [{ distance: [{ var: 'lon' }, { x: 1 }] }, 'dataPredicate.distance.1.x'],
      [{ '<': [1], '>': [2] }, 'dataPredicate'],
      ['true', 'dataPredicate'],
      [[PREDICATE], 'dataPredicate'],
      [null, 'dataPredicate'],
      [{ in: ['x', 'y'.repeat(70_000)] }, 'dataPredicate'],
    ] as const)
      await refuses(MATCHING, { name: 'n', dataPredicate }, field);
    const { status, body } = await api.post(
      MATCHING,
      JSON.stringify({ name: 'n', dataPredicate: 0 }).replace('0', text(20_000)),
    );
    expect({ status, body }).toMatchObject({ status: 400 });
    const own = JSON.parse('{"__proto__": [1]}') as object;
    await refuses(MATCHING, { name: 'n', dataPredicate: own }, 'dataPredicate.__proto__');
    for (const name of ['', ' ', 5, 'x'.repeat(257), 'a\u0000']) await refuses(MATCHING, { ...alert, name }, 'name');
    for (const body of [null, [], 5, 'text']) expect((await api.post(MATCHING, JSON.stringify(body))).status).toBe(400);
  });
});

const text = (levels: number): string => `${'{"!":['.repeat(levels)}1${']}'.repeat(levels)}`;

describe('tests of matching rules', () => {
  const test = async (data: unknown, dataPredicate: unknown): Promise<unknown> => {
    const { status, body } = await api.post(`${MATCHING}/test`, { data, dataPredicate });
    expect(status).toBe(200);
    return body;
  };

  it('SEP-003 evaluates a predicate on a message', async () => {
    await api.put(`${ROOT}/context/no2-alert-threshold-2`, { contextData: 200 });
    await api.put(`${ROOT}/context/no2-previous-day-medium-level-reached`, { contextData: true });
    const message = (NO2: number, type: string): object => ({
      metadata: { connector: 'http' },
      streamId: 'paris-centre-hourly',
      location: { lon: 2.2945, lat: 48.8584 },
      model: 'model_hourly',
      value: { type, NO2, PM10: 15, 'monitoring-station': 'paris-centre' },
      timestamp: '2017-07-27T02:00:00Z',
    });
    const result = (dataPredicateResult: boolean): object => ({
      dataPredicateValid: true,
      dataValid: true,
      dataPredicateResult,
    });
    expect(await test(message(201, 'hourly'), alert.dataPredicate)).toEqual(result(true));
    expect(await test(message(199, 'hourly'), alert.dataPredicate)).toEqual(result(false));
    expect(await test(message(201, 'daily'), alert.dataPredicate)).toEqual(result(false));
  });

  it('SEP-004 tells invalid predicates and data', async () => {
    expect(await test({}, { nosuch: [1] })).toEqual({ dataPredicateValid: false, dataValid: true });
    expect(await test(5, PREDICATE)).toEqual({ dataPredicateValid: true, dataValid: false });
    expect(await test([], 'x')).toEqual({ dataPredicateValid: false, dataValid: false });
    expect(await test({ value: { a: 'x' } }, { '+': [{ var: 'value.a' }, 1] })).toMatchObject({
      dataPredicateValid: false,
    });
    expect((await api.post(`${MATCHING}/test`, '[]')).status).toBe(400);
  });

  it('SEP-014 computes the path of a variable', async () => {
    const predicate = {
      '>': [
        {
          var: {
            cat: [
              'value.',
              { if: [{ in: [{ var: 'model' }, 'v0'] }, 'temp', { in: [{ var: 'model' }, 'v1'] }, 'temperature', 't'] },
            ],
          },
        },
        100,
      ],
    };
    const matches = async (model: string, value: object): Promise<unknown> =>
      ((await test({ model, value }, predicate)) as { dataPredicateResult: boolean }).dataPredicateResult;
    expect(await matches('v0', { temp: 101 })).toBe(true);
    expect(await matches('v1', { temperature: 101 })).toBe(true);
    expect(await matches('x', { t: 101 })).toBe(true);
    expect(await matches('v1', { temp: 101 })).toBe(false);
  });

  it('ends in time, whatever the logic multiplies', async () => {
    const list = Array.from({ length: 300 }, () => 1);
    const nested = { map: [list, { map: [{ var: 'l' }, { map: [{ var: 'l' }, 1] }] }] };
    const began = process.cpuUsage();
    expect(await test({ l: Array.from({ length: 10_000 }, () => 1) }, nested)).toMatchObject({ dataValid: true });
    expect(process.cpuUsage(began).user).toBeLessThan(5_000_000);
  });
});

describe('firing rules', () => {
  // The two of 17.4.3.
  const always = {
    aggregationKeys: ['streamId'],
    enabled: true,
    firingType: 'ALWAYS',
    matchingRuleIds: ['0476993c-b7cc-49a7-9a86-87431ead76e7'],
    name: 'firing NO2 alert 200',
  };
  const sleep = {
    aggregationKeys: ['streamId'],
    enabled: true,
    firingType: 'SLEEP',
    matchingRuleIds: ['4578993c-b7cc-49a7-9a86-87431ead96a9'],
    name: 'firing PM10 INFO',
    sleepDuration: 'PT6H',
  };

  it('SEP-005 takes rules of each type and refuses what is none', async () => {
    const { id, ...rest } = await create<FiringRuleDto>(FIRING, always);
    expect(rest).toEqual(always);
    expect((await api.get(`${FIRING}/${id}`)).body).toEqual({ id, ...always });
    await create(FIRING, sleep);
    await create(FIRING, { name: 'once', firingType: 'ONCE' });
    await refuses(FIRING, { ...always, firingType: 'TWICE' }, 'firingType');
    const { sleepDuration: _, ...without } = sleep;
    await refuses(FIRING, without, 'sleepDuration');
    for (const sleepDuration of ['2 minutes', 'P', 'P1M', 'P1Y', 'P1W', 'PT0S', '-PT2M', 'P99999999D', 120, {}])
      await refuses(FIRING, { ...sleep, sleepDuration }, 'sleepDuration');
    await refuses(FIRING, { ...always, sleepDuration: 'PT6H' }, 'sleepDuration');
    await refuses(FIRING, { ...always, matchingRuleIds: ['x'] }, 'matchingRuleIds[0]');
    await refuses(FIRING, { ...always, matchingRuleIds: 'x' }, 'matchingRuleIds');
    await refuses(FIRING, { ...always, aggregationKeys: ['a.__proto__'] }, 'aggregationKeys[0]');
    await refuses(FIRING, { ...always, aggregationKeys: [1] }, 'aggregationKeys[0]');
    expect((await api.put(`${FIRING}/${id}`, { ...sleep, name: 'changed' })).status).toBe(204);
    expect((await api.get(`${FIRING}/${id}`)).body).toEqual({ id, ...sleep, name: 'changed' });
    expect((await api.delete(`${FIRING}/${id}`)).status).toBe(204);
    expect((await api.get(`${FIRING}/${id}`)).status).toBe(404);
  });
});

describe('state processing rules', () => {
  // The one of 17.2.6.5.
  const temperature = {
    name: 'temperature state rule',
    enabled: true,
    stateKeyPath: 'streamId',
    stateFunction: {
      if: [{ '<': [{ var: 'value.temp' }, 0] }, 'cold', { '<=': [{ var: 'value.temp' }, 100] }, 'normal', 'hot'],
    },
  };

  it('STP-001 creates, reads, updates and deletes a rule, and names what is missing', async () => {
    const created = await create<StateProcessingRuleDto>(STATE, temperature);
    expect(created).toEqual({ id: expect.stringMatching(UUID), ...temperature });
    const path = `${STATE}/${created.id}`;
    expect((await api.get(path)).body).toEqual(created);
    expect((await api.get(STATE)).body).toEqual([created]);
    for (const field of ['enabled', 'stateKeyPath', 'stateFunction'] as const) {
      const { [field]: _, ...without } = temperature;
      await refuses(STATE, without, field);
    }
    const { name: _, ...unnamed } = temperature;
    const changed = { ...unnamed, filterPredicate: PREDICATE };
    expect((await api.put(path, changed)).status).toBe(204);
    expect((await api.get(path)).body).toEqual({ id: created.id, ...changed });
    await create(STATE, unnamed);
    expect((await api.delete(path)).status).toBe(204);
    expect((await api.get(path)).status).toBe(404);
  });

  it('tests a function with a state, changing none', async () => {
    const square = (lon: number): object => ({
      geometry: {
        type: 'Polygon',
        coordinates: [
          [
            [lon, 37],
            [lon + 1, 37],
            [lon + 1, 38],
            [lon, 38],
            [lon, 37],
          ],
        ],
      },
    });
    await api.put(`${ROOT}/geozones/san-francisco`, square(-123));
    await api.put(`${ROOT}/context/shipment`, { contextData: 'san-francisco' });
    const stateProcessingFunction = {
      if: [
        { inside: [{ var: 'location.lon' }, { var: 'location.lat' }, { ctx: { ctx: 'shipment' } }] },
        'shipment_zone',
        'unknown_zone',
      ],
    };
    const data = { streamId: 's', location: { lon: -122.169846, lat: 37.602902 }, value: {} };
    const test = async (body: object): Promise<unknown> => (await api.post(`${STATE}/test`, body)).body;
    expect(await test({ currentState: {}, data, stateProcessingFunction })).toEqual({
      stateFunctionValid: true,
      dataValid: true,
      stateFunctionResult: 'shipment_zone',
    });
    expect(await test({ currentState: 'hot', data, stateProcessingFunction: { currentstate: [] } })).toMatchObject({
      stateFunctionResult: 'hot',
    });
    expect(await test({ data: 5, stateProcessingFunction: { nosuch: 1 } })).toEqual({
      stateFunctionValid: false,
      dataValid: false,
    });
    expect(await backend.query('SELECT 1 FROM event_processing.states')).toEqual([]);
  });
});

describe('access', () => {
  it('needs DATA_PROCESSING_R to read and DATA_PROCESSING_W to write', async () => {
    const reader = newTenant({ roles: ['DATA_PROCESSING_R'] });
    const writer = newTenant({ roles: ['DATA_PROCESSING_W'] });
    for (const path of [
      'matching-rule',
      'firing-rule',
      'firing-guard',
      'stateprocessing-rule',
      'context',
      'geozones',
    ]) {
      expect((await reader.get(`${ROOT}/${path}`)).status).toBe(200);
      expect((await writer.get(`${ROOT}/${path}`)).status).toBe(403);
      expect((await reader.delete(`${ROOT}/${path}/${UNKNOWN}`)).status).toBe(403);
      expect((await writer.delete(`${ROOT}/${path}/${UNKNOWN}`)).status).toBe(404);
    }
  });

  it('is refused when the offer has no event processing', async () => {
    const disabled = newTenant({ disabledSections: ['eventProcessing'] });
    expect(await disabled.post(MATCHING, alert)).toMatchObject({
      status: 403,
      body: { code: 'GENERIC_OFFER_DISABLED_ERROR' },
    });
  });
});
