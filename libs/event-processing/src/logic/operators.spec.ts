import { type ApiClient, apiClient, type Backend, type KeyRing, keyRing, startBackend } from '@orrery/core/testing';
import { eventProcessing } from '../index.js';
import { closeTo, distance, zonesOf } from './geometry.js';
import { compileRuleLogic } from './rule-logic.js';

const ROOT = '/api/v0/eventprocessing';

let backend: Backend;
let keys: KeyRing;
let api: ApiClient;
let url: string;
let tenants = 0;

beforeAll(async () => {
  backend = await startBackend([eventProcessing]);
  keys = keyRing(await backend.bus());
  ({ url } = await backend.boot([eventProcessing], { api: true, worker: false }));
});
afterAll(() => backend.stop());
beforeEach(() => {
  api = apiClient(url, keys.grant(`tenant${++tenants}`).value);
});

const provide = async (contexts: Record<string, unknown>): Promise<void> => {
  for (const [key, contextData] of Object.entries(contexts))
    expect((await api.put(`${ROOT}/context/${key}`, { contextData })).status).toBe(200);
};
/** What the logic makes of a message, by the test of state functions, which returns results of any type. */
const evaluate = async (
  stateProcessingFunction: unknown,
  data: unknown = {},
  currentState: unknown = {},
): Promise<unknown> => {
  const { body } = await api.post<{ stateFunctionResult: unknown }>(`${ROOT}/stateprocessing-rule/test`, {
    currentState,
    data,
    stateProcessingFunction,
  });
  expect(body).toMatchObject({ stateFunctionValid: true, dataValid: true });
  return body.stateFunctionResult;
};

const PARIS = [
  [
    [2.381121, 48.627973],
    [2.129376, 48.629499],
    [2.099351, 48.768217],
    [2.116302, 48.955198],
    [2.317994, 48.927845],
    [2.455176, 48.913357],
    [2.489472, 48.841933],
    [2.392301, 48.762871],
    [2.381121, 48.627973],
  ],
];
const ORLEANS = [
  [
    [1.780892, 48.091452],
    [2.301382, 48.000565],
    [2.281961, 47.50963],
    [1.252634, 47.729556],
    [1.780892, 48.091452],
  ],
];
const BOULOGNE = [
  [
    [2.22412, 48.85863],
    [2.25219, 48.88143],
    [2.28404, 48.8785],
    [2.26816, 48.86721],
    [2.2588, 48.84913],
    [2.22859, 48.85004],
    [2.22412, 48.85863],
  ],
];
const LINE = [
  [
    [2.281961, 47.50963],
    [1.252634, 47.729556],
  ],
];
const LON = { var: 'location.lon' };
const LAT = { var: 'location.lat' };
const at = (lon: number, lat: number, accuracy?: number): object => ({ location: { lon, lat, accuracy } });

describe('JsonLogic', () => {
  it('JLG-001 has the standard operators', async () => {
    for (const [logic, result] of [
      [{ '<': [1, 2, 3] }, true],
      [{ '<=': [0, 12, 12] }, true],
      [{ '<': [1, 1, 3] }, false],
      [{ in: ['a', ['a', 'b']] }, true],
      [{ cat: ['a', 1] }, 'a1'],
      [{ '!==': [1, '1'] }, true],
    ])
      expect([logic, await evaluate(logic)]).toEqual([logic, result]);
  });
});

describe('distance', () => {
  it('JLG-003 measures metres between two points', async () => {
    const eiffel = at(2.2945, 48.8584);
    const measured = { distance: [LON, LAT, 2.296565, 48.800206] };
    expect(await evaluate({ '>': [measured, 6000] }, eiffel)).toBe(true);
    const metres = (await evaluate(measured, eiffel)) as number;
    expect(Math.abs(metres - 6473)).toBeLessThan(6473 * 0.002);
  });

  it('JLG-004 reads the latitude first, unless its first operand is a longitude', async () => {
    const sanFrancisco = at(-122.431297, 37.773972);
    const latitudeFirst = (await evaluate({ distance: [LAT, LON, 48.800206, 2.296565] }, sanFrancisco)) as number;
    const longitudeFirst = (await evaluate({ distance: [LON, LAT, 2.296565, 48.800206] }, sanFrancisco)) as number;
    expect(latitudeFirst).toBeCloseTo(longitudeFirst, 3);
    expect(Math.abs(latitudeFirst / 1000 - 8956)).toBeLessThan(8956 * 0.002);
    const eiffel = { value: { lng: 2.2945 }, longitude: 2.2945, location: { lon: 2.2945 } };
    for (const path of ['value.lng', 'longitude', ['location.lon', 0]])
      expect(await evaluate({ distance: [{ var: path }, 48.8584, 2.296565, 48.800206] }, eiffel)).toBeCloseTo(
        distance(48.8584, 2.2945, 48.800206, 2.296565),
        3,
      );
  });
});

