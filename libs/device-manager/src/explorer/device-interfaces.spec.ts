import { eventually } from '@orrery/core/testing';
import { type Fleet, type Fleets, startFleets } from './testing/fleet.js';

let fleets: Fleets;
beforeAll(async () => {
  fleets = await startFleets();
});
afterAll(() => fleets.stop());

const LIST = '/api/v1/deviceMgt/devices';

/** Names of devices as the list has them. */
const listed = async (fleet: Fleet, query: string): Promise<string> =>
  (await fleet.api.get<Array<{ id: string }>>(`${LIST}?${query}`)).body
    .map(({ id }) => id.slice(fleet.id('').length))
    .join(' ');

/** Devices per list of connectors, and interfaces per status, as `key count`. */
const counted = async (fleet: Fleet): Promise<[connectors: string, statuses: string]> => {
  const of = async (groupBy: object): Promise<string> => {
    const { body } = await fleet.stats({ groupBy });
    const { buckets } = body['fieldAggregation'] as { buckets: Array<{ key: unknown; count: number }> };
    return buckets.map(({ key, count }) => `${String(key)} ${count}`).join(', ');
  };
  return [await of({ compositeField: 'connectors' }), await of({ interfaces: { field: 'status' } })];
};

describe('what interfaces amount to', () => {
  it('DEV-025 INV-036 INV-040 follows each of them', async () => {
    const fleet = fleets.fleet();
    const [sms, mqtt] = [fleet.by('sms'), fleet.by('mqtt')];
    await fleet.devices({ a: { interfaces: [mqtt, fleet.by('x-connector')] }, b: { interfaces: [sms] }, c: {} });
    const orders = async (): Promise<string[]> =>
      Promise.all(
        ['interfaces.status', '-interfaces.status', 'interfaces.enabled', '-interfaces.enabled'].flatMap((sort) => [
          fleet.found({ sort: [sort] }),
          listed(fleet, `sort=${sort}`),
        ]),
      );
    // Without interfaces, a search begins with a device when ascending, and a list ends with it in both directions.
    expect(await orders()).toEqual(['c a b', 'a b c', 'a b c', 'a b c', 'c a b', 'a b c', 'a b c', 'a b c']);
    expect(await counted(fleet)).toEqual([' 1, mqtt,x-connector 1, sms 1', 'OFFLINE 1, ONLINE 1, REGISTERED 1']);

    const { clientId } = mqtt['definition'] as { clientId: string };
    const { msisdn } = sms['definition'] as { msisdn: string };
    const interfaceOf = (name: string, id: string): string => `${LIST}/${fleet.id(name)}/interfaces/${id}`;
    const changes = [
      await fleet.api.patch(interfaceOf('b', `sms:${msisdn}`), { enabled: false }),
      await fleet.api.patch(interfaceOf('a', `mqtt:${clientId}`), { deviceId: fleet.id('c') }),
    ];
    expect(changes.map(({ status }) => status)).toEqual([200, 200]);
    await fleet.session('c', clientId, 'nodeConnected');
    await eventually(async () => (await fleet.one('c')).interfaces![0]!.status === 'ONLINE');
    expect(await counted(fleet)).toEqual(['mqtt 1, sms 1, x-connector 1', 'DEACTIVATED 1, OFFLINE 1, ONLINE 1']);
    expect(await fleet.found({ sort: ['-interfaces.enabled', '-id'] })).toBe('c b a');
    expect(await listed(fleet, 'sort=-interfaces.enabled,-id&limit=1&offset=1')).toBe('b');

    expect((await fleet.api.delete(interfaceOf('c', `mqtt:${clientId}`))).status).toBe(204);
    expect((await fleet.api.delete(`${LIST}/${fleet.id('b')}`)).status).toBe(204);
    expect(await counted(fleet)).toEqual([' 1, x-connector 1', 'OFFLINE 1']);
    expect(await listed(fleet, 'sort=interfaces.status')).toBe('a c');
  });

  it('is of both interfaces when two are changed at the same time', async () => {
    const fleet = fleets.fleet();
    const [one, two] = [fleet.by('mqtt'), fleet.by('mqtt')];
    await fleet.device('d', { interfaces: [one, two] });
    const [first, second] = [one, two].map(({ definition }) => (definition as { clientId: string }).clientId);
    const { query } = fleets.backend;
    await query('BEGIN');
    await query(`UPDATE device_manager.interfaces SET status = 'OFFLINE' WHERE tenant_id = $1 AND node_id = $2`, [
      fleet.tenantId,
      first,
    ]);
    await fleet.session('d', second!, 'nodeConnected');
    await eventually(async () => (await query('SELECT 1 FROM pg_locks WHERE NOT granted')).length > 0);
    await query('COMMIT');
    await eventually(async () => (await counted(fleet))[1] === 'OFFLINE 1, ONLINE 1');
  });
});

describe('the order of many', () => {
  it('INV-037 INV-038 INV-039 DEV-025 is the same in pages as in one, with equal values and without', async () => {
    const fleet = fleets.fleet();
    const kinds = ['sms', 'mqtt', 'x-connector', undefined] as const;
    for (let n = 0; n < 24; n++) {
      const kind = kinds[n % 4];
      await fleet.device(String(n).padStart(2, '0'), {
        ...(n % 3 ? { name: `n${n % 5}` } : {}),
        ...(kind ? { interfaces: [fleet.by(kind)] } : {}),
      });
    }
    for (const key of ['interfaces.status', 'interfaces.enabled', 'name'])
      for (const sort of [[key], [`-${key}`], [`-${key}`, '-id'], [key, '-created']]) {
        const whole = await fleet.found({ sort });
        const pages: string[] = [];
        for (let bookmark: unknown[] = []; pages.length < 6;) {
          const { body } = await fleet.search({ sort, size: 5, bookmark });
          if (body.devices.length === 0) break;
          pages.push(body.devices.map(({ id }) => id.slice(-2)).join(' '));
          bookmark = body.bookmark;
        }
        expect([sort, pages.join(' ')]).toEqual([sort, whole]);
        const all = await listed(fleet, `sort=${sort.join(',')}&limit=100`);
        const parts = await Promise.all(
          [0, 5, 10, 15, 20].map((offset) => listed(fleet, `sort=${sort.join(',')}&limit=5&offset=${offset}`)),
        );
        expect([sort, parts.join(' ')]).toEqual([sort, all]);
      }
  });
});
