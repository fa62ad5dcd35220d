import type { Database } from '@orrery/core/database';
import type { EntityManager } from 'typeorm';
import { filterConditions } from './filters.js';
import { type FieldGrouping, type GeoGrouping, parseGroupBy } from './group-by.js';
import { devicesWith, Statement } from './statement.js';
import type { FieldAggregation, GeoAggregation, GeoBounds, StatsAnswer, StatsDto } from './stats.dto.js';
import {
  aggregation,
  type AggregatedRow,
  geoCells,
  geoRows,
  type GeoRow,
  keyedRows,
  type Members,
} from './stats-sql.js';

type Options = NonNullable<StatsDto['options']>;

/** The beginning of a statement. */
interface Selection {
  statement: Statement;
  /** Table expressions. */
  expressions: string[];
  members: Members;
  /** SQL of the number of devices selected. */
  count: string;
}

/** Counts devices and their components (manual 9.3): by one statement, and another one for a second level. */
export class StatsService {
  constructor(private readonly database: Database) {}

  /** @throws ApiError 400 */
  async count(tenantId: string, body: StatsDto): Promise<StatsAnswer> {
    const { groupBy, options } = body;
    const select = (): Selection => selection(tenantId, body.filters);
    const grouping = groupBy === undefined || groupBy === null ? undefined : parseGroupBy(groupBy);
    return this.database.transaction(async (manager) => {
      // Both levels count the same devices.
      await manager.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY');
      // A million groups are kept in memory, which the default would write to disk.
      await manager.query(`SET LOCAL work_mem = '64MB'`);
      const aggregations = new Aggregations(manager, select, options ?? {});
      if (!grouping) return { devices: await aggregations.devices() };
      return grouping.kind === 'geo' ? aggregations.byPosition(grouping) : aggregations.byField(grouping);
    });
  }
}

function selection(tenantId: string, filters: StatsDto['filters']): Selection {
  const statement = new Statement(tenantId);
  const conditions = filterConditions(filters, statement);
  if (conditions.length === 0)
    return {
      statement,
      expressions: [],
      members: undefined,
      count: 'coalesce((SELECT c.devices FROM device_counts c WHERE c.tenant_id = $1), 0)',
    };
  const where = ['d.tenant_id = $1', ...conditions].join(' AND ');
  return {
    statement,
    expressions: [`selected AS MATERIALIZED (SELECT 0 AS bucket, d.id FROM ${devicesWith(where)} WHERE ${where})`],
    members: 'selected',
    count: '(SELECT count(*) FROM selected)',
  };
}

class Aggregations {
  constructor(
    private readonly manager: EntityManager,
    private readonly select: () => Selection,
    private readonly options: Options,
  ) {}

  async devices(): Promise<number> {
    const { statement, expressions, count } = this.select();
    const [row] = await this.run<{ total: string }>(expressions, `SELECT ${count} AS total`, statement);
    return Number(row!.total);
  }

  async byField(grouping: FieldGrouping): Promise<StatsAnswer> {
    const { statement, expressions, members, count } = this.select();
    const aggregated = aggregation(grouping, members, statement, 'one');
    const [row] = await this.run<AggregatedRow & { total: string }>(
      [...expressions, ...aggregated],
      `SELECT ${count} AS total, a.* FROM (SELECT 1) AS always LEFT JOIN aggregated a ON true`,
      statement,
    );
    const devices = Number(row!.total);
    const fieldAggregation = this.fieldAggregation(grouping, row, devices);
    if (grouping.inner) {
      const inner = await this.inside(grouping.inner, row!.buckets ?? [], (selected) =>
        keyedRows(grouping, selected.members, selected.statement),
      );
      fieldAggregation.buckets.forEach((bucket, i) => (bucket.fieldAggregation = inner[i]!));
    }
    return { devices, fieldAggregation };
  }

