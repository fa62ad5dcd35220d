import { ApiError, invalidParameter } from '@orrery/core/http';
import { DEVICE_ID } from '@orrery/core/messages';
import { type EntityManager, In } from 'typeorm';
import type { EventDevice } from '../events/device-events.js';
import { Interface } from '../interfaces/interface.entity.js';
import { Device } from './device.entity.js';

/** A device with its group, and its interfaces in the order of their creation. */
export interface InventoryDevice {
  device: Device;
  interfaces: Interface[];
}

/** @throws ApiError GENERIC_INVALID_PARAMETER_ERROR */
export function checkDeviceId(deviceId: string): void {
  if (!DEVICE_ID.test(deviceId)) throw invalidParameter('deviceId', 'urn:lo:nsid:{ns}:{id}');
}

export async function interfacesOf(
  manager: EntityManager,
  tenantId: string,
  deviceIds: string[],
): Promise<Map<string, Interface[]>> {
  const byDevice = new Map<string, Interface[]>(deviceIds.map((id) => [id, []]));
  if (deviceIds.length === 0) return byDevice;
  const rows = await manager.find(Interface, {
    where: { tenantId, deviceId: In(deviceIds) },
    order: { created: 'ASC', connector: 'ASC', nodeId: 'ASC' },
  });
  for (const row of rows) byDevice.get(row.deviceId)?.push(row);
  return byDevice;
}

/** @throws ApiError DM_DEVICE_NOT_FOUND */
export async function loadDevice(manager: EntityManager, tenantId: string, id: string): Promise<InventoryDevice> {
  const device = await manager.findOne(Device, { where: { tenantId, id }, relations: { group: true } });
  if (!device) throw new ApiError('DM_DEVICE_NOT_FOUND');
  return { device, interfaces: (await interfacesOf(manager, tenantId, [id])).get(id)! };
}

/**
 * Locks devices until the transaction ends. Whoever changes a device or its interfaces locks the devices first, in
 * this order, and then the interfaces.
 * @throws ApiError DM_DEVICE_NOT_FOUND when one of them does not exist
 */
export async function lockDevices(manager: EntityManager, tenantId: string, ids: string[]): Promise<void> {
  const wanted = [...new Set(ids)];
  const rows = (await manager.query(
    'SELECT id FROM devices WHERE tenant_id = $1 AND id = ANY($2::text[]) ORDER BY id FOR UPDATE',
    [tenantId, wanted],
  )) as unknown[];
  if (rows.length < wanted.length) throw new ApiError('DM_DEVICE_NOT_FOUND');
}

/** The device as its events name it. */
export const eventDevice = ({ device, interfaces }: InventoryDevice): EventDevice => ({
  tenantId: device.tenantId,
  id: device.id,
  connectors: [...new Set(interfaces.map((each) => each.connector))],
  groupPath: device.group!.path,
  tags: device.tags,
});

/** The device's nodes as caches know them. */
export const nodesOf = (interfaces: Interface[]): Array<{ connector: string; nodeId: string }> =>
  interfaces.map(({ connector, nodeId }) => ({ connector, nodeId }));
