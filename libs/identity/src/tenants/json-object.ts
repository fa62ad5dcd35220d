import { invalidParameter } from '@orrery/core/http';

/** Most bytes of JSON, and levels, of one section of settings, or of one rule. */
const MAX_BYTES = 65_536;
const MAX_LEVELS = 50;

export type JsonObject = Record<string, unknown>;

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Names that mean something else than a field to JavaScript. */
const RESERVED = ['__proto__', 'constructor', 'prototype'];
// What PostgreSQL keeps in no jsonb.
const UNSTORABLE = /[\0\p{Surrogate}]/u;

/** True for the name of a section, or of a parameter in one. */
export const isSettingName = (name: unknown): name is string =>
  typeof name === 'string' &&
  name.length > 0 &&
  name.length <= 128 &&
  !RESERVED.includes(name) &&
  !UNSTORABLE.test(name);

/** A text for people: names, tags. */
export const isTitle = (value: unknown, max = 256): value is string =>
  typeof value === 'string' && value.trim() !== '' && value.length <= max && !/[\p{Cc}\p{Surrogate}]/u.test(value);

/** Checks that JSON can be stored as it is, and merged into settings. @throws ApiError 400 */
export function checkJson(value: unknown, field: string): void {
  // Level by level: the input decides the depth.
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_LEVELS) throw invalidParameter(field, `at most ${MAX_LEVELS} levels`);
    const below: unknown[] = [];
    for (const each of level) {
      if (typeof each === 'string' && UNSTORABLE.test(each))
        throw invalidParameter(field, 'texts without NUL and lone surrogates');
      if (typeof each === 'number' && !Number.isFinite(each)) throw invalidParameter(field, 'numbers that are finite');
      if (Array.isArray(each)) for (const element of each) below.push(element);
      else if (isObject(each))
        for (const [name, member] of Object.entries(each)) {
          if (RESERVED.includes(name) || UNSTORABLE.test(name))
            throw invalidParameter(field, `names without NUL and lone surrogates, and none of ${RESERVED.join(', ')}`);
          below.push(member);
        }
    }
    level = below;
  }
  if (Buffer.byteLength(JSON.stringify(value) ?? '') > MAX_BYTES)
    throw invalidParameter(field, `at most ${MAX_BYTES} bytes of JSON`);
}
