import type { Database } from '@orrery/core/database';
import { invalidParameter } from '@orrery/core/http';
import { In } from 'typeorm';
import { INTERFACE_STATUSES } from '../connectors/connector.js';
import { expectsFew } from '../explorer/few-devices.js';
import { devicesWith, Statement } from '../explorer/statement.js';
import { checkQuery, type ListQuery, several, single } from '../list-query.js';
import { type Bind, compileRsql } from '../rsql/rsql.js';
import { Device } from './device.entity.js';
import { DEVICE_FILTER } from './device-filter.js';

/** What a list of devices asks for (manual 5.3.2.1). */
export interface DeviceList {
  where: Condition[];
  order: Order;
  fields: Set<string>;
  limit: number;
  offset: number;
  total: boolean;
}

/** SQL of a condition on devices `d` of the tenant `$1`. */
type Condition = (bind: Bind) => string;

const FIELDS = [
  'id',
  'name',
  'description',
  'group',
  'tags',
  'properties',
  'interfaces',
  'config',
  'firmwares',
  'resources',
  'defaultDataStreamId',
  'activityState',
  'created',
  'updated',
];

type Direction = 'ASC' | 'DESC';

interface Stretch {
  where: string;
  by: string;
}

interface Sort {
  by: string;
  /** The same order in stretches that follow each other, where one index does not have it as a whole. */
  stretches?: Stretch[];
}

interface Order {
  by: string[];
  stretches?: Array<{ where: string; by: string[] }>;
}

const ofDevice =
  (column: string) =>
  (direction: Direction): Sort => ({ by: `${column} ${direction}` });

// What is missing comes last in both directions: an index of names has it first when read backwards.
function ofName(direction: Direction): Sort {
  const by = `d.name ${direction}`;
  if (direction === 'ASC') return { by };
  return {
    by: `${by} NULLS LAST`,
    stretches: [
      { where: 'd.name IS NOT NULL', by },
      { where: 'd.name IS NULL', by },
    ],
  };
}

/**
 * A device with several interfaces is placed by the lowest value when ascending, by the highest when descending.
 * @param none SQL of what stands for no interfaces: it is below all values
 */
const ofInterfaces =
  (column: string, none: string) =>
  (direction: Direction): Sort => {
    if (direction === 'DESC') return { by: `n.highest_${column} DESC` };
    const by = `n.lowest_${column} ASC`;
    return {
      by: `nullif(n.lowest_${column}, ${none}) ASC NULLS LAST`,
      stretches: [
        { where: `n.lowest_${column} > ${none}`, by },
        { where: `n.lowest_${column} = ${none}`, by },
      ],
    };
  };

const SORTS: Record<string, (direction: Direction) => Sort> = {
  id: ofDevice('d.id'),
  urn: ofDevice('d.id'),
  name: ofName,
  group: ofDevice('g.path'),
  created: ofDevice('d.created'),
  creationTs: ofDevice('d.created'),
  updated: ofDevice('d.updated'),
  'interfaces.status': ofInterfaces('status', `''`),
  'interfaces.enabled': ofInterfaces('enabled', '-1'),
  // Kept nowhere but in the interfaces: each contact would write more for its place in an index than for itself.
  'interfaces.lastContact': (direction) => ({
    by: `${direction === 'ASC' ? 'min' : 'max'}(i.last_contact) ${direction} NULLS LAST`,
  }),
};

/** @throws ApiError 400 for an unknown field, sort key or filter value */
export function parseDeviceList(query: ListQuery): Pick<DeviceList, 'where' | 'order' | 'fields'> {
  checkQuery(query);
  const fields = query['fields'] === undefined ? ['name', 'group', 'tags'] : several(query, 'fields');
  for (const field of fields)
    if (!FIELDS.includes(field)) throw invalidParameter('fields', `some of ${FIELDS.join(', ')}`);
  return { where: conditions(query), order: order(query), fields: new Set(['id', ...fields]) };
}

