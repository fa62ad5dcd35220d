import { ApiError } from '@orrery/core/http';
import type { Connector } from './connector.js';
import { mqtt } from './mqtt.js';

const connectors = new Map<string, Connector>([mqtt].map((connector) => [connector.id, connector]));

/** @throws ApiError DM_CONNECTOR_UNAVAILABLE */
export function connectorOf(id: string): Connector {
  const connector = connectors.get(id);
  if (!connector) throw new ApiError('DM_CONNECTOR_UNAVAILABLE');
  return connector;
}
