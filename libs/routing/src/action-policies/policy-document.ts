import { ApiError, invalidParameters } from '@orrery/core/http';
import { LIMITS } from '@orrery/core/limits';
import type { FieldError, MessageFilter } from '@orrery/core/messages';
import type { Webhooks } from '@orrery/core/webhooks';
import type { AzureEventHubsAction, DeliveredActions } from '../actions/action.js';
import { type ActionErrors, ActionParser } from '../actions/parse-action.js';
import { FIFO_NAME, FIFO_NAME_EXPECTED } from '../fifos/fifo.dto.js';

export interface Filter extends Omit<MessageFilter, 'encodings'> {
  deviceIds?: string[];
  status?: string[];
  messageTypes?: string[];
  ruleIds?: string[];
}

/** Filters of each trigger (manual 14.2.2 and 15.4.1). */
const FILTERS = {
  dataMessage: ['connectors', 'groupPaths', 'deviceIds', 'tags'],
  matchingFired: ['ruleIds'],
  stateChange: ['ruleIds'],
  deviceActivity: ['ruleIds', 'deviceIds'],
  deviceCreated: ['connectors', 'groupPaths', 'tags'],
  deviceDeleted: ['connectors', 'groupPaths', 'tags'],
  deviceStatus: ['connectors', 'groupPaths'],
  commandStatus: ['status'],
  loraNetwork: ['messageTypes'],
  loraGatewayStatus: [],
} as const satisfies Record<string, ReadonlyArray<keyof Filter>>;

export type TriggerType = keyof typeof FILTERS;
export const TRIGGER_TYPES = Object.keys(FILTERS) as TriggerType[];
export type Triggers = Partial<Record<TriggerType, { version: 1; filter?: Filter }>>;

const ACTION_TYPES = ['emails', 'sms', 'fifoPublish', 'httpPush', 'azureEventHubs'] as const;
export type Actions = { [Kind in keyof DeliveredActions]?: Array<DeliveredActions[Kind]> } & {
  fifoPublish?: Array<{ fifoName: string }>;
};

/** Actions as answers show them. */
export type ShownActions = Omit<Actions, 'azureEventHubs'> & {
  azureEventHubs?: Array<Omit<AzureEventHubsAction, 'sharedAccessKey'>>;
};

/** What checking a policy depends on. */
export interface PolicyContext {
  webhooks: Webhooks;
  /** The policy before it is changed. */
  present?: Actions;
}

/** What a client may set of a policy (manual 14.1.1). */
export interface PolicyDocument {
  id?: string;
  name: string | null;
  enabled: boolean;
  triggers: Triggers;
  actions: Actions;
}

const CONNECTORS = ['http', 'mqtt', 'lora', 'sms', 'x-connector', 'lwm2m', 'sigfox', 'sensoro'];
const STATUSES = ['PENDING', 'PROCESSING', 'PROCESSED', 'CANCELED', 'ERROR', 'RETRYING', 'EXPIRED'];
const MESSAGE_TYPES = [
  'UNCONFIRMED_DATA_UP',
  'CONFIRMED_DATA_UP',
  'UNCONFIRMED_DATA_DOWN',
  'CONFIRMED_DATA_DOWN',
  'JOIN_REQUEST',
  'JOIN_ACCEPT',
];

type Fields = Record<string, unknown>;

const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
// PostgreSQL keeps neither NUL nor half a surrogate pair.
const UNKEPT = /[\0\p{Cs}]/u;
const isText = (value: unknown): value is string =>
  typeof value === 'string' && value.trim() !== '' && value.length <= 512 && !UNKEPT.test(value);

/**
 * Members that are null count as absent.
 * @throws GENERIC_INVALID_PARAMETER_ERROR that lists every bad field; FORBIDDEN when nothing but the ports of webhooks is
 * wrong (manual 14.3.2.7).
 */
export function parsePolicy(body: unknown, context: PolicyContext): PolicyDocument {
  if (!isObject(body)) throw invalidParameters([{ field: '', expected: 'a JSON object' }]);
  const errors: FieldError[] = [];
  const forbidden: FieldError[] = [];
  const document: PolicyDocument = { name: null, enabled: false, triggers: {}, actions: {} };
  if (typeof body['id'] === 'string') document.id = body['id'];
  const name = body['name'] ?? null;
  if (name !== null && !(typeof name === 'string' && name.length <= 256 && !UNKEPT.test(name)))
    errors.push({ field: 'name', expected: 'a string of at most 256 characters' });
  else document.name = name;

  const { enabled } = body;
  if (enabled === true || enabled === 'true') document.enabled = true;
  else if (enabled !== false && enabled !== 'false')
    errors.push({ field: 'enabled', expected: 'true or false (required)' });
  document.triggers = parseTriggers(body['triggers'], errors);
  document.actions = parseActions(body['actions'], context, { invalid: errors, forbidden });
  if (errors.length > 0) throw invalidParameters([...errors, ...forbidden]);
  if (forbidden.length > 0) throw new ApiError('FORBIDDEN', forbidden);
  return document;
}

function parseTriggers(input: unknown, errors: FieldError[]): Triggers {
  const triggers: Triggers = {};
  const given = isObject(input) ? Object.entries(input).filter(([, trigger]) => (trigger ?? null) !== null) : [];
  for (const [type, trigger] of given) {
    const field = `triggers.${type}`;
    if (!TRIGGER_TYPES.includes(type as TriggerType))
      errors.push({ field, expected: `one of the triggers ${TRIGGER_TYPES.join(', ')}` });
    else if (!isObject(trigger)) errors.push({ field, expected: 'an object with version 1 and an optional filter' });
    else {
      if ((trigger['version'] ?? 1) !== 1) errors.push({ field: `${field}.version`, expected: '1' });
      const filter = parseFilter(type as TriggerType, trigger['filter'], `${field}.filter`, errors);
      triggers[type as TriggerType] = { version: 1, ...(filter ? { filter } : {}) };
    }
  }
  const both = given.length === 2 && given.every(([type]) => type === 'deviceCreated' || type === 'deviceDeleted');
  if (given.length !== 1 && !both)
    errors.push({
      field: 'triggers',
      expected: 'exactly one trigger, or deviceCreated and deviceDeleted together (required)',
    });
  return triggers;
}

