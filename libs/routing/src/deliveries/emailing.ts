import type { AuditEntry } from '@orrery/core/audit';
import type { Database } from '@orrery/core/database';
import type { Mailer } from '@orrery/core/mail';
import { UnrenderableError } from '../actions/prepared-action.js';
import type { Delivery } from './delivery-queue.js';
import { countEmissions } from './emissions.js';
import type { Attempt, AttemptResult } from './outcome.js';
import { retryAfter } from './retries.js';
import type { TenantLimits } from './tenant-limits.js';

/** Sends e-mails (manual 17.3.3.1). One that the mail server does not take now is tried again as pushes are. */
export function emailing(mailer: Mailer, database: Database, limits: TenantLimits): Attempt {
  return async (delivery, action) => {
    if (action.kind !== 'emails') throw new TypeError(`${action.kind} is no e-mail`);
    if (delivery.attempt === 0) {
      const limit = await limits.of(delivery.tenantId, 'emailsPerDay');
      const { allowed, report } = await database.transaction((manager) => countEmissions(manager, delivery, 1, limit));
      if (allowed === 0)
        return report
          ? {
              result: 'limit',
              audit: entry(
                delivery,
                'email_limit_reached',
                `${limit} e-mails have been sent today: others are left out`,
              ),
            }
          : { failed: true, told: `${limit} e-mails have been sent that day`, result: 'limit' };
    }
    const { to, cc = [], cci = [] } = action.action;
    try {
      await mailer.send({
        to,
        cc,
        bcc: cci,
        subject: action.subject(delivery.body).slice(0, 900),
        text: action.text(delivery.body),
      });
      return { told: 'the mail server took it', result: 'success' };
    } catch (error) {
      const { message, responseCode = 0 } = error as Error & { responseCode?: number };
      // RFC 5321: a reply of 5yz is final.
      const final = error instanceof UnrenderableError || responseCode >= 500;
      const again = final ? undefined : retryAfter(delivery.attempt);
      return {
        ...(again ? { again } : {}),
        told: message,
        result: mailResult(error as Error, responseCode),
        audit: entry(delivery, 'email_error', `An e-mail could not be sent: ${message}`),
      };
    }
  };
}

function mailResult(error: Error, responseCode: number): AttemptResult {
  if (error instanceof UnrenderableError) return 'invalid';
  if (responseCode > 0) return responseCode >= 500 ? 'client_error' : 'server_error';
  return (error as { code?: string }).code === 'ETIMEDOUT' ? 'timeout' : 'connection';
}

const entry = ({ tenantId, policyId }: Delivery, type: string, description: string): AuditEntry => ({
  tenantId,
  level: 'error',
  category: 'notification',
  subcategory: 'email',
  type,
  description,
  source: { actionPolicyId: policyId! },
});
