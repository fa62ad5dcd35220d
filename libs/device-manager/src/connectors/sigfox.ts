import { isText } from '../text.js';
import { type Connector, NO_CAPABILITIES } from './connector.js';
import { DefinitionFields } from './definition-fields.js';

const PAC = /^[0-9A-F]{16}$/i;

/** Sigfox writes the same id with and without leading zeros, in any case. */
const sigfoxId = (text: string): string | undefined =>
  /^[0-9A-F]{1,8}$/i.test(text) ? text.toUpperCase().replace(/^0+(?=.)/, '') : undefined;

/** Sigfox devices. With a PAC, which transfers the ownership of a device, they can be registered at Sigfox. */
export const sigfox: Connector = {
  id: 'sigfox',
  section: 'sigfox',
  define(definition) {
    const fields = new DefinitionFields(definition);
    const text = fields.text('id', '1 to 8 hexadecimal digits', (given) => sigfoxId(given) !== undefined);
    const pac = fields.optionalText('pac', '16 hexadecimal digits', (given) => PAC.test(given))['pac'];
    const rest = {
      ...fields.optionalText('deviceTypeId', '1 to 64 characters', (given) => isText(given, 1, 64)),
      ...fields.optionalBoolean('automaticRenewal'),
      ...fields.optionalBoolean('activable'),
      ...fields.optionalBoolean('prototype'),
      ...fields.encoding(),
    };
    if (text === undefined || fields.errors.length > 0) return fields.errors;
    const id = sigfoxId(text)!;
    return { nodeId: id, definition: { id, ...rest }, ...(typeof pac === 'string' ? { secret: pac } : {}) };
  },
  parseNodeId: sigfoxId,
  autoRegister: (nodeId) => ({ deviceId: `urn:lo:nsid:sigfox:${nodeId}`, definition: { id: nodeId } }),
  initialStatus: (enabled) => (enabled ? 'REGISTERED' : 'DEACTIVATED'),
  changedStatus: (enabled, { connected }) => (enabled ? (connected ? 'ACTIVATED' : 'REGISTERED') : 'DEACTIVATED'),
  capabilities: () => NO_CAPABILITIES,
};
