import { commandsWhenEnabled, type Connector, type Definition } from './connector.js';
import { DefinitionFields } from './definition-fields.js';
import { LORA_PLANS, LORA_PROFILES } from './lora-catalogue.js';

const EUI = /^[0-9A-F]{16}$/i;
const KEY = /^[0-9A-F]{32}$/i;
const OPTIONS = ['ackUl', 'location'];

function eui(fields: DefinitionFields, name: string): string | undefined {
  return fields.text(name, '16 hexadecimal digits', (text) => EUI.test(text))?.toUpperCase();
}

/** The plan decides when both are given (manual 5.5.1.1), and is then the only one that is kept. */
function connectivity(fields: DefinitionFields): Definition {
  if (!fields.given('connectivityPlan') && !fields.given('connectivityOptions')) {
    fields.refuse('connectivityPlan', 'a connectivity plan, or else connectivityOptions');
    return {};
  }
  const options = fields.given('connectivityOptions') ? connectivityOptions(fields) : {};
  const plan = fields.optionalText('connectivityPlan', `one of ${LORA_PLANS.map(({ id }) => id).join(', ')}`, (text) =>
    LORA_PLANS.some(({ id }) => id === text),
  );
  return fields.given('connectivityPlan') ? plan : options;
}

function connectivityOptions(fields: DefinitionFields): Definition {
  const options = fields.object('connectivityOptions');
  if (!options) return {};
  const unknown = options.names().find((name) => !OPTIONS.includes(name));
  if (unknown !== undefined) options.refuse(unknown, `only ${OPTIONS.join(' and ')}`);
  return { connectivityOptions: Object.assign({}, ...OPTIONS.map((name) => options.optionalBoolean(name))) };
}

/** LoRaWAN devices (manual 5.5.1). */
export const lora: Connector = {
  id: 'lora',
  section: 'lora',
  limit: 'loraInterfaces',
  define(definition, { hasSecret }) {
    const fields = new DefinitionFields(definition);
    const devEUI = eui(fields, 'devEUI');
    const appEUI = eui(fields, 'appEUI');
    const appKey =
      hasSecret && !fields.given('appKey')
        ? undefined
        : fields.text('appKey', '32 hexadecimal digits', (text) => KEY.test(text))?.toUpperCase();
    const activationType = fields.text('activationType', 'OTAA', (text) => text === 'OTAA');
    const profile = fields.text('profile', `one of ${LORA_PROFILES.join(', ')}`, (text) =>
      LORA_PROFILES.includes(text),
    );
    const rest = { ...fields.encoding(), ...connectivity(fields) };
    if (devEUI === undefined || fields.errors.length > 0) return fields.errors;
    return {
      nodeId: devEUI,
      definition: { devEUI, activationType, profile, appEUI, ...rest },
      ...(appKey === undefined ? {} : { secret: appKey }),
    };
  },
  parseNodeId: (text) => (EUI.test(text) ? text.toUpperCase() : undefined),
  initialStatus: (enabled) => (enabled ? 'REGISTERED' : 'DEACTIVATED'),
  changedStatus: (enabled, before) => (enabled ? (before.enabled ? 'REGISTERED' : 'REACTIVATED') : 'DEACTIVATED'),
  switchedActivity: (enabled, at) => ({ [enabled ? 'lastActivationTs' : 'lastDeactivationTs']: at }),
  capabilities: commandsWhenEnabled,
};
