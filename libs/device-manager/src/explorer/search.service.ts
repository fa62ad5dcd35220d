import type { Database } from '@orrery/core/database';
import { interfacesOf } from '../devices/inventory.js';
import { interfaceView } from '../interfaces/interface.dto.js';
import type { Interface } from '../interfaces/interface.entity.js';
import { expectsFew } from './few-devices.js';
import { filterConditions } from './filters.js';
import { freeText } from './free-text.js';
import type { ActivityView, FoundDevice, SearchAnswer, SearchDto } from './search.dto.js';
import { SearchOrder } from './search-order.js';
import { devicesAndStates, devicesWith, Statement } from './statement.js';

const DEFAULT_SIZE = 20;
const MAX_SIZE = 1000;

interface Row {
  id: string;
  name: string | null;
  description: string | null;
  tags: string[];
  properties: Record<string, string>;
  group_id: string;
  path: string;
  created: Date;
  updated: Date;
  /** -Infinity when it never communicated. */
  last_communication: Date | number;
  location: Omit<NonNullable<FoundDevice['location']>, 'lastUpdate'> | null;
  located: Date | null;
  static_location: { lat: number; lon: number; alt?: number } | null;
  static_since: Date | null;
  activity_state: string | null;
  lora_lost_messages_ratio: number | null;
  activities: ActivityView[] | null;
}

/** Finds devices by text, filters and place (manual 9.4). */
export class SearchService {
  constructor(private readonly database: Database) {}

  /** @throws ApiError 400 */
  async search(tenantId: string, body: SearchDto): Promise<SearchAnswer> {
    const statement = new Statement(tenantId);
    const conditions = filterConditions(body.filters, statement);
    const text = await freeText(this.database, body.query ?? '', statement);
    if (text) conditions.push(...text.conditions);
    const order = new SearchOrder(body.sort ?? [], text?.relevance ?? 'CAST(0 AS integer)');
    const filtered = conditions.length > 0;
    const all = ['d.tenant_id = $1', ...conditions].join(' AND ');
    const few = filtered && (await expectsFew(this.database, devicesWith(all), all, statement.values));
    const size = Math.min(body.size ?? DEFAULT_SIZE, MAX_SIZE);
    const pageOf = (more: string[]): string => {
      const where = [all, ...more].join(' AND ');
      // OFFSET 0 keeps PostgreSQL from looking for the few in the order of the page.
      if (few)
        return `SELECT * FROM (
            SELECT d.id, ${order.columns} FROM ${devicesWith(where, order.columns)} WHERE ${where} OFFSET 0) AS few
          ORDER BY ${order.orderByColumns} LIMIT ${size}`;
      return order.byGroup && !filtered
        ? // The first devices of each group: an index has them in their order, and groups are few.
          `SELECT page.* FROM groups g CROSS JOIN LATERAL (
             SELECT d.id, ${order.columns} FROM ${devicesAndStates(where, order.columns)}
             WHERE ${where} AND d.group_id = g.id ORDER BY ${order.orderBy} LIMIT ${size}) page
           WHERE g.tenant_id = $1 ORDER BY ${order.orderByColumns} LIMIT ${size}`
        : `SELECT d.id, ${order.columns} FROM ${devicesWith(where, order.columns)}
           WHERE ${where} ORDER BY ${order.orderBy} LIMIT ${size}`;
    };
    const stretches = body.bookmark && body.bookmark.length > 0 ? order.after(body.bookmark, statement) : undefined;
    const page = await this.database.query<Record<string, unknown> & { id: string }>(
      stretches
        ? `SELECT * FROM (${stretches.map((stretch) => `(${pageOf([stretch])})`).join(' UNION ALL ')}) AS stretches
           ORDER BY ${order.orderByColumns} LIMIT ${size}`
        : pageOf([]),
      statement.values,
    );
    if (page.length === 0) return { bookmark: [], devices: [] };
    const devices = await this.load(
      tenantId,
      page.map(({ id }) => id),
    );
    return { bookmark: order.bookmarkOf(page.at(-1)!), devices };
  }

  /** In the order of their ids given. A device that is deleted at this moment is left out. */
  private async load(tenantId: string, ids: string[]): Promise<FoundDevice[]> {
    const rows = await this.database.query<Row>(
      `SELECT d.id, d.name, d.description, d.tags, d.properties, d.group_id, g.path, d.created, d.updated,
              s.last_communication, s.location, s.located, s.static_location, s.static_since, s.activity_state,
              s.lora_lost_messages_ratio,
              (SELECT json_agg(json_build_object('ruleId', a.rule_id, 'state', a.state) ORDER BY a.rule_id)
               FROM activities a WHERE a.tenant_id = d.tenant_id AND a.device_id = d.id) AS activities
       FROM unnest($2::text[]) WITH ORDINALITY AS page (id, place)
       JOIN devices d ON d.tenant_id = $1 AND d.id = page.id
       JOIN device_states s ON s.tenant_id = d.tenant_id AND s.device_id = d.id
       JOIN groups g ON g.tenant_id = d.tenant_id AND g.id = d.group_id
       ORDER BY page.place`,
      [tenantId, ids],
    );
    const interfaces = await interfacesOf(this.database.manager, tenantId, ids);
    return rows.map((row) => foundDevice(row, interfaces.get(row.id) ?? []));
  }
}

const foundDevice = (row: Row, interfaces: Interface[]): FoundDevice => ({
  id: row.id,
  ...(row.name === null ? {} : { name: row.name }),
  ...(row.description === null ? {} : { description: row.description }),
  tags: row.tags,
  properties: row.properties,
  group: { id: row.group_id, path: row.path },
  ...(interfaces.length === 0 ? {} : { interfaces: interfaces.map(foundInterface) }),
  ...(row.activities === null ? {} : { activities: row.activities }),
  ...(row.activity_state === null ? {} : { aggregatedActivityState: row.activity_state }),
  ...(row.last_communication instanceof Date ? { lastCommunication: row.last_communication.toISOString() } : {}),
  created: row.created.toISOString(),
  updated: row.updated.toISOString(),
  ...locationOf(row),
  ...(row.lora_lost_messages_ratio === null
    ? {}
    : { network: { lora: { lostMessagesRatio: row.lora_lost_messages_ratio } } }),
});

function foundInterface(row: Interface): NonNullable<FoundDevice['interfaces']>[number] {
  const { deviceId: _deviceId, ...view } = interfaceView(row);
  return view;
}

/** The static location prevails while it is set (manual 9.2.3). */
function locationOf(row: Row): Pick<FoundDevice, 'location'> {
  if (row.static_location)
    return {
      location: { ...row.static_location, provider: 'static', lastUpdate: row.static_since!.toISOString() },
    };
  return row.location ? { location: { ...row.location, lastUpdate: row.located!.toISOString() } } : {};
}
