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
  const { key, join = '', where = [], having, count = '1', first = 'true' } = sql;
  const [alias, table, device] =
    grouping.of === 'components'
      ? [grouping.alias, `${grouping.table} ${grouping.alias}`, `${grouping.alias}.device_id`]
      : ['d', devicesWith(key), 'd.id'];
  const conditions = [`${alias}.tenant_id = $1`, ...where, ...(members === undefined ? [] : [`${device} = m.id`])];
  const rows = `SELECT ${members === undefined ? '0' : 'm.bucket'} AS bucket, ${device} AS device, ${key} AS key,
      ${count} AS count, ${first} AS first
    FROM ${members === undefined ? '' : `${members} m CROSS JOIN`} ${table} ${join} WHERE ${conditions.join(' AND ')}`;
  return having === undefined ? rows : `SELECT * FROM (${rows}) AS all_rows WHERE ${having}`;
}

/** SQL of rows (bucket, kinds, devices, key, count): so many devices have these kinds, and each of them so many components of the key. */
const rowsOfKinds = (ofKinds: string, members: Members): string =>
  `SELECT same.bucket, same.kinds, same.devices, of_kinds.key, of_kinds.count
   FROM (
     SELECT ${members === undefined ? '0' : 'm.bucket'} AS bucket, n.kinds, count(*) AS devices
     FROM ${members === undefined ? '' : `${members} m CROSS JOIN`} device_interfaces n
     WHERE n.tenant_id = $1 ${members === undefined ? '' : 'AND n.device_id = m.id'} GROUP BY 1, 2
   ) same CROSS JOIN LATERAL (${ofKinds}) of_kinds`;

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
const COUNTED: Record<FieldGrouping['of'] | 'kinds', string[]> = {
  kinds: [
    `per_key AS (
      SELECT bucket, key, CAST(sum(count * devices) AS bigint) AS count, CAST(sum(devices) AS bigint) AS devices
      FROM rows GROUP BY bucket, key)`,
    `totals AS (
      SELECT bucket, sum(count * devices) AS count, sum(devices) AS devices, sum(devices) FILTER (WHERE NOT keyed) AS missing
      FROM (
        SELECT bucket, kinds, devices, sum(count) AS count, bool_or(key IS NOT NULL) AS keyed
        FROM rows GROUP BY bucket, kinds, devices
      ) per_kinds GROUP BY bucket)`,
  ],
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

/** Of many keys a few are found sooner without an order of all; buckets share one order. */
const RANKED = {
  one: `SELECT *, row_number() OVER () AS place
    FROM (SELECT * FROM per_key ORDER BY key IS NULL, devices DESC, key LIMIT ${MAX_BUCKETS}) AS first_keys`,
  many: 'SELECT *, row_number() OVER (PARTITION BY bucket ORDER BY key IS NULL, devices DESC, key) AS place FROM per_key',
};

/** Table expressions, the last of which, `aggregated`, holds `AggregatedRow`s of one bucket of `members`, or of many. */
export function aggregation(
  grouping: FieldGrouping,
  members: Members,
  statement: Statement,
  buckets: keyof typeof RANKED,
): string[] {
  const { of, ofKinds } = grouping;
  return [
    ofKinds
      ? `rows AS MATERIALIZED (${rowsOfKinds(ofKinds(statement.bind), members)})`
      : `rows AS NOT MATERIALIZED (${keyedRows(grouping, members, statement)})`,
    ...COUNTED[ofKinds ? 'kinds' : of],
    `ranked AS (${RANKED[buckets]})`,
    `aggregated AS (
      SELECT t.*, k.keys, r.buckets
      FROM totals t
      JOIN (SELECT bucket, count(key) AS keys FROM per_key GROUP BY bucket) k ON k.bucket = t.bucket
      JOIN (
        SELECT bucket,
          json_agg(json_build_object('key', key, 'token', CAST(key AS text), 'count', count, 'devices', devices) ORDER BY place)
            FILTER (WHERE key IS NOT NULL) AS buckets
        FROM ranked WHERE place <= ${MAX_BUCKETS} GROUP BY bucket
      ) r ON r.bucket = t.bucket)`,
  ];
}

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
