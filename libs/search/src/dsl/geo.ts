import ngeohash from 'ngeohash';
import { at, clauseAt, type Json, numberAt, objectAt, type Reading, refuse } from './clause.js';
import type { Field, Point, Query } from './tree.js';

const METRES: Readonly<Record<string, number>> = {
  m: 1,
  meters: 1,
  km: 1000,
  kilometers: 1000,
  mi: 1609.344,
  miles: 1609.344,
  yd: 0.9144,
  yards: 0.9144,
  ft: 0.3048,
  feet: 0.3048,
  in: 0.0254,
  inch: 0.0254,
  cm: 0.01,
  centimeters: 0.01,
  mm: 0.001,
  millimeters: 0.001,
  nmi: 1852,
  NM: 1852,
  nauticalmiles: 1852,
};
const MAX_POINTS = 1000;

function checked(path: string, lat: number, lon: number): Point {
  if (!(Math.abs(lat) <= 90)) throw refuse(path, 'a latitude between -90 and 90');
  if (!(Math.abs(lon) <= 180)) throw refuse(path, 'a longitude between -180 and 180');
  return { lat, lon };
}

/** Of the cell of a geohash, what is meant by it. */
type Corner = 'bottom_left' | 'bottom_right' | 'top_left' | 'top_right';

/** `{ lat, lon }`, `[lon, lat]`, `"lat,lon"` or a geohash. */
export function pointAt(path: string, value: unknown, corner: Corner = 'bottom_left'): Point {
  if (Array.isArray(value)) {
    if (value.length < 2 || value.length > 3) throw refuse(path, '[longitude, latitude]');
    return checked(path, numberAt(at(path, 1), value[1]), numberAt(at(path, 0), value[0]));
  }
  if (typeof value === 'string') {
    const pair = /^\s*(-?\d+(?:\.\d+)?)\s*,\s*(-?\d+(?:\.\d+)?)\s*$/.exec(value);
    if (pair) return checked(path, Number(pair[1]), Number(pair[2]));
    if (!/^[0-9b-hjkmnp-z]{1,12}$/.test(value)) throw refuse(path, '"latitude,longitude" or a geohash');
    const [south, west, north, east] = ngeohash.decode_bbox(value);
    return { lat: corner.startsWith('top') ? north : south, lon: corner.endsWith('right') ? east : west };
  }
  if (typeof value !== 'object' || value === null)
    throw refuse(path, 'a point: { lat, lon }, "lat,lon", [lon, lat] or a geohash');
  const point = clauseAt(path, value, ['lat', 'lon']);
  return checked(path, numberAt(at(path, 'lat'), point['lat']), numberAt(at(path, 'lon'), point['lon']));
}

/** The one member that is no option is the field. */
function geoClause(
  reading: Reading,
  path: string,
  value: unknown,
  options: readonly string[],
): { field: Field; clause: Json; body: unknown; where: string } {
  const clause = objectAt(path, value);
  const fields = Object.keys(clause).filter((key) => !options.includes(key));
  if (fields.length !== 1) throw refuse(path, `one field beside ${options.join(', ')}`);
  const name = fields[0]!;
  const where = at(path, name);
  const field = reading.field(where, name);
  if (!field.name.endsWith('.@geopoint'))
    throw refuse(where, 'a location followed by .@geopoint, as location.@geopoint');
  return { field, clause, body: clause[name], where };
}

export function parseGeoDistance(reading: Reading, path: string, value: unknown): Query {
  const { field, clause, body, where } = geoClause(reading, path, value, [
    'distance',
    'unit',
    'distance_type',
    'validation_method',
    'ignore_unmapped',
    'boost',
  ]);
  const unit = clause['unit'] ?? 'm';
  const distance = clause['distance'];
  const parts =
    typeof distance === 'number'
      ? ['', String(distance), '']
      : typeof distance === 'string'
        ? /^\s*(\d+(?:\.\d+)?(?:[eE]\d{1,2})?)\s*([a-zA-Z]*)\s*$/.exec(distance)
        : null;
  const name = parts?.[2] || unit;
  const factor = typeof name === 'string' && Object.hasOwn(METRES, name) ? METRES[name] : undefined;
  const metres = parts && factor ? Number(parts[1]) * factor : Number.NaN;
  if (!(metres > 0) || !Number.isFinite(metres))
    throw refuse(at(path, 'distance'), 'a distance greater than 0, as 10km or 500m');
  return { kind: 'geoDistance', field, centre: pointAt(where, body), metres };
}

export function parseGeoBox(reading: Reading, path: string, value: unknown): Query {
  const { field, body, where } = geoClause(reading, path, value, [
    'type',
    'validation_method',
    'ignore_unmapped',
    'boost',
  ]);
  const box = clauseAt(where, body, [
    'top_left',
    'bottom_right',
    'top_right',
    'bottom_left',
    'top',
    'left',
    'bottom',
    'right',
  ]);
  let edges: { top: number; left: number; bottom: number; right: number };
  if (box['top_left'] !== undefined) {
    const topLeft = pointAt(at(where, 'top_left'), box['top_left'], 'top_left');
    const bottomRight = pointAt(at(where, 'bottom_right'), box['bottom_right'], 'bottom_right');
    edges = { top: topLeft.lat, left: topLeft.lon, bottom: bottomRight.lat, right: bottomRight.lon };
  } else if (box['top_right'] !== undefined) {
    const topRight = pointAt(at(where, 'top_right'), box['top_right'], 'top_right');
    const bottomLeft = pointAt(at(where, 'bottom_left'), box['bottom_left'], 'bottom_left');
    edges = { top: topRight.lat, left: bottomLeft.lon, bottom: bottomLeft.lat, right: topRight.lon };
  } else {
    const topLeft = checked(where, numberAt(at(where, 'top'), box['top']), numberAt(at(where, 'left'), box['left']));
    const other = checked(
      where,
      numberAt(at(where, 'bottom'), box['bottom']),
      numberAt(at(where, 'right'), box['right']),
    );
    edges = { top: topLeft.lat, left: topLeft.lon, bottom: other.lat, right: other.lon };
  }
  if (edges.top <= edges.bottom) throw refuse(where, 'a top that is above the bottom');
  if (edges.left === edges.right) throw refuse(where, 'a left that is not the right');
  return { kind: 'geoBox', field, ...edges };
}

export function parseGeoPolygon(reading: Reading, path: string, value: unknown): Query {
  const { field, body, where } = geoClause(reading, path, value, ['validation_method', 'ignore_unmapped', 'boost']);
  const list = clauseAt(where, body, ['points'])['points'];
  const pointsPath = at(where, 'points');
  if (!Array.isArray(list) || list.length < 3 || list.length > MAX_POINTS)
    throw refuse(pointsPath, `an array of 3 to ${MAX_POINTS} points`);
  const points = list.map((point, i) => pointAt(at(pointsPath, i), point));
  return { kind: 'geoPolygon', field, points };
}
