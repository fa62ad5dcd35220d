import type { AuditEntry } from '@orrery/core/audit';
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
  /** For the audit log when it has ended: also when it was to be tried again, and too many are. */
  audit?: AuditEntry;
}

/** One attempt of a delivery whose policy exists. */
export type Attempt = (delivery: Delivery, action: PreparedAction, signal: AbortSignal) => Promise<Outcome>;
