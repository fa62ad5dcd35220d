import { setImmediate } from 'node:timers/promises';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { type Bus, callRpc } from '@orrery/core/bus';
import { ApiError, invalidParameters } from '@orrery/core/http';
import { limitOf } from '@orrery/core/limits';
import { type DataMessage, type FieldError, normalizeTimestamp, type StoredEvent } from '@orrery/core/messages';
import { type ArrivalCursor, type ArrivedPage, readArrived } from './arrived.js';

const DAY_MS = 24 * 3600 * 1000;
const MAX_MESSAGES = 100_000;
const MAX_RESULTS = 1000;
const MAX_MS = 20_000;
const MAX_RUNNING = 4;
/** Longest time that the process does nothing else. */
const MAX_BLOCKED_MS = 20;

/** What is read again, of which at most `limit` results are listed. ISO 8601; from, inclusive, to, exclusive. */
export interface ReplayRange {
  from: string;
  to: string;
  limit: number;
}

/** What a replay has read. */
export interface ReplayEnd {
  messages: number;
  /** False when it has stopped at a bound: it has read what arrived up to `until`. */
  complete: boolean;
  until?: string;
}

/** A message or event as it is stored; events have no metadata. */
export type Stored = DataMessage | StoredEvent['message'];

export const isDataMessage = (stored: Stored): stored is DataMessage => stored.metadata !== null;

/** @throws GENERIC_INVALID_PARAMETER_ERROR that lists every bad field. */
export function parseReplay({ limits }: ApiKeyIdentity, body: unknown): ReplayRange {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw invalidParameters([{ field: '', expected: 'a JSON object' }]);
  const given = body as Record<string, unknown>;
  const errors: FieldError[] = [];
  const instant = (name: string): number => {
    const date = normalizeTimestamp(given[name]);
    if (date === undefined) errors.push({ field: name, expected: 'an ISO 8601 date and time' });
    return date === undefined ? 0 : Date.parse(date);
  };
  const from = instant('from');
  const to = (given['to'] ?? null) === null ? Date.now() : instant('to');
  const limit = given['limit'] ?? 100;
  if (typeof limit !== 'number' || !Number.isInteger(limit) || limit < 1 || limit > MAX_RESULTS)
    errors.push({ field: 'limit', expected: `a whole number from 1 to ${MAX_RESULTS}` });
  if (errors.length === 0 && from > to) errors.push({ field: 'from', expected: 'a date that is not after to' });
  if (errors.length > 0) throw invalidParameters(errors);
  // What the offer no longer shows is not used either.
  const oldest = Date.now() - limitOf(limits, 'dataDays') * DAY_MS;
  return {
    from: new Date(Math.max(from, Math.min(oldest, to))).toISOString(),
    to: new Date(to).toISOString(),
    limit: limit as number,
  };
}

/** Tenants whose messages this process reads again. */
const running = new Set<string>();

/**
 * Reads stored messages and events of a tenant again, in the order of their arrival: at most 100,000, for about 20 s.
 * What it finds and keeps may be large, so that a process does it once for each tenant at a time, and for few tenants.
 * @throws CONFLICT when one of the tenant is running; SERVICE_UNAVAILABLE when too many are; RpcUnavailableError when the
 * store does not answer.
 */
export async function replay(
  bus: Bus,
  tenantId: string,
  range: ReplayRange,
  each: (stored: Stored, text: string) => Promise<void> | void,
): Promise<ReplayEnd> {
  if (running.has(tenantId)) throw new ApiError('CONFLICT', { reason: 'another backtest of this account is running' });
  if (running.size >= MAX_RUNNING) throw new ApiError('SERVICE_UNAVAILABLE');
  running.add(tenantId);
  try {
    return await readAll(bus, tenantId, range, each);
  } finally {
    running.delete(tenantId);
  }
}

async function readAll(
  bus: Bus,
  tenantId: string,
  { from, to }: ReplayRange,
  each: (stored: Stored, text: string) => Promise<void> | void,
): Promise<ReplayEnd> {
  const end = performance.now() + MAX_MS;
  const read = (after?: ArrivalCursor): Promise<ArrivedPage> => {
    const page = callRpc(bus, readArrived, { tenantId, from, to, ...(after ? { after } : {}) }, { timeoutMs: MAX_MS });
    // Perhaps nobody comes back for it.
    page.catch(() => undefined);
    return page;
  };
  let messages = 0;
  let until: string | undefined;
  let began = performance.now();
  let reading = read();
  for (;;) {
    const page = await reading;
    // The next page is read while this one is looked at.
    if (page.next) reading = read(page.next);
    for (const text of page.messages) {
      if (messages === MAX_MESSAGES || performance.now() > end)
        return { messages, complete: false, ...(until === undefined ? {} : { until }) };
      const stored = JSON.parse(text) as Stored;
      await each(stored, text);
      messages++;
      until = stored.created;
      if (performance.now() - began < MAX_BLOCKED_MS) continue;
      await setImmediate();
      began = performance.now();
    }
    if (!page.next) return { messages, complete: true };
    if (page.messages.length === 0) until = page.next.created;
    if (performance.now() > end) return { messages, complete: false, until: until! };
  }
}