const SCOPE = { context: () => null, state: null, now: new Date() };

describe('ctx', () => {
  it('JLG-005 compares with the context', async () => {
    await provide({ freezingThreshold: 0, liquidThreshold: 100 });
    const temp = { var: 'value.temp' };
    const logic = {
      if: [
        { '<': [temp, { ctx: 'freezingThreshold' }] },
        'ice',
        { '<': [{ ctx: 'freezingThreshold' }, temp, { ctx: 'liquidThreshold' }] },
        'liquid',
        'gas',
      ],
    };
    expect(await evaluate(logic, { value: { temp: 55 } })).toBe('liquid');
    expect(await evaluate(logic, { value: { temp: -5 } })).toBe('ice');
    expect(await evaluate(logic, { value: { temp: 150 } })).toBe('gas');
  });

  it('JLG-006 takes several keys, and keys that do not exist', async () => {
    await provide({ freezingThreshold: 0, liquidThreshold: 100 });
    expect(await evaluate({ ctx: ['freezingThreshold', 'liquidThreshold'] })).toEqual([0, 100]);
    expect(await evaluate({ ctx: ['liquidThreshold'] })).toBe(100);
    expect(await evaluate({ '==': [{ ctx: 'absent' }, true] })).toBe(false);
    for (const key of ['__proto__', 'constructor', 'toString']) expect(await evaluate({ ctx: key })).toBeNull();
  });

  it('JLG-007 follows groups', async () => {
    await provide({ shipment: 'san-francisco', transportation: ['transportation1', 'transportation2'] });
    for (const [id, coordinates] of Object.entries({
      'san-francisco': PARIS,
      transportation1: ORLEANS,
      transportation2: BOULOGNE,
    }))
      await api.put(`${ROOT}/geozones/${id}`, { geometry: { type: 'Polygon', coordinates } });
    expect(await evaluate({ ctx: { ctx: 'shipment' } })).toEqual(PARIS);
    const group = { ctx: { ctx: ['transportation'] } };
    expect(await evaluate(group)).toEqual([ORLEANS, BOULOGNE]);
    expect(await evaluate({ inside: [2.25, 48.86, group] })).toBe(true);
  });

  it('JLG-008 takes a key that is computed from the message', async () => {
    await provide({ 's1-alertingzone': 7 });
    const logic = { ctx: { cat: [{ var: 'value.streamId' }, 'alertingzone'] } };
    expect(await evaluate(logic, { value: { streamId: 's1-' } })).toBe(7);
  });
});

describe('lists', () => {
  it('JLG-009 filters by a text, or by an expression', async () => {
    const tags = { tags: ['otherTag2', 'zone-nord', 'otherTag1'] };
    expect(await evaluate({ get: [{ filter: [{ var: 'tags' }, 'zone'] }, 0] }, tags)).toBe('zone-nord');
    expect(await evaluate({ filter: [[1, 2, 3], { '>': [{ var: '' }, 1] }] })).toEqual([2, 3]);
    expect(await evaluate({ filter: [{ var: 'tags' }, 'zone'] })).toEqual([]);
    expect(await evaluate({ filter: [{ var: 'l' }, 'zone'] }, { l: [1, null, { zone: 1 }, ['zone'], 'zone'] })).toEqual(
      [['zone'], 'zone'],
    );
  });

  it('JLG-013 gets elements of a list', async () => {
    await provide({ '2geopoints': [48.800206, 2.296565, 48.800474, 2.295562] });
    const element = (index: number): object => ({ get: [{ ctx: '2geopoints' }, index] });
    const metres = (await evaluate({ distance: [element(0), element(1), element(2), element(3)] })) as number;
    expect(Math.round(metres)).toBe(79);
    expect(metres).toBeCloseTo(79.3, 1);
  });

  it('JLG-014 gets null outside of a list', async () => {
    for (const operands of [
      [[1, 2], 5],
      ['x', 0],
      [[1, 2], -1],
      [[1, 2], 'length'],
      [{ var: 'o' }, 'a'],
    ])
      expect(await evaluate({ get: operands }, { o: { a: 1 } })).toBeNull();
  });
});

