import { store } from '@orrery/store';
import type { StateChangeEvent } from '../contract.js';
import { eventProcessing } from '../index.js';
import {
  dataOf,
  type Json,
  ROOT,
  type RuleBackend,
  type RuleTenant,
  startRuleBackend,
} from '../testing/rule-backend.js';

const MINUTE = 60_000;

let rules: RuleBackend;
let tenant: RuleTenant;

beforeAll(async () => {
  rules = await startRuleBackend([store, eventProcessing]);
});
afterAll(() => rules.stop());
beforeEach(() => {
  tenant = rules.newTenant();
});

/** Sends a message as an application does. */
async function inject(streamId: string, body: object): Promise<void> {
  expect((await tenant.api.post(`/api/v0/data/streams/${streamId}`, body)).status).toBe(202);
}
const transitions = (events: StateChangeEvent[]): unknown[] =>
  events.map(({ previousState, newState }) => [previousState, newState]);

describe('use case 1 (17.4.1)', () => {
  const hour = { get_utc_hours: [{ var: 'timestamp' }] };
  const AT_NIGHT = {
    and: [{ '==': [{ var: 'value.motionSensorDetection' }, 1] }, { or: [{ '>=': [hour, 20] }, { '<': [hour, 6] }] }],
  };
  const detection = (source: string, timestamp: string, motionSensorDetection = 1, more = {}): Promise<unknown> =>
    tenant.send(source, {
      model: 'demoDevGuide',
      value: { motionSensorDetection, type: 'alert', typeId: 4, version: '1.2.4' },
      location: { lon: 2.99616, lat: 50.21142 },
      tags: ['last_version', 'areaSouth'],
      timestamp,
      ...more,
    });

  it('SEP-015 matches motion during the night', async () => {
    await tenant.fires([await tenant.match(AT_NIGHT)]);
    for (const [time, matches] of [
      ['23:58:10.953', true],
      ['08:58:10.953', false],
      ['05:59:00.000', true],
      ['06:00:00.000', false],
      ['20:00:00.000', true],
    ] as const) {
      await detection(matches ? 'night' : 'day', `2019-09-06T${time}Z`);
      await detection('none', `2019-09-06T${time}Z`, 0);
    }
    expect(dataOf(await tenant.fired()).map(({ streamId, timestamp }) => [streamId, timestamp])).toEqual([
      ['night', '2019-09-06T23:58:10.953Z'],
      ['night', '2019-09-06T05:59:00.000Z'],
      ['night', '2019-09-06T20:00:00.000Z'],
    ]);
  });

  it('SEP-016 sleeps for two minutes per sensor', async () => {
    await tenant.fires([await tenant.match(AT_NIGHT)], {
      firingType: 'SLEEP',
      sleepDuration: 'PT2M',
      aggregationKeys: ['metadata.source'],
    });
    const from = Date.now() - 10 * MINUTE;
    for (let second = 0; second < 300; second += 10) {
      const timestamp = new Date(Date.UTC(2019, 8, 6, 23, 50) + second * 1000).toISOString();
      await detection('one', timestamp, 1, { arrived: from + second * 1000 });
      if (second === 100) await detection('two', timestamp, 1, { arrived: from + second * 1000 });
    }
    const events = await tenant.fired();
    const secondsOf = (sensor: string): number[] =>
      dataOf(events)
        .filter(({ streamId }) => streamId === sensor)
        .map(({ timestamp }) => (Date.parse(String(timestamp)) - Date.UTC(2019, 8, 6, 23, 50)) / 1000);
    expect(secondsOf('one')).toEqual([0, 120, 240]);
    expect(secondsOf('two')).toEqual([100]);
  });
});

