import type { ApiKeyIdentity } from '@orrery/core/auth';
import { type Database, writeOutbox } from '@orrery/core/database';
import { invalidParameters } from '@orrery/core/http';
import { limitOf, type LimitValues } from '@orrery/core/limits';
import type { FieldError } from '@orrery/core/messages';
import type { Secrets } from '@orrery/core/secrets';
import type { EntityManager } from 'typeorm';
import { changeInventory } from '../conflicts.js';
import { changeNotice, lifecycleEvent, placedEvent } from '../events/device-events.js';
import type { Group } from '../groups/group.entity.js';
import type { GroupsService } from '../groups/groups.service.js';
import { countInterfaces, uncountInterfaces } from '../interfaces/interface-count.js';
import { Interface, interfaceColumns } from '../interfaces/interface.entity.js';
import { checkInterfaceCount, newInterface } from '../interfaces/new-interface.js';
import { countDevice, uncountDevice } from './device-count.js';
import {
  type CreateDeviceDto,
  deviceView,
  type DeviceView,
  type GroupReferenceDto,
  type UpdateDeviceDto,
} from './device.dto.js';
import { Device, type StaticLocation } from './device.entity.js';
import { type DeviceList, listDevices } from './device-list.js';
import { checkDeviceId, eventDevice, interfacesOf, loadDevice, lockDevices, nodesOf } from './inventory.js';

/** Devices of the inventory (manual 5.3). */
export class DevicesService {
  constructor(
    private readonly database: Database,
    private readonly groups: GroupsService,
    private readonly secrets: Secrets,
    private readonly partitions: number,
  ) {}

  async create(key: ApiKeyIdentity, body: CreateDeviceDto): Promise<DeviceView> {
    const { tenantId, limits } = key;
    checkSizes(limits, body);
    const now = new Date();
    const definer = { key, secrets: this.secrets };
    const interfaces = (body.interfaces ?? []).map((each, i) =>
      newInterface(definer, body.id, each, now, `interfaces.${i}.`),
    );
    // Rows that two requests both want are taken in one order, so that they cannot wait for each other.
    interfaces.sort((a, b) => (`${a.connector}:${a.nodeId}` < `${b.connector}:${b.nodeId}` ? -1 : 1));
    checkInterfaceCount(interfaces.length, limitOf(limits, 'deviceInterfaces'));
    return changeInventory(this.database, async (manager) => {
      const group = await this.findGroup(manager, tenantId, body.group);
      const device: Device = {
        tenantId,
        id: body.id,
        name: body.name ?? null,
        description: body.description ?? null,
        defaultDataStreamId: body.defaultDataStreamId ?? body.id,
        tags: [...new Set(body.tags)],
        properties: body.properties ?? {},
        groupId: group.id,
        staticLocation: staticLocation(body.staticLocation),
        activityState: 'NOT_MONITORED',
        created: now,
        updated: now,
      };
      await manager.insert(Device, device);
      if (interfaces.length > 0) await manager.insert(Interface, interfaces.map(interfaceColumns));
      const created = { device: { ...device, group }, interfaces };
      await writeOutbox(manager, [
        lifecycleEvent(this.partitions, eventDevice(created), 'deviceCreated', now),
        placedEvent(this.partitions, tenantId, body.id, now),
      ]);
      await countDevice(manager, tenantId, limits);
      await countInterfaces(manager, tenantId, interfaces, limits);
      return deviceView(created.device, interfaces);
    });
  }

  async get(tenantId: string, id: string): Promise<DeviceView> {
    checkDeviceId(id);
    const { device, interfaces } = await loadDevice(this.database.manager, tenantId, id);
    return deviceView(device, interfaces);
  }

  /** One page of the devices that match, each with the fields asked for. */
  async list(tenantId: string, list: DeviceList): Promise<{ items: Array<Partial<DeviceView>>; total?: number }> {
    const { devices, total } = await listDevices(this.database, tenantId, list);
    const interfaces = list.fields.has('interfaces')
      ? await interfacesOf(
          this.database.manager,
          tenantId,
          devices.map((device) => device.id),
        )
      : undefined;
    const items = devices.map((device) => {
      const view = Object.entries(deviceView(device, interfaces?.get(device.id) ?? []));
      return Object.fromEntries(view.filter(([field]) => list.fields.has(field)));
    });
    return { items, ...(total === undefined ? {} : { total }) };
  }