function parseFilter(type: TriggerType, input: unknown, field: string, errors: FieldError[]): Filter | undefined {
  if (input === undefined || input === null) return undefined;
  if (!isObject(input)) {
    errors.push({ field, expected: 'an object' });
    return undefined;
  }
  const allowed: readonly string[] = FILTERS[type];
  const filter: Filter = {};
  for (const [name, list] of Object.entries(input)) {
    if (list === undefined || list === null) continue;
    const path = `${field}.${name}`;
    if (!allowed.includes(name)) {
      errors.push({
        field: path,
        expected: allowed.length > 0 ? `one of the filters ${allowed.join(', ')} of ${type}` : `no filter for ${type}`,
      });
      continue;
    }
    if (!Array.isArray(list) || list.length > LIMITS.filterItems.value) {
      errors.push({ field: path, expected: `a list of at most ${LIMITS.filterItems.value} items` });
      continue;
    }
    const item = ITEMS[name as keyof Filter];
    const parsed = list.map((each: unknown) => item.parse(each));
    parsed.forEach((each, i) => {
      if (each === undefined) errors.push({ field: `${path}[${i}]`, expected: item.expected });
    });
    Object.assign(filter, { [name]: parsed });
  }
  return filter;
}

interface ItemParser {
  expected: string;
  /** The item as it is kept; undefined when it is not as expected. */
  parse(item: unknown): unknown;
}

const text = (expected: string): ItemParser => ({ expected, parse: (item) => (isText(item) ? item : undefined) });
const oneOf = (values: string[], fold = (value: string): string => value): ItemParser => ({
  expected: `one of ${values.join(', ')}`,
  parse: (item) => (typeof item === 'string' && values.includes(fold(item)) ? item : undefined),
});

const ITEMS: Record<keyof Filter, ItemParser> = {
  connectors: oneOf(CONNECTORS),
  deviceIds: text('a device id'),
  ruleIds: text('a rule id'),
  // Written in lower case in 14.1.1 and in upper case in 14.2.2 (RTE-012).
  status: oneOf(STATUSES, (value) => value.toUpperCase()),
  messageTypes: oneOf(MESSAGE_TYPES),
  groupPaths: {
    expected: 'an object with a path that begins with / and a boolean includeSubPath',
    parse: (item) => {
      if (!isObject(item) || !isText(item['path']) || !item['path'].startsWith('/')) return undefined;
      const includeSubPath = item['includeSubPath'] ?? false;
      return typeof includeSubPath === 'boolean' ? { path: item['path'], includeSubPath } : undefined;
    },
  },
  tags: {
    expected: `a list of 1 to ${LIMITS.filterItems.value} tags`,
    parse: (item) =>
      Array.isArray(item) && item.length > 0 && item.length <= LIMITS.filterItems.value && item.every(isText)
        ? item
        : undefined,
  },
};

function parseActions(input: unknown, { webhooks, present }: PolicyContext, errors: ActionErrors): Actions {
  const actions: Actions = {};
  // Answers do not show the key: whoever sends an answer back means the one that is kept.
  const knownKey = (action: AzureEventHubsAction): string | undefined =>
    present?.azureEventHubs?.find(
      (each) =>
        each.eventHubsNamespace === action.eventHubsNamespace &&
        each.eventHubName === action.eventHubName &&
        each.sharedAccessKeyName === action.sharedAccessKeyName,
    )?.sharedAccessKey;
  const parser = new ActionParser(webhooks, errors, knownKey);
  let count = 0;
  for (const [type, list] of isObject(input) ? Object.entries(input) : []) {
    if (list === undefined || list === null) continue;
    const field = `actions.${type}`;
    if (!isActionType(type)) {
      errors.invalid.push({ field, expected: `one of the actions ${ACTION_TYPES.join(', ')}` });
      continue;
    }
    if (!Array.isArray(list) || list.length > LIMITS.actionsPerType.value) {
      errors.invalid.push({ field, expected: `a list of at most ${LIMITS.actionsPerType.value} actions` });
      continue;
    }
    count += list.length;
    if (type === 'fifoPublish') actions.fifoPublish = parseFifoPublish(list, field, errors.invalid);
    else Object.assign(actions, { [type]: list.map((each: unknown, i) => parser.parse(type, each, `${field}[${i}]`)) });
  }
  if (count === 0) errors.invalid.push({ field: 'actions', expected: 'an object with at least one action (required)' });
  return actions;
}

const isActionType = (type: string): type is (typeof ACTION_TYPES)[number] =>
  (ACTION_TYPES as readonly string[]).includes(type);

// Other fields of the action, such as a template, mean nothing to a FIFO (manual 14.3.1).
const parseFifoPublish = (list: unknown[], field: string, errors: FieldError[]): Array<{ fifoName: string }> =>
  list.map((action, i) => {
    const fifoName = isObject(action) ? action['fifoName'] : undefined;
    if (typeof fifoName === 'string' && FIFO_NAME.test(fifoName)) return { fifoName };
    errors.push({ field: `${field}[${i}].fifoName`, expected: FIFO_NAME_EXPECTED });
    return { fifoName: '' };
  });
