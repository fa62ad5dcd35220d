import { compileLogic, type Evaluate, isTrue } from '@orrery/core/json-logic';
import { LRUCache } from 'lru-cache';
import { statusOf, type Tenant } from '../tenants/tenant.entity.js';
import type { Rule } from './rule.entity.js';

/** Conditions of a rule do not change: each is compiled once. */
const compiled = new LRUCache<string, Evaluate[]>({ max: 1000 });

function logicOf(rule: Rule): Evaluate[] {
  const known = compiled.get(rule.id);
  if (known) return known;
  const logic = rule.preConditions.map(({ tenantContextLogic }, i) =>
    compileLogic(tenantContextLogic, { field: `preConditions.${i}.tenantContextLogic` }),
  );
  compiled.set(rule.id, logic);
  return logic;
}

/** What pre-conditions read of a tenant (manual 21.4.2); `parent` is its vendor. */
export function tenantContext(tenant: Tenant, parent: Tenant | null): unknown {
  const common = ({ id, name, accountType, offerSettings }: Tenant): object => ({
    id,
    name,
    accountType,
    offerSettings,
  });
  return { ...common(tenant), status: statusOf(tenant), parent: parent && common(parent) };
}

/** True when all pre-conditions of the rule are. One that cannot be evaluated on this tenant does not hold. */
export function holds(rule: Rule, context: unknown): boolean {
  try {
    return logicOf(rule).every((condition) => isTrue(condition(context)));
  } catch {
    return false;
  }
}
