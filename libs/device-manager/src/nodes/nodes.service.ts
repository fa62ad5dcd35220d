import { type Database, writeOutbox } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import { limitOf, type LimitValues } from '@orrery/core/limits';
import type { EntityManager } from 'typeorm';
import { changeInventory } from '../conflicts.js';
import type { Connector } from '../connectors/connector.js';
import { connectorOf } from '../connectors/connectors.js';
import type { ResolvedNode } from '../contract.js';
import { countDevice } from '../devices/device-count.js';
import type { StaticLocation } from '../devices/device.entity.js';
import { lockDevices } from '../devices/inventory.js';
import { lifecycleEvent, placedEvent } from '../events/device-events.js';
import { type GroupsService, ROOT_GROUP } from '../groups/groups.service.js';
import { checkInterfaceCount } from '../interfaces/new-interface.js';

export interface NodeRequest {
  tenantId: string;
  connector: string;
  nodeId: string;
  autoRegister: boolean;
  limits: LimitValues;
}

interface Row {
  enabled: boolean;
  encoding: string | null;
  id: string;
  default_data_stream_id: string;
  tags: string[];
  properties: Record<string, string>;
  static_location: StaticLocation | null;
  group_id: string;
  path: string;
}

/** Somebody else registered the node, or removed what had been found, since the last look. */
export class ChangedMeanwhile extends Error {}
const ATTEMPTS = 5;

/** Finds devices for connectors, and registers those that come without having been announced (manual 6.5.3). */
export class NodesService {
  constructor(
    private readonly database: Database,
    private readonly groups: GroupsService,
    private readonly partitions: number,
  ) {}

  /** Answers `resolveNode` of the contract. */
  async resolve(request: NodeRequest): Promise<ResolvedNode> {
    const connector = connectorOf(request.connector);
    const nodeId = connector.parseNodeId(request.nodeId);
    if (nodeId === undefined) throw invalidParameter('nodeId', `a node id of the connector ${connector.id}`);
    const node = { ...request, nodeId };
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const found = await this.find(node);
      if (found) return found;
      if (!node.autoRegister || !connector.autoRegister) break;
      await changeInventory(
        this.database,
        async (manager) => void (await this.register(manager, connector, node)),
      ).catch((error: unknown) => {
        if (!(error instanceof ChangedMeanwhile)) throw error;
      });
    }
    throw new ApiError('DM_INTERFACE_NOT_FOUND');
  }

  private async find({ tenantId, connector, nodeId }: NodeRequest): Promise<ResolvedNode | undefined> {
    const [row] = await this.database.query<Row>(
      `SELECT i.enabled, i.definition ->> 'encoding' AS encoding, d.id, d.default_data_stream_id, d.tags, d.properties,
              d.static_location, d.group_id, g.path
       FROM interfaces i
       JOIN devices d ON d.tenant_id = i.tenant_id AND d.id = i.device_id
       JOIN groups g ON g.tenant_id = d.tenant_id AND g.id = d.group_id
       WHERE i.tenant_id = $1 AND i.connector = $2 AND i.node_id = $3`,
      [tenantId, connector, nodeId],
    );
    if (!row) return undefined;
    return {
      enabled: row.enabled,
      device: {
        deviceId: row.id,
        defaultDataStreamId: row.default_data_stream_id,
        tags: row.tags,
        properties: row.properties,
        group: { id: row.group_id, path: row.path },
        ...(row.static_location === null ? {} : { staticLocation: row.static_location }),
        ...(row.encoding === null ? {} : { encoding: row.encoding }),
      },
    };
  }

  /**
   * Writes the interface of a node of a connector whose nodes register themselves, and its device unless it is there.
   * Many connections of one node at once meet at the primary keys: one writes, the others wait for it and find its rows.
   * @param told how a new device is named, when it is not by the connector.
   * @returns the id of the device.
   * @throws ChangedMeanwhile when the interface is there; ApiError as `resolveNode`.
   */
  async register(
    manager: EntityManager,
    connector: Connector,
    { tenantId, nodeId, limits }: Pick<NodeRequest, 'tenantId' | 'nodeId' | 'limits'>,
    told?: { name: string | null; description: string },
  ): Promise<string> {
    const { deviceId, definition } = connector.autoRegister!(nodeId);
    const now = new Date();
    await this.groups.ensureRoot(manager, tenantId);
    const created = (await manager.query(
      `INSERT INTO devices (tenant_id, id, name, description, default_data_stream_id, group_id, created, updated)
       VALUES ($1, $2, $3, $4, $2, $5, $6, $6) ON CONFLICT DO NOTHING RETURNING id`,
      [
        tenantId,
        deviceId,
        told ? told.name : `Auto-created device (${connector.id} / ${nodeId})`,
        told?.description ??
          `This device was auto registered by the connector [${connector.id}] with the nodeId [${nodeId}]`,
        ROOT_GROUP,
        now,
      ],
    )) as unknown[];
    if (created.length === 0) await this.makeRoom(manager, tenantId, deviceId, limits);
    const added = (await manager.query(
      `INSERT INTO interfaces
         (tenant_id, connector, node_id, device_id, enabled, status, definition, capabilities, created, updated)
       VALUES ($1, $2, $3, $4, true, $5, $6, $7, $8, $8) ON CONFLICT DO NOTHING RETURNING node_id`,
      [
        tenantId,
        connector.id,
        nodeId,
        deviceId,
        connector.initialStatus(true),
        JSON.stringify(definition),
        JSON.stringify(connector.capabilities(true)),
        now,
      ],
    )) as unknown[];
    if (added.length === 0) throw new ChangedMeanwhile();
    if (created.length === 0) return deviceId;
    const device = { tenantId, id: deviceId, connectors: [connector.id], groupPath: '/', tags: [] };
    await writeOutbox(manager, [
      lifecycleEvent(this.partitions, device, 'deviceCreated', now),
      placedEvent(this.partitions, tenantId, deviceId, now),
    ]);
    await countDevice(manager, tenantId, limits);
    return deviceId;
  }

  /** The device is known, without this interface. @throws ApiError 400 when it has as many interfaces as it may */
  private async makeRoom(
    manager: EntityManager,
    tenantId: string,
    deviceId: string,
    limits: LimitValues,
  ): Promise<void> {
    await lockDevices(manager, tenantId, [deviceId]).catch(() => {
      throw new ChangedMeanwhile();
    });
    const [counted] = (await manager.query(
      'SELECT count(*)::int AS interfaces FROM interfaces WHERE tenant_id = $1 AND device_id = $2',
      [tenantId, deviceId],
    )) as Array<{ interfaces: number }>;
    checkInterfaceCount(counted!.interfaces + 1, limitOf(limits, 'deviceInterfaces'));
  }
}
