import { ApiError } from '@orrery/core/http';
import { limitOf, type LimitValues } from '@orrery/core/limits';
import type { EntityManager } from 'typeorm';

/**
 * Counts a new device. The tenant's row stays locked until the transaction ends: call it last.
 * @throws ApiError GENERIC_QUOTA_EXCEEDED_ERROR
 */
export async function countDevice(manager: EntityManager, tenantId: string, limits: LimitValues): Promise<void> {
  const devices = limitOf(limits, 'devices');
  const counted = (await manager.query(
    `INSERT INTO device_counts AS c (tenant_id, devices) SELECT $1, 1 WHERE $2::float8 >= 1
     ON CONFLICT (tenant_id) DO UPDATE SET devices = c.devices + 1 WHERE c.devices < $2::float8 RETURNING devices`,
    [tenantId, devices],
  )) as unknown[];
  if (counted.length === 0) throw new ApiError('GENERIC_QUOTA_EXCEEDED_ERROR', { devices });
}

export async function uncountDevice(manager: EntityManager, tenantId: string): Promise<void> {
  await manager.query('UPDATE device_counts SET devices = devices - 1 WHERE tenant_id = $1', [tenantId]);
}

/** Devices of tenants; one without any may be absent. */
export async function deviceCounts(manager: EntityManager, tenantIds: string[]): Promise<ReadonlyMap<string, number>> {
  return countsOf(
    await manager.query('SELECT tenant_id, devices FROM device_counts WHERE tenant_id = ANY($1::text[])', [tenantIds]),
  );
}

/** As `deviceCounts`: nobody else counts devices of these tenants until the transaction ends. @param tenantIds sorted */
export async function lockDeviceCounts(
  manager: EntityManager,
  tenantIds: string[],
): Promise<ReadonlyMap<string, number>> {
  if (tenantIds.length === 0) return new Map();
  await manager.query(
    'INSERT INTO device_counts (tenant_id, devices) SELECT id, 0 FROM unnest($1::text[]) AS t(id) ON CONFLICT DO NOTHING',
    [tenantIds],
  );
  return countsOf(
    await manager.query(
      'SELECT tenant_id, devices FROM device_counts WHERE tenant_id = ANY($1::text[]) ORDER BY tenant_id FOR UPDATE',
      [tenantIds],
    ),
  );
}

/** Counts devices of tenants whose counts are locked, and looked at. */
export async function addDevices(manager: EntityManager, devices: ReadonlyArray<{ tenantId: string }>): Promise<void> {
  if (devices.length === 0) return;
  await manager.query(
    `UPDATE device_counts c SET devices = c.devices + n.devices
     FROM (SELECT tenant_id, count(*) AS devices FROM unnest($1::text[]) AS k(tenant_id) GROUP BY tenant_id) n
     WHERE c.tenant_id = n.tenant_id`,
    [devices.map(({ tenantId }) => tenantId)],
  );
}

const countsOf = (rows: unknown): ReadonlyMap<string, number> =>
  new Map((rows as Array<{ tenant_id: string; devices: string }>).map((row) => [row.tenant_id, Number(row.devices)]));
