import { randomUUID } from 'node:crypto';
import type { Database } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import { type LimitValues, limitOf } from '@orrery/core/limits';
import type { Webhooks } from '@orrery/core/webhooks';
import { type EntityManager, LessThanOrEqual } from 'typeorm';
import { type ActionStore, deliveredIds } from '../actions/action-store.js';
import type { ActionPolicyDto } from './action-policy.dto.js';
import { ActionPolicy } from './action-policy.entity.js';
import {
  type Actions,
  parsePolicy,
  type PolicyDocument,
  type ShownActions,
  type TriggerType,
} from './policy-document.js';

/** Action policies as their tenant configures them (manual 14.1.1). */
export class ActionPoliciesService {
  constructor(
    private readonly database: Database,
    private readonly actions: ActionStore,
    private readonly webhooks: Webhooks,
  ) {}

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
    return { policies: await this.toDtos(this.database.manager, tenantId, policies), total };
  }

  async get(tenantId: string, id: string): Promise<ActionPolicyDto> {
    return this.toDto(this.database.manager, await this.find(this.database.manager, tenantId, id));
  }

  /** The policy as it is, or as a change would make it, which is checked but not written. */
  async document(tenantId: string, id: string, change?: unknown): Promise<PolicyDocument> {
    const { manager } = this.database;
    const policy = await this.find(manager, tenantId, id);
    const actions = (await this.open(manager, tenantId, [policy]))(policy);
    if (change !== undefined) return parsePolicy(change, { webhooks: this.webhooks, present: actions });
    const { name, enabled, triggers } = policy;
    return { id, name, enabled, triggers, actions };
  }

  async create(tenantId: string, limits: LimitValues, body: unknown): Promise<ActionPolicyDto> {
    const document = parsePolicy(body, { webhooks: this.webhooks });
    return this.database.transaction(async (manager) => {
      await this.touch(manager, tenantId);
      const max = limitOf(limits, 'actionPolicies');
      if ((await manager.countBy(ActionPolicy, { tenantId })) >= max)
        throw new ApiError('GENERIC_QUOTA_EXCEEDED_ERROR', `at most ${max} action policies`);
      const now = new Date();
      const id = randomUUID();
      const policy = manager.create(ActionPolicy, {
        tenantId,
        id,
        ...fieldsOf(document),
        actions: await this.actions.write(manager, tenantId, id, document.actions),
        suspension: null,
        activeSince: now,
        created: now,
      });
      await manager.insert(ActionPolicy, policy);
      return this.toDto(manager, policy);
    });
  }

  update(tenantId: string, id: string, body: unknown): Promise<ActionPolicyDto> {
    return this.database.transaction(async (manager) => {
      await this.touch(manager, tenantId);
      const policy = await this.find(manager, tenantId, id);
      const present = await this.open(manager, tenantId, [policy]);
      const document = parsePolicy(body, { webhooks: this.webhooks, present: present(policy) });
      if (document.id !== undefined && document.id !== id) throw invalidParameter('id', 'the id of the path, or no id');
      if (document.enabled && !policy.enabled) policy.activeSince = new Date();
      // Enabling resumes a suspended policy (manual 14.1.1).
      if (document.enabled) policy.suspension = null;
      const actions = await this.actions.write(manager, tenantId, id, document.actions, policy.actions);
      Object.assign(policy, fieldsOf(document), { actions });
      const { tenantId: _tenant, id: _id, ...changed } = policy;
      await manager.update(ActionPolicy, { tenantId, id }, changed);
      return this.toDto(manager, policy);
    });
  }

  async delete(tenantId: string, id: string): Promise<void> {
    await this.database.transaction(async (manager) => {
      await this.touch(manager, tenantId);
      const { affected } = await manager.delete(ActionPolicy, { tenantId, id });
      if (!affected) throw new ApiError('NOT_FOUND', `no action policy ${id}`);
      await this.actions.delete(manager, tenantId, id);
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

  /**
   * Disables an enabled policy whose pushes fail (manual 14.3.2.2).
   * @param enabledBefore only when it has been enabled since then.
   */
  async suspendOne(tenantId: string, id: string, suspension: string, enabledBefore: Date): Promise<boolean> {
    return this.database.transaction(async (manager) => {
      await this.touch(manager, tenantId);
      const { affected } = await manager.update(
        ActionPolicy,
        { tenantId, id, enabled: true, activeSince: LessThanOrEqual(enabledBefore) },
        { enabled: false, suspension },
      );
      return affected === 1;
    });
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

  /** Opens the actions of policies of one tenant with one question. */
  private async open(
    manager: EntityManager,
    tenantId: string,
    policies: readonly ActionPolicy[],
  ): Promise<(policy: ActionPolicy) => Actions> {
    const ids = policies.flatMap(({ actions }) => deliveredIds(actions)).map(({ id }) => id);
    const rows = await this.actions.read(manager, tenantId, ids);
    return ({ actions }) => this.actions.open(actions, rows);
  }

  private async toDtos(
    manager: EntityManager,
    tenantId: string,
    policies: readonly ActionPolicy[],
  ): Promise<ActionPolicyDto[]> {
    const actionsOf = await this.open(manager, tenantId, policies);
    return policies.map((policy) => toDto(policy, actionsOf(policy)));
  }

  private async toDto(manager: EntityManager, policy: ActionPolicy): Promise<ActionPolicyDto> {
    return (await this.toDtos(manager, policy.tenantId, [policy]))[0]!;
  }
}

const fieldsOf = ({ name, enabled, triggers, actions }: PolicyDocument) => ({
  name,
  enabled,
  triggers,
  fifoNames: [...new Set(actions.fifoPublish?.map(({ fifoName }) => fifoName))],
});

const toDto = (policy: ActionPolicy, actions: Actions): ActionPolicyDto => ({
  id: policy.id,
  ...(policy.name === null ? {} : { name: policy.name }),
  enabled: policy.enabled,
  ...(policy.suspension === null ? {} : { suspension: policy.suspension }),
  triggers: policy.triggers,
  actions: shownActions(actions),
});

/** Without what no answer shows. */
const shownActions = (actions: Actions): ShownActions =>
  actions.azureEventHubs
    ? {
        ...actions,
        azureEventHubs: actions.azureEventHubs.map(({ sharedAccessKey: _hidden, ...shown }) => shown),
      }
    : (actions as ShownActions);