  async byPosition({ precision, inner }: GeoGrouping): Promise<StatsAnswer> {
    const { statement, expressions, members, count } = this.select();
    const rows = await this.run<GeoRow & { total: string }>(
      expressions,
      `SELECT ${count} AS total, c.* FROM (SELECT 1) AS always LEFT JOIN (${geoCells(precision, members)}) c ON true`,
      statement,
    );
    const devices = Number(rows[0]!.total);
    const cells = rows.filter(({ token }) => token !== null);
    const { includeGeoBoundsInBuckets, includeTotalKeys, includeMissingDevicesCount } = this.options;
    const geoAggregation: GeoAggregation = {
      count: devices,
      devices,
      buckets: cells.map((cell) => ({
        geoKey: { lat: cell.lat, lon: cell.lon },
        ...(includeGeoBoundsInBuckets ? { geoBounds: boundsOf([cell]) } : {}),
        devices: Number(cell.devices),
      })),
      ...(cells.length > 0 ? { geoBounds: boundsOf(cells) } : {}),
      ...(includeTotalKeys ? { keys: Number(cells[0]?.keys ?? 0) } : {}),
      ...(includeMissingDevicesCount ? { missing: devices - Number(cells[0]?.located ?? 0) } : {}),
    };
    if (inner) {
      const buckets = cells.map((cell) => ({ token: cell.token, devices: Number(cell.devices) }));
      const aggregations = await this.inside(inner, buckets, (selected) => geoRows(precision, selected.members));
      geoAggregation.buckets.forEach((bucket, i) => (bucket.fieldAggregation = aggregations[i]!));
    }
    return { devices, geoAggregation };
  }

  /**
   * The second level: the devices of each bucket of the first one, grouped again with all that they have.
   * @param outerRows SQL of rows (device, key), the key being the token of a bucket
   */
  private async inside(
    grouping: FieldGrouping,
    buckets: Array<{ token: string; devices: number }>,
    outerRows: (selected: Selection) => string,
  ): Promise<FieldAggregation[]> {
    const selected = this.select();
    const { statement, expressions } = selected;
    const outer = outerRows(selected);
    const tokens = statement.bind(buckets.map(({ token }) => token));
    const placed = `placed AS MATERIALIZED (
      SELECT DISTINCT CAST(b.place AS integer) AS bucket, r.device AS id FROM (${outer}) r
      JOIN unnest(CAST(${tokens} AS text[])) WITH ORDINALITY AS b (token, place) ON b.token = CAST(r.key AS text))`;
    const rows = await this.run<AggregatedRow>(
      [...expressions, placed, ...aggregation(grouping, 'placed', statement, 'many')],
      'SELECT * FROM aggregated',
      statement,
    );
    const byPlace = new Map(rows.map((row) => [row.bucket, row]));
    return buckets.map(({ devices }, i) => this.fieldAggregation(grouping, byPlace.get(i + 1), devices));
  }

  /**
   * @param row undefined, or with nothing but nulls, when there is nothing to group
   * @param devices that are grouped
   */
  private fieldAggregation(
    { of }: FieldGrouping,
    row: Partial<AggregatedRow> | undefined,
    devices: number,
  ): FieldAggregation {
    return {
      ...(of === 'devices'
        ? { count: devices, devices }
        : { count: Number(row?.count ?? 0), devices: Number(row?.devices ?? 0) }),
      buckets: (row?.buckets ?? []).map(({ token: _token, ...bucket }) => bucket),
      ...(this.options.includeTotalKeys ? { keys: Number(row?.keys ?? 0) } : {}),
      ...(this.options.includeMissingDevicesCount ? { missing: Number(row?.missing ?? 0) } : {}),
    };
  }

  private run<Row>(expressions: string[], sql: string, { values }: Statement): Promise<Row[]> {
    const before = expressions.length > 0 ? `WITH ${expressions.join(', ')} ` : '';
    return this.manager.query(before + sql, values) as Promise<Row[]>;
  }
}

/** Smallest box around some cells. */
const boundsOf = (cells: GeoRow[]): GeoBounds => ({
  topLeft: { lat: Math.max(...cells.map(({ top }) => top)), lon: Math.min(...cells.map(({ left }) => left)) },
  bottomRight: {
    lat: Math.min(...cells.map(({ bottom }) => bottom)),
    lon: Math.max(...cells.map(({ right }) => right)),
  },
});
