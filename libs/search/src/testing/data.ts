import type { FieldType, FieldTypes } from '../dsl/index.js';
import { isLocation, MESSAGE_FIELDS } from '../dsl/index.js';
import type { IndexedDocument } from '../search-engine.js';

/** Account of most queries, a neighbour with other messages of the same names, and one with more hits than are counted. */
export const TENANT = 'contract-a';
export const NEIGHBOUR = 'contract-b';
export const CROWD = 'contract-crowd';
export const EMPTY = 'contract-empty';
/** Account of what is at an edge: of dates, of the map, of lower case. */
export const CORNERS = 'contract-corners';

/** What there is of each kind in TENANT's account; expectations of the queries are counted from these. */
export const CLIMATE = 120;
export const TRACKS = 30;
export const CROWD_SIZE = 10_123;

const idOf = (number: number): string => number.toString(16).padStart(24, '0');
let next = 1;

function document(
  tenantId: string,
  message: Record<string, unknown> & { timestamp: string; model?: string },
  created = '2026-04-02T08:00:00.000Z',
): IndexedDocument {
  const id = idOf(next++);
  const { model } = message;
  return { tenantId, id, created, source: { id, created, ...message }, ...(model === undefined ? {} : { model }) };
}

const HOUR = 3_600_000;
// An hour apart over the night in which the clocks of Paris go forward (2026-03-29 01:00 UTC).
const CLIMATE_START = Date.parse('2026-03-27T00:30:00.000Z');

function climate(i: number): IndexedDocument {
  const device = i % 4;
  return document(TENANT, {
    streamId: `device_${device}`,
    timestamp: new Date(CLIMATE_START + i * HOUR).toISOString(),
    model: 'climate',
    tags: device === 3 ? [] : device === 0 ? ['indoor', 'paris'] : ['outdoor'],
    value: {
      // 0, 0.5, …, 59.5
      temp: i / 2,
      level: i % 10,
      ok: i % 3 === 0,
      state: ['Cold start', 'running', 'RUNNING late', 'stopped'][device],
      ...(i % 5 === 0 ? { rare: i } : {}),
      readings: [i, i + 1000],
      nested: { name: `n-${i % 6}`, parts: [{ size: i % 2 }, { size: 7 }] },
    },
    extra: { floor: String(device) },
    metadata: {
      connector: device === 2 ? 'lora' : 'mqtt',
      source: `urn:lo:nsid:mqtt:d${device}`,
      group: { id: 'root', path: device < 2 ? '/France/Paris' : '/France' },
    },
  });
}

// A walk to the north-east from the manual's place, 0.01 degree a step.
function track(i: number): IndexedDocument {
  const place = { lat: 43.8 + i / 100, lon: -3.4 + i / 100 };
  return document(TENANT, {
    streamId: 'tracker',
    timestamp: new Date(Date.parse('2026-05-01T00:00:00.000Z') + i * 10 * 60_000).toISOString(),
    model: 'track',
    location: { ...place, provider: i % 2 === 0 ? 'gps' : 'cell', accuracy: 5 + i },
    tags: ['moving'],
    value: { speed: i, pos: { Location: { lat: -place.lat, lon: place.lon } } },
    metadata: { connector: 'mqtt', source: 'urn:lo:nsid:mqtt:tracker' },
  });
}

const singles: Array<Record<string, unknown> & { timestamp: string; model?: string }> = [
  // Without model: only what is not value is searchable.
  {
    streamId: 'bare',
    timestamp: '2026-06-01T10:00:00.000Z',
    tags: [],
    value: { temp: 1000 },
    metadata: { connector: 'http' },
  },
  {
    streamId: 'text',
    timestamp: '2026-06-02T10:00:00.000Z',
    model: 'text',
    tags: ['été', 'tag_1', 'a b'],
    value: { note: 'Les élèves ÉCOUTENT, 100% à l’école_2', path: 'C:\\temp\\*.txt', code: 'AB-12' },
    metadata: { connector: 'http' },
  },
  {
    streamId: 'text',
    timestamp: '2026-06-02T11:00:00.000Z',
    model: 'text',
    tags: ['tag_1'],
    value: { note: ['nothing to see', 'quick brown fox'], code: 'ab-13' },
    metadata: { connector: 'http' },
  },
  {
    streamId: 'text',
    timestamp: '2026-06-02T12:00:00.000Z',
    model: 'text',
    tags: ['tag_10'],
    value: { note: 'brown and quick', code: 'xy' },
    metadata: { connector: 'http' },
  },
  // The manual's sample of devices that are silent (13.4.3.4).
  {
    streamId: 'device_12',
    timestamp: '2017-03-14T15:08:25.020Z',
    model: 'old',
    tags: [],
    value: { n: -1.5 },
    metadata: { connector: 'http' },
  },
  {
    streamId: 'device_12',
    timestamp: '2017-03-10T15:08:25.020Z',
    model: 'old',
    tags: [],
    value: { n: 2 },
    metadata: { connector: 'http' },
  },
  {
    streamId: 'device_153',
    timestamp: '2017-03-24T10:00:00.000Z',
    model: 'old',
    tags: [],
    value: { n: 1e6 },
    metadata: { connector: 'http' },
  },
  // On the other side of the 180th meridian, and at a pole.
  {
    streamId: 'far',
    timestamp: '2026-07-01T00:00:00.000Z',
    model: 'far',
    location: { lat: -17, lon: 179.5 },
    tags: [],
    value: {},
    metadata: { connector: 'http' },
  },
  {
    streamId: 'far',
    timestamp: '2026-07-01T00:00:01.000Z',
    model: 'far',
    location: { lat: -17, lon: -179.5 },
    tags: [],
    value: {},
    metadata: { connector: 'http' },
  },
  // Two points in one document.
  {
    streamId: 'pair',
    timestamp: '2026-07-02T00:00:00.000Z',
    model: 'pair',
    tags: [],
    value: { stops: [{ location: { lat: 10, lon: 10 } }, { location: { lat: 20, lon: 20 } }] },
    metadata: { connector: 'http' },
  },
  // In the night of the change to winter time, whose hour from two to three comes twice in Paris.
  ...[0, 1, 2, 3].map((i) => ({
    streamId: 'autumn',
    timestamp: new Date(Date.parse('2026-10-24T23:15:00.000Z') + i * HOUR).toISOString(),
    model: 'autumn',
    tags: [],
    value: { n: i },
    metadata: { connector: 'http' },
  })),
];

