import ngeohash from 'ngeohash';
import { geopointField, isLocation } from '../dsl/index.js';
import type { IndexedDocument } from '../search-engine.js';

type Value = string | number | boolean;
/** Latitude, longitude and geohash of a point. */
type GeoValue = [number, number, string];

/** Longer strings are kept, but not searchable: Elasticsearch's terms end at 32 KiB. */
const MAX_STRING = 8191;
/** Fields that are columns. */
const COLUMNS = new Set(['id', 'streamId', 'model', 'timestamp', 'created', 'metadata.source']);

// PostgreSQL's jsonb has neither NUL nor halves of surrogate pairs.
const UNSTORABLE = /\0|\p{Surrogate}/gu;
export const storable = (text: string): string => text.replace(UNSTORABLE, '\uFFFD');

const finite = (value: unknown, limit: number): value is number =>
  typeof value === 'number' && Number.isFinite(value) && Math.abs(value) <= limit;

/** What is searchable of a document by the address of its field: a value, or an array where it has several; of points always an array. */
export function searchableFields(document: IndexedDocument): Record<string, Value | Value[] | GeoValue[]> {
  const found = new Map<string, Array<Value | GeoValue>>();
  const add = (path: string, value: Value | GeoValue): void => {
    const values = found.get(path);
    if (values) values.push(value);
    else found.set(path, [value]);
  };
  const walk = (path: string, value: unknown): void => {
    if (value === null || value === undefined) return;
    if (Array.isArray(value)) for (const each of value) walk(path, each);
    else if (typeof value === 'object') {
      const { lat, lon } = value as { lat?: unknown; lon?: unknown };
      if (isLocation(path) && finite(lat, 90) && finite(lon, 180))
        add(geopointField(path), [lat, lon, ngeohash.encode(lat, lon, 12)]);
      for (const [key, each] of Object.entries(value)) walk(`${path}.${storable(key)}`, each);
    } else if (typeof value === 'string') {
      if (value.length <= MAX_STRING) add(path, storable(value));
    } else if (typeof value === 'boolean' || finite(value, Number.MAX_VALUE)) add(path, value as Value);
  };
  for (const [key, value] of Object.entries(document.source))
    if (key !== 'value') walk(key, value);
    else if (document.model !== undefined) walk(`@${document.model}.value`, value);
  const fields: Array<[string, Value | Value[] | GeoValue[]]> = [];
  for (const [path, values] of found)
    if (!COLUMNS.has(path))
      fields.push([
        path,
        values.length === 1 && !Array.isArray(values[0]) ? (values[0] as Value) : (values as Value[]),
      ]);
  return Object.fromEntries(fields);
}
