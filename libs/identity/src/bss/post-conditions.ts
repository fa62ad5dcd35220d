import { isDeepStrictEqual } from 'node:util';
import type { OfferSettings, SectionContents } from '@orrery/core/limits';
import { isObject, type JsonObject } from '../tenants/json-object.js';
import type { PostCondition } from './rule.entity.js';
import { pathOf } from './rule-document.js';

/** A command that does not fit what earlier rules have set; it changes nothing. */
export interface Misfit {
  /** Name of the rule. */
  rule: string;
  /** The parameter, and what was expected there. */
  reason: string;
}

/**
 * Contents of the offer settings that these rules make of nothing, one after the other (manual 21.3). ADD counts a
 * missing parameter as 0, and leaves one that is null as it is: unlimited stays unlimited.
 */
export function contentsOf(rules: ReadonlyArray<{ name: string; postConditions: PostCondition[] }>): {
  contents: SectionContents;
  misfits: Misfit[];
} {
  const contents = new Map<string, JsonObject>();
  const misfits: Misfit[] = [];
  for (const { name, postConditions } of rules)
    for (const condition of postConditions) {
      const reason = command(contents, condition);
      if (reason !== undefined) misfits.push({ rule: name, reason });
    }
  return { contents: Object.fromEntries(contents), misfits };
}

/** @returns why the command cannot be done. */
function command(contents: Map<string, JsonObject>, condition: PostCondition): string | undefined {
  const { settingSection, value, action } = condition;
  const path = pathOf(condition);
  const parameter = path.pop();
  if (parameter === undefined) {
    contents.set(settingSection, structuredClone(value) as JsonObject);
    return undefined;
  }
  const place = `${settingSection}.${condition.settingPath}`;
  let object: JsonObject = contents.get(settingSection) ?? {};
  contents.set(settingSection, object);
  for (const name of path) {
    const member = (object[name] ??= {});
    if (!isObject(member)) return `${place} leads through a value that is no object`;
    object = member;
  }
  if (action === 'SET') {
    object[parameter] = structuredClone(value);
    return undefined;
  }
  const before = Object.hasOwn(object, parameter) ? object[parameter] : 0;
  if (before === null) return undefined;
  if (typeof before !== 'number') return `${place} is no number that something can be added to`;
  const sum = before + (value as number);
  if (!Number.isFinite(sum)) return `${place} would be no finite number`;
  object[parameter] = sum;
  return undefined;
}

/** Settings with these contents: the revision of a section grows with each change of its content (manual 21.2). */
export function revised(before: OfferSettings, contents: SectionContents): OfferSettings {
  return Object.fromEntries(
    Object.entries(contents).map(([section, content]) => {
      const known = Object.hasOwn(before, section) ? before[section] : undefined;
      if (!known) return [section, { content, revision: 1 }];
      return [section, isDeepStrictEqual(known.content, content) ? known : { content, revision: known.revision + 1 }];
    }),
  );
}
