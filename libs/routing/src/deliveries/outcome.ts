import type { AuditEntry } from '@orrery/core/audit';
import type { WebhookError } from '@orrery/core/webhooks';
import type { PreparedAction } from '../actions/prepared-action.js';
import type { Delivery } from './delivery-queue.js';

/** What has become of a delivery. */
export interface Outcome {
  /** It is due again in so many milliseconds, with so many attempts failed; absent when it leaves the queue. */
  again?: { ms: number; attempt: number } | undefined;
  /** Of a push: counted for its policy when it has ended. */
  succeeded?: boolean;
  /** It ends without having been sent, and the audit log is not told. */
  failed?: true;
  /** What came of the attempt, for the journey of its message: an HTTP status, or what went wrong. */
  told?: string;
  /** Of the answer to a push. */
  status?: number;
  /** It was to be tried again, and too many are. */
  dropped?: true;
  /** For the audit log when it has ended: also when it was to be tried again, and too many are. */
  audit?: AuditEntry;
}

/** What came of an attempt, for metrics. */
export type AttemptResult =
  'success' | 'client_error' | 'server_error' | 'invalid' | 'limit' | 'error' | WebhookError['reason'];

export type Attempted = Outcome & { result: AttemptResult };

/** One attempt of a delivery whose policy exists. */
export type Attempt = (delivery: Delivery, action: PreparedAction, signal: AbortSignal) => Promise<Attempted>;
