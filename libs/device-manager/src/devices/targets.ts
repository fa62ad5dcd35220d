import type { Database } from '@orrery/core/database';
import type { DeviceTargets, PlacedDevice } from '../contract.js';

/** Answers `targetedDevices` of the contract. */
export async function devicesOfTargets(
  database: Database,
  { tenantId, deviceIds, groupPaths, after, limit }: DeviceTargets & { tenantId: string; after: string; limit: number },
): Promise<PlacedDevice[]> {
  const groups = await database.query<{ id: string }>(
    `SELECT g.id FROM groups g
     WHERE g.tenant_id = $1 AND (g.path = ANY($2::text[])
       OR EXISTS (SELECT FROM unnest($3::text[]) AS below (path) WHERE starts_with(g.path, below.path)))`,
    [
      tenantId,
      groupPaths.map(({ path }) => path),
      groupPaths.filter((each) => each.includeSubPath).map(({ path }) => (path === '/' ? path : `${path}/`)),
    ],
  );
  return database.query<PlacedDevice>(
    `SELECT d.id AS "deviceId", d.name, g.path AS "groupPath"
     FROM devices d JOIN groups g ON g.tenant_id = d.tenant_id AND g.id = d.group_id
     WHERE d.tenant_id = $1 AND (d.id = ANY($2::text[]) OR d.group_id = ANY($3::text[])) AND d.id > $4
     ORDER BY d.id LIMIT $5`,
    [tenantId, deviceIds, groups.map(({ id }) => id), after, limit],
  );
}
