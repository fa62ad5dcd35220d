import { invalidParameter, invalidParameters } from '@orrery/core/http';
import { connectorOf } from '../connectors/connectors.js';
import type { Connector, Definition } from '../connectors/connector.js';
import type { CreateInterfaceDto } from './interface.dto.js';
import type { Interface } from './interface.entity.js';

/** Reads a definition. @param path where it stands in the body. @throws ApiError 400 that names each bad field */
export function defineNode(
  connector: Connector,
  definition: Definition,
  path: string,
): { nodeId: string; definition: Definition } {
  const node = connector.define(definition);
  if (Array.isArray(node))
    throw invalidParameters(node.map((error) => ({ ...error, field: `${path}.${error.field}` })));
  return node;
}

/** A row for an interface that is added now. @param path of the interface in the body, empty or ending with a dot */
export function newInterface(
  owner: { tenantId: string; deviceId: string },
  body: CreateInterfaceDto,
  now: Date,
  path = '',
): Interface {
  const connector = connectorOf(body.connector);
  const node = defineNode(connector, body.definition, `${path}definition`);
  const enabled = body.enabled ?? true;
  return {
    ...owner,
    connector: connector.id,
    nodeId: node.nodeId,
    enabled,
    status: connector.restingStatus(enabled, false),
    definition: node.definition,
    activity: {},
    capabilities: connector.capabilities,
    lastContact: null,
    connected: false,
    sessionId: null,
    sessionInstance: null,
    created: now,
    updated: now,
  };
}

/** @throws ApiError 400 when a device would have more interfaces than it may (manual 23.3). */
export function checkInterfaceCount(count: number, limit: number): void {
  if (count > limit) throw invalidParameter('interfaces', `at most ${limit} interfaces of a device`);
}
