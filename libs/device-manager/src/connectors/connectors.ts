import type { ApiKeyIdentity } from '@orrery/core/auth';
import { ApiError, requireSection } from '@orrery/core/http';
import type { Connector } from './connector.js';
import { lora } from './lora.js';
import { lwm2m } from './lwm2m.js';
import { mqtt } from './mqtt.js';
import { sensoro } from './sensoro.js';
import { sigfox } from './sigfox.js';
import { sms } from './sms.js';
import { xConnector } from './x-connector.js';

const connectors = new Map<string, Connector>(
  [lora, lwm2m, mqtt, sensoro, sigfox, sms, xConnector].map((connector) => [connector.id, connector]),
);

/** @throws ApiError DM_CONNECTOR_UNAVAILABLE */
export function connectorOf(id: string): Connector {
  const connector = connectors.get(id);
  if (!connector) throw new ApiError('DM_CONNECTOR_UNAVAILABLE');
  return connector;
}

/** A connector that the tenant may use. @throws ApiError DM_CONNECTOR_UNAVAILABLE, GENERIC_OFFER_DISABLED_ERROR */
export function offeredConnector(key: ApiKeyIdentity, id: string): Connector {
  const connector = connectorOf(id);
  requireSection(key, connector.section);
  return connector;
}
