import {
  applyDecorators,
  type CanActivate,
  createParamDecorator,
  type ExecutionContext,
  Injectable,
  SetMetadata,
  type Type,
} from '@nestjs/common';
import { PATH_METADATA } from '@nestjs/common/constants.js';
import { Reflector } from '@nestjs/core';
import { RouteConfig } from '@nestjs/platform-fastify';
import { ApiExtension, ApiSecurity } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import type { AccountType, ApiKeyIdentity, ApiKeys, Role } from '../auth/index.js';
import { ApiError } from './errors.js';

const ROLES_KEY = 'orrery.roles';
const ACCOUNTS_KEY = 'orrery.accounts';
const PUBLIC_KEY = 'orrery.public';

declare module 'fastify' {
  interface FastifyRequest {
    apiKey?: ApiKeyIdentity;
  }
  interface FastifyContextConfig {
    /** The operation is for those who have no key yet. */
    public?: boolean;
    /** See `OutsideApi`. */
    outsideApi?: { keyField?: string };
  }
}

/** The role an operation needs; none means any valid key. Shown in the OpenAPI document as `x-roles`. */
export const Requires = (...roles: Role[]): MethodDecorator & ClassDecorator =>
  applyDecorators(
    SetMetadata(ROLES_KEY, roles),
    ApiSecurity('apiKey'),
    ApiExtension('x-roles', roles),
  ) as MethodDecorator & ClassDecorator;

/** The operation is for accounts of these types only (manual 21.1). Shown as `x-account-types`. */
export const ForAccounts = (...types: AccountType[]): MethodDecorator & ClassDecorator =>
  applyDecorators(SetMetadata(ACCOUNTS_KEY, types), ApiExtension('x-account-types', types)) as MethodDecorator &
    ClassDecorator;

/** The operation needs no key, such as a login. Shown as `x-public`. */
export const Public = (): MethodDecorator =>
  applyDecorators(SetMetadata(PUBLIC_KEY, true), RouteConfig({ public: true }), ApiExtension('x-public', true));

/**
 * The operation is one of the REST API although its path does not begin with `/api/`: it is authenticated and limited
 * like all others.
 * @param options.keyField member of the body that may hold the API key in place of the header
 */
export const OutsideApi = (options: { keyField?: string } = {}): MethodDecorator =>
  RouteConfig({ outsideApi: options });

/**
 * An operation that says neither who may use it nor that it is public would be closed to everybody: that is a mistake of
 * whoever wrote it, found at the start. @throws Error that names it
 */
export function checkAccessIsStated(controllers: ReadonlyArray<Type<object>>): void {
  const reflector = new Reflector();
  for (const controller of controllers) {
    const prototype = controller.prototype as Record<string, unknown>;
    for (const name of Object.getOwnPropertyNames(prototype)) {
      const handler = prototype[name];
      if (name === 'constructor' || typeof handler !== 'function') continue;
      if (Reflect.getMetadata(PATH_METADATA, handler) === undefined) continue;
      const stated = [ROLES_KEY, PUBLIC_KEY].some(
        (key) => reflector.getAllAndOverride<unknown>(key, [handler, controller]) !== undefined,
      );
      if (!stated) throw new Error(`${controller.name}.${name} states neither the roles that it requires nor Public`);
    }
  }
}

/** The key of the request. */
export const Key = createParamDecorator(
  (_: unknown, context: ExecutionContext): ApiKeyIdentity =>
    context.switchToHttp().getRequest<FastifyRequest>().apiKey!,
);

/** A body that could not be parsed: reported after the role has been checked (API-014). */
export class UnreadableBody {
  constructor(readonly reason: string) {}
}

/** The key in the body of an operation that takes it there. */
export function keyInBody({ body, routeOptions }: FastifyRequest): unknown {
  const { keyField } = routeOptions.config.outsideApi ?? {};
  return keyField !== undefined && typeof body === 'object' && body !== null
    ? (body as Record<string, unknown>)[keyField]
    : undefined;
}

/**
 * Finds the key of a request, before its body is read unless the key is there (manual 16.1.4 and 4.3).
 * @throws ApiError 401 or 403
 */
export async function authenticate(
  apiKeys: ApiKeys,
  request: FastifyRequest,
  value: unknown = request.headers['x-api-key'],
): Promise<void> {
  if (typeof value !== 'string' || value === '') throw new ApiError('FORBIDDEN', 'the header X-API-Key is missing');
  const { state, key, hash } = await apiKeys.find(value);
  if (state === 'unknown') throw new ApiError('FORBIDDEN', 'unknown API key');
  if (state === 'invalid') throw new ApiError('UNAUTHORIZED');
  // A key restricted to FIFOs can be used over MQTT only (manual 4.3).
  if (key!.fifos.length > 0) throw new ApiError('FORBIDDEN', 'this API key is restricted to FIFOs');
  await apiKeys.extend(hash, key!);
  request.apiKey = key!;
}

/** Refuses what belongs to a section of the offer that is switched off (manual 21.2). @throws ApiError 403 */
export function requireSection(key: ApiKeyIdentity, section: string): void {
  if (key.disabledSections.includes(section)) throw new ApiError('GENERIC_OFFER_DISABLED_ERROR', { section });
}

/** Lets a request pass that holds the operation's roles. An operation that states neither roles nor `Public` is closed. */
@Injectable()
export class RolesGuard implements CanActivate {
  private readonly reflector = new Reflector();

  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    if (!this.stated<boolean>(context, PUBLIC_KEY)) this.checkKey(context, request.apiKey);
    if (request.body instanceof UnreadableBody)
      throw new ApiError('GENERIC_INVALID_PARAMETER_ERROR', [
        { field: 'body', expected: `JSON (${request.body.reason})` },
      ]);
    return true;
  }

  private checkKey(context: ExecutionContext, apiKey: ApiKeyIdentity | undefined): void {
    const roles = this.stated<Role[]>(context, ROLES_KEY);
    if (!roles || !apiKey) throw new ApiError('FORBIDDEN');
    const accounts = this.stated<AccountType[]>(context, ACCOUNTS_KEY);
    if (accounts && !accounts.includes(apiKey.accountType))
      throw new ApiError('GENERIC_ACTION_FORBIDDEN_ERROR', { accountTypes: accounts });
    if (!roles.every((role) => apiKey.roles.includes(role)))
      throw new ApiError('GENERIC_ACTION_FORBIDDEN_ERROR', {
        missing: roles.filter((role) => !apiKey.roles.includes(role)),
      });
  }

  private stated<Value>(context: ExecutionContext, name: string): Value | undefined {
    return this.reflector.getAllAndOverride<Value | undefined>(name, [context.getHandler(), context.getClass()]);
  }
}
