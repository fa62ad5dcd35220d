import { invalidParameters } from '@orrery/core/http';
import { type FieldError, normalizeTimestamp } from '@orrery/core/messages';

/** What is searched for. */
export interface MessagesQuery {
  limit: number;
  offset: number;
  ascending: boolean;
  /** ISO 8601, inclusive. */
  from?: string;
  to?: string;
  /** Path of a field, its names separated by dots, and the value it must have. */
  fields: Array<[path: string, value: string]>;
  /** Texts that must each occur in some field. */
  texts: string[];
}

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;
/** Deepest message that can be read by offset. */
const MAX_DEPTH = 10_000;

const FIELDS = [
  'id',
  'timestamp',
  'level',
  'category',
  'subcategory',
  'type',
  'description',
  'detailedDescription',
  'source',
  'content',
];

/** @throws ApiError that lists every bad parameter. */
export function parseMessagesQuery(query: Record<string, unknown>): MessagesQuery {
  const errors: FieldError[] = [];
  const { '@any': any = [], limit, offset, sort, from, to, ...filters } = query;

  const whole = (field: string, value: unknown, fallback: number, max: number): number => {
    if (value === undefined) return fallback;
    const number = typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
    if (number <= max) return number;
    errors.push({ field, expected: `a whole number from 0 to ${max}` });
    return fallback;
  };
  const instant = (field: string, value: unknown): string | undefined => {
    if (value === undefined) return undefined;
    const normalized = normalizeTimestamp(value);
    if (normalized === undefined) errors.push({ field, expected: 'an ISO 8601 date and time' });
    return normalized;
  };

  const parsed: MessagesQuery = {
    limit: whole('limit', limit, DEFAULT_LIMIT, MAX_LIMIT),
    offset: whole('offset', offset, 0, MAX_DEPTH),
    ascending: sort === 'asc',
    fields: [],
    texts: [any].flat() as string[],
  };
  if (parsed.offset + parsed.limit > MAX_DEPTH)
    errors.push({ field: 'offset', expected: `at most ${MAX_DEPTH} together with limit` });
  if (sort !== undefined && sort !== 'asc' && sort !== 'desc') errors.push({ field: 'sort', expected: 'asc or desc' });
  const earliest = instant('from', from);
  const latest = instant('to', to);
  if (earliest !== undefined) parsed.from = earliest;
  if (latest !== undefined) parsed.to = latest;
  for (const [field, value] of Object.entries(filters))
    if (!FIELDS.includes(field.split('.')[0]!)) errors.push({ field, expected: `a field: ${FIELDS.join(', ')}` });
    else if (typeof value !== 'string') errors.push({ field, expected: 'one value' });
    else parsed.fields.push([field, value]);
  if (errors.length > 0) throw invalidParameters(errors);
  return parsed;
}
