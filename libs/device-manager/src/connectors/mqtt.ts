import { DEVICE_ID } from '@orrery/core/messages';
import { type Connector, NO_CAPABILITIES } from './connector.js';
import { DefinitionFields } from './definition-fields.js';

const CLIENT_ID = /^[\w:-]{1,128}$/;

// A client id that claims to be a URN must be one (manual 6.5.2): no device could ever have it as its id.
const isClientId = (clientId: string): boolean =>
  CLIENT_ID.test(clientId) && (!clientId.startsWith('urn:lo:') || DEVICE_ID.test(clientId));

/** Devices in MQTT device mode (manual 5.5.3 and 6.5). */
export const mqtt: Connector = {
  id: 'mqtt',
  section: 'mqtt',
  define(definition) {
    const fields = new DefinitionFields(definition);
    const clientId = fields.text(
      'clientId',
      '1 to 128 letters, digits, `:`, `-` or `_`; urn:lo:nsid:{namespace}:{id} when it starts with urn:lo:',
      isClientId,
    );
    const encoding = fields.encoding();
    return clientId === undefined || fields.errors.length > 0
      ? fields.errors
      : { nodeId: clientId, definition: { clientId, ...encoding } };
  },
  parseNodeId: (text) => (isClientId(text) ? text : undefined),
  autoRegister: (nodeId) => ({
    deviceId: nodeId.startsWith('urn:lo:') ? nodeId : `urn:lo:nsid:mqtt:${nodeId}`,
    definition: { clientId: nodeId },
  }),
  initialStatus: (enabled) => (enabled ? 'REGISTERED' : 'DEACTIVATED'),
  changedStatus: (enabled, { connected }) => (enabled ? (connected ? 'OFFLINE' : 'REGISTERED') : 'DEACTIVATED'),
  capabilities: () => NO_CAPABILITIES,
};
