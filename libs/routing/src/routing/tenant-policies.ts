import { VersionedCache } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import type { EntityManager } from 'typeorm';
import { ActionPolicy } from '../action-policies/action-policy.entity.js';
import type { Filter } from '../action-policies/policy-document.js';
import { deliveredIds } from '../actions/action-store.js';
import { type QueueName, queueOf } from '../deliveries/delivery-queue.js';
import { compileFilter, type Predicate } from './filter.js';
import { PolicyIndex } from './policy-index.js';

/** A policy ready to run. */
export interface CompiledPolicy {
  id: string;
  /** Epoch milliseconds. */
  activeSince: number;
  passes: Predicate;
  fifoNames: string[];
  /** Actions that something outside the platform takes. */
  deliveries: ReadonlyArray<{ actionId: string; queue: QueueName }>;
}

/** A tenant's enabled policies by the type that triggers them. */
export type TenantPolicies = ReadonlyMap<string, PolicyIndex>;

/**
 * The policies of the tenants in hand, compiled once per version. The version is read in the transaction of each batch,
 * so that a change is in force for every message that comes after its answer, on every instance.
 */
export class PolicyCache {
  private readonly compiled: VersionedCache<TenantPolicies>;

  constructor(database: Database) {
    this.compiled = new VersionedCache((key) => this.load(database.manager, key.slice(key.indexOf(' ') + 1)), 20_000);
  }

  /** @returns no entry for tenants that never had a policy. */
  async of(manager: EntityManager, tenantIds: Iterable<string>): Promise<Map<string, TenantPolicies>> {
    const versions = (await manager.query(
      'SELECT tenant_id, version FROM policy_versions WHERE tenant_id = ANY($1::text[])',
      [[...tenantIds]],
    )) as Array<{ tenant_id: string; version: string }>;
    return new Map(
      await Promise.all(
        versions.map(
          async (row) => [row.tenant_id, await this.compiled.get(`${row.version} ${row.tenant_id}`)] as const,
        ),
      ),
    );
  }

  private async load(manager: EntityManager, tenantId: string): Promise<TenantPolicies> {
    const policies = await manager.find(ActionPolicy, {
      where: { tenantId, enabled: true },
      order: { created: 'ASC', id: 'ASC' },
    });
    const byType = new Map<string, PolicyIndex>();
    for (const policy of policies) {
      const deliveries = deliveredIds(policy.actions).map(({ kind, id }) => ({ actionId: id, queue: queueOf(kind) }));
      for (const [type, { filter }] of Object.entries(policy.triggers) as Array<[string, { filter?: Filter }]>) {
        let index = byType.get(type);
        if (!index) byType.set(type, (index = new PolicyIndex()));
        const passes = compileFilter(filter);
        const activeSince = policy.activeSince.getTime();
        index.add({ id: policy.id, activeSince, passes, fifoNames: policy.fifoNames, deliveries }, filter);
      }
    }
    return byType;
  }
}
