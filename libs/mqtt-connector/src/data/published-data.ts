import { isUtf8 } from 'node:buffer';
import { describeErrors, MAX_VALUE_BYTES, parsePublished, type PublishedMessage } from '@orrery/core/messages';

/** A publication that is no data message: what is wrong, for the audit log. */
export interface BadData {
  problem: string;
}

/** The short keys of manual 6.3.4.2. */
const ALIASES = [
  ['s', 'streamId'],
  ['v', 'value'],
  ['ts', 'timestamp'],
  ['m', 'model'],
  ['t', 'tags'],
] as const;

function expandAliases(input: Record<string, unknown>): void {
  for (const [short, long] of ALIASES)
    if (input[long] === undefined && input[short] !== undefined) input[long] = input[short];
  const short = input['loc'];
  if (short !== undefined && input['location'] === undefined)
    input['location'] = Array.isArray(short) ? { lat: short[0], lon: short[1] } : short;
}

/** What the JSON text of a publication says. */
export function parseJson(payload: Buffer): { input: unknown } | BadData {
  if (!isUtf8(payload)) return { problem: 'expected JSON in UTF-8' };
  try {
    return { input: JSON.parse(payload.toString('utf8')) as unknown };
  } catch (error) {
    return { problem: `expected JSON: ${(error as Error).message}` };
  }
}

/**
 * Reads a JSON data message.
 * @param aliases whether the short keys stand for the long ones, as they do on `dev/data`.
 */
export function readJson(payload: Buffer, aliases: boolean): PublishedMessage | BadData {
  const json = parseJson(payload);
  if ('problem' in json) return json;
  const { input } = json;
  if (aliases && typeof input === 'object' && input !== null) expandAliases(input as Record<string, unknown>);
  const message = parsePublished(input, payload.length);
  return Array.isArray(message) ? { problem: describeErrors(message) } : message;
}

/** Reads a binary publication (manual 6.5.5.2): upper-case hex digits in `value.payload`. */
export function readBinary(payload: Buffer, encoding: string | undefined): PublishedMessage | BadData {
  const digits = payload.toString('hex').toUpperCase();
  if (digits.length + '{"payload":""}'.length > MAX_VALUE_BYTES)
    return { problem: `value: expected at most ${MAX_VALUE_BYTES} bytes of JSON, with two hex digits for each byte` };
  return { value: { payload: digits }, tags: [], metadata: encoding === undefined ? {} : { encoding }, binary: true };
}
