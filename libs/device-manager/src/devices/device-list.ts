import type { Database } from '@orrery/core/database';
import { invalidParameter } from '@orrery/core/http';
import { In } from 'typeorm';
import { INTERFACE_STATUSES } from '../connectors/connector.js';
import { devicesWith, Statement } from '../explorer/statement.js';
import { checkQuery, type ListQuery, several, single } from '../list-query.js';
import { type Bind, compileRsql } from '../rsql/rsql.js';
import { Device } from './device.entity.js';
import { DEVICE_FILTER } from './device-filter.js';

/** What a list of devices asks for (manual 5.3.2.1). */
export interface DeviceList {
  where: Condition[];
  order: string[];
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

// A device with several interfaces is placed by the lowest value when ascending, by the highest when descending.
const ofInterfaces =
  (column: string) =>
  (direction: Direction): string =>
    `${direction === 'ASC' ? 'min' : 'max'}(i.${column}) ${direction} NULLS LAST`;
const ofDevice =
  (column: string) =>
  (direction: Direction): string =>
    `${column} ${direction}`;

const SORTS: Record<string, (direction: Direction) => string> = {
  id: ofDevice('d.id'),
  urn: ofDevice('d.id'),
  // Where nothing can be null, an index serves a descending order only without a word about nulls.
  name: (direction) => `d.name ${direction} NULLS LAST`,
  group: ofDevice('g.path'),
  created: ofDevice('d.created'),
  creationTs: ofDevice('d.created'),
  updated: ofDevice('d.updated'),
  'interfaces.status': ofInterfaces('status'),
  'interfaces.enabled': ofInterfaces('enabled::int'),
  'interfaces.lastContact': ofInterfaces('last_contact'),
};

/** @throws ApiError 400 for an unknown field, sort key or filter value */
export function parseDeviceList(query: ListQuery): Pick<DeviceList, 'where' | 'order' | 'fields'> {
  checkQuery(query);
  const fields = query['fields'] === undefined ? ['name', 'group', 'tags'] : several(query, 'fields');
  for (const field of fields)
    if (!FIELDS.includes(field)) throw invalidParameter('fields', `some of ${FIELDS.join(', ')}`);
  return { where: conditions(query), order: order(query), fields: new Set(['id', ...fields]) };
}

function order(query: ListQuery): string[] {
  const sorts = several(query, 'sort').map((key) => {
    const name = key.replace(/^-/, '');
    if (!Object.hasOwn(SORTS, name))
      throw invalidParameter('sort', `some of ${Object.keys(SORTS).join(', ')}, prefixed with - when descending`);
    return SORTS[name]!(key.startsWith('-') ? 'DESC' : 'ASC');
  });
  // Pages are stable only when the order is total.
  return sorts.some((sort) => sort.startsWith('d.id ')) ? sorts : [...sorts, 'd.id ASC'];
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
  const ids = (await database.query<{ id: string }>(pageOfIds(where, list), statement.values)).map(({ id }) => id);
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

/** A page is found by ids alone, which indexes hold. */
function pageOfIds(where: string, { order, limit, offset }: DeviceList): string {
  const orderBy = order.join(', ');
  const page = `ORDER BY ${orderBy} LIMIT ${limit} OFFSET ${offset}`;
  if (!/\bi\./.test(orderBy)) return `SELECT d.id FROM ${devicesWith(orderBy)} WHERE ${where} ${page}`;
  // Joined, and not asked for device by device: what is more than a few is merged in the order of the indexes.
  const interfaces = 'LEFT JOIN interfaces i ON i.tenant_id = d.tenant_id AND i.device_id = d.id';
  const groups = /\bg\./.test(orderBy) ? ', g.path' : '';
  return `SELECT d.id FROM ${devicesWith(orderBy)} ${interfaces} WHERE ${where} GROUP BY d.tenant_id, d.id${groups} ${page}`;
}
