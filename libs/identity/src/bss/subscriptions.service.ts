import type { ApiKeyIdentity } from '@orrery/core/auth';
import type { Database } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import { managedTenant } from '../tenants/managed-tenants.js';
import { Tenant } from '../tenants/tenant.entity.js';
import type { EntityManager } from 'typeorm';
import { appliedRules, refreshOffer } from './offer-refresh.js';
import { holds, tenantContext } from './pre-conditions.js';
import { findRule, type RuleSelector } from './rules.service.js';
import { Rule } from './rule.entity.js';

/** An option that adds may be subscribed again and again. */
const MAX_SUBSCRIPTIONS = 500;

const forbidden = (reason: string): ApiError => new ApiError('GENERIC_ACTION_FORBIDDEN_ERROR', reason);

/** Subscribes customers to offers and options (manual 21.3 to 21.5). */
export class SubscriptionsService {
  constructor(private readonly database: Database) {}

  /** In the order in which they apply. @throws ApiError NOT_FOUND */
  async list(caller: ApiKeyIdentity, tenantId: string): Promise<Rule[]> {
    const { manager } = this.database;
    await managedTenant(manager, caller, tenantId);
    return (await appliedRules(manager, tenantId)).map(({ rule }) => rule);
  }

  /** Rules that a vendor may subscribe the customer to now (manual 21.4.2). @throws ApiError NOT_FOUND */
  async validated(caller: ApiKeyIdentity, tenantId: string): Promise<Rule[]> {
    const { manager } = this.database;
    const context = await contextOf(manager, await managedTenant(manager, caller, tenantId));
    const rules = await manager.find(Rule, {
      where: { disabled: false },
      order: { displayName: 'ASC', number: 'ASC' },
    });
    return rules.filter((rule) => rule.type !== 'ADMIN_OPTION' && holds(rule, context));
  }

  /** @throws ApiError 400, 403, 404 */
  subscribe(caller: ApiKeyIdentity, tenantId: string, selector: RuleSelector): Promise<Rule> {
    return this.database.transaction(async (manager) => {
      const tenant = await managedTenant(manager, caller, tenantId, 'lock');
      const rule = await findRule(manager, selector);
      if (rule.disabled) throw forbidden(`the rule "${rule.name}" is disabled`);
      if (rule.type === 'ADMIN_OPTION' && caller.accountType !== 'ADMIN')
        throw forbidden(`only an administrator may subscribe a customer to "${rule.name}"`);
      const applied = await appliedRules(manager, tenantId);
      const offers = applied.filter((each) => each.rule.type === 'OFFER');
      if (rule.type !== 'OFFER' && offers.length === 0) throw forbidden('the customer has no offer yet');
      if (applied.length >= MAX_SUBSCRIPTIONS) throw forbidden(`at most ${MAX_SUBSCRIPTIONS} subscriptions`);
      if (!holds(rule, await contextOf(manager, tenant)))
        throw forbidden(`the customer does not meet the pre-conditions of "${rule.name}"`);
      if (rule.type === 'OFFER')
        for (const { subscription } of offers) await removeSubscription(manager, tenantId, subscription);
      await manager.query('INSERT INTO bss_subscriptions (tenant_id, rule, follows) VALUES ($1, $2, $3)', [
        tenantId,
        rule.number,
        'displayName' in selector ? selector.displayName : null,
      ]);
      const misfit = (await refreshOffer(manager, tenant)).find((each) => each.rule === rule.name);
      if (misfit) throw invalidParameter('rule', `a rule that fits the customer's settings: ${misfit.reason}`);
      return rule;
    });
  }

  /** Removes the last subscription to the rule. @throws ApiError 403, 404 */
  unsubscribe(caller: ApiKeyIdentity, tenantId: string, ruleId: string): Promise<void> {
    return this.database.transaction(async (manager) => {
      const tenant = await managedTenant(manager, caller, tenantId, 'lock');
      const last = (await appliedRules(manager, tenantId)).findLast(({ rule }) => rule.id === ruleId);
      if (!last) throw new ApiError('NOT_FOUND', 'the customer is not subscribed to this rule');
      if (last.rule.type === 'OFFER')
        throw forbidden('a customer cannot be without an offer: subscribe it to another one instead');
      await removeSubscription(manager, tenantId, last.subscription);
      await refreshOffer(manager, tenant);
    });
  }
}

async function contextOf(manager: EntityManager, tenant: Tenant): Promise<unknown> {
  return tenantContext(tenant, tenant.parentId ? await manager.findOneBy(Tenant, { id: tenant.parentId }) : null);
}

const removeSubscription = (manager: EntityManager, tenantId: string, number: string): Promise<unknown> =>
  manager.query('DELETE FROM bss_subscriptions WHERE tenant_id = $1 AND number = $2', [tenantId, number]);
