import { writeOutbox } from '@orrery/core/database';
import type { EntityManager } from 'typeorm';
import type { Capabilities, InterfaceStatus } from '../connectors/connector.js';
import { type EventDevice, type StatusChange, statusEvent } from '../events/device-events.js';
import type { SessionState, StatusSequence } from './session-state.js';

/** The columns of `interfaces` that sessions read. */
export const SESSION_COLUMNS = `i.tenant_id, i.connector, i.node_id, i.device_id, i.enabled, i.status, i.activity,
  i.capabilities, i.connected, i.last_contact, i.session_id, i.session_instance, i.status_sequence`;

export interface SessionRow {
  tenant_id: string;
  connector: string;
  node_id: string;
  device_id: string;
  enabled: boolean;
  status: InterfaceStatus;
  activity: Record<string, unknown>;
  capabilities: Capabilities;
  connected: boolean;
  last_contact: Date | null;
  session_id: string | null;
  session_instance: string | null;
  status_sequence: StatusSequence | null;
}

export const sessionState = (row: SessionRow): SessionState => ({
  connector: row.connector,
  enabled: row.enabled,
  status: row.status,
  activity: row.activity,
  capabilities: row.capabilities,
  connected: row.connected,
  lastContact: row.last_contact,
  sessionId: row.session_id,
  sessionInstance: row.session_instance,
  statusSequence: row.status_sequence,
});

export interface ChangedSession {
  row: SessionRow;
  state: SessionState;
  /** Status changes in their order. */
  changes: StatusChange[];
}

/** The change of status between two states, when there is one. */
export const statusChange = (
  row: SessionRow,
  before: SessionState,
  after: SessionState,
  timestamp: string,
): StatusChange[] =>
  before.status === after.status
    ? []
    : [
        {
          connector: row.connector,
          nodeId: row.node_id,
          enabled: row.enabled,
          previous: before.status,
          current: after.status,
          timestamp,
        },
      ];

/** Writes any number of locked rows in one statement, and their `deviceStatus` events with them. */
export async function writeSessions(
  manager: EntityManager,
  partitions: number,
  sessions: ChangedSession[],
): Promise<void> {
  if (sessions.length === 0) return;
  const column = <Value>(of: (session: ChangedSession) => Value): Value[] => sessions.map(of);
  await manager.query(
    `UPDATE interfaces i SET status = v.status, activity = v.activity, capabilities = v.capabilities,
       connected = v.connected, last_contact = v.last_contact, session_id = v.session_id, session_instance = v.session_instance,
       status_sequence = v.status_sequence
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::jsonb[], $7::boolean[],
       $8::timestamptz[], $9::text[], $10::text[], $11::jsonb[])
       AS v(tenant_id, connector, node_id, status, activity, capabilities, connected, last_contact, session_id, session_instance,
         status_sequence)
     WHERE i.tenant_id = v.tenant_id AND i.connector = v.connector AND i.node_id = v.node_id`,
    [
      column(({ row }) => row.tenant_id),
      column(({ row }) => row.connector),
      column(({ row }) => row.node_id),
      column(({ state }) => state.status),
      column(({ state }) => JSON.stringify(state.activity)),
      column(({ state }) => JSON.stringify(state.capabilities)),
      column(({ state }) => state.connected),
      column(({ state }) => state.lastContact?.toISOString() ?? null),
      column(({ state }) => state.sessionId),
      column(({ state }) => state.sessionInstance),
      column(({ state }) => state.statusSequence && JSON.stringify(state.statusSequence)),
    ],
  );
  const changed = sessions.filter(({ changes }) => changes.length > 0);
  const devices = await eventDevices(manager, changed);
  await writeOutbox(
    manager,
    changed.flatMap(({ row, changes }) => {
      const device = devices.get(deviceKey(row.tenant_id, row.device_id))!;
      return changes.map((change) => statusEvent(partitions, device, change));
    }),
  );
}

const deviceKey = (tenantId: string, deviceId: string): string => `${tenantId}\n${deviceId}`;

async function eventDevices(manager: EntityManager, sessions: ChangedSession[]): Promise<Map<string, EventDevice>> {
  if (sessions.length === 0) return new Map();
  const rows = (await manager.query(
    `SELECT d.tenant_id, d.id, d.tags, g.path,
       ARRAY(SELECT DISTINCT i.connector FROM interfaces i WHERE i.tenant_id = d.tenant_id AND i.device_id = d.id) AS connectors
     FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[]) AS k(tenant_id, id)) k
     JOIN devices d ON d.tenant_id = k.tenant_id AND d.id = k.id
     JOIN groups g ON g.tenant_id = d.tenant_id AND g.id = d.group_id`,
    [sessions.map(({ row }) => row.tenant_id), sessions.map(({ row }) => row.device_id)],
  )) as Array<{ tenant_id: string; id: string; tags: string[]; path: string; connectors: string[] }>;
  return new Map(
    rows.map((row) => [
      deviceKey(row.tenant_id, row.id),
      { tenantId: row.tenant_id, id: row.id, connectors: row.connectors, groupPath: row.path, tags: row.tags },
    ]),
  );
}
