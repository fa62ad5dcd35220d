import { DEVICE_ID, type FieldError } from '@orrery/core/messages';
import { isText } from '../text.js';
import type { Connector, Definition } from './connector.js';

const CLIENT_ID = /^[\w:-]{1,128}$/;

// A client id that claims to be a URN must be one (manual 6.5.2): no device could ever have it as its id.
const isClientId = (clientId: string): boolean =>
  CLIENT_ID.test(clientId) && (!clientId.startsWith('urn:lo:') || DEVICE_ID.test(clientId));

/** Devices in MQTT device mode (manual 5.5.3 and 6.5). */
export const mqtt: Connector = {
  id: 'mqtt',
  define({ clientId, encoding }: Definition) {
    const errors: FieldError[] = [];
    if (typeof clientId !== 'string' || !isClientId(clientId))
      errors.push({
        field: 'clientId',
        expected: '1 to 128 letters, digits, `:`, `-` or `_`; urn:lo:nsid:{namespace}:{id} when it starts with urn:lo:',
      });
    const named = encoding !== undefined && encoding !== null;
    if (named && !isText(encoding, 1, 256))
      errors.push({ field: 'encoding', expected: 'the name of a decoder, 1 to 256 characters' });
    if (errors.length > 0) return errors;
    return { nodeId: clientId as string, definition: named ? { clientId, encoding } : { clientId } };
  },
  isNodeId: isClientId,
  autoRegister: (nodeId) => ({
    deviceId: nodeId.startsWith('urn:lo:') ? nodeId : `urn:lo:nsid:mqtt:${nodeId}`,
    definition: { clientId: nodeId },
  }),
  restingStatus: (enabled, connected) => (enabled ? (connected ? 'OFFLINE' : 'REGISTERED') : 'DEACTIVATED'),
  capabilities: {
    command: { available: false },
    configuration: { available: false },
    resource: { available: false },
    twin: { available: false },
  },
};
