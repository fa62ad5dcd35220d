import { applyDecorators } from '@nestjs/common';
import { ApiHeader, ApiQuery } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { invalidParameters } from './errors.js';

const DEFAULT_SIZE = 20;
const MAX_SIZE = 1000;

type Query = Record<string, unknown>;

/** Page of a v0 list (manual 16.1.5.1). */
export interface PageV0<Item> {
  totalCount: number;
  size: number;
  page: number;
  data: Item[];
}

const whole = (value: unknown): number | undefined =>
  typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : undefined;

/** v0: an unusable size or page is replaced, and the value used is echoed. */
export function pagingV0(query: Query): { size: number; page: number } {
  const size = whole(query['size']);
  return {
    size: size === undefined || size < 1 ? DEFAULT_SIZE : Math.min(size, MAX_SIZE),
    page: whole(query['page']) ?? 0,
  };
}

export const pageV0 = <Item>(
  paging: { size: number; page: number },
  totalCount: number,
  data: Item[],
): PageV0<Item> => ({ totalCount, ...paging, data });

/** v1: a limit above 1000 is applied as 1000; anything that is no whole number is a 400 (manual 16.1.5.2). */
export function pagingV1(query: Query): { limit: number; offset: number } {
  const errors = (['limit', 'offset'] as const)
    .filter((name) => query[name] !== undefined && whole(query[name]) === undefined)
    .map((field) => ({ field, expected: 'a whole number from 0' }));
  if (errors.length > 0) throw invalidParameters(errors);
  return { limit: Math.min(whole(query['limit']) ?? DEFAULT_SIZE, MAX_SIZE), offset: whole(query['offset']) ?? 0 };
}

/** True when the client asked for the total count. */
export const wantsTotal = (request: FastifyRequest): boolean => request.headers['x-total-count'] === 'true';

/** Sets the headers of a v1 list and returns its items. */
export function pageV1<Item>(reply: FastifyReply, limit: number, items: Item[], total?: number): Item[] {
  void reply.header('X-Result-Count', items.length).header('X-Result-Limit', limit);
  if (total !== undefined) void reply.header('X-Total-Count', total);
  return items;
}

export const ApiPagingV0 = (): MethodDecorator =>
  applyDecorators(
    ApiQuery({ name: 'size', required: false, type: Number }),
    ApiQuery({ name: 'page', required: false, type: Number }),
  );

export const ApiPagingV1 = (): MethodDecorator =>
  applyDecorators(
    ApiQuery({ name: 'limit', required: false, type: Number }),
    ApiQuery({ name: 'offset', required: false, type: Number }),
    ApiHeader({ name: 'X-Total-Count', required: false, description: '`true` adds the total count to the answer' }),
  );