function order(query: ListQuery): Order {
  const sorts = several(query, 'sort').map((key) => {
    const name = key.replace(/^-/, '');
    if (!Object.hasOwn(SORTS, name))
      throw invalidParameter('sort', `some of ${Object.keys(SORTS).join(', ')}, prefixed with - when descending`);
    return SORTS[name]!(key.startsWith('-') ? 'DESC' : 'ASC');
  });
  // Pages are stable only when the order is total.
  if (!sorts.some(({ by }) => by.startsWith('d.id '))) sorts.push({ by: 'd.id ASC' });
  const [first, ...others] = sorts;
  const then = others.map(({ by }) => by);
  return {
    by: [first!.by, ...then],
    ...(first!.stretches ? { stretches: first!.stretches.map(({ where, by }) => ({ where, by: [by, ...then] })) } : {}),
  };
}

const likeText = (text: string): string => text.replaceAll(/[\\%_]/g, '\\$&');

function nameCondition(name: string): Condition {
  const quoted = /^"(.*)"$/s.exec(name);
  const wild = !quoted && (name.startsWith('*') || name.endsWith('*'));
  if (!wild) return (bind) => `d.name = ${bind(quoted ? quoted[1]! : name)}`;
  const inner = likeText(name.replace(/^\*/, '').replace(/\*$/, ''));
  return (bind) => `d.name LIKE ${bind(`${name.startsWith('*') ? '%' : ''}${inner}${name.endsWith('*') ? '%' : ''}`)}`;
}

function groupPathCondition(given: string): Condition {
  const path = given.startsWith('/') ? given : `/${given}`;
  const inGroups = (condition: string): string =>
    `d.group_id IN (SELECT p.id FROM groups p WHERE p.tenant_id = $1 AND ${condition})`;
  if (!path.endsWith('/*')) return (bind) => inGroups(`p.path = ${bind(path)}`);
  const base = path.slice(0, -2);
  return (bind) => inGroups(`(p.path = ${bind(base)} OR starts_with(p.path, ${bind(`${base}/`)}))`);
}

/** All conditions on interfaces must hold for one interface of the device. */
function interfaceConditions(query: ListQuery): Condition[] {
  const parts: Condition[] = [];
  const connectors = several(query, 'connectors');
  if (connectors.length > 0) parts.push((bind) => `i.connector = ANY(CAST(${bind(connectors)} AS text[]))`);
  const nodeId = single(query, 'interfaces.nodeId');
  if (nodeId !== undefined) parts.push((bind) => `i.node_id = ${bind(nodeId)}`);
  const statuses = several(query, 'interfaces.status');
  if (statuses.some((status) => !(INTERFACE_STATUSES as string[]).includes(status)))
    throw invalidParameter('interfaces.status', `some of ${INTERFACE_STATUSES.join(', ')}`);
  if (statuses.length > 0) parts.push((bind) => `i.status = ANY(CAST(${bind(statuses)} AS text[]))`);
  const enabled = single(query, 'interfaces.enabled');
  if (enabled !== undefined) {
    if (enabled !== 'true' && enabled !== 'false') throw invalidParameter('interfaces.enabled', 'true or false');
    parts.push(() => `i.enabled = ${enabled}`);
  }
  if (parts.length === 0) return [];
  return [
    (bind) =>
      `EXISTS (SELECT 1 FROM interfaces i WHERE i.tenant_id = d.tenant_id AND i.device_id = d.id AND ${parts
        .map((part) => part(bind))
        .join(' AND ')})`,
  ];
}

function conditions(query: ListQuery): Condition[] {
  const where = interfaceConditions(query);
  const filterQuery = single(query, 'filterQuery');
  if (filterQuery !== undefined) {
    const expression = { text: filterQuery, parameter: 'filterQuery' };
    where.push((bind) => compileRsql(expression, DEVICE_FILTER, bind));
  }
  const id = single(query, 'id');
  if (id !== undefined) where.push((bind) => `d.id = ${bind(id)}`);
  const groupId = single(query, 'groupId');
  if (groupId !== undefined) where.push((bind) => `d.group_id = ${bind(groupId)}`);
  const groupPath = single(query, 'groupPath');
  if (groupPath !== undefined) where.push(groupPathCondition(groupPath));
  const name = single(query, 'name');
  if (name !== undefined) where.push(nameCondition(name));
  const tags = several(query, 'tags');
  if (tags.length > 0) where.push((bind) => `d.tags @> CAST(${bind(tags)} AS text[])`);
  const properties = Object.keys(query).filter((key) => key.startsWith('property.'));
  if (properties.length > 0) {
    const wanted = Object.fromEntries(properties.map((key) => [key.slice('property.'.length), single(query, key)]));
    where.push((bind) => `d.properties @> CAST(${bind(JSON.stringify(wanted))} AS jsonb)`);
  }
  return where;
}

