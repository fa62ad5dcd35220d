import { controlSubject } from '@orrery/core/bus';
import { type Database, writeOutbox } from '@orrery/core/database';
import { WokenWork } from '@orrery/core/jobs';
import type { Running } from '@orrery/core/service';
import type { Logger } from '@orrery/core/telemetry';
import { TENANT_CONTROL } from '@orrery/core/tenants';
import type { EntityManager } from 'typeorm';
import { announceAll } from '../api-keys/key-changes.js';
import { REMOVAL_DELAY_MS, Tenant } from './tenant.entity.js';

/** Removes tenants 7 days after their deletion was ordered (manual 21.6); other services then remove what they have. */
export class Removal implements Running {
  private readonly work: WokenWork;

  constructor(
    private readonly database: Database,
    logger: Logger,
  ) {
    this.work = new WokenWork({
      name: 'removal of tenants',
      // One look into an index that holds ordered deletions alone.
      everyMs: 3000,
      run: async (stopped) => {
        while (!stopped() && (await this.database.transaction(removeNext)));
      },
      logger,
    });
  }

  async start(): Promise<void> {
    this.work.wake();
  }

  stop(): Promise<void> {
    return this.work.stop();
  }
}

/** @returns whether there was a tenant to be removed. */
async function removeNext(manager: EntityManager): Promise<boolean> {
  // A vendor goes after its customers. Whoever is being activated again right now is skipped, and no longer due later.
  const [tenant] = (await manager.query(
    `SELECT id FROM tenants t
     WHERE deletion_ordered <= now() - $1 * interval '1 millisecond' AND NOT active
       AND NOT EXISTS (SELECT FROM tenants WHERE parent_id = t.id)
     ORDER BY deletion_ordered LIMIT 1 FOR UPDATE SKIP LOCKED`,
    [REMOVAL_DELAY_MS],
  )) as Array<{ id: string }>;
  if (!tenant) return false;
  const { id } = tenant;
  await announceAll(manager, id);
  await manager.query(
    'UPDATE tenants SET support_vendor_ids = array_remove(support_vendor_ids, $1) WHERE $1 = ANY (support_vendor_ids)',
    [id],
  );
  await manager.delete(Tenant, { id });
  await manager.query('INSERT INTO removed_tenants (id) VALUES ($1)', [id]);
  await writeOutbox(manager, [
    { subject: controlSubject(TENANT_CONTROL), header: JSON.stringify({ tenantId: id }), body: '{}' },
  ]);
  return true;
}
