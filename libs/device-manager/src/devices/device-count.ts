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
