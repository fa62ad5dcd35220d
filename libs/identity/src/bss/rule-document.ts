import { invalidParameters } from '@orrery/core/http';
import { compileLogic } from '@orrery/core/json-logic';
import type { FieldError } from '@orrery/core/messages';
import { checkJson, isObject, isSettingName, isTitle, type JsonObject } from '../tenants/json-object.js';
import { type PostCondition, type PreCondition, RULE_TYPES, type Rule, type RuleType } from './rule.entity.js';

export type RuleDocument = Pick<
  Rule,
  'name' | 'displayName' | 'type' | 'disabled' | 'tags' | 'preConditions' | 'postConditions'
>;

const MAX_CONDITIONS = 200;
const MAX_TAGS = 50;

/** Names of the objects on the way to a parameter. */
export const pathOf = ({ settingPath }: PostCondition): string[] =>
  settingPath === undefined ? [] : settingPath.split('.');

/**
 * Reads a rule as an administrator writes it. Members that are null count as absent.
 * @throws ApiError 400 that lists every bad field.
 */
export function parseRule(body: unknown): RuleDocument {
  if (!isObject(body)) throw invalidParameters([{ field: 'body', expected: 'a JSON object' }]);
  checkJson(body, 'body');
  const errors: FieldError[] = [];
  const name = body['name'];
  if (!isTitle(name)) errors.push({ field: 'name', expected: 'a unique text of 1 to 256 characters' });
  const displayName = body['displayName'];
  if (!isTitle(displayName))
    errors.push({ field: 'displayName', expected: 'a text of 1 to 256 characters, shared by all versions' });
  const type = body['type'] as RuleType;
  if (!RULE_TYPES.includes(type)) errors.push({ field: 'type', expected: `one of ${RULE_TYPES.join(', ')}` });
  const disabled = body['disabled'] ?? false;
  if (typeof disabled !== 'boolean') errors.push({ field: 'disabled', expected: 'true or false' });
  const tags = body['tags'] ?? [];
  if (!Array.isArray(tags) || tags.length > MAX_TAGS || !tags.every((tag) => isTitle(tag)))
    errors.push({ field: 'tags', expected: `at most ${MAX_TAGS} texts of 1 to 256 characters` });
  const preConditions = list(body, 'preConditions', errors).map((each, i) => {
    const field = `preConditions.${i}.tenantContextLogic`;
    const logic = each['tenantContextLogic'];
    if (logic === undefined || logic === null) errors.push({ field, expected: 'a JsonLogic expression' });
    // Refuses what it cannot compile.
    else compileLogic(logic, { field });
    return { tenantContextLogic: logic } satisfies PreCondition;
  });
  const postConditions = list(body, 'offerSettingsPostConditions', errors).map((each, i) =>
    postCondition(each, `offerSettingsPostConditions.${i}`, errors),
  );
  if (errors.length > 0) throw invalidParameters(errors);
  return {
    name: name as string,
    displayName: displayName as string,
    type,
    disabled: disabled as boolean,
    tags: tags as string[],
    preConditions,
    postConditions,
  };
}

function list(body: JsonObject, field: string, errors: FieldError[]): JsonObject[] {
  const value = body[field] ?? [];
  if (Array.isArray(value) && value.length <= MAX_CONDITIONS && value.every(isObject)) return value;
  errors.push({ field, expected: `a list of at most ${MAX_CONDITIONS} objects` });
  return [];
}

function postCondition(each: JsonObject, field: string, errors: FieldError[]): PostCondition {
  const { settingSection, value, action } = each;
  const settingPath = each['settingPath'] ?? undefined;
  if (!isSettingName(settingSection))
    errors.push({ field: `${field}.settingSection`, expected: 'the name of a section' });
  const names = typeof settingPath === 'string' ? settingPath.split('.') : [];
  if (settingPath !== undefined && (names.length === 0 || names.length > 10 || !names.every(isSettingName)))
    errors.push({ field: `${field}.settingPath`, expected: 'at most 10 names of parameters, separated by dots' });
  if (action === 'SET') {
    if (value === undefined) errors.push({ field: `${field}.value`, expected: 'the value to be set' });
    else if (settingPath === undefined && !isObject(value))
      errors.push({ field: `${field}.value`, expected: 'an object, the content of the section' });
  } else if (action === 'ADD') {
    if (settingPath === undefined)
      errors.push({ field: `${field}.settingPath`, expected: 'the parameter that the value is added to' });
    if (typeof value !== 'number') errors.push({ field: `${field}.value`, expected: 'a number' });
  } else errors.push({ field: `${field}.action`, expected: 'SET or ADD' });
  return {
    settingSection: settingSection as string,
    ...(settingPath === undefined ? {} : { settingPath: settingPath as string }),
    value,
    action: action as PostCondition['action'],
  };
}
