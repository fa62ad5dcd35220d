import { LIMITS } from '@orrery/core/limits';
import type { WebhookRules } from '@orrery/core/webhooks';

/** How webhooks of action policies are called (manual 14.3.2 and 23.3). */
export const WEBHOOK_RULES: WebhookRules = {
  ports: [443, 8443, 9243],
  plainHttp: false,
  connectMs: LIMITS.httpPushTimeoutMs.value,
  idleMs: LIMITS.httpPushTimeoutMs.value,
  // What an entry of the audit log can show of it.
  maxAnswerBytes: 4096,
};
