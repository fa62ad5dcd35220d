import type { FieldError } from '../messages/index.js';

/** Headers of a request as tenants configure them: the values of each name. */
export type WebhookHeaders = Record<string, string[]>;

const MAX_NAMES = 50;
/** Of all names and values together, in characters: servers take about 8 KiB. */
const MAX_LENGTH = 8192;

const NAME = /^[!#$%&'*+.^`|~\w-]+$/;
// What HTTP/1.1 can carry: no line breaks, which would begin another header.
const VALUE = /^[\t\x20-\x7e\xa0-\xff]*$/;

// They belong to the connection and to the length of the body, which are the platform's (RFC 9110, 7.6.1).
const RESERVED = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Checks headers that a tenant configures. @returns every mistake. */
export function checkWebhookHeaders(field: string, input: unknown): FieldError[] {
  const expected = 'an object of header names, each with a list of values';
  if (typeof input !== 'object' || input === null || Array.isArray(input)) return [{ field, expected }];
  const headers = Object.entries(input as Record<string, unknown>);
  if (headers.length > MAX_NAMES) return [{ field, expected: `at most ${MAX_NAMES} headers` }];
  const errors: FieldError[] = [];
  let length = 0;
  for (const [name, values] of headers) {
    const path = `${field}.${name.slice(0, 256)}`;
    if (!NAME.test(name)) errors.push({ field: path, expected: 'the name of a header' });
    else if (RESERVED.has(name.toLowerCase()))
      errors.push({ field: path, expected: 'another header: this one is set by the platform' });
    if (!Array.isArray(values) || !values.every((value) => typeof value === 'string' && VALUE.test(value)))
      errors.push({ field: path, expected: 'a list of strings of Latin characters without line breaks' });
    else length += values.reduce((sum, value: string) => sum + name.length + value.length, 0);
  }
  if (length > MAX_LENGTH) errors.push({ field, expected: `at most ${MAX_LENGTH} characters of names and values` });
  return errors;
}

/** Names and values in turn, as they are sent. @param own headers of the platform, which replace those of the same name. */
export function headerList(headers: WebhookHeaders, own: Readonly<Record<string, string>>): string[] {
  const replaced = new Set(Object.keys(own).map((name) => name.toLowerCase()));
  const list: string[] = [];
  for (const [name, values] of Object.entries(headers))
    if (!replaced.has(name.toLowerCase()) && !RESERVED.has(name.toLowerCase()))
      for (const value of values) list.push(name, value);
  for (const [name, value] of Object.entries(own)) list.push(name, value);
  return list;
}
