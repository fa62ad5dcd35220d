import type { ApiKeyIdentity } from '@orrery/core/auth';
import { type Database, writeOutbox } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import { limitOf } from '@orrery/core/limits';
import type { EntityManager } from 'typeorm';
import { explainConflicts } from '../conflicts.js';
import type { Connector } from '../connectors/connector.js';
import { connectorOf } from '../connectors/connectors.js';
import { Device } from '../devices/device.entity.js';
import { checkDeviceId, eventDevice, loadDevice, lockDevices } from '../devices/inventory.js';
import { changeNotice, statusEvent } from '../events/device-events.js';
import {
  type CreateInterfaceDto,
  interfaceView,
  type InterfaceView,
  type UpdateInterfaceDto,
} from './interface.dto.js';
import { Interface, interfaceColumns } from './interface.entity.js';
import { checkInterfaceCount, defineNode, newInterface } from './new-interface.js';

/** Interfaces of devices (manual 5.4). An interface id is `{connector}:{nodeId}`. */
export class InterfacesService {
  constructor(
    private readonly database: Database,
    private readonly partitions: number,
  ) {}

  async create(
    { tenantId, limits }: ApiKeyIdentity,
    deviceId: string,
    body: CreateInterfaceDto,
  ): Promise<InterfaceView> {
    checkDeviceId(deviceId);
    return explainConflicts(
      this.database.transaction(async (manager) => {
        await lockDevices(manager, tenantId, [deviceId]);
        const now = new Date();
        const added = newInterface({ tenantId, deviceId }, body, now);
        const count = await manager.countBy(Interface, { tenantId, deviceId });
        checkInterfaceCount(count + 1, limitOf(limits, 'deviceInterfaces'));
        await manager.insert(Interface, interfaceColumns(added));
        await manager.update(Device, { tenantId, id: deviceId }, { updated: now });
        await writeOutbox(manager, [changeNotice({ tenantId, deviceId, nodes: [nodeOf(added)] })]);
        return interfaceView(added);
      }),
    );
  }

  async list(tenantId: string, deviceId: string): Promise<InterfaceView[]> {
    checkDeviceId(deviceId);
    const { interfaces } = await loadDevice(this.database.manager, tenantId, deviceId);
    return interfaces.map(interfaceView);
  }

  async get(tenantId: string, deviceId: string, interfaceId: string): Promise<InterfaceView> {
    const id = parseInterfaceId(deviceId, interfaceId);
    const { manager } = this.database;
    if (!(await manager.existsBy(Device, { tenantId, id: deviceId }))) throw new ApiError('DM_DEVICE_NOT_FOUND');
    return interfaceView(await find(manager, tenantId, deviceId, id));
  }

  async update(
    { tenantId, limits }: ApiKeyIdentity,
    deviceId: string,
    interfaceId: string,
    body: UpdateInterfaceDto,
  ): Promise<InterfaceView> {
    const id = parseInterfaceId(deviceId, interfaceId);
    const target = body.deviceId ?? deviceId;
    return explainConflicts(
      this.database.transaction(async (manager) => {
        await lockDevices(manager, tenantId, [deviceId, target]);
        const before = await find(manager, tenantId, deviceId, id, true);
        const after = change(connectorOf(before.connector), before, body);
        if (target !== deviceId) {
          const count = await manager.countBy(Interface, { tenantId, deviceId: target });
          checkInterfaceCount(count + 1, limitOf(limits, 'deviceInterfaces'));
        }
        const { connector, nodeId } = before;
        await manager.update(Interface, { tenantId, connector, nodeId }, interfaceColumns(after));
        for (const id of new Set([deviceId, target]))
          await manager.update(Device, { tenantId, id }, { updated: after.updated });
        await this.announce(manager, before, after);
        return interfaceView(after);
      }),
    );
  }

  async delete(tenantId: string, deviceId: string, interfaceId: string): Promise<void> {
    const id = parseInterfaceId(deviceId, interfaceId);
    await this.database.transaction(async (manager) => {
      await lockDevices(manager, tenantId, [deviceId]);
      const { connector, nodeId } = await find(manager, tenantId, deviceId, id, true);
      await manager.delete(Interface, { tenantId, connector, nodeId });
      await manager.update(Device, { tenantId, id: deviceId }, { updated: new Date() });
      await writeOutbox(manager, [changeNotice({ tenantId, deviceId, nodes: [{ connector, nodeId }] })]);
    });
  }

  private async announce(manager: EntityManager, before: Interface, after: Interface): Promise<void> {
    const { tenantId } = after;
    const nodes = before.nodeId === after.nodeId ? [nodeOf(before)] : [nodeOf(before), nodeOf(after)];
    const notices = [...new Set([before.deviceId, after.deviceId])].map((deviceId) =>
      changeNotice({ tenantId, deviceId, nodes }),
    );
    if (before.status === after.status) return writeOutbox(manager, notices);
    const device = eventDevice(await loadDevice(manager, tenantId, after.deviceId));
    const event = statusEvent(this.partitions, device, {
      ...nodeOf(after),
      enabled: after.enabled,
      previous: before.status,
      current: after.status,
      timestamp: after.updated.toISOString(),
    });
    await writeOutbox(manager, [event, ...notices]);
  }
}

const nodeOf = ({ connector, nodeId }: Interface): { connector: string; nodeId: string } => ({ connector, nodeId });

interface InterfaceId {
  connector: string;
  nodeId: string;
}

/** @throws ApiError 400 for a malformed device id or interface id */
function parseInterfaceId(deviceId: string, interfaceId: string): InterfaceId {
  checkDeviceId(deviceId);
  // Node ids may contain colons, connectors do not.
  const colon = interfaceId.indexOf(':');
  if (colon < 0) throw invalidParameter('interfaceId', '{connector}:{nodeId}');
  return { connector: interfaceId.slice(0, colon), nodeId: interfaceId.slice(colon + 1) };
}

/** @throws ApiError DM_CONNECTOR_UNAVAILABLE, then DM_INTERFACE_NOT_FOUND */
async function find(
  manager: EntityManager,
  tenantId: string,
  deviceId: string,
  { connector, nodeId }: InterfaceId,
  lock = false,
): Promise<Interface> {
  const found = connectorOf(connector).isNodeId(nodeId)
    ? await manager.findOne(Interface, {
        where: { tenantId, connector, nodeId, deviceId },
        ...(lock ? { lock: { mode: 'pessimistic_write' as const } } : {}),
      })
    : null;
  if (!found) throw new ApiError('DM_INTERFACE_NOT_FOUND');
  return found;
}

/** The interface after an update. Being disabled, or another node, ends its session. */
function change(connector: Connector, before: Interface, body: UpdateInterfaceDto): Interface {
  const node = body.definition
    ? defineNode(connector, { ...before.definition, ...body.definition }, 'definition')
    : { nodeId: before.nodeId, definition: before.definition };
  const enabled = body.enabled ?? before.enabled;
  const after: Interface = {
    ...before,
    ...node,
    deviceId: body.deviceId ?? before.deviceId,
    enabled,
    updated: new Date(),
  };
  if (enabled === before.enabled && node.nodeId === before.nodeId) return after;
  after.status = connector.restingStatus(enabled, before.connected);
  after.capabilities = connector.capabilities;
  after.sessionInstance = null;
  // The connector's report about the end of the session is still to come, unless it is of another node.
  if (node.nodeId !== before.nodeId) after.sessionId = null;
  return after;
}
