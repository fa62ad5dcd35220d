import type { AuditEntry } from '@orrery/core/audit';
import {
  type WebhookAnswer,
  WebhookError,
  type WebhookHeaders,
  type WebhookRules,
  type Webhooks,
} from '@orrery/core/webhooks';
import { eventHubsUrl, sharedAccessSignature } from '../actions/event-hubs.js';
import type { PreparedAction } from '../actions/prepared-action.js';
import { UnrenderableError } from '../actions/prepared-action.js';
import { WEBHOOK_RULES } from '../actions/webhook-rules.js';
import type { Delivery } from './delivery-queue.js';
import type { Attempt, Attempted, AttemptResult } from './outcome.js';
import { retryAfter } from './retries.js';

interface Push {
  url: string;
  rules: WebhookRules;
  /** As the tenant gave them. */
  headers: WebhookHeaders;
  /** Of the platform. */
  ownHeaders: Record<string, string>;
  retryOnFailure: boolean;
  subcategory: 'http' | 'azure';
}

/** Characters of bodies in the audit log. */
const MAX_SHOWN = 16_384;

/** Headers whose values are no credentials; those of others are not shown. */
const HARMLESS = new Set(['accept', 'accept-language', 'content-type', 'user-agent']);

/** Posts to webhooks and Event Hubs (manual 14.3.2 and 14.3.4). */
export function pushing(webhooks: Webhooks): Attempt {
  return async (delivery, action, signal) => {
    const push = pushOf(webhooks, action);
    let body: string;
    try {
      body = action.text(delivery.body);
    } catch (error) {
      if (!(error instanceof UnrenderableError)) throw error;
      return failure(delivery, push, 'invalid', { errorMessage: error.message });
    }
    const ownHeaders = {
      ...push.ownHeaders,
      'content-type': isJsonObject(body) ? 'application/json' : 'text/plain',
      'x-orange-lo-policy-id': delivery.policyId!,
      'x-orange-lo-message-id': delivery.messageId,
      ...(delivery.traceparent === undefined ? {} : { traceparent: delivery.traceparent }),
    };
    let answer: WebhookAnswer;
    try {
      answer = await webhooks.post(push.url, { ...push.rules, headers: push.headers, ownHeaders, body, signal });
    } catch (error) {
      if (!(error instanceof WebhookError)) throw error;
      const { reason } = error;
      if (reason === 'aborted') return { again: { ms: 0, attempt: delivery.attempt }, result: reason };
      const again = reason === 'timeout' || reason === 'connection';
      return failure(delivery, push, reason, { body, errorMessage: error.message }, again);
    }
    const { status } = answer;
    if (status >= 200 && status < 300) return { succeeded: true, status, told: `HTTP ${status}`, result: 'success' };
    const failed = { body, errorMessage: `the server answered ${status}`, answer };
    const mayRecover = status >= 500;
    return { ...failure(delivery, push, mayRecover ? 'server_error' : 'client_error', failed, mayRecover), status };
  };
}

function pushOf(webhooks: Webhooks, row: PreparedAction): Push {
  if (row.kind === 'httpPush') {
    const { webhookUrl, headers = {}, retryOnFailure = false } = row.action;
    return { url: webhookUrl, rules: WEBHOOK_RULES, headers, ownHeaders: {}, retryOnFailure, subcategory: 'http' };
  }
  if (row.kind !== 'azureEventHubs') throw new TypeError(`${row.kind} is no push`);
  const { eventHubsNamespace, eventHubName, retryOnFailure } = row.action;
  // What the operator no longer allows is refused when it is called.
  const { url, rules } = eventHubsUrl(webhooks, eventHubsNamespace) ?? {
    url: `http://${eventHubsNamespace}`,
    rules: WEBHOOK_RULES,
  };
  const resource = `${url}/${eventHubName}`;
  return {
    url: `${resource}/messages`,
    rules,
    headers: {},
    ownHeaders: { authorization: sharedAccessSignature(resource, row.action) },
    retryOnFailure,
    subcategory: 'azure',
  };
}

interface Failure {
  errorMessage: string;
  body?: string;
  answer?: WebhookAnswer;
}

function failure(
  delivery: Delivery,
  push: Push,
  result: AttemptResult,
  failed: Failure,
  recoverable = false,
): Attempted {
  const again = recoverable && push.retryOnFailure ? retryAfter(delivery.attempt) : undefined;
  // The audit log gets one entry, when no retry follows (HPU-012).
  const told = failed.errorMessage;
  return { ...(again ? { again } : {}), succeeded: false, told, result, audit: errorEntry(delivery, push, failed) };
}

function errorEntry(delivery: Delivery, push: Push, { errorMessage, body, answer }: Failure): AuditEntry {
  const url = withoutQuery(push.url);
  const responseBody = answer === undefined ? undefined : shown(answer.body);
  return {
    tenantId: delivery.tenantId,
    level: 'error',
    category: 'notification',
    subcategory: push.subcategory,
    type: push.subcategory === 'http' ? 'http_push_error' : 'azure_event_hubs_error',
    description: `The push to ${url} failed: ${errorMessage}${responseBody ? `, with the body ${responseBody.slice(0, 200)}` : ''}`,
    source: { actionPolicyId: delivery.policyId! },
    content: {
      tenantId: delivery.tenantId,
      httpPushRequest: {
        url,
        retryOnFailure: push.retryOnFailure,
        headers: maskedHeaders(push.headers),
        ...(body === undefined ? {} : { requestBody: shown(body) }),
        messageUUID: delivery.messageId,
      },
      success: false,
      ...(answer ? { responseStatusCode: answer.status, responseBody } : {}),
      errorMessage,
    },
  };
}

const shown = (text: string): string => (text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text);

// Tokens stand there.
function withoutQuery(text: string): string {
  const url = new URL(text);
  return url.search === '' ? text : `${url.origin}${url.pathname}?***`;
}

const maskedHeaders = (headers: WebhookHeaders): WebhookHeaders | null => {
  const names = Object.entries(headers);
  if (names.length === 0) return null;
  return Object.fromEntries(
    names.map(([name, values]) => [name, HARMLESS.has(name.toLowerCase()) ? values : values.map(() => '***')]),
  );
};

function isJsonObject(text: string): boolean {
  if (!/^\s*\{/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
