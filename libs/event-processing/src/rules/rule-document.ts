import { ApiError, invalidParameters } from '@orrery/core/http';
import type { FieldError } from '@orrery/core/messages';
import { Temporal } from 'temporal-polyfill';
import { compileRuleLogic } from '../logic/rule-logic.js';
import { FIRING_TYPES, type FiringType } from './rule.dto.js';
import type { RuleKind } from './rule.entity.js';

/** What a client may set of a rule. */
export interface RuleDocument {
  name: string | null;
  enabled: boolean;
  definition: Record<string, unknown>;
}

type Fields = Record<string, unknown>;

export const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** PostgreSQL keeps neither NUL nor half a surrogate pair. */
export const UNKEPT = /[\0\p{Cs}]/u;
/** A rule is written into each event that it causes. */
const MAX_LOGIC_LENGTH = 65_536;
const MAX_LIST = 1000;
const MAX_KEYS = 20;

export const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** @throws GENERIC_INVALID_PARAMETER_ERROR that lists every bad field. Members that are null count as absent. */
export function parseRule(kind: RuleKind, body: unknown, id?: string): RuleDocument {
  if (!isObject(body)) throw invalidParameters([{ field: '', expected: 'a JSON object' }]);
  const errors: FieldError[] = [];
  const fields = new FieldReader(body, errors);
  const givenId = body['id'] ?? undefined;
  if (givenId !== undefined && id !== undefined && givenId !== id)
    errors.push({ field: 'id', expected: 'the id of the path, or no id' });
  const document: RuleDocument = {
    name: fields.name(kind !== 'state'),
    enabled: fields.enabled(kind === 'state'),
    definition: DEFINITIONS[kind](fields),
  };
  if (errors.length > 0) throw invalidParameters(errors);
  return document;
}

const DEFINITIONS: Record<RuleKind, (fields: FieldReader) => Fields> = {
  matching: (fields) => ({ dataPredicate: fields.logic('dataPredicate') }),
  firing: (fields) => {
    const firingType = fields.firingType();
    return {
      matchingRuleIds: fields.list('matchingRuleIds', MAX_LIST, 'a UUID', (each) => UUID.test(each)),
      aggregationKeys: fields.list('aggregationKeys', MAX_KEYS, PATH_EXPECTED, isPath),
      firingType,
      ...fields.sleepDuration(firingType),
    };
  },
  state: (fields) => ({
    ...(fields.given('filterPredicate') ? { filterPredicate: fields.logic('filterPredicate') } : {}),
    stateKeyPath: fields.path('stateKeyPath'),
    stateFunction: fields.logic('stateFunction', true),
  }),
};

const PATH_EXPECTED = 'a path in the data message, such as metadata.source';

function isPath(path: string): boolean {
  try {
    compilePath(path);
    return path !== '' && path.length <= 256 && !UNKEPT.test(path);
  } catch (error) {
    if (error instanceof ApiError) return false;
    throw error;
  }
}

/** Reads what stands at a path of a message; null when there is nothing. A path may begin as those of JSONPath do. */
export function compilePath(path: string): (message: unknown) => unknown {
  const logic = compileRuleLogic({ var: path.replace(/^\$\./, '') }, 'path');
  const scope = { context: () => null, state: null, now: new Date(0) };
  return (message) => logic(message, scope);
}

/** Milliseconds of a duration of days (of 24 hours), hours, minutes and seconds; undefined when it is none. */
export function parseDuration(text: unknown): number | undefined {
  if (typeof text !== 'string' || text.length > 64) return undefined;
  try {
    const duration = Temporal.Duration.from(text);
    if (duration.years || duration.months || duration.weeks) return undefined;
    return duration.total('milliseconds');
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** About a century: PostgreSQL's dates hold it. */
const MAX_SLEEP_MS = 36_525 * 24 * 3600 * 1000;

class FieldReader {
  constructor(
    private readonly body: Fields,
    private readonly errors: FieldError[],
  ) {}

  given(field: string): boolean {
    return (this.body[field] ?? null) !== null;
  }

  name(required: boolean): string | null {
    const name = this.body['name'] ?? null;
    if (name === null && !required) return null;
    if (typeof name === 'string' && name.trim() !== '' && name.length <= 256 && !UNKEPT.test(name)) return name;
    return this.refuse('name', `a string of 1 to 256 characters${required ? ' (required)' : ''}`, null);
  }

  enabled(required: boolean): boolean {
    const enabled = this.body['enabled'] ?? (required ? undefined : false);
    if (typeof enabled === 'boolean') return enabled;
    return this.refuse('enabled', `true or false${required ? ' (required)' : ''}`, false);
  }

  logic(field: string, currentstate = false): Fields {
    const logic = this.body[field];
    if (!isObject(logic)) return this.refuse(field, 'a JsonLogic object (required)', {});
    try {
      compileRuleLogic(logic, field, { currentstate });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.errors.push(...(error.details as FieldError[]));
      return {};
    }
    if (JSON.stringify(logic).length > MAX_LOGIC_LENGTH)
      return this.refuse(field, `at most ${MAX_LOGIC_LENGTH} characters of JSON`, {});
    return logic;
  }

  path(field: string): string {
    const path = this.body[field];
    return typeof path === 'string' && isPath(path) ? path : this.refuse(field, `${PATH_EXPECTED} (required)`, '');
  }

  list(field: string, max: number, expected: string, passes: (each: string) => boolean): string[] {
    const list = this.body[field] ?? [];
    if (!Array.isArray(list) || list.length > max) return this.refuse(field, `a list of at most ${max} items`, []);
    list.forEach((each: unknown, i) => {
      if (typeof each !== 'string' || !passes(each)) this.errors.push({ field: `${field}[${i}]`, expected });
    });
    return list as string[];
  }

  firingType(): FiringType {
    const type = this.body['firingType'];
    if (FIRING_TYPES.includes(type as FiringType)) return type as FiringType;
    return this.refuse('firingType', `one of ${FIRING_TYPES.join(', ')} (required)`, 'ALWAYS');
  }

  sleepDuration(firingType: FiringType): { sleepDuration?: string } {
    const given: unknown = this.body['sleepDuration'] ?? undefined;
    if (firingType !== 'SLEEP')
      return given === undefined ? {} : this.refuse('sleepDuration', 'no duration: it is for SLEEP alone', {});
    const ms = parseDuration(given);
    if (ms !== undefined && ms > 0 && ms <= MAX_SLEEP_MS) return { sleepDuration: given as string };
    return this.refuse(
      'sleepDuration',
      'an ISO 8601 duration above 0 of days, hours, minutes and seconds, such as PT2M (required for SLEEP)',
      {},
    );
  }

  private refuse<Value>(field: string, expected: string, instead: Value): Value {
    this.errors.push({ field, expected });
    return instead;
  }
}
