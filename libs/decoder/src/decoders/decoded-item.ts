import { checkNames, describeErrors, normalizeTimestamp } from '@orrery/core/messages';
import { type DecodedFields, DecodingError } from '../decoding.js';
import { Output } from '../templates/output.js';
import type { CompiledDecoder } from './compiled-decoder.js';

/** What a decoder makes of a payload; a split decoder makes several (manual 11.3.5.1). */
export interface DecodedItem {
  fields: DecodedFields;
  /** ISO 8601, UTC, milliseconds; that of the message when absent. */
  timestamp?: string;
}

/** Most messages that a split decoder makes of one: as many as a bulk has. */
export const MAX_ITEMS = 1000;

const isObject = (value: unknown): value is DecodedFields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What a script returned, checked. @throws DecodingError */
export function itemsOf({ kind, template }: CompiledDecoder, result: unknown): DecodedItem[] {
  if (kind === 'javascript') {
    if (!isObject(result)) throw new DecodingError('decode returned no object');
    return [{ fields: checked(template ? template.render(result) : result) }];
  }
  if (!Array.isArray(result) || result.length === 0 || result.length > MAX_ITEMS)
    throw new DecodingError(`decode returned no array of 1 to ${MAX_ITEMS} items`);
  const output = new Output();
  return result.map((item: unknown, rank) => {
    const { value, timestamp } = isObject(item) ? item : {};
    if (!isObject(value)) throw new DecodingError(`item ${rank} has no object as value`);
    const fields = checked(template ? template.render(value, output) : value);
    if ((timestamp ?? undefined) === undefined) return { fields };
    const normalized = normalizeTimestamp(timestamp);
    if (normalized === undefined) throw new DecodingError(`the timestamp of item ${rank} is no ISO 8601 date and time`);
    return { fields, timestamp: normalized };
  });
}

// What no message may hold (manual 15.2.1). Formats and columns cannot make such names.
function checked(fields: DecodedFields): DecodedFields {
  const error = checkNames(fields);
  if (error) throw new DecodingError(describeErrors([error]));
  return fields;
}
