import type { Database } from '@orrery/core/database';
import { invalidParameter } from '@orrery/core/http';
import type { SelectQueryBuilder } from 'typeorm';
import { INTERFACE_STATUSES } from '../connectors/connector.js';
import { checkQuery, type ListQuery, several, single } from '../list-query.js';
import { compileRsql } from '../rsql/rsql.js';
import { Device } from './device.entity.js';
import { DEVICE_FILTER } from './device-filter.js';

/** What a list of devices asks for (manual 5.3.2.1). */
export interface DeviceList {
  where: Condition[];
  order: Array<{ expression: string; direction: 'ASC' | 'DESC' }>;
  fields: Set<string>;
  limit: number;
  offset: number;
  total: boolean;
}

interface Condition {
  sql: string;
  parameters: Record<string, unknown>;
}

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

// A device with several interfaces is placed by the lowest value when ascending, by the highest when descending.
const ofInterfaces = (column: string, direction: 'ASC' | 'DESC'): string =>
  `(SELECT ${direction === 'ASC' ? 'min' : 'max'}(i.${column}) FROM interfaces i WHERE i.tenant_id = d.tenant_id AND i.device_id = d.id)`;

const SORTS: Record<string, (direction: 'ASC' | 'DESC') => string> = {
  id: () => 'd.id',
  urn: () => 'd.id',
  name: () => 'd.name',
  group: () => 'g.path',
  created: () => 'd.created',
  creationTs: () => 'd.created',
  updated: () => 'd.updated',
  'interfaces.status': (direction) => ofInterfaces('status', direction),
  'interfaces.enabled': (direction) => ofInterfaces('enabled::int', direction),
  'interfaces.lastContact': (direction) => ofInterfaces('last_contact', direction),
};

/** @throws ApiError 400 for an unknown field, sort key or filter value */
export function parseDeviceList(query: ListQuery): Pick<DeviceList, 'where' | 'order' | 'fields'> {
  checkQuery(query);
  const fields = query['fields'] === undefined ? ['name', 'group', 'tags'] : several(query, 'fields');
  for (const field of fields)
    if (!FIELDS.includes(field)) throw invalidParameter('fields', `some of ${FIELDS.join(', ')}`);
  return { where: conditions(query), order: order(query), fields: new Set(['id', ...fields]) };
}

function order(query: ListQuery): DeviceList['order'] {
  const sorts = several(query, 'sort').map((key) => {
    const direction: 'ASC' | 'DESC' = key.startsWith('-') ? 'DESC' : 'ASC';
    const name = key.replace(/^-/, '');
    if (!Object.hasOwn(SORTS, name))
      throw invalidParameter('sort', `some of ${Object.keys(SORTS).join(', ')}, prefixed with - when descending`);
    return { expression: SORTS[name]!(direction), direction };
  });
  // Pages are stable only when the order is total.
  if (!sorts.some(({ expression }) => expression === 'd.id')) sorts.push({ expression: 'd.id', direction: 'ASC' });
  return sorts;
}

const likeText = (text: string): string => text.replaceAll(/[\\%_]/g, '\\$&');

function nameCondition(name: string): Condition {
  const quoted = /^"(.*)"$/s.exec(name);
  const wild = !quoted && (name.startsWith('*') || name.endsWith('*'));
  if (!wild) return { sql: 'd.name = :name', parameters: { name: quoted ? quoted[1] : name } };
  const inner = likeText(name.replace(/^\*/, '').replace(/\*$/, ''));
  return {
    sql: 'd.name LIKE :name',
    parameters: { name: `${name.startsWith('*') ? '%' : ''}${inner}${name.endsWith('*') ? '%' : ''}` },
  };
}

function groupPathCondition(given: string): Condition {
  const path = given.startsWith('/') ? given : `/${given}`;
  const inGroups = (condition: string): string =>
    `d.group_id IN (SELECT p.id FROM groups p WHERE p.tenant_id = :tenantId AND ${condition})`;
  if (!path.endsWith('/*')) return { sql: inGroups('p.path = :groupPath'), parameters: { groupPath: path } };
  const base = path.slice(0, -2);
  return {
    sql: inGroups('(p.path = :groupPath OR starts_with(p.path, :below))'),
    parameters: { groupPath: base, below: `${base}/` },
  };
}

