import { type Bus, PartitionReader, type ReadItem } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import type { EventHeader, NodeSessionEvent } from '@orrery/core/messages';
import type { EntityManager } from 'typeorm';
import { NODE_STATUS, type NodeStatusEvent } from '../contract.js';
import type { StatusChange } from '../events/device-events.js';
import {
  type ChangedSession,
  SESSION_COLUMNS,
  type SessionRow,
  sessionState,
  statusChange,
  writeSessions,
} from './session-rows.js';
import { applyNodeStatus, applySessionEvent } from './session-state.js';

type NodeEvent = NodeSessionEvent | NodeStatusEvent;

const NODE_EVENTS: ReadonlySet<string> = new Set<NodeEvent['type']>([
  'nodeConnected',
  'nodeDisconnected',
  'nodeSubscribed',
  'nodeContact',
  NODE_STATUS,
]);

interface NodeEvents {
  tenantId: string;
  connector: string;
  nodeId: string;
  events: NodeEvent[];
}

/** Turns what connectors report about nodes into the state of interfaces, three statements per batch. */
export const sessionsReader = (bus: Bus, database: Database): PartitionReader =>
  new PartitionReader(bus, {
    name: 'device-manager',
    streams: ['EVENTS'],
    database,
    async handle(items, manager) {
      const nodes = eventsByNode(items);
      if (nodes.size > 0) await applyEvents(manager, bus.partitions, nodes);
    },
  });

const nodeKey = (tenantId: string, connector: string, nodeId: string): string => `${tenantId}\n${connector}\n${nodeId}`;

function eventsByNode(items: ReadItem[]): Map<string, NodeEvents> {
  const nodes = new Map<string, NodeEvents>();
  for (const item of items) {
    const { tenantId, type } = item.headerAs<EventHeader>();
    if (!NODE_EVENTS.has(type)) continue;
    const event = JSON.parse(item.body) as NodeEvent;
    const key = nodeKey(tenantId, event.connector, event.nodeId);
    const node = nodes.get(key);
    if (node) node.events.push(event);
    else nodes.set(key, { tenantId, connector: event.connector, nodeId: event.nodeId, events: [event] });
  }
  return nodes;
}

async function applyEvents(manager: EntityManager, partitions: number, nodes: Map<string, NodeEvents>): Promise<void> {
  const asked = [...nodes.values()];
  const rows = (await manager.query(
    `SELECT ${SESSION_COLUMNS}
     FROM unnest($1::text[], $2::text[], $3::text[]) AS k(tenant_id, connector, node_id)
     JOIN interfaces i ON i.tenant_id = k.tenant_id AND i.connector = k.connector AND i.node_id = k.node_id
     ORDER BY i.tenant_id, i.connector, i.node_id
     FOR UPDATE OF i`,
    [asked.map((node) => node.tenantId), asked.map((node) => node.connector), asked.map((node) => node.nodeId)],
  )) as SessionRow[];
  // Interfaces that were deleted meanwhile have no row.
  const sessions = rows.map((row): ChangedSession => {
    let state = sessionState(row);
    const changes: StatusChange[] = [];
    for (const event of nodes.get(nodeKey(row.tenant_id, row.connector, row.node_id))!.events) {
      const next = event.type === NODE_STATUS ? applyNodeStatus(state, event) : applySessionEvent(state, event);
      changes.push(...statusChange(row, state, next, event.timestamp));
      state = next;
    }
    return { row, state, changes };
  });
  await writeSessions(manager, partitions, sessions);
}
