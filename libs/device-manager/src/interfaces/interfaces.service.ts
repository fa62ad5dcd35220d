import type { ApiKeyIdentity } from '@orrery/core/auth';
import { type Database, writeOutbox } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import { limitOf } from '@orrery/core/limits';
import type { Secrets } from '@orrery/core/secrets';
import type { EntityManager } from 'typeorm';
import { changeInventory } from '../conflicts.js';
import type { Definition } from '../connectors/connector.js';
import { connectorOf, offeredConnector } from '../connectors/connectors.js';
import { Device } from '../devices/device.entity.js';
import { checkDeviceId, eventDevice, loadDevice, lockDevices } from '../devices/inventory.js';
import { changeNotice, statusEvent } from '../events/device-events.js';
import {
  type CreateInterfaceDto,
  interfaceView,
  type InterfaceView,
  type UpdateInterfaceDto,
} from './interface.dto.js';
import { countInterfaces, uncountInterfaces } from './interface-count.js';
import { Interface, interfaceColumns } from './interface.entity.js';
import { checkInterfaceCount, defineNode, newInterface } from './new-interface.js';

/** Interfaces of devices (manual 5.4). An interface id is `{connector}:{nodeId}`. */
export class InterfacesService {
  constructor(
    private readonly database: Database,
    private readonly secrets: Secrets,
    private readonly partitions: number,
  ) {}

  async create(key: ApiKeyIdentity, deviceId: string, body: CreateInterfaceDto): Promise<InterfaceView> {
    const { tenantId, limits } = key;
    checkDeviceId(deviceId);
    return changeInventory(this.database, async (manager) => {
      await lockDevices(manager, tenantId, [deviceId]);
      const now = new Date();
      const added = newInterface({ key, secrets: this.secrets }, deviceId, body, now);
      const count = await manager.countBy(Interface, { tenantId, deviceId });
      checkInterfaceCount(count + 1, limitOf(limits, 'deviceInterfaces'));
      await manager.insert(Interface, interfaceColumns(added));
      await manager.update(Device, { tenantId, id: deviceId }, { updated: now });
      await writeOutbox(manager, [changeNotice({ tenantId, deviceId, nodes: [nodeOf(added)] })]);
      await countInterfaces(manager, tenantId, [added], limits);
      return interfaceView(added);
    });
  }

  async list(tenantId: string, deviceId: string): Promise<InterfaceView[]> {
    checkDeviceId(deviceId);
    const { interfaces } = await loadDevice(this.database.manager, tenantId, deviceId);
    return interfaces.map(interfaceView);
  }

  async get(key: ApiKeyIdentity, deviceId: string, interfaceId: string): Promise<InterfaceView> {
    const id = parseInterfaceId(deviceId, interfaceId);
    const { manager } = this.database;
    if (!(await manager.existsBy(Device, { tenantId: key.tenantId, id: deviceId })))
      throw new ApiError('DM_DEVICE_NOT_FOUND');
    return interfaceView(await find(manager, key, deviceId, id));
  }

  async update(
    key: ApiKeyIdentity,
    deviceId: string,
    interfaceId: string,
    body: UpdateInterfaceDto,
  ): Promise<InterfaceView> {
    const { tenantId, limits } = key;
    const id = parseInterfaceId(deviceId, interfaceId);
    const target = body.deviceId ?? deviceId;
    return changeInventory(this.database, async (manager) => {
      await lockDevices(manager, tenantId, [deviceId, target]);
      const before = await find(manager, key, deviceId, id, true);
      const after = change(before, this.redefine(key, before, body), body);
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
    });
  }

  async delete(key: ApiKeyIdentity, deviceId: string, interfaceId: string): Promise<void> {
    const { tenantId } = key;
    const id = parseInterfaceId(deviceId, interfaceId);
    await changeInventory(this.database, async (manager) => {
      await lockDevices(manager, tenantId, [deviceId]);
      const { connector, nodeId } = await find(manager, key, deviceId, id, true);
      await manager.delete(Interface, { tenantId, connector, nodeId });
      await manager.update(Device, { tenantId, id: deviceId }, { updated: new Date() });
      await writeOutbox(manager, [changeNotice({ tenantId, deviceId, nodes: [{ connector, nodeId }] })]);
      await uncountInterfaces(manager, tenantId, [{ connector }]);
    });
  }

  private redefine(key: ApiKeyIdentity, found: Interface, body: UpdateInterfaceDto): Node {
    const { nodeId, definition, secret } = found;
    if (!body.definition) return { nodeId, definition, secret };
    const connector = connectorOf(found.connector);
    const merged = merge(definition, body.definition);
    return defineNode({ key, secrets: this.secrets }, connector, merged, 'definition', secret);
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

/** @throws ApiError DM_CONNECTOR_UNAVAILABLE, then GENERIC_OFFER_DISABLED_ERROR, then DM_INTERFACE_NOT_FOUND */
async function find(
  manager: EntityManager,
  key: ApiKeyIdentity,
  deviceId: string,
  { connector, nodeId: text }: InterfaceId,
  lock = false,
): Promise<Interface> {
  const nodeId = offeredConnector(key, connector).parseNodeId(text);
  const found =
    nodeId === undefined
      ? null
      : await manager.findOne(Interface, {
          where: { tenantId: key.tenantId, connector, nodeId, deviceId },
          ...(lock ? { lock: { mode: 'pessimistic_write' as const } } : {}),
        });
  if (!found) throw new ApiError('DM_INTERFACE_NOT_FOUND');
  return found;
}

type Node = Pick<Interface, 'nodeId' | 'definition' | 'secret'>;

const isObject = (value: unknown): value is Definition =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What is sent replaces what is stored, field by field; as deep as what is stored. */
function merge(stored: Definition, sent: Definition): Definition {
  const merged = { ...stored };
  for (const [name, value] of Object.entries(sent)) {
    const before = Object.hasOwn(stored, name) ? stored[name] : undefined;
    merged[name] = isObject(before) && isObject(value) ? merge(before, value) : value;
  }
  return merged;
}

/** The interface after an update. Being disabled, or another node, ends its session. */
function change(before: Interface, node: Node, body: UpdateInterfaceDto): Interface {
  const connector = connectorOf(before.connector);
  const enabled = body.enabled ?? before.enabled;
  const updated = new Date();
  const after: Interface = { ...before, ...node, deviceId: body.deviceId ?? before.deviceId, enabled, updated };
  if (enabled === before.enabled && node.nodeId === before.nodeId) return after;
  return {
    ...after,
    status: connector.changedStatus(enabled, before),
    capabilities: connector.capabilities(enabled),
    ...(enabled === before.enabled
      ? {}
      : { activity: { ...before.activity, ...connector.switchedActivity?.(enabled, updated.toISOString()) } }),
    sessionInstance: null,
    // The connector's report about the end of the session is still to come, unless it is of another node.
    sessionId: node.nodeId === before.nodeId ? before.sessionId : null,
    statusSequence: node.nodeId === before.nodeId ? before.statusSequence : null,
  };
}