describe('use case 2 (17.4.2)', () => {
  const TRUCK = 'urn:lo:nsid:lora:0020B20000000101';
  const GEOZONES: Record<string, number[][]> = {
    'san-francisco': [[-123.019952, 38.358596], [-120.954523, 38.306889], [-121.789484, 37.12499], [-123.019952, 38.358596]], // prettier-ignore
    'los-angeles': [[-118.909873, 34.238622], [-117.747086, 34.346562], [-117.551111, 33.620728], [-118.269687, 33.533648], [-118.909873, 34.238622]], // prettier-ignore
    transportation1: [[-122.05261237, 37.561997], [-118.154639, 34.059617], [-119.203276, 34.102708], [-122.641996, 37.440666], [-122.05261237, 37.561997]], // prettier-ignore
    transportation2: [[-121.3220217, 37.8705177], [-118.027739, 34.309766], [-118.377685, 33.679366], [-121.662597, 37.714244], [-121.3220217, 37.8705177]], // prettier-ignore
  };
  const CONTEXTS = {
    transportation: ['transportation1', 'transportation2'],
    'device-group': [TRUCK],
    shipment: 'san-francisco',
    delivery: 'los-angeles',
  };
  const isInside = (keys: unknown): object => ({
    inside: [{ var: 'location.lon' }, { var: 'location.lat' }, { ctx: { ctx: keys } }],
  });
  const FUNCTION = {
    if: [
      isInside('shipment'),
      'shipment_zone',
      isInside(['transportation']),
      'transportation_zone',
      isInside('delivery'),
      'delivery_zone',
      'unknown_zone',
    ],
  };
  const RULE = {
    name: 'geo tracking',
    enabled: true,
    stateFunction: FUNCTION,
    filterPredicate: { in: [{ var: 'metadata.source' }, { ctx: 'device-group' }] },
    stateKeyPath: 'metadata.source',
  };
  const SHIPMENT = [-122.169846, 37.602902] as const;
  const HIGHWAY = [-121.562765, 36.969311] as const;
  const DELIVERY = [-118.154555, 33.881571] as const;

  const put = async (id: string, ring: number[][]): Promise<void> => {
    const geometry = { type: 'Polygon', coordinates: [ring] };
    expect((await tenant.api.put(`${ROOT}/geozones/${id}`, { geometry })).status).toBe(201);
  };
  const track = ([lon, lat]: readonly [number, number], source = TRUCK): Promise<void> =>
    inject(source, {
      metadata: { connector: 'http', source },
      location: { provider: 'lora', accuracy: 10, lon, lat },
      model: 'lora_v0',
      value: { payload: 'ae2109000cf3' },
      timestamp: '2017-07-26T08:32:44.034Z',
      tags: ['Tracker'],
    });

  beforeEach(async () => {
    for (const [id, ring] of Object.entries(GEOZONES)) await put(id, ring);
    for (const [key, contextData] of Object.entries(CONTEXTS)) await tenant.provide(key, contextData);
  });

  it('STP-010 tests the function, which changes no state', async () => {
    const [lon, lat] = SHIPMENT;
    const data = {
      metadata: { connector: 'http', source: TRUCK },
      streamId: TRUCK,
      location: { provider: 'lora', accuracy: 10, lon, lat },
      model: 'lora_v0',
      value: { payload: 'ae2109000cf3' },
    };
    const test = async (body: object): Promise<unknown> =>
      (await tenant.api.post(`${ROOT}/stateprocessing-rule/test`, { data, ...body })).body;
    expect(await test({ currentState: {}, stateProcessingFunction: FUNCTION })).toEqual({
      stateFunctionValid: true,
      dataValid: true,
      stateFunctionResult: 'shipment_zone',
    });
    expect(await test({ currentState: 'hot', stateProcessingFunction: { currentstate: [] } })).toMatchObject({
      stateFunctionResult: 'hot',
    });
    expect(await tenant.changes()).toEqual([]);
  });

  it('STP-011 tells of each zone that the tracker enters', async () => {
    const id = await tenant.create('stateprocessing-rule', RULE);
    for (const point of [SHIPMENT, SHIPMENT, HIGHWAY, HIGHWAY, DELIVERY, DELIVERY, [0, 0]] as const) await track(point);
    const changes = await tenant.changes();
    expect(transitions(changes)).toEqual([
      [null, 'shipment_zone'],
      ['shipment_zone', 'transportation_zone'],
      ['transportation_zone', 'delivery_zone'],
      ['delivery_zone', 'unknown_zone'],
    ]);
    for (const change of changes)
      expect(change).toMatchObject({ stateKey: TRUCK, stateProcessingRule: { id, name: 'geo tracking' } });
  });

  it('STP-012 follows the devices of the group alone', async () => {
    const other = 'urn:lo:nsid:lora:0020B20000000102';
    await tenant.create('stateprocessing-rule', RULE);
    await track(SHIPMENT, other);
    await track(HIGHWAY, other);
    expect(await tenant.changes()).toEqual([]);
    await tenant.provide('device-group', [TRUCK, other]);
    await track(DELIVERY, other);
    expect(await tenant.changes()).toMatchObject([{ stateKey: other, previousState: null, newState: 'delivery_zone' }]);
  });

  it('CTX-009 CTX-010 finds geozones in the context, as they are now', async () => {
    const where = { if: [{ inside: [...SHIPMENT, { ctx: 'san-francisco' }] }, 'in', 'out'] };
    await tenant.state(where);
    const zones = await tenant.create('stateprocessing-rule', RULE);
    const seen = async (): Promise<unknown[]> =>
      transitions((await tenant.changes()).filter((each) => each.stateProcessingRuleId !== zones));
    await track(SHIPMENT);
    expect(await seen()).toEqual([[null, 'in']]);
    await put('san-francisco', GEOZONES['los-angeles']!);
    await track(SHIPMENT);
    expect(await seen()).toEqual([[null, 'in'], ['in', 'out']]); // prettier-ignore
    const [first, second] = (await tenant.changes()).filter((each) => each.stateProcessingRuleId === zones);
    expect(first).toMatchObject({ previousState: null, newState: 'shipment_zone' });
    expect(second).toMatchObject({ previousState: 'shipment_zone', newState: expect.not.stringMatching('shipment') });
    // A context of the same key comes first; without it the geozone is found again.
    await tenant.provide('san-francisco', [GEOZONES['san-francisco']]);
    await track(SHIPMENT);
    expect(await seen()).toHaveLength(3);
    expect((await tenant.api.delete(`${ROOT}/context/san-francisco`)).status).toBe(204);
    await track(SHIPMENT);
    expect(await seen()).toHaveLength(4);
  });
});