const corner = { streamId: 'corner', model: 'corner', tags: [], metadata: { connector: 'http' } };
const corners = (): IndexedDocument[] => [
  document(CORNERS, {
    ...corner,
    timestamp: '9999-12-31T23:59:59.999Z',
    value: { word: 'İstanbul', flag: true, n: 1, half: 0.5 },
    location: { lat: 45, lon: 180 },
    extra: { 'dot.ted': 'x' },
  }),
  document(CORNERS, {
    ...corner,
    timestamp: '1900-02-28T00:00:00.000Z',
    value: { word: ['ısı', ''], flag: false, n: 1e17 },
    location: { lat: 0, lon: 0 },
  }),
  document(CORNERS, {
    ...corner,
    timestamp: '2026-02-28T00:00:00.999Z',
    value: { word: 'ISI ΟΔΟΣ', n: 1e17 + 64, huge: -1e21, twice: ['a', 'b', 'a'], same: [2, 2] },
    location: { lat: 90, lon: -180 },
  }),
  // Of another month, which has none of the fields.
  ...[1, 2].map((n) =>
    document(
      CORNERS,
      { ...corner, model: `plain${n}`, timestamp: `2026-05-0${n}T00:00:00.000Z`, value: {} },
      '2026-05-02T08:00:00.000Z',
    ),
  ),
];

/** The documents of the suite, always the same. */
export function contractDocuments(): IndexedDocument[] {
  next = 1;
  return [
    ...Array.from({ length: CLIMATE }, (_, i) => climate(i)),
    ...Array.from({ length: TRACKS }, (_, i) => track(i)),
    ...singles.map((message) => document(TENANT, message)),
    ...[1, 2].map((n) =>
      document(NEIGHBOUR, {
        streamId: 'device_0',
        timestamp: '2026-03-28T00:00:00.000Z',
        model: 'climate',
        tags: ['indoor', 'secret'],
        location: { lat: 43.8, lon: -3.4 },
        value: { temp: 1000 + n, level: 3, ok: true, state: 'running' },
        metadata: { connector: 'mqtt', source: 'urn:lo:nsid:mqtt:d0' },
      }),
    ),
    ...corners(),
    ...Array.from({ length: CROWD_SIZE }, (_, i) =>
      document(CROWD, {
        streamId: `crowd_${i % 50}`,
        timestamp: new Date(Date.parse('2026-01-01T00:00:00.000Z') + i * 60_000).toISOString(),
        model: 'crowd',
        tags: [],
        value: { n: i, group: i % 7 },
        metadata: { connector: 'http' },
      }),
    ),
  ];
}

/** Types of the fields of these documents, as a registry would have learned them. */
export function contractTypes(documents: readonly IndexedDocument[]): FieldTypes {
  const types = new Map<string, FieldType>(Object.entries(MESSAGE_FIELDS));
  const learn = (path: string, value: unknown): void => {
    if (Array.isArray(value)) for (const each of value) learn(path, each);
    else if (typeof value === 'object' && value !== null) {
      if (isLocation(path)) types.set(`${path}.@geopoint`, 'geo');
      for (const [key, each] of Object.entries(value)) learn(`${path}.${key}`, each);
    } else if (!types.has(path) && value !== null) types.set(path, typeof value as FieldType);
  };
  for (const { source, model } of documents)
    for (const [key, value] of Object.entries(source))
      if (key !== 'value') learn(key, value);
      else if (model !== undefined) learn(`@${model}.value`, value);
  return (field) => types.get(field);
}
