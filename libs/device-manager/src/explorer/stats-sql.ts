import type { FieldGrouping, KeyedSql } from './group-by.js';
import { devicesWith, type Statement } from './statement.js';

/** Buckets of a response, at each level (manual 9.3.9.1). */
export const MAX_BUCKETS = 50;

/**
 * Where devices come from: a table expression (bucket, id) that has been defined before, or undefined for all devices
 * of the tenant `$1`.
 */
export type Members = string | undefined;

/** SQL of rows (bucket, device, key, count, first): what the last two mean depends on the grouping. */
export function keyedRows(grouping: FieldGrouping, members: Members, { bind }: Statement): string {
  const sql: KeyedSql & { count?: string; first?: string } = grouping.sql(bind);
  const { key, join = '', where = [], count = '1', first = 'true' } = sql;
  const [alias, table, device] =
    grouping.of === 'components'
      ? [grouping.alias, `${grouping.table} ${grouping.alias}`, `${grouping.alias}.device_id`]
      : ['d', devicesWith(key), 'd.id'];
  const conditions = [`${alias}.tenant_id = $1`, ...where, ...(members === undefined ? [] : [`${device} = m.id`])];
  return `SELECT ${members === undefined ? '0' : 'm.bucket'} AS bucket, ${device} AS device, ${key} AS key,
      ${count} AS count, ${first} AS first
    FROM ${members === undefined ? '' : `${members} m CROSS JOIN`} ${table} ${join} WHERE ${conditions.join(' AND ')}`;
}

/** What an aggregation finds in one bucket of the level above. */
export interface AggregatedRow {
  bucket: number;
  /** `token` is the key as one text. */
  buckets: Array<{ key: string | string[]; token: string; count: number; devices: number }> | null;
  keys: string;
  /** Devices that have no key: of components, those that have some, and none with a key. */
  missing: string | null;
  /** Components, and devices that have some; null where no components are counted. */
  count: string | null;
  devices: string | null;
}

/** Table expressions `per_key` and `totals` of the rows of a grouping. */
const COUNTED: Record<FieldGrouping['of'], string[]> = {
  devices: [
    'per_key AS (SELECT bucket, key, count(*) AS count, count(*) AS devices FROM rows GROUP BY bucket, key)',
    `totals AS (
      SELECT bucket, NULL::bigint AS count, NULL::bigint AS devices, sum(devices) FILTER (WHERE key IS NULL) AS missing
      FROM per_key GROUP BY bucket)`,
  ],
  // A device may have a component of the same kind twice: it is one device.
  components: [
    `per_key AS (
      SELECT bucket, key, CAST(sum(count) AS bigint) AS count, count(*) AS devices
      FROM (SELECT bucket, device, key, count(*) AS count FROM rows GROUP BY bucket, device, key) per_device
      GROUP BY bucket, key)`,
    `totals AS (
      SELECT bucket, sum(count) AS count, count(*) AS devices, count(*) FILTER (WHERE NOT keyed) AS missing
      FROM (
        SELECT bucket, device, count(*) AS count, bool_or(key IS NOT NULL) AS keyed FROM rows GROUP BY bucket, device
      ) per_device GROUP BY bucket)`,
  ],
  elements: [
    `per_key AS (
      SELECT bucket, key, CAST(sum(count) AS bigint) AS count, count(*) AS devices, count(*) FILTER (WHERE first) AS firsts
      FROM rows GROUP BY bucket, key)`,
    `totals AS (
      SELECT bucket, sum(count) AS count, sum(firsts) AS devices, 0 AS missing FROM per_key GROUP BY bucket)`,
  ],
};

/** Table expressions, the last of which, `aggregated`, holds `AggregatedRow`s. @param rows SQL by `keyedRows` */
export const aggregation = (rows: string, of: FieldGrouping['of']): string[] => [
  `rows AS NOT MATERIALIZED (${rows})`,
  ...COUNTED[of],
  `ranked AS (
    SELECT *, row_number() OVER (PARTITION BY bucket ORDER BY key IS NULL, devices DESC, key) AS place FROM per_key)`,
  `aggregated AS (
    SELECT t.*, r.keys, r.buckets
    FROM (
      SELECT bucket, count(key) AS keys,
        json_agg(json_build_object('key', key, 'token', CAST(key AS text), 'count', count, 'devices', devices) ORDER BY place)
          FILTER (WHERE place <= ${MAX_BUCKETS} AND key IS NOT NULL) AS buckets
      FROM ranked GROUP BY bucket
    ) r JOIN totals t ON t.bucket = r.bucket)`,
];

/**
 * The cell of a geohash of so many characters, as two numbers: a geohash halves the longitudes first, and each
 * character is five halvings.
 */
export function geohashCell(precision: number): { lat: string; lon: string } {
  const bits = 5 * precision;
  const lonBits = Math.ceil(bits / 2);
  const latBits = bits - lonBits;
  const cell = (position: string, span: number, halvings: number): string =>
    `least(floor((${position} + ${span / 2}) * ${2 ** halvings / span}), ${2 ** halvings - 1})::bigint`;
  return { lat: cell('s.lat', 180, latBits), lon: cell('s.lon', 360, lonBits) };
}

export interface GeoRow {
  token: string;
  devices: string;
  lat: number;
  lon: number;
  top: number;
  bottom: number;
  left: number;
  right: number;
  keys: string;
  located: string;
}

const located = (members: Members): string =>
  `${members === undefined ? '' : `${members} m CROSS JOIN`} device_states s
   WHERE s.tenant_id = $1 AND s.lat IS NOT NULL ${members === undefined ? '' : 'AND s.device_id = m.id'}`;

/** SQL of `GeoRow`s, the fullest cells first. */
export function geoCells(precision: number, members: Members): string {
  const { lat, lon } = geohashCell(precision);
  return `SELECT cell_lat || ':' || cell_lon AS token, devices, lat, lon, top, bottom, "left", "right",
      count(*) OVER () AS keys, sum(devices) OVER () AS located
    FROM (
      SELECT ${lat} AS cell_lat, ${lon} AS cell_lon, count(*) AS devices, avg(s.lat) AS lat, avg(s.lon) AS lon,
        max(s.lat) AS top, min(s.lat) AS bottom, min(s.lon) AS "left", max(s.lon) AS "right"
      FROM ${located(members)} GROUP BY 1, 2
    ) cells ORDER BY devices DESC, lat, lon LIMIT ${MAX_BUCKETS}`;
}

/** SQL of rows (device, key) by the tokens of `geoCells`. */
export function geoRows(precision: number, members: Members): string {
  const { lat, lon } = geohashCell(precision);
  return `SELECT s.device_id AS device, ${lat} || ':' || ${lon} AS key FROM ${located(members)}`;
}
