import { type Database, writeOutbox } from '@orrery/core/database';
import { invalidParameter, invalidParameters } from '@orrery/core/http';
import { limitOf } from '@orrery/core/limits';
import type { FieldError } from '@orrery/core/messages';
import type { EntityManager } from 'typeorm';
import { changeInventory } from '../conflicts.js';
import type { ChangeOfDevice } from '../contract.js';
import { interfacesOf, lockDevices, nodesOf } from '../devices/inventory.js';
import { changeNotice, placedEvent } from '../events/device-events.js';
import { isText } from '../text.js';

/** What devices change of themselves. */
export class DeviceChangesService {
  constructor(
    private readonly database: Database,
    private readonly partitions: number,
  ) {}

  /** Answers `changeByDevice` of the contract. */
  async change(asked: ChangeOfDevice): Promise<void> {
    check(asked);
    const { tenantId, deviceId, nodeId, name, firmwareVersion } = asked;
    await changeInventory(this.database, async (manager) => {
      await lockDevices(manager, tenantId, [deviceId]);
      if (name !== undefined)
        await manager.query('UPDATE devices SET name = $3 WHERE tenant_id = $1 AND id = $2', [
          tenantId,
          deviceId,
          name,
        ]);
      await setProperty(manager, asked);
      if (firmwareVersion !== undefined)
        await manager.query(
          'UPDATE device_accesses SET firmware_version = $3, updated = $4 WHERE id = $1 AND tenant_id = $2',
          [nodeId, tenantId, firmwareVersion, new Date()],
        );
      if (name === undefined && asked.property === undefined) return;
      const now = new Date();
      await manager.query('UPDATE devices SET updated = $3 WHERE tenant_id = $1 AND id = $2', [
        tenantId,
        deviceId,
        now,
      ]);
      const nodes = nodesOf((await interfacesOf(manager, tenantId, [deviceId])).get(deviceId)!);
      await writeOutbox(manager, [changeNotice({ tenantId, deviceId, nodes })]);
      if (name !== undefined) await writeOutbox(manager, [placedEvent(this.partitions, tenantId, deviceId, now)]);
    });
  }
}

function check({ name, firmwareVersion, property }: ChangeOfDevice): void {
  const errors: FieldError[] = [];
  const expect = (field: string, text: string | undefined, min: number, max: number): void => {
    if (text !== undefined && !isText(text, min, max))
      errors.push({ field, expected: `a string of ${min} to ${max} characters, without NUL or lone surrogates` });
  };
  expect('name', name, 0, 256);
  expect('firmware_version', firmwareVersion, 1, 128);
  expect('property', property?.name, 1, 256);
  expect('value', property?.value, 0, 1024);
  if (errors.length > 0) throw invalidParameters(errors);
}

async function setProperty(
  manager: EntityManager,
  { tenantId, deviceId, property, limits }: ChangeOfDevice,
): Promise<void> {
  if (!property) return;
  const most = limitOf(limits, 'deviceProperties');
  const [, count] = (await manager.query(
    `UPDATE devices SET properties = properties || jsonb_build_object($3::text, $4::text)
     WHERE tenant_id = $1 AND id = $2
       AND (jsonb_exists(properties, $3::text) OR (SELECT count(*) FROM jsonb_object_keys(properties)) < $5::float8)`,
    [tenantId, deviceId, property.name, property.value, most],
  )) as [unknown, number];
  if (count === 0) throw invalidParameter('property', `at most ${most} properties of a device`);
}
