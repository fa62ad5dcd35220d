import { invalidParameter } from '@orrery/core/http';
import { isText } from './text.js';

/** Query of a list as Fastify parses it: repeated parameters are an array. */
export type ListQuery = Record<string, string | string[] | undefined>;

/** @throws ApiError 400 for characters that PostgreSQL cannot even compare. */
export function checkQuery(query: ListQuery): void {
  for (const [name, value] of Object.entries(query))
    if (`${name}${String(value)}`.includes('\0')) throw invalidParameter(name.replaceAll('\0', ''), 'no NUL character');
}

/** Value of a parameter that may be given once. @throws ApiError 400 */
export function single(query: ListQuery, name: string): string | undefined {
  const value = query[name];
  if (Array.isArray(value)) throw invalidParameter(name, 'one value');
  return value;
}

/** Values of a parameter that is comma separated, repeated, or a JSON array of strings. */
export function several(query: ListQuery, name: string): string[] {
  const value = query[name];
  if (value === undefined) return [];
  return [value].flat().flatMap((text) => {
    if (text.startsWith('[')) {
      const parsed = parseArray(text);
      if (!parsed) throw invalidParameter(name, 'values separated by commas, or a JSON array of strings');
      return parsed;
    }
    return text.split(',').filter((each) => each !== '');
  });
}

function parseArray(text: string): string[] | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    return Array.isArray(parsed) && parsed.every((each) => isText(each, 0, Infinity)) ? parsed : undefined;
  } catch {
    return undefined;
  }
}
