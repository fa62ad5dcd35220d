import type { AuditEntry } from '@orrery/core/audit';
import type { PreparedAction } from '../actions/prepared-action.js';
import type { Delivery, Settlement } from './delivery-queue.js';

/** What has become of a delivery. */
export interface Outcome extends Settlement {
  /** Of a push: counted for its policy when it has ended. */
  succeeded?: boolean;
  /** For the audit log when it has ended: also when it was to be tried again, and too many are. */
  audit?: AuditEntry;
}

/** One attempt of a delivery whose policy exists. */
export type Attempt = (delivery: Delivery, action: PreparedAction, signal: AbortSignal) => Promise<Outcome>;
