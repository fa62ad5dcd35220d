import { writeOutbox } from '@orrery/core/database';
import { ApiError } from '@orrery/core/http';
import { limitOf, type LimitValues } from '@orrery/core/limits';
import type { EntityManager } from 'typeorm';
import type { Connector } from '../connectors/connector.js';
import { addDevices, deviceCounts, lockDeviceCounts } from '../devices/device-count.js';
import { lifecycleEvent, placedEvent } from '../events/device-events.js';
import { ensureRoots, ROOT_GROUP } from '../groups/groups.service.js';
import { checkInterfaceCount } from '../interfaces/new-interface.js';

/** A node of a connector whose nodes register themselves. */
export interface NewNode {
  tenantId: string;
  connector: Connector;
  nodeId: string;
  limits: LimitValues;
  /** How a new device is named, when it is not by the connector. */
  told?: { name: string | null; description: string };
}

/** Somebody else registered the node, or removed what had been found, since the last look. */
export class ChangedMeanwhile extends Error {}

interface Registration extends NewNode {
  deviceId: string;
  definition: Record<string, unknown>;
  refusal?: Error;
}

interface DeviceRow {
  tenant_id: string;
  id: string;
}

const deviceKey = (tenantId: string, deviceId: string): string => `${tenantId}\n${deviceId}`;
const keyOf = ({ tenantId, deviceId }: Registration): string => deviceKey(tenantId, deviceId);
const rowKey = (row: DeviceRow): string => deviceKey(row.tenant_id, row.id);
const accepted = ({ refusal }: Registration): boolean => refusal === undefined;
const columns = (registrations: Registration[]): [tenantIds: string[], deviceIds: string[]] => [
  registrations.map(({ tenantId }) => tenantId),
  registrations.map(({ deviceId }) => deviceId),
];

/**
 * Writes the interfaces of nodes, and the devices of those that have none, in a dozen statements however many they are.
 * What is wrong with one is told of that one alone. Two batches at once meet at the primary keys, in one order: what one
 * has written the other finds changed meanwhile.
 * @returns for each node the id of its device; or why it was not registered: `ChangedMeanwhile` when its interface or its
 * device has come or gone since the last look, or belongs to another node of this batch; ApiError at a limit.
 */
export async function registerNodes(
  manager: EntityManager,
  partitions: number,
  nodes: readonly NewNode[],
): Promise<Array<string | Error>> {
  const now = new Date();
  const registrations = nodes.map((node): Registration => ({ ...node, ...node.connector.autoRegister!(node.nodeId) }));
  refuseRepeated(registrations);
  const inOrder = registrations.filter(accepted).sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  const tenantIds = [...new Set(inOrder.map(({ tenantId }) => tenantId))];
  await ensureRoots(manager, tenantIds);

  const known = await lockKnown(manager, inOrder);
  await refuseFull(
    manager,
    inOrder.filter((each) => known.has(keyOf(each))),
  );
  // As they came: at the limit, the first ones are registered.
  const unknown = registrations.filter((each) => accepted(each) && !known.has(keyOf(each)));
  refuseBeyondLimit(unknown, await deviceCounts(manager, tenantIds));

  const isNew = new Set(unknown);
  await insertDevices(
    manager,
    inOrder.filter((each) => isNew.has(each) && accepted(each)),
    now,
  );
  const inserted = unknown.filter(accepted);
  await insertInterfaces(manager, inOrder.filter(accepted), now);
  // Others may have registered some since the counts were read. The tenants' rows stay locked from here on: last.
  const created = inserted.filter(accepted);
  const counts = await lockDeviceCounts(manager, [...new Set(created.map(({ tenantId }) => tenantId))].sort());
  refuseBeyondLimit(created, counts);
  await removeDevices(
    manager,
    inserted.filter((each) => !accepted(each)),
  );
  const kept = created.filter(accepted);
  await addDevices(manager, kept);
  await writeOutbox(
    manager,
    kept.flatMap(({ tenantId, deviceId, connector }) => {
      const device = { tenantId, id: deviceId, connectors: [connector.id], groupPath: '/', tags: [] };
      return [
        lifecycleEvent(partitions, device, 'deviceCreated', now),
        placedEvent(partitions, tenantId, deviceId, now),
      ];
    }),
  );
  return registrations.map(({ refusal, deviceId }) => refusal ?? deviceId);
}

/** A device may be that of two nodes: `a` and `urn:lo:nsid:mqtt:a`. */
function refuseRepeated(registrations: Registration[]): void {
  const seen = new Set<string>();
  for (const registration of registrations)
    if (seen.has(keyOf(registration))) registration.refusal = new ChangedMeanwhile();
    else seen.add(keyOf(registration));
}

