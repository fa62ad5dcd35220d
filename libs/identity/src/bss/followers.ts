import type { Subscription } from '@nats-io/transport-node';
import type { Bus } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import { WokenWork } from '@orrery/core/jobs';
import type { Running } from '@orrery/core/service';
import type { Logger } from '@orrery/core/telemetry';
import { Tenant } from '../tenants/tenant.entity.js';
import { refreshOffer } from './offer-refresh.js';
import { RULE_CONTROL } from './rules.service.js';

const PAGE = 100;

/** Refreshes the customers that were subscribed by a display name which has a new version (manual 21.3). */
export class Followers implements Running {
  private readonly work: WokenWork;
  private subscription?: Subscription;

  constructor(
    private readonly bus: Bus,
    private readonly database: Database,
    private readonly logger: Logger,
  ) {
    this.work = new WokenWork({
      name: 'new versions of offers and options',
      everyMs: 60_000,
      run: (stopped) => this.run(stopped),
      logger,
    });
  }

  async start(): Promise<void> {
    this.subscription = this.bus.onControl(RULE_CONTROL, () => this.work.wake());
    this.work.wake();
  }

  async stop(): Promise<void> {
    await this.subscription?.drain();
    await this.work.stop();
  }

  private async run(stopped: () => boolean): Promise<void> {
    const failures: unknown[] = [];
    const failed: string[] = [];
    while (!stopped()) {
      // Who is behind is read from the subscriptions themselves: nothing has to be remembered, nobody is forgotten.
      const behind = await this.database.query<{ tenant_id: string }>(
        `SELECT DISTINCT s.tenant_id
         FROM (SELECT display_name, max(number) AS number FROM bss_rules GROUP BY display_name) latest
         JOIN bss_subscriptions s ON s.follows = latest.display_name AND s.rule < latest.number
         WHERE s.tenant_id <> ALL ($1) LIMIT ${PAGE}`,
        [failed],
      );
      for (const { tenant_id: id } of behind)
        if (!stopped())
          await this.refresh(id).catch((error: unknown) => {
            // The others must not wait for it; it is tried again with the next run.
            failed.push(id);
            failures.push(error);
          });
      if (behind.length < PAGE) break;
    }
    if (failures.length > 0) throw failures[0];
  }

  private refresh(id: string): Promise<void> {
    return this.database.transaction(async (manager) => {
      const tenant = await manager.findOne(Tenant, { where: { id }, lock: { mode: 'pessimistic_write' } });
      if (!tenant) return;
      const misfits = await refreshOffer(manager, tenant);
      if (misfits.length > 0)
        this.logger.warn({ tenantId: id, misfits }, 'rules do not fit the settings of a customer');
    });
  }
}
