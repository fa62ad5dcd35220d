import { isText } from '../text.js';
import { type Connector, type Definition, NO_CAPABILITIES } from './connector.js';
import { DefinitionFields } from './definition-fields.js';

// Endpoint names need not be URNs: those of the manual's own examples are not (7.4.2).
const isEndpointName = (text: string): boolean => isText(text, 1, 256);

const MAX_PSK_BYTES = 64;

/** An even number of hexadecimal digits are the bytes of the key; any other text is its UTF-8 bytes. */
const isSecret = (text: string): boolean =>
  isText(text, 1, 2 * MAX_PSK_BYTES) &&
  Buffer.byteLength(text, /^([0-9A-F]{2})+$/i.test(text) ? 'hex' : 'utf8') <= MAX_PSK_BYTES;

/** Credentials of the device (manual 5.5.4.2), with lengths that every implementation supports (RFC 4279, 5.3). */
function readSecurity(fields: DefinitionFields, hasSecret: boolean): { security?: Definition; secret?: string } {
  const security = fields.object('security');
  if (!security) return {};
  const mode = security.text('mode', 'PSK', (text) => text === 'PSK');
  const psk = security.object('pskInfo');
  const identity = psk?.text('identity', '1 to 128 characters', (text) => isText(text, 1, 128));
  const secret =
    hasSecret && !psk?.given('secret')
      ? undefined
      : psk?.text('secret', `1 to ${MAX_PSK_BYTES} bytes: hexadecimal, or else text`, isSecret);
  return { security: { mode, pskInfo: { identity } }, ...(secret === undefined ? {} : { secret }) };
}

/** LwM2M devices over CoAP (manual 5.5.4). */
export const lwm2m: Connector = {
  id: 'lwm2m',
  section: 'lwm2m',
  define(definition, { hasSecret }) {
    const fields = new DefinitionFields(definition);
    const endpointName = fields.text('endpointName', '1 to 256 characters', isEndpointName);
    const bootstrap = fields.given('bootstrap') ? (fields.object('bootstrap')?.optionalBoolean('managed') ?? {}) : {};
    const managed = bootstrap['managed'] === true;
    if (managed && fields.given('security'))
      fields.refuse('security', 'nothing while bootstrap.managed is true: the bootstrap server fills it in');
    const { security, secret } = managed ? {} : readSecurity(fields, hasSecret);
    const encoding = fields.encoding();
    if (endpointName === undefined || fields.errors.length > 0) return fields.errors;
    return {
      nodeId: endpointName,
      definition: {
        endpointName,
        ...(security ? { security } : {}),
        ...(Object.keys(bootstrap).length > 0 ? { bootstrap } : {}),
        ...encoding,
      },
      ...(managed ? { secret: null } : secret === undefined ? {} : { secret }),
    };
  },
  parseNodeId: (text) => (isEndpointName(text) ? text : undefined),
  initialStatus: (enabled) => (enabled ? 'REGISTERED' : 'DEACTIVATED'),
  changedStatus: (enabled, { connected }) => (enabled ? (connected ? 'OFFLINE' : 'REGISTERED') : 'DEACTIVATED'),
  // The twin belongs to an interface from its creation on, and is available while the device is registered.
  capabilities: () => ({ ...NO_CAPABILITIES, twin: { available: false, version: 1 } }),
};