/** Devices with their groups; interfaces are not loaded. @throws ApiError 400 for a `filterQuery` that is wrong */
export async function listDevices(
  database: Database,
  tenantId: string,
  list: DeviceList,
): Promise<{ devices: Device[]; total?: number }> {
  const statement = new Statement(tenantId);
  const where = ['d.tenant_id = $1', ...list.where.map((condition) => condition(statement.bind))].join(' AND ');
  const sql = await pageOfIds(database, where, list, statement.values);
  const ids = (await database.query<{ id: string }>(sql, statement.values)).map(({ id }) => id);
  const found = await database.manager.find(Device, { where: { tenantId, id: In(ids) }, relations: { group: true } });
  const byId = new Map(found.map((device) => [device.id, device]));
  // A device that is deleted at this moment is left out.
  const devices = ids.map((id) => byId.get(id)).filter((device) => device !== undefined);
  if (!list.total) return { devices };
  const [counted] = await database.query<{ total: string }>(
    `SELECT count(*) AS total FROM devices d WHERE ${where}`,
    statement.values,
  );
  return { devices, total: Number(counted!.total) };
}

/** SQL of a page, which is found by ids alone: indexes hold them. @param values of `where` */
async function pageOfIds(database: Database, where: string, list: DeviceList, values: unknown[]): Promise<string> {
  const { order, limit, offset } = list;
  const by = order.by.join(', ');
  const page = `LIMIT ${limit} OFFSET ${offset}`;
  if (/\bi\./.test(by)) {
    // Joined, and not asked for device by device: what is more than a few is merged in the order of the indexes.
    const interfaces = 'LEFT JOIN interfaces i ON i.tenant_id = d.tenant_id AND i.device_id = d.id';
    const groups = /\bg\./.test(by) ? ', g.path' : '';
    const kinds = /\bn\./.test(by) ? ', n.tenant_id, n.device_id' : '';
    return `SELECT d.id FROM ${devicesWith(by)} ${interfaces} WHERE ${where} GROUP BY d.tenant_id, d.id${groups}${kinds} ORDER BY ${by} ${page}`;
  }
  const filtered = list.where.length > 0;
  // OFFSET 0 keeps PostgreSQL from looking for the few in the order of the page.
  if (filtered && (await expectsFew(database, 'devices d', where, values)))
    return `SELECT id FROM (
        SELECT d.id, row_number() OVER (ORDER BY ${by}) AS place FROM ${devicesWith(by)} WHERE ${where} OFFSET 0) AS few
      ORDER BY place ${page}`;
  if (!filtered && by.startsWith('g.path ')) return pageByGroup(where, list);
  if (!order.stretches) return `SELECT d.id FROM ${devicesWith(by)} WHERE ${where} ORDER BY ${by} ${page}`;
  const stretches = order.stretches.map((stretch, i) => {
    const condition = `${where} AND ${stretch.where}`;
    return `(${firstOnes(stretch.by, condition, list, `, ${i} AS stretch`)})`;
  });
  return `SELECT id FROM (${stretches.join(' UNION ALL ')}) AS stretches ORDER BY stretch, place ${page}`;
}

/** The first devices of each group: an index has them in their order, and groups are few. */
function pageByGroup(where: string, list: DeviceList): string {
  const [byPath, ...others] = list.order.by;
  return `SELECT page.id FROM groups g CROSS JOIN LATERAL (
      ${firstOnes(others, `${where} AND d.group_id = g.id`, list)}) AS page
    WHERE g.tenant_id = $1 ORDER BY ${byPath}, page.place LIMIT ${list.limit} OFFSET ${list.offset}`;
}

/** Devices up to the end of the page, with their places in the order. */
const firstOnes = (order: string[], where: string, { limit, offset }: DeviceList, more = ''): string => {
  const by = order.join(', ');
  return `SELECT d.id, row_number() OVER (ORDER BY ${by}) AS place${more}
    FROM ${devicesWith(by)} WHERE ${where} ORDER BY ${by} LIMIT ${limit + offset}`;
};