/** All conditions on interfaces must hold for one interface of the device. */
function interfaceCondition(query: ListQuery): Condition[] {
  const parts: string[] = [];
  const parameters: Record<string, unknown> = {};
  const connectors = several(query, 'connectors');
  if (connectors.length > 0) {
    parts.push('i.connector = ANY(:connectors)');
    parameters['connectors'] = connectors;
  }
  const nodeId = single(query, 'interfaces.nodeId');
  if (nodeId !== undefined) {
    parts.push('i.node_id = :nodeId');
    parameters['nodeId'] = nodeId;
  }
  const statuses = several(query, 'interfaces.status');
  if (statuses.some((status) => !(INTERFACE_STATUSES as string[]).includes(status)))
    throw invalidParameter('interfaces.status', `some of ${INTERFACE_STATUSES.join(', ')}`);
  if (statuses.length > 0) {
    parts.push('i.status = ANY(:statuses)');
    parameters['statuses'] = statuses;
  }
  const enabled = single(query, 'interfaces.enabled');
  if (enabled !== undefined) {
    if (enabled !== 'true' && enabled !== 'false') throw invalidParameter('interfaces.enabled', 'true or false');
    parts.push(`i.enabled = ${enabled}`);
  }
  if (parts.length === 0) return [];
  return [
    {
      sql: `EXISTS (SELECT 1 FROM interfaces i WHERE i.tenant_id = d.tenant_id AND i.device_id = d.id AND ${parts.join(' AND ')})`,
      parameters,
    },
  ];
}

function filterCondition(text: string): Condition {
  const parameters: Condition['parameters'] = {};
  const sql = compileRsql({ text, parameter: 'filterQuery' }, DEVICE_FILTER, (value) => {
    const name = `rsql_${Object.keys(parameters).length}`;
    parameters[name] = value;
    return `:${name}`;
  });
  return { sql, parameters };
}

function conditions(query: ListQuery): Condition[] {
  const where = interfaceCondition(query);
  const filterQuery = single(query, 'filterQuery');
  if (filterQuery !== undefined) where.push(filterCondition(filterQuery));
  const id = single(query, 'id');
  if (id !== undefined) where.push({ sql: 'd.id = :id', parameters: { id } });
  const groupId = single(query, 'groupId');
  if (groupId !== undefined) where.push({ sql: 'd.group_id = :groupId', parameters: { groupId } });
  const groupPath = single(query, 'groupPath');
  if (groupPath !== undefined) where.push(groupPathCondition(groupPath));
  const name = single(query, 'name');
  if (name !== undefined) where.push(nameCondition(name));
  const tags = several(query, 'tags');
  if (tags.length > 0) where.push({ sql: 'd.tags @> :tags', parameters: { tags } });
  const properties = Object.keys(query).filter((key) => key.startsWith('property.'));
  if (properties.length > 0)
    where.push({
      sql: 'd.properties @> :properties',
      parameters: {
        properties: JSON.stringify(
          Object.fromEntries(properties.map((key) => [key.slice('property.'.length), single(query, key)])),
        ),
      },
    });
  return where;
}

/** Devices with their groups; interfaces are not loaded. */
export async function listDevices(
  database: Database,
  tenantId: string,
  list: DeviceList,
): Promise<{ devices: Device[]; total?: number }> {
  const query: SelectQueryBuilder<Device> = database.manager
    .createQueryBuilder(Device, 'd')
    .innerJoinAndSelect('d.group', 'g')
    .where('d.tenant_id = :tenantId', { tenantId });
  for (const { sql, parameters } of list.where) query.andWhere(sql, parameters);
  const page = query.clone();
  list.order.forEach(({ expression, direction }, i) => {
    // TypeORM orders by columns and by selected expressions only.
    const column = /^\w+\.\w+$/.test(expression);
    if (!column) page.addSelect(expression, `sort_${i}`);
    // Where nothing can be null, an index serves a descending order only without a word about nulls.
    if (column && expression !== 'd.name') page.addOrderBy(expression, direction);
    else page.addOrderBy(column ? expression : `sort_${i}`, direction, 'NULLS LAST');
  });
  const devices = await page.limit(list.limit).offset(list.offset).getMany();
  if (!list.total) return { devices };
  const [counted] = await query.select('count(*)', 'total').getRawMany<{ total: string }>();
  return { devices, total: Number(counted!.total) };
}
