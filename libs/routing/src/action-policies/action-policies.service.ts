import { randomUUID } from 'node:crypto';
import type { Database } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import { type LimitValues, limitOf } from '@orrery/core/limits';
import type { EntityManager } from 'typeorm';
import type { ActionPolicyDto } from './action-policy.dto.js';
import { ActionPolicy } from './action-policy.entity.js';
import type { PolicyDocument, TriggerType } from './policy-document.js';

/** Action policies as their tenant configures them (manual 14.1.1). */
export class ActionPoliciesService {
  constructor(private readonly database: Database) {}

  async list(
    tenantId: string,
    paging: { limit: number; offset: number },
    triggerType?: TriggerType,
  ): Promise<{ policies: ActionPolicyDto[]; total: number }> {
    const query = this.database.manager
      .createQueryBuilder(ActionPolicy, 'p')
      .where('p.tenantId = :tenantId', { tenantId })
      .orderBy('p.created')
      .addOrderBy('p.id')
      .take(paging.limit)
      .skip(paging.offset);
    if (triggerType) query.andWhere('p.triggers -> :triggerType IS NOT NULL', { triggerType });
    const [policies, total] = await query.getManyAndCount();
    return { policies: policies.map(toDto), total };
  }

  async get(tenantId: string, id: string): Promise<ActionPolicyDto> {
    return toDto(await this.find(this.database.manager, tenantId, id));
  }

  create(tenantId: string, limits: LimitValues, document: PolicyDocument): Promise<ActionPolicyDto> {
    return this.database.transaction(async (manager) => {
      await this.touch(manager, tenantId);
      const max = limitOf(limits, 'actionPolicies');
      if ((await manager.countBy(ActionPolicy, { tenantId })) >= max)
        throw new ApiError('GENERIC_QUOTA_EXCEEDED_ERROR', `at most ${max} action policies`);
      const now = new Date();
      const policy = manager.create(ActionPolicy, {
        tenantId,
        id: randomUUID(),
        ...fieldsOf(document),
        suspension: null,
        activeSince: now,
        created: now,
      });
      await manager.insert(ActionPolicy, policy);
      return toDto(policy);
    });
  }

  update(tenantId: string, id: string, document: PolicyDocument): Promise<ActionPolicyDto> {
    if (document.id !== undefined && document.id !== id) throw invalidParameter('id', 'the id of the path, or no id');
    return this.database.transaction(async (manager) => {
      await this.touch(manager, tenantId);
      const policy = await this.find(manager, tenantId, id);
      if (document.enabled && !policy.enabled) policy.activeSince = new Date();
      // Enabling resumes a suspended policy (manual 14.1.1).
      if (document.enabled) policy.suspension = null;
      Object.assign(policy, fieldsOf(document));
      const { tenantId: _tenant, id: _id, ...changed } = policy;
      await manager.update(ActionPolicy, { tenantId, id }, changed);
      return toDto(policy);
    });
  }

  async delete(tenantId: string, id: string): Promise<void> {
    await this.database.transaction(async (manager) => {
      await this.touch(manager, tenantId);
      const { affected } = await manager.delete(ActionPolicy, { tenantId, id });
      if (!affected) throw new ApiError('NOT_FOUND', `no action policy ${id}`);
    });
  }

  /**
   * Disables the enabled policies that publish to one of these FIFOs (manual 14.3.1).
   * @param unusedDays only those that have been enabled for so long.
   * @returns their ids.
   */
  async suspend(
    manager: EntityManager,
    tenantId: string,
    fifoNames: readonly string[],
    suspension: string,
    unusedDays = 0,
  ): Promise<string[]> {
    await this.touch(manager, tenantId);
    const [rows] = (await manager.query(
      `UPDATE action_policies SET enabled = false, suspension = $3
       WHERE tenant_id = $1 AND fifo_names && $2::text[] AND enabled AND active_since <= now() - make_interval(days => $4)
       RETURNING id`,
      [tenantId, fifoNames, suspension, unusedDays],
    )) as [Array<{ id: string }>, number];
    return rows.map(({ id }) => id);
  }

  // Locks the tenant's policies until the end of the transaction, and tells routers that they have changed.
  private async touch(manager: EntityManager, tenantId: string): Promise<void> {
    await manager.query(
      `INSERT INTO policy_versions AS p (tenant_id, version) VALUES ($1, 1)
       ON CONFLICT (tenant_id) DO UPDATE SET version = p.version + 1`,
      [tenantId],
    );
  }

  private async find(manager: EntityManager, tenantId: string, id: string): Promise<ActionPolicy> {
    const policy = await manager.findOneBy(ActionPolicy, { tenantId, id });
    if (!policy) throw new ApiError('NOT_FOUND', `no action policy ${id}`);
    return policy;
  }
}

const fieldsOf = ({ name, enabled, triggers, actions }: PolicyDocument) => ({
  name,
  enabled,
  triggers,
  actions,
  fifoNames: [...new Set(actions.fifoPublish?.map(({ fifoName }) => fifoName))],
});

const toDto = (policy: ActionPolicy): ActionPolicyDto => ({
  id: policy.id,
  ...(policy.name === null ? {} : { name: policy.name }),
  enabled: policy.enabled,
  ...(policy.suspension === null ? {} : { suspension: policy.suspension }),
  triggers: policy.triggers,
  actions: policy.actions,
});
