import { RouteConfig } from '@nestjs/platform-fastify';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type LimitName, limitOf, type Place, type Rate, type RateLimits } from '../limits/index.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
/** When a request ends nobody knows; most are short. */
const PLACE_RETRY_SECONDS = 1;

/** What an operation is limited by, besides what limits every request. */
interface OperationLimits {
  /** How many run at once in an account; reads have `httpConcurrentReads` unless told otherwise. */
  concurrent?: LimitName;
  /** Points of the account in a minute. */
  perMinute?: LimitName;
  /** What a request adds to them, 1 unless told otherwise; 0 when the operation counts by itself. */
  points?: number;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    limits?: OperationLimits;
  }
}

/** Limits an operation further (manual 23.3): beyond, 429 with an empty body. */
export const Limited = (limits: OperationLimits): MethodDecorator => RouteConfig({ limits });

/** The window of a minute that all requests of an account share. Its name is that of the limit. */
export const accountMinute = (tenantId: string, name: LimitName, limit: number, points: number): Rate => ({
  name,
  key: tenantId,
  windowMs: MINUTE_MS,
  limit,
  points,
});

/**
 * Counts the request of a usable key and sets the X-RateLimit headers; what the offer does not limit costs nothing.
 * @returns false when it has answered 429 (manual 23.1).
 */
export async function limitRate(
  rateLimits: RateLimits,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<boolean> {
  if (!request.apiKey) return true;
  const { id, tenantId, limits } = request.apiKey;
  const { concurrent, perMinute, points = 1 } = request.routeOptions.config.limits ?? {};
  const rates: Rate[] = [];
  const limited = (name: LimitName): number | undefined => {
    const limit = limitOf(limits, name);
    return Number.isFinite(limit) ? limit : undefined;
  };

  const perKey = limited('httpPerKeyMinute');
  if (perKey !== undefined)
    rates.push({ name: 'httpPerKeyMinute', key: `${tenantId}:${id}`, windowMs: MINUTE_MS, limit: perKey });
  const perAccount = limited('httpPerAccountHour');
  if (perAccount !== undefined)
    rates.push({ name: 'httpPerAccountHour', key: tenantId, windowMs: HOUR_MS, limit: perAccount });
  const ofOperation = perMinute && limited(perMinute);
  if (ofOperation !== undefined) rates.push(accountMinute(tenantId, perMinute!, ofOperation, points));
  const placeName = concurrent ?? (isRead(request) ? 'httpConcurrentReads' : undefined);
  const places = placeName && limited(placeName);
  if (rates.length === 0 && places === undefined) return true;

  const place = places === undefined ? undefined : { name: placeName!, key: tenantId, limit: places };
  const { windows, refused } = await (place
    ? passUntilClosed(rateLimits, rates, place, reply)
    : rateLimits.pass(rates, place));
  // The window that refused, else the key's, or the account's where keys are not limited.
  const shown = typeof refused === 'number' ? refused : perKey === undefined && perAccount === undefined ? -1 : 0;
  const [window, rate] = [windows[shown], rates[shown]];
  if (window && rate)
    void reply
      .header('X-RateLimit-Limit', rate.limit)
      .header('X-RateLimit-Remaining', Math.max(0, rate.limit - window.count))
      .header('X-RateLimit-Reset', window.reset);
  if (refused === undefined) return true;
  const seconds =
    refused === 'place' ? PLACE_RETRY_SECONDS : Math.max(1, Math.ceil((window!.reset - Date.now()) / 1000));
  await reply.status(429).header('Retry-After', seconds).send();
  return false;
}

const isRead = ({ method }: FastifyRequest): boolean => method === 'GET' || method === 'HEAD';

/** Holds the place until the answer has been sent or the client has gone. */
async function passUntilClosed(
  rateLimits: RateLimits,
  rates: Rate[],
  place: Place,
  { raw }: FastifyReply,
): ReturnType<RateLimits['pass']> {
  let held = false;
  raw.once('close', () => held && rateLimits.release(place));
  const passage = await rateLimits.pass(rates, place);
  if (passage.refused === undefined) {
    if (raw.closed) rateLimits.release(place);
    else held = true;
  }
  return passage;
}
