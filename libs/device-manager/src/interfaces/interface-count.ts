import { ApiError } from '@orrery/core/http';
import { limitOf, type LimitValues } from '@orrery/core/limits';
import type { EntityManager } from 'typeorm';
import { connectorOf } from '../connectors/connectors.js';
import type { Interface } from './interface.entity.js';

/** How many interfaces each connector with a limit has among these, in the order in which they are counted. */
function limited(interfaces: ReadonlyArray<Pick<Interface, 'connector'>>): Array<[connector: string, count: number]> {
  const counts = new Map<string, number>();
  for (const { connector } of interfaces)
    if (connectorOf(connector).limit) counts.set(connector, (counts.get(connector) ?? 0) + 1);
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
}

/**
 * Counts new interfaces of a tenant. Its rows stay locked until the transaction ends: call it last, after `countDevice`.
 * @throws ApiError GENERIC_QUOTA_EXCEEDED_ERROR
 */
export async function countInterfaces(
  manager: EntityManager,
  tenantId: string,
  interfaces: ReadonlyArray<Pick<Interface, 'connector'>>,
  limits: LimitValues,
): Promise<void> {
  for (const [connector, count] of limited(interfaces)) {
    const name = connectorOf(connector).limit!;
    const most = limitOf(limits, name);
    const counted = (await manager.query(
      `INSERT INTO interface_counts AS c (tenant_id, connector, interfaces)
       SELECT $1, $2, $3::bigint WHERE $4::float8 >= $3::bigint
       ON CONFLICT (tenant_id, connector) DO UPDATE SET interfaces = c.interfaces + excluded.interfaces
       WHERE c.interfaces + excluded.interfaces <= $4::float8 RETURNING interfaces`,
      [tenantId, connector, count, most],
    )) as unknown[];
    if (counted.length === 0) throw new ApiError('GENERIC_QUOTA_EXCEEDED_ERROR', { [name]: most });
  }
}

export async function uncountInterfaces(
  manager: EntityManager,
  tenantId: string,
  interfaces: ReadonlyArray<Pick<Interface, 'connector'>>,
): Promise<void> {
  for (const [connector, count] of limited(interfaces))
    await manager.query(
      'UPDATE interface_counts SET interfaces = interfaces - $3 WHERE tenant_id = $1 AND connector = $2',
      [tenantId, connector, count],
    );
}
