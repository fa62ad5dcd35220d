import { BatchRunner, type Database } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import type { LimitValues } from '@orrery/core/limits';
import type { EntityManager } from 'typeorm';
import { changeInventory } from '../conflicts.js';
import { connectorOf } from '../connectors/connectors.js';
import type { ResolvedNode } from '../contract.js';
import type { StaticLocation } from '../devices/device.entity.js';
import type { FirstStatistics } from '../devices/first-statistics.js';
import { ChangedMeanwhile, type NewNode, registerNodes } from './new-nodes.js';

export interface NodeRequest {
  tenantId: string;
  connector: string;
  nodeId: string;
  autoRegister: boolean;
  limits: LimitValues;
}

interface Row {
  /** Which of the nodes that were asked for, from 1. */
  n: string;
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

const ATTEMPTS = 5;
/** Nodes of one transaction: it takes some tenths of a second, for which those behind it wait. */
const BATCH = 200;
/** Least time between transactions: while they are fewer, devices share more of them. */
const REGISTER_EVERY_MS = 20;
const FIND_EVERY_MS = 5;

/** Finds devices for connectors, and registers those that come without having been announced (manual 6.5.3). */
export class NodesService {
  // What comes from thousands of devices at once shares its statements.
  private readonly found: BatchRunner<NodeRequest, ResolvedNode | undefined | Error>;
  private readonly registered: BatchRunner<NewNode, string | Error>;

  constructor(
    database: Database,
    private readonly partitions: number,
    private readonly statistics: FirstStatistics,
  ) {
    this.found = new BatchRunner(
      isolating((nodes) => findNodes(database, nodes)),
      BATCH,
      FIND_EVERY_MS,
    );
    this.registered = new BatchRunner(
      isolating(async (nodes) => {
        const registered = await changeInventory(database, (manager) => registerNodes(manager, partitions, nodes));
        statistics.grown(registered.filter((each) => typeof each === 'string').length);
        return registered;
      }),
      BATCH,
      REGISTER_EVERY_MS,
    );
  }

  /** Answers `resolveNode` of the contract. */
  async resolve(request: NodeRequest): Promise<ResolvedNode> {
    const connector = connectorOf(request.connector);
    const nodeId = connector.parseNodeId(request.nodeId);
    if (nodeId === undefined) throw invalidParameter('nodeId', `a node id of the connector ${connector.id}`);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const found = await this.found.add({ ...request, nodeId });
      if (found instanceof Error) throw found;
      if (found) return found;
      if (!request.autoRegister || !connector.autoRegister) break;
      const { tenantId, limits } = request;
      const registered = await this.registered.add({ tenantId, connector, nodeId, limits });
      if (registered instanceof Error && !(registered instanceof ChangedMeanwhile)) throw registered;
    }
    throw new ApiError('DM_INTERFACE_NOT_FOUND');
  }

  /**
   * Writes the interface of a node, and its device unless it is there.
   * @returns the id of the device.
   * @throws ChangedMeanwhile when the interface is there; ApiError as `resolveNode`.
   */
  async register(manager: EntityManager, node: NewNode): Promise<string> {
    const [registered] = await registerNodes(manager, this.partitions, [node]);
    if (typeof registered !== 'string') throw registered;
    return registered;
  }

  /** Resolves when what was asked for is answered. */
  async idle(): Promise<void> {
    // What was registered is looked up again.
    for (const runner of [this.found, this.registered, this.found]) await runner.idle();
    await this.statistics.idle();
  }
}

async function findNodes(database: Database, nodes: NodeRequest[]): Promise<Array<ResolvedNode | undefined>> {
  const rows = await database.query<Row>(
    `SELECT k.n, i.enabled, i.definition ->> 'encoding' AS encoding, d.id, d.default_data_stream_id, d.tags,
            d.properties, d.static_location, d.group_id, g.path
     FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS k(tenant_id, connector, node_id, n)
     JOIN interfaces i ON i.tenant_id = k.tenant_id AND i.connector = k.connector AND i.node_id = k.node_id
     JOIN devices d ON d.tenant_id = i.tenant_id AND d.id = i.device_id
     JOIN groups g ON g.tenant_id = d.tenant_id AND g.id = d.group_id`,
    [nodes.map(({ tenantId }) => tenantId), nodes.map(({ connector }) => connector), nodes.map(({ nodeId }) => nodeId)],
  );
  const found = nodes.map((): ResolvedNode | undefined => undefined);
  for (const row of rows)
    found[Number(row.n) - 1] = {
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
  return found;
}

/** Classes of SQLSTATE that are about the data: its values, constraints, and what is too large. */
const ABOUT_DATA = /^(22|23|54)/;

const isAboutData = (error: unknown): boolean => {
  const code = (error as { driverError?: { code?: unknown } }).driverError?.code;
  return error instanceof ApiError || (typeof code === 'string' && ABOUT_DATA.test(code));
};

/** What the database refuses of one, such as a node of a tenant that is being removed, must not fail the others. */
const isolating =
  <Item, Result>(work: (items: Item[]) => Promise<Result[]>) =>
  async (items: Item[]): Promise<Array<Result | Error>> => {
    try {
      return await work(items);
    } catch (error) {
      if (items.length === 1 || !isAboutData(error)) throw error;
    }
    const results: Array<Result | Error> = [];
    for (const item of items)
      results.push(
        await work([item]).then(
          ([result]) => result!,
          (error: unknown) => error as Error,
        ),
      );
    return results;
  };
