import { type Fleet, type Fleets, startFleets } from './testing/fleet.js';

type Body = Record<string, unknown>;

let fleets: Fleets;
beforeAll(async () => {
  fleets = await startFleets();
});
afterAll(() => fleets.stop());

const stats = async (fleet: Fleet, body: Body): Promise<Body> => {
  const answer = await fleet.stats(body);
  if (answer.status !== 200) throw new Error(`${answer.status}: ${JSON.stringify(answer.body)}`);
  return answer.body;
};
/** Buckets as `key count/devices`. */
const shown = (aggregation: unknown): string[] =>
  (aggregation as { buckets: Array<{ key: unknown; count: number; devices: number }> }).buckets.map(
    ({ key, count, devices }) => `${JSON.stringify(key)} ${count}/${devices}`,
  );
const at = (lat: number, lon: number): Body => ({ staticLocation: { lat, lon } });

describe('groups by position', () => {
  const geo = async (fleet: Fleet, location: Body = {}, options: Body = {}): Promise<Body> =>
    (await stats(fleet, { groupBy: { location }, options }))['geoAggregation'] as Body;
  const cells = (
    aggregation: Body,
  ): Array<{
    geoKey: { lat: number; lon: number };
    devices: number;
    geoBounds?: unknown;
    fieldAggregation?: unknown;
  }> => aggregation['buckets'] as ReturnType<typeof cells>;

  it('INV-052 are cells of geohashes', async () => {
    const fleet = fleets.fleet();
    await fleet.devices({ a: at(48, 2), b: at(48.1, 2), bare: {} });
    expect(cells(await geo(fleet, { precision: 3 }))).toHaveLength(1);
    expect(cells(await geo(fleet))).toHaveLength(2);
    // The borders of the world, and both sides of the zero meridian and of the equator.
    const world = fleets.fleet();
    await world.devices({ n: at(90, 180), s: at(-90, -180), w: at(0.1, -0.1), e: at(0.1, 0.1), se: at(-0.1, 0.1) });
    for (const precision of [1, 2, 5, 12]) expect(cells(await geo(world, { precision }))).toHaveLength(5);
    expect(await geo(fleet, {}, { includeMissingDevicesCount: true, includeTotalKeys: true })).toMatchObject({
      count: 3,
      devices: 3,
      keys: 2,
      missing: 1,
    });
    expect(await stats(fleets.fleet(), { groupBy: { location: {} } })).toEqual({
      devices: 0,
      geoAggregation: { count: 0, devices: 0, buckets: [] },
    });
  });

  it('INV-053 INV-054 INV-055 have a mean position, and boxes', async () => {
    const fleet = fleets.fleet();
    await fleet.devices({ a: at(48, 2), b: at(48.2, 2.2) });
    const aggregation = await geo(fleet, { precision: 3 });
    expect(aggregation).toEqual({
      count: 2,
      devices: 2,
      buckets: [{ geoKey: { lat: expect.closeTo(48.1, 5), lon: expect.closeTo(2.1, 5) }, devices: 2 }],
      geoBounds: { topLeft: { lat: 48.2, lon: 2 }, bottomRight: { lat: 48, lon: 2.2 } },
    });
    await fleet.device('far', at(44.84, -0.56));
    const bounded = await geo(fleet, { precision: 3 }, { includeGeoBoundsInBuckets: true });
    expect(cells(bounded).map(({ devices, geoBounds }) => [devices, geoBounds])).toEqual([
      [2, { topLeft: { lat: 48.2, lon: 2 }, bottomRight: { lat: 48, lon: 2.2 } }],
      [1, { topLeft: { lat: 44.84, lon: -0.56 }, bottomRight: { lat: 44.84, lon: -0.56 } }],
    ]);
    expect(bounded['geoBounds']).toEqual({ topLeft: { lat: 48.2, lon: -0.56 }, bottomRight: { lat: 44.84, lon: 2.2 } });
    const filters = { queryString: `id==${fleet.id('a')}` };
    expect(await stats(fleet, { filters, groupBy: { location: {} } })).toMatchObject({
      devices: 1,
      geoAggregation: { devices: 1, buckets: [{ geoKey: { lat: 48, lon: 2 }, devices: 1 }] },
    });
  });

  it('INV-051 hold groups by a field, and so do buckets of a field', async () => {
    const fleet = fleets.fleet();
    const [one, two] = [await fleet.group('one'), await fleet.group('two')];
    await fleet.devices({
      a: { ...at(48, 2), tags: ['t1', 't2'], group: { id: one.id }, interfaces: [fleet.by('sms'), fleet.by('mqtt')] },
      b: { ...at(48, 2), tags: ['t1'], group: { id: two.id }, interfaces: [fleet.by('sms')] },
      c: { ...at(10, 10), tags: ['t2'], group: { id: two.id } },
      d: { tags: ['t2'] },
    });
    const placed = await geo(
      fleet,
      { groupBy: { interfaces: { field: 'status' } } },
      { includeMissingDevicesCount: true },
    );
    expect(cells(placed).map(({ devices, fieldAggregation }) => [devices, fieldAggregation])).toEqual([
      [
        2,
        {
          count: 3,
          devices: 2,
          buckets: [
            { key: 'ONLINE', count: 2, devices: 2 },
            { key: 'REGISTERED', count: 1, devices: 1 },
          ],
          missing: 0,
        },
      ],
      [1, { count: 0, devices: 0, buckets: [], missing: 0 }],
    ]);
    const tagged = (await stats(fleet, { groupBy: { field: 'tags', groupBy: { field: 'group.path' } } }))[
      'fieldAggregation'
    ] as {
      buckets: Array<{ key: string; fieldAggregation: unknown }>;
    };
    expect(tagged.buckets.map(({ key, fieldAggregation }) => [key, shown(fieldAggregation)])).toEqual([
      ['t2', ['"/" 1/1', '"/one" 1/1', '"/two" 1/1']],
      ['t1', ['"/one" 1/1', '"/two" 1/1']],
    ]);
    // All interfaces of the devices in a bucket, also those that are not what put them there.
    const filters = { queryString: 'tags==t1' };
    const groupBy = {
      interfaces: { field: 'status', groupBy: { interfaces: { field: 'connector', filter: { connector: 'mqtt' } } } },
    };
    const both = (await stats(fleet, { filters, groupBy })) as {
      devices: number;
      fieldAggregation: { buckets: Array<{ key: string; fieldAggregation: unknown }> };
    };
    expect(both.devices).toBe(2);
    expect(both.fieldAggregation.buckets.map(({ key, fieldAggregation }) => [key, fieldAggregation])).toEqual([
      ['ONLINE', { count: 1, devices: 1, buckets: [{ key: 'mqtt', count: 1, devices: 1 }] }],
      ['REGISTERED', { count: 1, devices: 1, buckets: [{ key: 'mqtt', count: 1, devices: 1 }] }],
    ]);
  });
});
