import { invalidParameters } from '@orrery/core/http';
import type { FieldError, MessageFilter } from '@orrery/core/messages';
import { checkWebhookHeaders, type WebhookHeaders, type Webhooks } from '@orrery/core/webhooks';

/** Manual 11.4.3.1. */
export interface Step {
  type: 'externalTransformation';
  name?: string;
  url: string;
  headers?: WebhookHeaders;
}

/** What a client may set of a pipeline (manual 11.4.2). */
export interface PipelineDocument {
  id?: string;
  name: string;
  description: string | null;
  priorityLevel: number;
  enabled: boolean;
  filter: MessageFilter | null;
  steps: Step[];
}

/** Which servers a step may call (manual 11.4.3.1). */
export const STEP_URL = { ports: [80, 443, 8080, 8443, 9243], plainHttp: true } as const;

const CONNECTORS = ['http', 'lora', 'mqtt', 'sms', 'x-connector', 'lwm2m', 'sigfox', 'sensoro'];
const MAX_NAME = 1000;
const MAX_DESCRIPTION = 2000;
/** The manual sets no bounds for these: they keep a pipeline a thing that can be held in memory. */
const MAX_STEPS = 10;
const MAX_ITEMS = 100;

type Fields = Record<string, unknown>;

const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
// PostgreSQL keeps neither NUL nor half a surrogate pair.
const UNKEPT = /[\0\p{Cs}]/u;
const isText = (value: unknown, max: number): value is string =>
  typeof value === 'string' && value.length <= max && !UNKEPT.test(value);
const isItem = (value: unknown): value is string => isText(value, 512) && value !== '';

/** @throws GENERIC_INVALID_PARAMETER_ERROR that lists every bad field. Members that are null count as absent. */
export function parsePipeline(body: unknown, webhooks: Webhooks): PipelineDocument {
  if (!isObject(body)) throw invalidParameters([{ field: '', expected: 'a JSON object' }]);
  const errors: FieldError[] = [];
  const expect = (holds: boolean, field: string, expected: string): void => {
    if (!holds) errors.push({ field, expected });
  };
  const { id, name, description = null, priorityLevel, enabled } = body;
  expect(isText(name, MAX_NAME) && name.trim() !== '', 'name', `a string of 1 to ${MAX_NAME} characters (required)`);
  expect(
    description === null || isText(description, MAX_DESCRIPTION),
    'description',
    `a string of at most ${MAX_DESCRIPTION} characters`,
  );
  expect(Number.isSafeInteger(priorityLevel), 'priorityLevel', 'an integer (required)');
  expect(typeof enabled === 'boolean', 'enabled', 'true or false (required)');
  const filter = parseFilter(body['filter'] ?? null, errors);
  const steps = parseSteps(body['steps'], errors, webhooks);
  if (errors.length > 0) throw invalidParameters(errors);
  return {
    ...(typeof id === 'string' ? { id } : {}),
    name: name as string,
    description: description as string | null,
    priorityLevel: priorityLevel as number,
    enabled: enabled as boolean,
    filter,
    steps,
  };
}

interface ItemParser {
  expected: string;
  /** The item as it is kept; undefined when it is not as expected. */
  parse(item: unknown): unknown;
}

const ITEMS: Record<keyof MessageFilter, ItemParser> = {
  connectors: {
    expected: `one of ${CONNECTORS.join(', ')}`,
    parse: (item) => (CONNECTORS.includes(item as string) ? item : undefined),
  },
  encodings: { expected: 'the name of an encoding', parse: (item) => (isItem(item) ? item : undefined) },
  groupPaths: {
    expected: 'an object with a path that begins with / and a boolean includeSubPath',
    parse: (item) => {
      if (!isObject(item) || !isItem(item['path']) || !item['path'].startsWith('/')) return undefined;
      const includeSubPath = item['includeSubPath'] ?? false;
      return typeof includeSubPath === 'boolean' ? { path: item['path'], includeSubPath } : undefined;
    },
  },
  tags: {
    expected: `a list of 1 to ${MAX_ITEMS} tags`,
    parse: (item) =>
      Array.isArray(item) && item.length > 0 && item.length <= MAX_ITEMS && item.every(isItem) ? item : undefined,
  },
};

function parseFilter(input: unknown, errors: FieldError[]): MessageFilter | null {
  if (input === null) return null;
  if (!isObject(input)) {
    errors.push({ field: 'filter', expected: 'an object' });
    return null;
  }
  const filter: MessageFilter = {};
  for (const [name, list] of Object.entries(input)) {
    if (list === null) continue;
    const field = `filter.${name.slice(0, 256)}`;
    // A criterion that is not understood must not let everything pass.
    if (!Object.hasOwn(ITEMS, name)) errors.push({ field, expected: `one of ${Object.keys(ITEMS).join(', ')}` });
    else if (!Array.isArray(list) || list.length > MAX_ITEMS)
      errors.push({ field, expected: `a list of at most ${MAX_ITEMS} items` });
    else {
      const item = ITEMS[name as keyof MessageFilter];
      const parsed = list.map((each: unknown) => item.parse(each));
      parsed.forEach((each, i) => {
        if (each === undefined) errors.push({ field: `${field}[${i}]`, expected: item.expected });
      });
      Object.assign(filter, { [name]: parsed });
    }
  }
  return filter;
}

function parseSteps(input: unknown, errors: FieldError[], webhooks: Webhooks): Step[] {
  if (!Array.isArray(input) || input.length === 0 || input.length > MAX_STEPS) {
    errors.push({ field: 'steps', expected: `a list of 1 to ${MAX_STEPS} steps (required)` });
    return [];
  }
  return input.flatMap((step: unknown, i): Step[] => {
    const field = `steps[${i}]`;
    if (!isObject(step) || step['type'] !== 'externalTransformation') {
      errors.push({ field: `${field}.type`, expected: 'externalTransformation' });
      return [];
    }
    const name = step['name'] ?? undefined;
    if (name !== undefined && !isText(name, MAX_NAME))
      errors.push({ field: `${field}.name`, expected: `a string of at most ${MAX_NAME} characters` });
    const problem = webhooks.checkUrl(step['url'], STEP_URL);
    if (problem) errors.push({ field: `${field}.url`, expected: problem.expected });
    else if (UNKEPT.test(step['url'] as string)) errors.push({ field: `${field}.url`, expected: 'a URL' });
    const headers = step['headers'] ?? undefined;
    if (headers !== undefined) errors.push(...checkWebhookHeaders(`${field}.headers`, headers));
    return [
      {
        type: 'externalTransformation',
        ...(name === undefined ? {} : { name: name as string }),
        url: step['url'] as string,
        ...(headers === undefined ? {} : { headers: headers as WebhookHeaders }),
      },
    ];
  });
}
