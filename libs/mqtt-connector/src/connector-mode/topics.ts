import type { RequestKind } from '@orrery/device-manager/contract';

// Topics of external connector mode (manual 6.6.2), exact but for the node id.

/** The node id, and what is published about the node. */
export const NODE_TOPIC = /^connector\/v1\/nodes\/([^/]*)\/(status|data)$/;

export const COMMAND_RESPONSES = 'connector/v1/responses/command';
export const CONFIGURATION_RESPONSES = 'connector/v1/responses/configuration';
export const CURRENT_CONFIGURATION = 'connector/v1/current/configuration';
export const RESOURCE_RESPONSES = 'connector/v1/responses/resource';
export const CURRENT_RESOURCE = 'connector/v1/current/resource';

/** Topics that a connector subscribes to, and what it is asked there. */
export const REQUEST_TOPICS: ReadonlyMap<string, RequestKind> = new Map([
  ['connector/v1/requests/command', 'command'],
  ['connector/v1/requests/configuration', 'configuration'],
  ['connector/v1/requests/resource', 'resource'],
]);
