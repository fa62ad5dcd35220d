import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { BusUnavailableError, MessageTooLargeError, RpcError, RpcUnavailableError } from '../bus/index.js';
import type { Logger } from '../telemetry/index.js';
import { ApiError, type ErrorCode, isErrorCode } from './errors.js';

const BY_STATUS: Record<number, ErrorCode> = {
  400: 'GENERIC_INVALID_PARAMETER_ERROR',
  401: 'UNAUTHORIZED',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  405: 'METHOD_NOT_ALLOWED',
  406: 'NOT_ACCEPTABLE',
  409: 'CONFLICT',
  413: 'PAYLOAD_TOO_LARGE',
  415: 'UNSUPPORTED_MEDIA_TYPE',
  503: 'SERVICE_UNAVAILABLE',
};

/** What a client gets for any failure: errors of the registry only, details of bugs stay in the log. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof RpcError && isErrorCode(error.code)) return new ApiError(error.code, error.details);
  if (error instanceof RpcUnavailableError || error instanceof BusUnavailableError)
    return new ApiError('SERVICE_UNAVAILABLE');
  if (error instanceof MessageTooLargeError) return new ApiError('PAYLOAD_TOO_LARGE', error.message);
  const status = error instanceof HttpException ? error.getStatus() : (error as { statusCode?: unknown }).statusCode;
  const code = typeof status === 'number' ? BY_STATUS[status] : undefined;
  if (!code) return new ApiError('INTERNAL_SERVER_ERROR');
  return new ApiError(code, status === 400 && error instanceof Error ? error.message : undefined);
}

@Catch()
export class ErrorFilter implements ExceptionFilter {
  constructor(private readonly logger: Logger) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const apiError = toApiError(error);
    const body = apiError.toBody();
    if (apiError.status >= 500)
      this.logger.error({ errorId: body.id, url: http.getRequest<FastifyRequest>().url, error }, 'a request failed');
    void http
      .getResponse<FastifyReply>()
      .status(apiError.status)
      .header('content-type', 'application/json; charset=utf-8')
      .send(body);
  }
}
