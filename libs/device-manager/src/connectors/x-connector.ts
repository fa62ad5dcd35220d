import { type Connector, NO_CAPABILITIES } from './connector.js';
import { DefinitionFields } from './definition-fields.js';

const NODE_ID = /^[\w:-]{1,128}$/;

/** Devices behind an adapter of the customer's own (manual 5.5.5). */
export const xConnector: Connector = {
  id: 'x-connector',
  section: 'x-connector',
  define(definition) {
    const fields = new DefinitionFields(definition);
    const nodeId = fields.text('nodeId', '1 to 128 letters, digits, `:`, `-` or `_`', (text) => NODE_ID.test(text));
    const encoding = fields.encoding();
    return nodeId === undefined || fields.errors.length > 0
      ? fields.errors
      : { nodeId, definition: { nodeId, ...encoding } };
  },
  parseNodeId: (text) => (NODE_ID.test(text) ? text : undefined),
  autoRegister: (nodeId) => ({ deviceId: `urn:lo:nsid:x-connector:${nodeId}`, definition: { nodeId } }),
  // It has no status of its own for what is disabled (manual 5.5.5.4).
  initialStatus: (enabled) => (enabled ? 'REGISTERED' : 'OFFLINE'),
  changedStatus: (enabled, { connected }) => (enabled && !connected ? 'REGISTERED' : 'OFFLINE'),
  capabilities: () => NO_CAPABILITIES,
};
