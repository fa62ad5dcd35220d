import type { Database } from '@orrery/core/database';
import { UnrenderableError } from '../actions/prepared-action.js';
import type { SmsQueue } from '../sms/sms-queue.js';
import { countEmissions } from './emissions.js';
import type { Attempt } from './outcome.js';
import type { TenantLimits } from './tenant-limits.js';

/** Characters of one SMS: ten parts of the network. What is longer is cut. */
export const MAX_SMS_TEXT = 1530;

/** Hands SMS to the connector's queue (manual 17.3.3.2). */
export function texting(queue: SmsQueue, database: Database, limits: TenantLimits): Attempt {
  return async (delivery, action) => {
    if (action.kind !== 'sms') throw new TypeError(`${action.kind} is no SMS`);
    let text: string;
    try {
      text = action.text(delivery.body).slice(0, MAX_SMS_TEXT);
    } catch (error) {
      if (!(error instanceof UnrenderableError)) throw error;
      return {
        result: 'invalid',
        audit: {
          tenantId: delivery.tenantId,
          level: 'error',
          category: 'notification',
          subcategory: 'sms',
          type: 'sms_error',
          description: `An SMS could not be made: ${error.message}`,
          source: { actionPolicyId: delivery.policyId! },
        },
      };
    }
    const limit = await limits.of(delivery.tenantId, 'smsPerDay');
    const numbers = action.action.destinationPhoneNumbers;
    let given = numbers.length;
    await database.transaction(async (manager) => {
      // The row goes in this transaction, so that a repeated attempt finds nothing and sends nothing twice.
      const [, gone] = (await manager.query('DELETE FROM deliveries WHERE tenant_id = $1 AND queue = $2 AND seq = $3', [
        delivery.tenantId,
        delivery.queue,
        delivery.seq,
      ])) as [unknown, number];
      if (gone === 0) return;
      const { allowed } = await countEmissions(manager, delivery, numbers.length, limit);
      given = allowed;
      await queue.add(manager, delivery.tenantId, delivery.policyId!, numbers.slice(0, allowed), text);
    });
    queue.wake();
    const told = `${given} of ${numbers.length} SMS were handed to the SMS connector`;
    return given > 0 ? { told, result: 'success' } : { failed: true, told, result: 'limit' };
  };
}
