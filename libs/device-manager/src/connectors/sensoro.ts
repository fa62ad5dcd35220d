import { type Connector, NO_CAPABILITIES } from './connector.js';
import { DefinitionFields } from './definition-fields.js';

const SERIAL_NUMBER = /^[\w-]{1,128}$/;

/** SENSORO devices, known by their serial number. */
export const sensoro: Connector = {
  id: 'sensoro',
  section: 'sensoro',
  define(definition) {
    const fields = new DefinitionFields(definition);
    const sn = fields.text('sn', '1 to 128 letters, digits, `-` or `_`', (text) => SERIAL_NUMBER.test(text));
    const encoding = fields.encoding();
    return sn === undefined || fields.errors.length > 0
      ? fields.errors
      : { nodeId: sn, definition: { sn, ...encoding } };
  },
  parseNodeId: (text) => (SERIAL_NUMBER.test(text) ? text : undefined),
  autoRegister: (nodeId) => ({ deviceId: `urn:lo:nsid:sensoro:${nodeId}`, definition: { sn: nodeId } }),
  initialStatus: (enabled) => (enabled ? 'REGISTERED' : 'DEACTIVATED'),
  changedStatus: (enabled, { connected }) => (enabled ? (connected ? 'ACTIVATED' : 'REGISTERED') : 'DEACTIVATED'),
  capabilities: () => NO_CAPABILITIES,
};
