import { commandsWhenEnabled, type Connector } from './connector.js';
import { DefinitionFields } from './definition-fields.js';

// International, without prefix: no country code begins with 0 (manual 5.5.2.1).
const MSISDN = /^[1-9][0-9]{5,14}$/;

/** Devices that are reached by SMS (manual 5.5.2). */
export const sms: Connector = {
  id: 'sms',
  section: 'smsconnect',
  limit: 'smsInterfaces',
  define(definition, { smsNumbers }) {
    const fields = new DefinitionFields(definition);
    const msisdn = fields.text('msisdn', '6 to 15 digits from the country code on, without prefix', (text) =>
      MSISDN.test(text),
    );
    const server = fields.optionalText(
      'serverPhoneNumber',
      smsNumbers.length > 0
        ? `a number of the offer: ${smsNumbers.join(', ')}`
        : 'none: the offer of the account has no server phone numbers',
      (text) => smsNumbers.includes(text),
    );
    const encoding = fields.encoding();
    return msisdn === undefined || fields.errors.length > 0
      ? fields.errors
      : { nodeId: msisdn, definition: { msisdn, ...server, ...encoding } };
  },
  parseNodeId: (text) => (MSISDN.test(text) ? text : undefined),
  initialStatus: (enabled) => (enabled ? 'ONLINE' : 'DEACTIVATED'),
  changedStatus: (enabled) => (enabled ? 'ONLINE' : 'DEACTIVATED'),
  capabilities: commandsWhenEnabled,
};
