import { createHmac } from 'node:crypto';
import type { WebhookRules, Webhooks } from '@orrery/core/webhooks';
import type { AzureEventHubsAction } from './action.js';
import { WEBHOOK_RULES } from './webhook-rules.js';

const NAMESPACE = /^[A-Za-z][A-Za-z\d-]{4,48}[A-Za-z\d]$/;
export const NAMESPACE_EXPECTED =
  'the name of an Event Hubs namespace: 6 to 50 letters, digits and -, beginning with a letter';

/** A token is made for each request, and must hold only until the request has come. */
const TOKEN_SECONDS = 3600;

/** For a server that is no namespace of Azure's: only what the operator allows. */
const EXCEPTION_RULES: WebhookRules = { ...WEBHOOK_RULES, ports: [] };

/**
 * Where the namespace is called, and by which rules; undefined when the text names none. Beside the names of Azure's
 * namespaces, `host:port` of an emulator that ORRERY_WEBHOOK_ALLOW names will do, over plain HTTP.
 */
export function eventHubsUrl(webhooks: Webhooks, namespace: string): { url: string; rules: WebhookRules } | undefined {
  if (NAMESPACE.test(namespace)) return { url: `https://${namespace}.servicebus.windows.net`, rules: WEBHOOK_RULES };
  if (!/^[\w.-]+:\d{1,5}$/.test(namespace)) return undefined;
  const url = `http://${namespace}`;
  return webhooks.checkUrl(url, EXCEPTION_RULES) ? undefined : { url, rules: EXCEPTION_RULES };
}

/** Signature of the shared access policy for an Event Hub, as Azure's REST API takes it. */
export function sharedAccessSignature(
  resource: string,
  { sharedAccessKey, sharedAccessKeyName }: Pick<AzureEventHubsAction, 'sharedAccessKey' | 'sharedAccessKeyName'>,
  now = Date.now(),
): string {
  const target = encodeURIComponent(resource);
  const expiry = Math.floor(now / 1000) + TOKEN_SECONDS;
  const signature = createHmac('sha256', sharedAccessKey).update(`${target}\n${expiry}`).digest('base64');
  return `SharedAccessSignature sr=${target}&sig=${encodeURIComponent(signature)}&se=${expiry}&skn=${encodeURIComponent(sharedAccessKeyName)}`;
}
