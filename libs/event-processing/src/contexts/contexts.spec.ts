import { Database } from '@orrery/core/database';
import { type ApiClient, apiClient, type Backend, type KeyRing, keyRing, startBackend } from '@orrery/core/testing';
import { eventProcessing } from '../index.js';
import { removeDeletedEntries } from './context-cache.js';

const CONTEXTS = '/api/v0/eventprocessing/context';
const ZONES = '/api/v0/eventprocessing/geozones';

let backend: Backend;
let keys: KeyRing;
let api: ApiClient;
let url: string;
let tenants = 0;

const newTenant = (): ApiClient => apiClient(url, keys.grant(`tenant${++tenants}`).value);

beforeAll(async () => {
  backend = await startBackend([eventProcessing]);
  keys = keyRing(await backend.bus());
  ({ url } = await backend.boot([eventProcessing], { api: true, worker: false }));
});
afterAll(() => backend.stop());
beforeEach(() => {
  api = newTenant();
});

// Use case 2 (17.4.2.3).
const zone = (description: string, tags: string[], ring: number[][]): object => ({
  description,
  geometry: { coordinates: [ring], type: 'Polygon' },
  tags,
});
const GRAND_ORLEANS = zone('my geozone grand Orleans', ['zone-nord'], [[1.780892, 48.091452], [2.301382, 48.000565], [2.281961, 47.50963], [1.252634, 47.729556], [1.780892, 48.091452]]); // prettier-ignore
const GEOZONES = {
  'san-francisco': zone('San Francisco zone', ['SF-area', 'shipment'], [[-123.019952, 38.358596], [-120.954523, 38.306889], [-121.789484, 37.12499], [-123.019952, 38.358596]]), // prettier-ignore
  'los-angeles': zone('Los Angeles zone', ['LA-area', 'delivery'], [[-118.909873, 34.238622], [-117.747086, 34.346562], [-117.551111, 33.620728], [-118.269687, 33.533648], [-118.909873, 34.238622]]), // prettier-ignore
  transportation1: zone('Transportation zone Highway 101', ['transportation'], [[-122.05261237, 37.561997], [-118.154639, 34.059617], [-119.203276, 34.102708], [-122.641996, 37.440666], [-122.05261237, 37.561997]]), // prettier-ignore
  transportation2: zone('Transportation zone Route 5', ['transportation'], [[-121.3220217, 37.8705177], [-118.027739, 34.309766], [-118.377685, 33.679366], [-121.662597, 37.714244], [-121.3220217, 37.8705177]]), // prettier-ignore
};
const GROUPS = {
  transportation: {
    contextData: ['transportation1', 'transportation2'],
    tags: ['transportation', 'zone', 'california'],
  },
  'device-group': { contextData: ['urn:lo:nsid:lora:0020B20000000101'], tags: ['device', 'truck'] },
  shipment: { contextData: 'san-francisco', tags: ['geozone'] },
  delivery: { contextData: 'los-angeles', tags: ['geozone'] },
};