  async update({ tenantId, limits }: ApiKeyIdentity, id: string, body: UpdateDeviceDto): Promise<DeviceView> {
    checkDeviceId(id);
    checkSizes(limits, body);
    return changeInventory(this.database, async (manager) => {
      await lockDevices(manager, tenantId, [id]);
      const { device, interfaces } = await loadDevice(manager, tenantId, id);
      if (body.name !== undefined) device.name = body.name;
      if (body.description !== undefined) device.description = body.description;
      if (body.defaultDataStreamId !== undefined) device.defaultDataStreamId = body.defaultDataStreamId ?? id;
      if (body.tags !== undefined) device.tags = [...new Set(body.tags)];
      if (body.properties !== undefined) device.properties = body.properties ?? {};
      if (body.staticLocation !== undefined) device.staticLocation = staticLocation(body.staticLocation);
      if (body.group !== undefined) {
        device.group = await this.findGroup(manager, tenantId, body.group);
        device.groupId = device.group.id;
      }
      device.updated = new Date();
      const { group: _group, activityState: _state, ...columns } = device;
      await manager.update(Device, { tenantId, id }, columns);
      await writeOutbox(manager, [changeNotice({ tenantId, deviceId: id, nodes: nodesOf(interfaces) })]);
      if (body.name !== undefined || body.group !== undefined)
        await writeOutbox(manager, [placedEvent(this.partitions, tenantId, id, device.updated)]);
      return deviceView(device, interfaces);
    });
  }

  async delete(tenantId: string, id: string): Promise<void> {
    checkDeviceId(id);
    await changeInventory(this.database, async (manager) => {
      await lockDevices(manager, tenantId, [id]);
      // The cascade locks in any order; sessions are written in this one.
      await manager.query(
        'SELECT 1 FROM interfaces WHERE tenant_id = $1 AND device_id = $2 ORDER BY connector, node_id FOR UPDATE',
        [tenantId, id],
      );
      const deleted = await loadDevice(manager, tenantId, id);
      await manager.delete(Device, { tenantId, id });
      await writeOutbox(manager, [
        lifecycleEvent(this.partitions, eventDevice(deleted), 'deviceDeleted', new Date()),
        changeNotice({ tenantId, deviceId: id, nodes: nodesOf(deleted.interfaces) }),
      ]);
      await uncountDevice(manager, tenantId);
      await uncountInterfaces(manager, tenantId, deleted.interfaces);
    });
  }

  // The id decides when both are given.
  private findGroup(
    manager: EntityManager,
    tenantId: string,
    reference: GroupReferenceDto | null | undefined,
  ): Promise<Group> {
    const { id, path } = reference ?? {};
    return this.groups.find(manager, tenantId, { ...(id ? { id } : {}), ...(path ? { path } : {}) });
  }
}

/** @throws ApiError 400 for more tags or properties than the offer allows (manual 23.3). */
function checkSizes(limits: LimitValues, { tags, properties }: UpdateDeviceDto): void {
  const errors: FieldError[] = [];
  const mostTags = limitOf(limits, 'deviceTags');
  if (new Set(tags).size > mostTags) errors.push({ field: 'tags', expected: `at most ${mostTags} tags` });
  const mostProperties = limitOf(limits, 'deviceProperties');
  if (Object.keys(properties ?? {}).length > mostProperties)
    errors.push({ field: 'properties', expected: `at most ${mostProperties} properties` });
  if (errors.length > 0) throw invalidParameters(errors);
}

function staticLocation(given: UpdateDeviceDto['staticLocation']): StaticLocation | null {
  if (!given || !('lat' in given)) return null;
  const { lat, lon, alt } = given as StaticLocation;
  return typeof alt === 'number' ? { lat, lon, alt } : { lat, lon };
}
