import {
  applyDecorators,
  type CanActivate,
  createParamDecorator,
  type ExecutionContext,
  Injectable,
  SetMetadata,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { ApiExtension, ApiSecurity } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import type { ApiKeyIdentity, ApiKeys, Role } from '../auth/index.js';
import { ApiError } from './errors.js';

const ROLES_KEY = 'orrery.roles';

declare module 'fastify' {
  interface FastifyRequest {
    apiKey?: ApiKeyIdentity;
  }
}

/** The role an operation needs; none means any valid key. Shown in the OpenAPI document as `x-roles`. */
export const Requires = (...roles: Role[]): MethodDecorator & ClassDecorator =>
  applyDecorators(
    SetMetadata(ROLES_KEY, roles),
    ApiSecurity('apiKey'),
    ApiExtension('x-roles', roles),
  ) as MethodDecorator & ClassDecorator;

/** The key of the request. */
export const Key = createParamDecorator(
  (_: unknown, context: ExecutionContext): ApiKeyIdentity =>
    context.switchToHttp().getRequest<FastifyRequest>().apiKey!,
);

/** A body that could not be parsed: reported after the role has been checked (API-014). */
export class UnreadableBody {
  constructor(readonly reason: string) {}
}

/** Finds the key of a request before its body is read (manual 16.1.4 and 4.3). @throws ApiError 401 or 403 */
export async function authenticate(apiKeys: ApiKeys, request: FastifyRequest): Promise<void> {
  const value = request.headers['x-api-key'];
  if (typeof value !== 'string' || value === '') throw new ApiError('FORBIDDEN', 'the header X-API-Key is missing');
  const { state, key } = await apiKeys.find(value);
  if (state === 'unknown') throw new ApiError('FORBIDDEN', 'unknown API key');
  if (state === 'invalid') throw new ApiError('UNAUTHORIZED');
  // A key restricted to FIFOs can be used over MQTT only (manual 4.3).
  if (key!.fifos.length > 0) throw new ApiError('FORBIDDEN', 'this API key is restricted to FIFOs');
  request.apiKey = key!;
}

/** Lets a request pass that holds the operation's roles. An operation that states none is closed. */
@Injectable()
export class RolesGuard implements CanActivate {
  private readonly reflector = new Reflector();

  canActivate(context: ExecutionContext): boolean {
    const roles = this.reflector.getAllAndOverride<Role[] | undefined>(ROLES_KEY, [
      context.getHandler(),
      context.getClass(),
    ]);
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const { apiKey } = request;
    if (!roles || !apiKey) throw new ApiError('FORBIDDEN');
    if (!roles.every((role) => apiKey.roles.includes(role)))
      throw new ApiError('GENERIC_ACTION_FORBIDDEN_ERROR', {
        missing: roles.filter((role) => !apiKey.roles.includes(role)),
      });
    if (request.body instanceof UnreadableBody)
      throw new ApiError('GENERIC_INVALID_PARAMETER_ERROR', [
        { field: 'body', expected: `JSON (${request.body.reason})` },
      ]);
    return true;
  }
}