describe('use case 3 (17.4.3)', () => {
  const NO2 = { var: 'value.NO2' };
  const hourly = { '==': [{ var: 'value.type' }, 'hourly'] };
  const ALERT = {
    and: [
      { '>': [NO2, { ctx: 'no2-alert-threshold-2' }] },
      {
        or: [
          { '==': [{ ctx: 'no2-previous-day-medium-level-reached' }, true] },
          { '==': [{ ctx: 'no2-previous-day-high-level-reached' }, true] },
        ],
      },
      hourly,
    ],
  };
  const level = (value: number, more = {}): Promise<unknown> =>
    tenant.send(undefined, {
      streamId: 'paris-centre-hourly',
      model: 'model_hourly',
      value: { type: 'hourly', NO2: value, PM10: 45, 'monitoring-station': 'paris-centre' },
      ...more,
    });

  it('CTX-005 matches by the level of the previous day, which is a context', async () => {
    await tenant.provide('no2-alert-threshold-2', 200);
    await tenant.fires([await tenant.match(ALERT)]);
    for (const reached of [true, false]) {
      const { status } = await tenant.api.put(`${ROOT}/context/no2-previous-day-medium-level-reached`, {
        contextData: reached,
        tags: ['previous day'],
      });
      expect(status).toBe(200);
      await level(201);
      expect(await tenant.fired()).toHaveLength(1);
    }
  });

  it('SEP-017 fires each alert, and information at most every six hours', async () => {
    await tenant.provide('no2-alert-threshold-2', 200);
    await tenant.provide('no2-info-threshold-1', 180);
    await tenant.provide('no2-previous-day-medium-level-reached', true);
    const streamId = { aggregationKeys: ['streamId'] };
    const alert = await tenant.fires([await tenant.match(ALERT)], streamId);
    const info = await tenant.fires(
      [await tenant.match({ and: [{ '>': [NO2, { ctx: 'no2-info-threshold-1' }] }, hourly] })],
      {
        firingType: 'SLEEP',
        sleepDuration: 'PT6H',
        ...streamId,
      },
    );
    const from = Date.now() - 7 * 60 * MINUTE;
    for (const minute of [0, 60, 361]) await level(250 + minute, { arrived: from + minute * MINUTE });
    await level(190, { streamId: 'place-de-l-opera-hourly', arrived: from + 60 * MINUTE });
    const events = await tenant.fired();
    const levelsOf = (id: string): unknown[] =>
      dataOf(events.filter(({ firingRule }) => firingRule.id === id))
        .map(({ value }) => (value as Json)['NO2'] as number)
        .toSorted((a, b) => a - b);
    expect(levelsOf(alert)).toEqual([250, 310, 611]);
    expect(levelsOf(info)).toEqual([190, 250, 611]);
  });

  it('STP-013 tells of each change of the daily level', async () => {
    await tenant.provide('no2-alert-threshold-2', 200);
    await tenant.provide('no2-alert-threshold-1', 400);
    const average = { var: 'value.avg-NO2' };
    const daily = { '==': [{ var: 'value.type' }, 'daily'] };
    const [low, high] = [{ ctx: 'no2-alert-threshold-2' }, { ctx: 'no2-alert-threshold-1' }];
    const stateFunction = {
      if: [
        { and: [{ '<': [average, low] }, daily] },
        'LOW',
        { and: [{ '<': [low, average, high] }, daily] },
        'MEDIUM',
        { and: [{ '>': [average, high] }, daily] },
        'HIGH',
      ],
    };
    const data = (level: number, type = 'daily'): object => ({
      model: 'model_daily',
      value: { type, 'avg-NO2': level, 'avg-PM10': 9, 'monitoring-station': 'paris-centre' },
      location: { lon: 2.2945, lat: 48.8584 },
    });
    const tested = await tenant.api.post(`${ROOT}/stateprocessing-rule/test`, {
      currentState: {},
      data: { streamId: 'paris-centre-daily', ...data(9) },
      stateProcessingFunction: stateFunction,
    });
    expect(tested.body).toEqual({ stateFunctionValid: true, dataValid: true, stateFunctionResult: 'LOW' });
    await tenant.state(stateFunction);
    await inject('paris-centre-exact', data(200));
    for (const level of [92, 200, 250, 450]) await inject('paris-centre-daily', data(level));
    expect(transitions(await tenant.changes())).toEqual([
      [null, 'LOW'],
      ['LOW', 'MEDIUM'],
      ['MEDIUM', 'HIGH'],
    ]);
  });

  it('STP-009 keeps the state when the function computes none', async () => {
    await tenant.provide('no2-alert-threshold-2', 200);
    const stateFunction = {
      if: [
        {
          and: [
            { '<': [{ var: 'value.avg-NO2' }, { ctx: 'no2-alert-threshold-2' }] },
            { '==': [{ var: 'value.type' }, 'daily'] },
          ],
        },
        'LOW',
        { '==': [{ var: 'value.type' }, 'list'] },
        [1, 2],
      ],
    };
    await tenant.state(stateFunction);
    for (const type of ['daily', 'hourly', 'list', 'daily'])
      await inject('paris-centre-daily', { value: { type, 'avg-NO2': 9 } });
    expect(transitions(await tenant.changes())).toEqual([[null, 'LOW']]);
  });
});
