import type { WebhookHeaders } from '@orrery/core/webhooks';

/** POST to a webhook (manual 14.3.2). */
export interface HttpPushAction {
  webhookUrl: string;
  headers?: WebhookHeaders;
  retryOnFailure?: boolean;
  jsonPath?: string;
  content?: string;
}

/** Manual 14.3.4. */
export interface AzureEventHubsAction {
  eventHubsNamespace: string;
  eventHubName: string;
  sharedAccessKeyName: string;
  /** No answer shows it. */
  sharedAccessKey: string;
  retryOnFailure: boolean;
  jsonPath?: string;
  content?: string;
}

/** Manual 17.3.3.1; `cci` are blind copies. */
export interface EmailAction {
  to: string[];
  cc?: string[];
  cci?: string[];
  subjectTemplate?: string;
  contentTemplate: string;
}

/** Manual 17.3.3.2. */
export interface SmsAction {
  destinationPhoneNumbers: string[];
  contentTemplate: string;
}

/** Actions that something outside the platform takes, and which therefore wait in a queue until it has. */
export interface DeliveredActions {
  emails: EmailAction;
  sms: SmsAction;
  httpPush: HttpPushAction;
  azureEventHubs: AzureEventHubsAction;
}

export type DeliveredKind = keyof DeliveredActions;
export const DELIVERED_KINDS: readonly DeliveredKind[] = ['emails', 'sms', 'httpPush', 'azureEventHubs'];

export type DeliveredAction = {
  [Kind in DeliveredKind]: { kind: Kind; action: DeliveredActions[Kind] };
}[DeliveredKind];