describe('currentstate', () => {
  const temp = { var: 'value.temp' };
  const HYSTERESIS = {
    if: [
      { and: [{ '!==': [{ currentstate: [] }, 'hot'] }, { '<': [80, temp, 100] }] },
      'normal',
      { '<': [temp, 0] },
      'cold',
      { '<': [temp, 80] },
      'normal',
      'hot',
    ],
  };

  it('JLG-010 is the state of the key', async () => {
    expect(await evaluate(HYSTERESIS, { value: { temp: 20.0 } })).toBe('normal');
    expect(await evaluate(HYSTERESIS, { value: { temp: 90 } }, 'hot')).toBe('hot');
    expect(await evaluate(HYSTERESIS, { value: { temp: 90 } }, 'normal')).toBe('normal');
  });
});

describe('zones', () => {
  it('JLG-015 tells whether a point is inside', async () => {
    expect(await evaluate({ inside: [LON, LAT, PARIS] }, at(2.35035, 48.854064))).toBe(true);
    expect(await evaluate({ inside: [LON, LAT, PARIS] }, at(2.0, 48.0))).toBe(false);
  });

  it('JLG-016 takes several polygons, and messages without location', async () => {
    expect(await evaluate({ inside: [LON, LAT, [ORLEANS, PARIS]] }, at(2.35035, 48.854064))).toBe(true);
    expect(await evaluate({ inside: [LON, LAT, [ORLEANS, PARIS]] })).toBe(false);
    expect(await evaluate({ insideindex: [LON, LAT, [ORLEANS, PARIS]] })).toBe(-1);
    expect(await evaluate({ distance: [LON, LAT, 2.29, 48.8] })).toBeNull();
    for (const zones of [null, 'x', [], [[]], [[[]]], [[[1]]], [[[1, 'a']]], 5, [null, PARIS]])
      expect(await evaluate({ inside: [0, 0, { var: 'zones' }] }, { zones })).toBe(false);
  });

  it('JLG-017 tells the first polygon that holds the point', async () => {
    await provide({
      'zone-nord': ['zone-grandparis', 'zone-grandorleans'],
      'zone-grandparis': PARIS,
      'zone-grandorleans': ORLEANS,
    });
    const group = { get: [{ filter: [{ var: 'tags' }, 'zone'] }, 0] };
    const index = { insideindex: [LON, LAT, { ctx: { ctx: group } }] };
    const message = (lon: number, lat: number): object => ({
      ...at(lon, lat),
      tags: ['otherTag2', 'zone-nord', 'otherTag1'],
    });
    expect(await evaluate(index, message(2.35035, 48.854064))).toBe(0);
    expect(await evaluate({ get: [{ ctx: group }, index] }, message(2.35035, 48.854064))).toBe('zone-grandparis');
    expect(await evaluate(index, message(0, 0))).toBe(-1);
    expect(await evaluate(index, message(1.9, 47.9))).toBe(1);
  });

  it('leaves holes out, and closes rings', async () => {
    const hole = [[2.3, 48.8], [2.4, 48.8], [2.4, 48.9], [2.3, 48.9], [2.3, 48.8]]; // prettier-ignore
    expect(await evaluate({ inside: [2.35, 48.85, [...PARIS, hole]] })).toBe(false);
    expect(await evaluate({ inside: [2.2, 48.85, [...PARIS, hole]] })).toBe(true);
    expect(await evaluate({ inside: [2.2, 48.85, [PARIS[0]!.slice(0, -1)]] })).toBe(true);
  });

  it('JLG-018 tells whether a circle touches a polygon', async () => {
    const logic = { closeto: [LON, LAT, { var: 'location.accuracy' }, [ORLEANS, LINE, BOULOGNE]] };
    expect(await evaluate(logic, at(2.263849, 48.855983, 100))).toBe(false);
    expect(await evaluate(logic, at(2.263849, 48.855983, 200))).toBe(true);
    expect(await evaluate(logic, at(2.260265350341797, 48.85693640789798, 0))).toBe(true);
    const [zone] = zonesOf(BOULOGNE);
    expect(closeTo(2.263849, 48.855983, 103, zone!)).toBe(false);
    expect(closeTo(2.263849, 48.855983, 105, zone!)).toBe(true);
  });

  it('JLG-019 takes one polygon, and a line', async () => {
    const near = (radius: number, zones: unknown, lon: number, lat: number): Promise<unknown> =>
      evaluate({ closeto: [lon, lat, radius, zones] });
    expect(await near(200, BOULOGNE, 2.263849, 48.855983)).toBe(true);
    // The middle of the line, then 50 m at a right angle to it.
    const [lon, lat] = [(2.281961 + 1.252634) / 2, (47.50963 + 47.729556) / 2];
    const [east, north] = [distance(lat, 1.252634, lat, 2.281961), -distance(47.50963, lon, 47.729556, lon)];
    const length = Math.hypot(east, north);
    const metre = 1 / distance(0, 0, 1, 0);
    const shiftLat = (50 * east * metre) / length;
    const shiftLon = (-50 * north * metre) / length / Math.cos((lat * Math.PI) / 180);
    expect(Math.abs(distance(lat, lon, lat + shiftLat, lon + shiftLon) - 50)).toBeLessThan(0.5);
    expect(await near(100, LINE, lon + shiftLon, lat + shiftLat)).toBe(true);
    expect(await near(10, LINE, lon + shiftLon, lat + shiftLat)).toBe(false);
    expect(await evaluate({ inside: [lon, lat, LINE] })).toBe(false);
  });

  it('measures the shorter way around the earth', async () => {
    const square = (west: number, east: number): number[][][] => [
      [[west, 39], [east, 39], [east, 41], [west, 41], [west, 39]], // prettier-ignore
    ];
    const near = (lon: number, zone: unknown): Promise<unknown> => evaluate({ closeto: [lon, 40, 200_000, zone] });
    // On the other side of the earth: the edges from -100 to -80 do not pass by 90.
    expect(await near(90, square(-100, -80))).toBe(false);
    expect(await near(-101, square(-100, -80))).toBe(true);
    expect(await near(-179, square(170, 180))).toBe(true);
    expect(await near(179, square(-180, -170))).toBe(true);
    expect(await near(170, square(-180, -170))).toBe(false);
  });

  it('JLG-020 tells the first polygon that the circle touches', async () => {
    const logic = { closetoindex: [LON, LAT, { var: 'location.accuracy' }, [ORLEANS, BOULOGNE]] };
    expect(await evaluate(logic, at(2.263849, 48.855983, 500))).toBe(1);
    expect(await evaluate(logic, at(2.263849, 48.855983, 50))).toBe(-1);
  });
});