/** Those whose devices are there, without this interface. */
async function lockKnown(manager: EntityManager, registrations: Registration[]): Promise<Set<string>> {
  const rows = (await manager.query(
    `SELECT d.tenant_id, d.id FROM unnest($1::text[], $2::text[]) AS k(tenant_id, id)
     JOIN devices d ON d.tenant_id = k.tenant_id AND d.id = k.id
     ORDER BY d.tenant_id, d.id FOR UPDATE OF d`,
    columns(registrations),
  )) as DeviceRow[];
  return new Set(rows.map(rowKey));
}

/** A device has as many interfaces as it may. */
async function refuseFull(manager: EntityManager, known: Registration[]): Promise<void> {
  if (known.length === 0) return;
  const rows = (await manager.query(
    `SELECT k.tenant_id, k.id, count(*)::int AS interfaces FROM unnest($1::text[], $2::text[]) AS k(tenant_id, id)
     JOIN interfaces i ON i.tenant_id = k.tenant_id AND i.device_id = k.id
     GROUP BY k.tenant_id, k.id`,
    columns(known),
  )) as Array<DeviceRow & { interfaces: number }>;
  const counts = new Map(rows.map((row) => [rowKey(row), row.interfaces]));
  for (const registration of known)
    try {
      checkInterfaceCount((counts.get(keyOf(registration)) ?? 0) + 1, limitOf(registration.limits, 'deviceInterfaces'));
    } catch (error) {
      registration.refusal = error as Error;
    }
}

/** @param counts devices that each tenant has. */
function refuseBeyondLimit(unknown: Registration[], counts: ReadonlyMap<string, number>): void {
  const have = new Map(counts);
  for (const registration of unknown) {
    const { tenantId, limits } = registration;
    const count = (have.get(tenantId) ?? 0) + 1;
    const devices = limitOf(limits, 'devices');
    if (count > devices) registration.refusal = new ApiError('GENERIC_QUOTA_EXCEEDED_ERROR', { devices });
    else have.set(tenantId, count);
  }
}

async function insertDevices(manager: EntityManager, registrations: Registration[], now: Date): Promise<void> {
  if (registrations.length === 0) return;
  const rows = (await manager.query(
    `INSERT INTO devices (tenant_id, id, name, description, default_data_stream_id, group_id, created, updated)
     SELECT tenant_id, id, name, description, id, $5, $6, $6
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS k(tenant_id, id, name, description)
     ON CONFLICT DO NOTHING RETURNING tenant_id, id`,
    [
      ...columns(registrations),
      registrations.map(({ connector, nodeId, told }) =>
        told ? told.name : `Auto-created device (${connector.id} / ${nodeId})`,
      ),
      registrations.map(
        ({ connector, nodeId, told }) =>
          told?.description ??
          `This device was auto registered by the connector [${connector.id}] with the nodeId [${nodeId}]`,
      ),
      ROOT_GROUP,
      now,
    ],
  )) as DeviceRow[];
  refuseMissing(registrations, new Set(rows.map(rowKey)));
}

async function insertInterfaces(manager: EntityManager, registrations: Registration[], now: Date): Promise<void> {
  if (registrations.length === 0) return;
  const rows = (await manager.query(
    `INSERT INTO interfaces
       (tenant_id, device_id, connector, node_id, enabled, status, definition, capabilities, created, updated)
     SELECT tenant_id, device_id, connector, node_id, true, status, definition, capabilities, $7, $7
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $8::jsonb[])
       AS k(tenant_id, device_id, connector, node_id, status, definition, capabilities)
     ON CONFLICT DO NOTHING RETURNING tenant_id, device_id AS id`,
    [
      ...columns(registrations),
      registrations.map(({ connector }) => connector.id),
      registrations.map(({ nodeId }) => nodeId),
      registrations.map(({ connector }) => connector.initialStatus(true)),
      registrations.map(({ definition }) => JSON.stringify(definition)),
      now,
      registrations.map(({ connector }) => JSON.stringify(connector.capabilities(true))),
    ],
  )) as DeviceRow[];
  refuseMissing(registrations, new Set(rows.map(rowKey)));
}

function refuseMissing(registrations: Registration[], written: ReadonlySet<string>): void {
  for (const registration of registrations)
    if (!written.has(keyOf(registration))) registration.refusal = new ChangedMeanwhile();
}

/** Takes devices back that this transaction has written, and nobody has heard of. */
async function removeDevices(manager: EntityManager, registrations: Registration[]): Promise<void> {
  if (registrations.length === 0) return;
  await manager.query(
    `DELETE FROM devices d USING unnest($1::text[], $2::text[]) AS k(tenant_id, id)
     WHERE d.tenant_id = k.tenant_id AND d.id = k.id`,
    columns(registrations),
  );
}
