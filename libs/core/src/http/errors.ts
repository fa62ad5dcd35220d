import { randomUUID } from 'node:crypto';
import type { FieldError } from '../messages/index.js';

/** Every error of the REST API: code, HTTP status, message. `docs/reference/errors.md` is generated from it. */
export const ERRORS = {
  GENERIC_INVALID_PARAMETER_ERROR: { status: 400, message: 'The submitted parameter is invalid.' },
  UNAUTHORIZED: { status: 401, message: 'Authentication failure.' },
  FORBIDDEN: { status: 403, message: 'Forbidden request' },
  GENERIC_ACTION_FORBIDDEN_ERROR: {
    status: 403,
    message: 'You do not have the required permissions to execute this action.',
  },
  GENERIC_OFFER_DISABLED_ERROR: {
    status: 403,
    message: 'The requested service is disabled in your offer settings. Please contact a sales representative.',
  },
  // Of the two lists of LoRa alone (manual 5.5.1.4.5).
  '4030': { status: 403, message: 'Service is disabled. Please contact your sales entry point.' },
  GENERIC_QUOTA_EXCEEDED_ERROR: { status: 403, message: 'A quota of your offer is exceeded.' },
  DM_GROUP_UNDELETABLE: { status: 403, message: 'Group can’t be deleted: contains devices or sub-groups' },
  NOT_FOUND: { status: 404, message: 'Not found' },
  DM_DEVICE_NOT_FOUND: { status: 404, message: 'Device not found' },
  DM_INTERFACE_NOT_FOUND: { status: 404, message: 'Interface not found' },
  DM_CONNECTOR_UNAVAILABLE: { status: 404, message: 'Connector not found or unavailable' },
  DM_GROUP_NOT_FOUND: { status: 404, message: 'Group not found' },
  METHOD_NOT_ALLOWED: { status: 405, message: 'Method not allowed' },
  NOT_ACCEPTABLE: { status: 406, message: 'Only application/json is available' },
  CONFLICT: { status: 409, message: 'Conflict' },
  DM_DEVICE_DUPLICATE: { status: 409, message: 'Conflict on device id' },
  DM_GROUP_DUPLICATE: { status: 409, message: 'Conflict on group path' },
  DM_INTERFACE_DUPLICATE: { status: 409, message: 'Interface already exists. Conflict on (connector/nodeId)' },
  PAYLOAD_TOO_LARGE: { status: 413, message: 'The request body is too large' },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, message: 'Only application/json is supported' },
  INTERNAL_SERVER_ERROR: { status: 500, message: 'Internal error' },
  SERVICE_UNAVAILABLE: { status: 503, message: 'The service is not available for the moment, try again later' },
} as const;

export type ErrorCode = keyof typeof ERRORS;

export interface ErrorBody {
  /** Unique per error: quoted to the support, it finds the log line. */
  id: string;
  code: ErrorCode;
  message: string;
  details?: unknown;
}

/** An error that a client gets as it is. Its code is also what another service sees over RPC. */
export class ApiError extends Error {
  constructor(
    readonly code: ErrorCode,
    readonly details?: unknown,
  ) {
    super(ERRORS[code].message);
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  toBody(): ErrorBody {
    return {
      id: randomUUID(),
      code: this.code,
      message: this.message,
      ...(this.details === undefined ? {} : { details: this.details }),
    };
  }
}

/** 400 that names each bad field and what was expected. */
export const invalidParameters = (errors: readonly FieldError[]): ApiError =>
  new ApiError('GENERIC_INVALID_PARAMETER_ERROR', errors);

export const invalidParameter = (field: string, expected: string): ApiError => invalidParameters([{ field, expected }]);

export const isErrorCode = (code: string): code is ErrorCode => code in ERRORS;
