export {
  checkAccessIsStated,
  ForAccounts,
  Key,
  OutsideApi,
  Public,
  Requires,
  requireSection,
  RolesGuard,
} from './authorization.js';
export { ErrorFilter, toApiError } from './error.filter.js';
export { ApiError, ERRORS, invalidParameter, invalidParameters, type ErrorBody, type ErrorCode } from './errors.js';
export * from './paging.js';
export { openApi } from './api-documentation.js';
export { configureServer, fastifyAdapter, type Health } from './server.js';
export { serveHttps } from './https.js';
export { accountMinute, Limited } from './rate-limiting.js';
export { validationPipe } from './validation.pipe.js';
export {
  acceptUpgrades,
  serveWebSockets,
  type WebSocketEndpoint,
  type WebSocketEndpoints,
  type WebSocketRequest,
} from './web-sockets.js';
