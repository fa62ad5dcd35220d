import type { ApiKeyIdentity } from '@orrery/core/auth';
import { invalidParameter, invalidParameters } from '@orrery/core/http';
import type { Secrets } from '@orrery/core/secrets';
import { offeredConnector } from '../connectors/connectors.js';
import type { Connector, Definition } from '../connectors/connector.js';
import type { CreateInterfaceDto } from './interface.dto.js';
import type { Interface } from './interface.entity.js';

/** What definitions are read and sealed with, for one caller. */
export interface Definer {
  key: ApiKeyIdentity;
  secrets: Secrets;
}

/**
 * Reads a definition into the columns that it decides.
 * @param path where it stands in the body
 * @param stored secret that the interface has already, sealed
 * @throws ApiError 400 that names each bad field
 */
export function defineNode(
  { key, secrets }: Definer,
  connector: Connector,
  definition: Definition,
  path: string,
  stored: string | null = null,
): Pick<Interface, 'nodeId' | 'definition' | 'secret'> {
  const node = connector.define(definition, { smsNumbers: key.smsNumbers, hasSecret: stored !== null });
  if (Array.isArray(node))
    throw invalidParameters(node.map((error) => ({ ...error, field: `${path}.${error.field}` })));
  const { secret, ...rest } = node;
  const owner = { tenantId: key.tenantId, purpose: `interface:${connector.id}` };
  return {
    ...rest,
    secret: typeof secret === 'string' ? secrets.seal(owner, secret) : secret === null ? null : stored,
  };
}

/**
 * A row for an interface that is added now.
 * @param path of the interface in the body, empty or ending with a dot
 * @throws ApiError 400, DM_CONNECTOR_UNAVAILABLE, GENERIC_OFFER_DISABLED_ERROR
 */
export function newInterface(
  definer: Definer,
  deviceId: string,
  body: CreateInterfaceDto,
  now: Date,
  path = '',
): Interface {
  const connector = offeredConnector(definer.key, body.connector);
  const enabled = body.enabled ?? true;
  return {
    tenantId: definer.key.tenantId,
    deviceId,
    connector: connector.id,
    ...defineNode(definer, connector, body.definition, `${path}definition`),
    enabled,
    status: connector.initialStatus(enabled),
    activity: enabled ? {} : (connector.switchedActivity?.(enabled, now.toISOString()) ?? {}),
    capabilities: connector.capabilities(enabled),
    lastContact: null,
    connected: false,
    sessionId: null,
    sessionInstance: null,
    statusSequence: null,
    created: now,
    updated: now,
  };
}

/** @throws ApiError 400 when a device would have more interfaces than it may (manual 23.3). */
export function checkInterfaceCount(count: number, limit: number): void {
  if (count > limit) throw invalidParameter('interfaces', `at most ${limit} interfaces of a device`);
}