describe('contexts', () => {
  it('CTX-001 creates, replaces, reads and deletes a value', async () => {
    const path = `${CONTEXTS}/freezingThreshold`;
    expect(await api.put(path, { contextData: 0 })).toMatchObject({ status: 200 });
    expect((await api.get(path)).body).toEqual({ contextKey: 'freezingThreshold', contextData: 0 });
    await api.put(path, { contextData: 5, tags: ['t'] });
    const replaced = { contextKey: 'freezingThreshold', contextData: 5, tags: ['t'] };
    expect((await api.get(path)).body).toEqual(replaced);
    expect((await api.get(CONTEXTS)).body).toEqual([replaced]);
    expect((await api.delete(path)).status).toBe(204);
    for (const answer of [await api.get(path), await api.delete(path)])
      expect(answer).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } });
    expect((await api.get(CONTEXTS)).body).toEqual([]);
    await api.put(path, { contextData: 7 });
    expect((await api.get(path)).body).toEqual({ contextKey: 'freezingThreshold', contextData: 7 });
  });

  it('CTX-002 keeps values of any type as they are', async () => {
    for (const contextData of [
      'a',
      1.5,
      true,
      { x: 1 },
      [1, 'b'],
      '',
      0,
      false,
      {},
      'é\u0000\ud83d',
      { b: 1, a: [null] },
    ]) {
      expect((await api.put(`${CONTEXTS}/k`, { contextData })).status).toBe(200);
      expect((await api.get(`${CONTEXTS}/k`)).body).toEqual({ contextKey: 'k', contextData });
    }
    for (const body of [{}, { tags: [] }, { contextData: null }, [], 'text'])
      expect(await api.put(`${CONTEXTS}/k`, body)).toMatchObject({ status: 400 });
    const deep = `{"contextData":${'['.repeat(5000)}${']'.repeat(5000)}}`;
    expect((await api.put(`${CONTEXTS}/k`, deep)).status).toBe(400);
    for (const tags of ['x', [1], [''], ['a\u0000'], Array.from({ length: 101 }, (_, i) => `t${i}`)])
      expect((await api.put(`${CONTEXTS}/k`, { contextData: 1, tags })).status).toBe(400);
    for (const key of ['%00', 'x'.repeat(257)])
      expect((await api.put(`${CONTEXTS}/${key}`, { contextData: 1 })).status).toBe(400);
  });

  it('CTX-003 CTX-011 takes what use case 2 provisions, and finds contexts by tag', async () => {
    for (const [id, body] of Object.entries(GEOZONES)) {
      expect((await api.put(`${ZONES}/${id}`, body)).status).toBe(201);
      expect((await api.get(`${ZONES}/${id}`)).body).toEqual({ zoneId: id, ...body });
    }
    for (const [key, body] of Object.entries(GROUPS)) {
      expect((await api.put(`${CONTEXTS}/${key}`, body)).status).toBe(200);
      expect((await api.get(`${CONTEXTS}/${key}`)).body).toEqual({ contextKey: key, ...body });
    }
    const keysOf = async (query: string): Promise<string[]> =>
      (await api.get<Array<{ contextKey: string }>>(`${CONTEXTS}?${query}`)).body.map(({ contextKey }) => contextKey);
    expect(await keysOf('tags=geozone')).toEqual(['delivery', 'shipment']);
    expect(await keysOf('tags=truck')).toEqual(['device-group']);
    expect(await keysOf('tags=truck&tags=geozone')).toEqual([]);
    expect(await keysOf('tags=zone&tags=california')).toEqual(['transportation']);
    expect(await keysOf('size=2')).toEqual(['delivery', 'device-group']);
    expect(await keysOf('size=2&page=1')).toEqual(['shipment', 'transportation']);
    expect((await api.get(`${CONTEXTS}?tags=%00`)).status).toBe(400);
    expect((await newTenant().get(CONTEXTS)).body).toEqual([]);
    expect((await api.delete(CONTEXTS)).body).toBe(4);
    expect(await keysOf('')).toEqual([]);
    expect((await api.get<unknown[]>(ZONES)).body).toHaveLength(4);
  });

  it('removes deleted entries once every cache has heard of them', async () => {
    await api.put(`${CONTEXTS}/a`, { contextData: 1 });
    await api.put(`${CONTEXTS}/b`, { contextData: 1 });
    await api.delete(`${CONTEXTS}/a`);
    const tenantId = `tenant${tenants}`;
    const rows = (): Promise<Array<{ key: string }>> =>
      backend.query('SELECT key FROM event_processing.context_entries WHERE tenant_id = $1 ORDER BY key', [tenantId]);
    const database = await Database.connect({ url: backend.config.DATABASE_URL, schema: eventProcessing.schema! });
    await removeDeletedEntries(database);
    expect(await rows()).toEqual([{ key: 'a' }, { key: 'b' }]);
    await backend.query(`UPDATE event_processing.context_entries SET updated = updated - interval '25 hours'`);
    await removeDeletedEntries(database);
    expect(await rows()).toEqual([{ key: 'b' }]);
    await database.close();
  });
});

describe('geozones', () => {
  it('CTX-006 keeps a geozone as it is', async () => {
    const path = `${ZONES}/grand-orleans`;
    expect((await api.put(path, GRAND_ORLEANS)).status).toBe(201);
    const kept = { zoneId: 'grand-orleans', ...GRAND_ORLEANS };
    expect((await api.get(path)).body).toEqual(kept);
    expect((await api.get(ZONES)).body).toEqual([kept]);
    expect((await api.delete(path)).status).toBe(204);
    for (const answer of [await api.get(path), await api.delete(path)])
      expect(answer).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } });
  });

  const put = (coordinates: unknown, type = 'Polygon'): Promise<unknown> =>
    api.put(`${ZONES}/z`, { geometry: { type, coordinates } });
  const SQUARE = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]; // prettier-ignore

  it('CTX-007 takes the longitude first', async () => {
    expect(await put((GEOZONES['san-francisco'] as { geometry: { coordinates: unknown } }).geometry.coordinates)).toMatchObject({ status: 201 }); // prettier-ignore
    const swapped = [[38.358596, -123.019952], [38.306889, -120.954523], [37.12499, -121.789484], [38.358596, -123.019952]]; // prettier-ignore
    expect(await put([swapped])).toMatchObject({
      status: 400,
      body: { details: [{ field: 'geometry.coordinates[0][0]', expected: expect.stringContaining('longitude') }] },
    });
    expect(await put([[[180.1, 0], ...SQUARE.slice(1, 4), [180.1, 0]]])).toMatchObject({ status: 400 });
  });

  it('CTX-008 takes closed polygons alone', async () => {
    expect(await put([SQUARE])).toMatchObject({ status: 201 });
    for (const ring of [
      SQUARE.slice(0, 3),
      SQUARE.slice(0, 4),
      [],
      [1, 2, 3, 4],
      [
        [0, 0],
        ['1', 0],
        [1, 1],
        [0, 0],
      ],
      null,
    ])
      expect(await put([ring])).toMatchObject({ status: 400 });
    expect(await put([0, 0], 'Point')).toMatchObject({ status: 400 });
    expect(await put(SQUARE, 'LineString')).toMatchObject({ status: 400 });
    for (const coordinates of [[], null, 'x', [Array.from({ length: 10_001 }, () => [0, 0])]])
      expect(await put(coordinates)).toMatchObject({ status: 400 });
    for (const body of [{}, { geometry: null }, { geometry: [] }])
      expect(await api.put(`${ZONES}/z`, body)).toMatchObject({ status: 400 });
  });
});
