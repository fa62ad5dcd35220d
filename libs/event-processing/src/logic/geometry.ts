import { charge } from '@orrery/core/json-logic';
import { booleanPointInPolygon } from '@turf/boolean-point-in-polygon';

/** Longitude and latitude in decimal degrees. */
export type Position = [lon: number, lat: number];

/** A polygon, or a line when its ring has two positions. */
export interface Zone {
  /** The outer ring, then holes. A ring of at least four positions is closed. */
  rings: Position[][];
  west: number;
  south: number;
  east: number;
  north: number;
}

/** Mean radius of the earth, metres. */
const RADIUS = 6_371_008.8;
const RADIANS = Math.PI / 180;

/** Metres between two points along the surface. */
export function distance(lat1: number, lon1: number, lat2: number, lon2: number): number {
  const a =
    Math.sin(((lat2 - lat1) * RADIANS) / 2) ** 2 +
    Math.cos(lat1 * RADIANS) * Math.cos(lat2 * RADIANS) * Math.sin(((lon2 - lon1) * RADIANS) / 2) ** 2;
  return 2 * RADIUS * Math.asin(Math.min(1, Math.sqrt(a)));
}

/** Positions whose check costs as much as one operation of the logic. */
const POSITIONS_PER_WORK = 4;

export function inside(lon: number, lat: number, zone: Zone): boolean {
  if (lon < zone.west || lon > zone.east || lat < zone.south || lat > zone.north) return false;
  if (zone.rings[0]!.length < 4) return false;
  return booleanPointInPolygon([lon, lat], { type: 'Polygon', coordinates: zone.rings });
}

/**
 * Whether a circle touches a zone, measured on a plane that touches the earth at its centre: exact to a few thousandths
 * for zones of a country's size.
 * @param radius metres.
 */
export function closeTo(lon: number, lat: number, radius: number, zone: Zone): boolean {
  if (inside(lon, lat, zone)) return true;
  const scale = RADIUS * RADIANS;
  const east = scale * Math.cos(lat * RADIANS);
  // The shorter way around the earth, for the zone as a whole: its edges stay as they are.
  const shift = 360 * Math.round((lon - (zone.west + zone.east) / 2) / 360) - lon;
  const x = (position: Position): number => (position[0] + shift) * east;
  const y = (position: Position): number => (position[1] - lat) * scale;
  const reach = radius * radius;
  for (const ring of zone.rings) {
    let [ax, ay] = [x(ring[0]!), y(ring[0]!)];
    for (let i = 1; i < ring.length; i++) {
      const [bx, by] = [x(ring[i]!), y(ring[i]!)];
      if (squareToSegment(ax, ay, bx, by) <= reach) return true;
      [ax, ay] = [bx, by];
    }
  }
  return false;
}

/** Square of the distance of the origin to a segment. */
function squareToSegment(ax: number, ay: number, bx: number, by: number): number {
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  const t = length === 0 ? 0 : Math.max(0, Math.min(1, -(ax * dx + ay * dy) / length));
  const [px, py] = [ax + t * dx, ay + t * dy];
  return px * px + py * py;
}

const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);
const isPosition = (value: unknown): value is Position =>
  Array.isArray(value) && value.length >= 2 && isNumber(value[0]) && isNumber(value[1]);
const isRing = (value: unknown): value is Position[] =>
  Array.isArray(value) && value.length >= 2 && value.every(isPosition);
const isPolygon = (value: unknown): value is Position[][] =>
  Array.isArray(value) && value.length > 0 && value.every(isRing);

// Zones of the context and of rules are the same objects at each evaluation: they are looked through once.
const known = new WeakMap<object, Array<Zone | undefined>>();

/**
 * The zones of a polygon, or of a list of polygons; undefined stands for what is none, so that the others keep their
 * index. A single ring is taken for a polygon.
 */
export function zonesOf(value: unknown): ReadonlyArray<Zone | undefined> {
  if (!Array.isArray(value)) return [];
  let zones = known.get(value);
  if (!zones) {
    if (isPolygon(value)) zones = [zoneOf(value)];
    else if (isRing(value)) zones = [zoneOf([value])];
    else zones = value.map((each) => (isPolygon(each) ? zoneOf(each) : isRing(each) ? zoneOf([each]) : undefined));
    charge(zones.reduce((sum, zone) => sum + (zone ? size(zone) : 1), 0) / POSITIONS_PER_WORK);
    known.set(value, zones);
  }
  return zones;
}

const size = ({ rings }: Zone): number => rings.reduce((sum, ring) => sum + ring.length, 0);

function zoneOf(polygon: Position[][]): Zone {
  const rings = polygon.map(closed);
  const zone: Zone = { rings, west: Infinity, south: Infinity, east: -Infinity, north: -Infinity };
  for (const [lon, lat] of rings[0]!) {
    zone.west = Math.min(zone.west, lon);
    zone.east = Math.max(zone.east, lon);
    zone.south = Math.min(zone.south, lat);
    zone.north = Math.max(zone.north, lat);
  }
  return zone;
}

function closed(ring: Position[]): Position[] {
  const [first, last] = [ring[0]!, ring.at(-1)!];
  return ring.length < 3 || (first[0] === last[0] && first[1] === last[1]) ? ring : [...ring, first];
}

/** Index of the first zone that passes; -1 when there is none. */
export function firstZone(value: unknown, passes: (zone: Zone) => boolean): number {
  return zonesOf(value).findIndex((zone) => {
    if (!zone) return false;
    charge(1 + size(zone) / POSITIONS_PER_WORK);
    return passes(zone);
  });
}
