import { isDeepStrictEqual } from 'node:util';
import { type EntityManager, In } from 'typeorm';
import { announceAll } from '../api-keys/key-changes.js';
import { Tenant } from '../tenants/tenant.entity.js';
import { requestActivation } from '../users/new-user.js';
import { User } from '../users/user.entity.js';
import { contentsOf, type Misfit, revised } from './post-conditions.js';
import { Rule, RULE_TYPES } from './rule.entity.js';

/** The rules that apply to a tenant, in the order in which they apply: the offer, options, admin options (manual 21.3). */
export async function appliedRules(
  manager: EntityManager,
  tenantId: string,
): Promise<Array<{ subscription: string; rule: Rule }>> {
  const subscriptions = (await manager.query(
    'SELECT number, rule FROM bss_subscriptions WHERE tenant_id = $1 ORDER BY number',
    [tenantId],
  )) as Array<{ number: string; rule: string }>;
  const rules = await manager.findBy(Rule, { number: In(subscriptions.map(({ rule }) => rule)) });
  const byNumber = new Map(rules.map((rule) => [rule.number, rule]));
  const applied = subscriptions.map(({ number, rule }) => ({ subscription: number, rule: byNumber.get(rule)! }));
  return RULE_TYPES.flatMap((type) => applied.filter(({ rule }) => rule.type === type));
}

/**
 * Makes the offer settings of a tenant anew from its subscriptions, in their latest versions, and what follows from
 * them: whether it is activated, and the mail to its main user. The caller holds the lock of the tenant's row.
 * @returns commands of rules that could not be done.
 */
export async function refreshOffer(manager: EntityManager, tenant: Tenant): Promise<Misfit[]> {
  await manager.query(
    `UPDATE bss_subscriptions s SET rule = latest.number
     FROM (SELECT display_name, max(number) AS number FROM bss_rules WHERE display_name IN (
       SELECT follows FROM bss_subscriptions WHERE tenant_id = $1) GROUP BY display_name) latest
     WHERE s.tenant_id = $1 AND s.follows = latest.display_name AND s.rule < latest.number`,
    [tenant.id],
  );
  const rules = (await appliedRules(manager, tenant.id)).map(({ rule }) => rule);
  const { contents, misfits } = contentsOf(rules);
  const offerSettings = revised(tenant.offerSettings, contents);
  // The administrator and vendors need no offer; the option "Disabled" switches the section account off (manual 21.6).
  const hasOffer = tenant.accountType !== 'CUSTOMER' || rules.some(({ type }) => type === 'OFFER');
  const active = hasOffer && contents['account']?.['enabled'] !== false;
  const changed = active !== tenant.active || !isDeepStrictEqual(offerSettings, tenant.offerSettings);
  if (changed || (active && tenant.deletionOrdered))
    await manager.update(
      Tenant,
      { id: tenant.id },
      { offerSettings: offerSettings as object, active, ...(active ? { deletionOrdered: null } : {}) },
    );
  if (changed) await announceAll(manager, tenant.id);
  if (active && !tenant.active) await inviteMainUser(manager, tenant.id);
  return misfits;
}

/** A main user who has chosen a password needs no mail when the tenant is activated again. */
async function inviteMainUser(manager: EntityManager, tenantId: string): Promise<void> {
  const user = await manager.findOneBy(User, { tenantId, mainUser: true });
  if (user && user.passwordHash === null) await requestActivation(manager, user);
}
