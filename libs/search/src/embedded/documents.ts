import ngeohash from 'ngeohash';
import { MESSAGE_FIELDS } from '../dsl/index.js';
import type { Point } from '../dsl/tree.js';
import { isPlace, leavesOf } from '../fields/index.js';
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

const MEMBERS = Object.entries(MESSAGE_FIELDS)
  .filter(([name, type]) => type !== 'geo' && !COLUMNS.has(name))
  .map(([name, type]) => ({ name, type, path: name.split('.') }));

/** What is searchable of a document by the address of its field: a value, or an array where it has several; of points always an array. */
export function searchableFields(document: IndexedDocument): Record<string, Value | Value[] | GeoValue[]> {
  const { source } = document;
  // A plain object: learned names begin with `@`, `extra.` or `metadata.`, so none is `__proto__`.
  const fields: Record<string, Value | Value[] | GeoValue[]> = {};
  const add = (name: string, all: Value[]): void => {
    // A text is there once, as in Elasticsearch: value_count tells. Numbers are as often as they are sent.
    const values = all.length > 1 && typeof all[0] === 'string' ? [...new Set(all)] : all;
    if (values.length > 0) fields[name] = values.length === 1 ? values[0]! : values;
  };
  for (const { name, type, path } of MEMBERS) {
    let value: unknown = source;
    for (const key of path) value = (value as Record<string, unknown> | null | undefined)?.[key];
    if (value === null || value === undefined) continue;
    if (Array.isArray(value))
      add(
        name,
        value
          .filter((each) => typeof each === type)
          .filter(isKept)
          .map(stored),
      );
    else if (typeof value === type && isKept(value as Value)) fields[name] = stored(value as Value);
  }
  const { lat, lon } = (source['location'] ?? {}) as Partial<Point>;
  if (isPlace(lat, lon)) fields['location.@geopoint'] = [geoValue({ lat: lat!, lon: lon! })];
  for (const [name, { type, values }] of leavesOf(document).leaves)
    if (type === 'geo') fields[name] = (values as Point[]).map(geoValue);
    else if (type === 'string') add(name, (values as string[]).filter(isKept).map(storable));
    else add(name, values as Value[]);
  return fields;
}

const isKept = (value: Value): boolean =>
  typeof value === 'string' ? value.length <= MAX_STRING : typeof value === 'boolean' || Number.isFinite(value);
const stored = (value: Value): Value => (typeof value === 'string' ? storable(value) : value);
const geoValue = ({ lat, lon }: Point): GeoValue => [lat, lon, ngeohash.encode(cellOf(lat, 90), cellOf(lon, 180), 12)];

/** Lucene's grid: so that a point is in the same geohash with both engines, also where it is on its edge. */
const GRID = 2 ** 31;
const cellOf = (degrees: number, most: number): number =>
  ((Math.min(Math.floor((degrees / most) * GRID), GRID - 1) + 0.5) / GRID) * most;