describe('dates', () => {
  it('JLG-021 knows the time', async () => {
    const logic = compileRuleLogic({ '<=': [0, { get_utc_hours: [{ now_utc: [] }] }, 12] }, 'logic');
    const at = (now: string): unknown => logic({}, { ...SCOPE, now: new Date(now) });
    expect(at('2026-01-02T08:00:00Z')).toBe(true);
    expect(at('2026-01-02T12:30:00Z')).toBe(true);
    expect(at('2026-01-02T13:00:00Z')).toBe(false);
    const before = new Date().toISOString();
    const now = (await evaluate({ now_utc: [] })) as string;
    expect(now).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(now >= before && now <= new Date().toISOString()).toBe(true);
  });

  it.each([
    ['JLG-022', 'get_utc_hours', '2018-02-15T13:01:37.290Z', 13],
    ['JLG-023', 'get_utc_minutes', '2018-02-15T13:01:37.290Z', 1],
    ['JLG-024', 'get_utc_day', '2018-02-15T13:01:37.290Z', 4],
    ['JLG-025', 'get_utc_date', '2018-02-15T13:01:37.290Z', 15],
    ['JLG-026', 'get_time', '2018-01-15T13:00:37.290Z', 1516021237290],
  ])('%s %s', async (_id, operator, date, result) => {
    expect(await evaluate({ [operator]: [date] })).toBe(result);
    expect(await evaluate({ [operator]: { var: 'timestamp' } }, { timestamp: date })).toBe(result);
    for (const none of ['x', null, 5, {}])
      expect(await evaluate({ [operator]: [{ var: 'x' }] }, { x: none })).toBeNull();
  });
});
