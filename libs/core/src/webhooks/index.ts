export { checkWebhookHeaders, type WebhookHeaders } from './headers.js';
export {
  type UrlProblem,
  type WebhookAnswer,
  WebhookError,
  type WebhookRequest,
  type WebhookRules,
  Webhooks,
} from './webhooks.js';
