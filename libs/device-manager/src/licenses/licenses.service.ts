import { randomUUID } from 'node:crypto';
import { type Database, writeOutbox } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import type { EntityManager } from 'typeorm';
import { changeInventory } from '../conflicts.js';
import type { DeviceLicense, LicenseReport } from '../contract.js';
import { checkDeviceId, interfacesOf, lockDevices, nodesOf } from '../devices/inventory.js';
import { changeNotice } from '../events/device-events.js';
import { isText } from '../text.js';
import type { LicenseDto, LicenseView } from './license.dto.js';

/** Of a device; removed ones are kept in the same number beside them. */
const MAX_LICENSES = 50;
const LONGEST_ERROR = 1024;

interface Row {
  id: string;
  data: string;
  signature: string;
  operation: LicenseView['operation'];
  state: LicenseView['state'];
  error: string | null;
  created: Date;
  updated: Date;
}

const COLUMNS = 'id, data, signature, operation, state, error, created, updated';

const licenseView = ({ error, created, updated, ...row }: Row): LicenseView => ({
  ...row,
  ...(error === null ? {} : { error }),
  created: created.toISOString(),
  updated: updated.toISOString(),
});

/** Licenses of devices, which their devices are told of, and answer. */
export class LicensesService {
  constructor(private readonly database: Database) {}

  /** @throws ApiError 400, DM_DEVICE_NOT_FOUND; GENERIC_QUOTA_EXCEEDED_ERROR */
  create(tenantId: string, deviceId: string, { data, signature }: LicenseDto): Promise<LicenseView> {
    return this.changing(tenantId, deviceId, async (manager) => {
      const [{ count } = { count: 0 }] = (await manager.query(
        `SELECT count(*)::int AS count FROM device_licenses WHERE tenant_id = $1 AND device_id = $2 AND state <> 'removed'`,
        [tenantId, deviceId],
      )) as Array<{ count: number }>;
      if (count >= MAX_LICENSES) throw new ApiError('GENERIC_QUOTA_EXCEEDED_ERROR', { licenses: MAX_LICENSES });
      await manager.query(
        `DELETE FROM device_licenses WHERE tenant_id = $1 AND device_id = $2 AND id IN (
           SELECT id FROM device_licenses WHERE tenant_id = $1 AND device_id = $2 AND state = 'removed'
           ORDER BY updated DESC OFFSET ${MAX_LICENSES})`,
        [tenantId, deviceId],
      );
      const [row] = (await manager.query(
        `INSERT INTO device_licenses
           (tenant_id, device_id, id, data, signature, operation, state, revision, created, updated)
         VALUES ($1, $2, $3, $4, $5, 'add', 'pending', 1, $6, $6) RETURNING ${COLUMNS}`,
        [tenantId, deviceId, randomUUID(), data, signature, new Date()],
      )) as Row[];
      return licenseView(row!);
    });
  }

  /** In the order of their creation. @throws ApiError 400, DM_DEVICE_NOT_FOUND */
  async list(tenantId: string, deviceId: string): Promise<LicenseView[]> {
    checkDeviceId(deviceId);
    const [device] = await this.database.query('SELECT 1 FROM devices WHERE tenant_id = $1 AND id = $2', [
      tenantId,
      deviceId,
    ]);
    if (!device) throw new ApiError('DM_DEVICE_NOT_FOUND');
    const rows = await this.database.query<Row>(
      `SELECT ${COLUMNS} FROM device_licenses WHERE tenant_id = $1 AND device_id = $2 ORDER BY created, id`,
      [tenantId, deviceId],
    );
    return rows.map(licenseView);
  }

  /** @throws ApiError 400, DM_DEVICE_NOT_FOUND, NOT_FOUND; CONFLICT when it is being removed, or was */
  update(tenantId: string, deviceId: string, id: string, { data, signature }: LicenseDto): Promise<LicenseView> {
    return this.changing(tenantId, deviceId, (manager) =>
      operate(manager, tenantId, deviceId, id, `operation = 'update', data = $5, signature = $6`, [data, signature]),
    );
  }

  /** @throws ApiError 400, DM_DEVICE_NOT_FOUND, NOT_FOUND; CONFLICT when it is being removed, or was */
  remove(tenantId: string, deviceId: string, id: string): Promise<LicenseView> {
    return this.changing(tenantId, deviceId, (manager) =>
      operate(manager, tenantId, deviceId, id, `operation = 'remove'`),
    );
  }

  /** Answers `deviceLicenses` of the contract. */
  of(tenantId: string, deviceId: string): Promise<DeviceLicense[]> {
    return this.database.query<DeviceLicense>(
      `SELECT id, data, signature, operation, revision FROM device_licenses
       WHERE tenant_id = $1 AND device_id = $2 AND state <> 'removed' ORDER BY created, id`,
      [tenantId, deviceId],
    );
  }

  /** Answers `reportLicense` of the contract. */
  async report({ tenantId, deviceId, id, state, error }: LicenseReport): Promise<void> {
    const stored = isText(id, 1, 64) && (error === undefined || isText(error, 0, LONGEST_ERROR));
    if (!stored) throw invalidParameter('error', `a string of up to ${LONGEST_ERROR} characters`);
    const [, count] = (await this.database.manager.query(
      `UPDATE device_licenses SET
         state = CASE WHEN $4 <> 'done' THEN $4 WHEN operation = 'remove' THEN 'removed' ELSE 'inuse' END,
         error = $5, updated = $6
       WHERE tenant_id = $1 AND device_id = $2 AND id = $3`,
      [tenantId, deviceId, id, state, state === 'error' ? (error ?? '') : null, new Date()],
    )) as [unknown, number];
    if (count === 0) throw new ApiError('NOT_FOUND', 'no license of the device has this id');
  }

  /** A change that the device's session hears of. */
  private changing<Result>(
    tenantId: string,
    deviceId: string,
    work: (manager: EntityManager) => Promise<Result>,
  ): Promise<Result> {
    checkDeviceId(deviceId);
    return changeInventory(this.database, async (manager) => {
      await lockDevices(manager, tenantId, [deviceId]);
      const result = await work(manager);
      const nodes = nodesOf((await interfacesOf(manager, tenantId, [deviceId])).get(deviceId)!);
      await writeOutbox(manager, [changeNotice({ tenantId, deviceId, nodes })]);
      return result;
    });
  }
}

/** A further operation on a license that is not being removed. The device is locked. */
async function operate(
  manager: EntityManager,
  tenantId: string,
  deviceId: string,
  id: string,
  change: string,
  parameters: string[] = [],
): Promise<LicenseView> {
  // What is no id is not asked of PostgreSQL, which refuses some characters.
  const where = 'WHERE tenant_id = $1 AND device_id = $2 AND id = $3';
  const found = isText(id, 1, 64)
    ? ((await manager.query(`SELECT operation, state FROM device_licenses ${where}`, [
        tenantId,
        deviceId,
        id,
      ])) as Row[])
    : [];
  if (!found[0]) throw new ApiError('NOT_FOUND', 'no license of the device has this id');
  if (found[0].operation === 'remove' || found[0].state === 'removed')
    throw new ApiError('CONFLICT', 'the license is being removed, or was');
  const [rows] = (await manager.query(
    `UPDATE device_licenses SET ${change}, state = 'pending', error = NULL, revision = revision + 1, updated = $4
     ${where} RETURNING ${COLUMNS}`,
    [tenantId, deviceId, id, new Date(), ...parameters],
  )) as [Row[], number];
  return licenseView(rows[0]!);
}
