import { randomUUID } from 'node:crypto';
import type { Database } from '@orrery/core/database';
import { ApiError } from '@orrery/core/http';
import { type LimitName, type LimitValues, limitOf } from '@orrery/core/limits';
import type { EntityManager } from 'typeorm';
import { touch } from '../versions.js';
import { parseRule, UUID } from './rule-document.js';
import type { RuleDtos } from './rule.dto.js';
import { Rule, type RuleKind } from './rule.entity.js';

const NAMES: Record<RuleKind, { name: string; limit: LimitName }> = {
  matching: { name: 'matching rule', limit: 'matchingRules' },
  firing: { name: 'firing rule', limit: 'firingRules' },
  state: { name: 'state processing rule', limit: 'stateProcessingRules' },
};

/** The rules of one kind as their tenant configures them (manual 17.2). */
export class RulesService<Kind extends RuleKind> {
  constructor(
    private readonly database: Database,
    private readonly kind: Kind,
  ) {}

  /** In the order of their creation. There are as many as the limit of the offer allows. */
  async list(tenantId: string, name?: string): Promise<Array<RuleDtos[Kind]>> {
    const rules = await this.database.manager.find(Rule, {
      where: { tenantId, kind: this.kind, ...(name === undefined ? {} : { name }) },
      order: { created: 'ASC', id: 'ASC' },
    });
    return rules.map((rule) => toDto<Kind>(rule));
  }

  async get(tenantId: string, id: string): Promise<RuleDtos[Kind]> {
    return toDto(await this.find(this.database.manager, tenantId, id));
  }

  create(tenantId: string, limits: LimitValues, body: unknown): Promise<RuleDtos[Kind]> {
    const { name, limit } = NAMES[this.kind];
    const document = parseRule(this.kind, body);
    return this.database.transaction(async (manager) => {
      await touch(manager, tenantId, 'rules');
      const max = limitOf(limits, limit);
      if ((await manager.countBy(Rule, { tenantId, kind: this.kind })) >= max)
        throw new ApiError('GENERIC_QUOTA_EXCEEDED_ERROR', `at most ${max} ${name}s`);
      const rule = manager.create(Rule, {
        tenantId,
        kind: this.kind,
        id: randomUUID(),
        ...document,
        created: new Date(),
      });
      await this.checkName(manager, rule);
      await manager.insert(Rule, rule as object);
      return toDto(rule);
    });
  }

  update(tenantId: string, id: string, body: unknown): Promise<void> {
    const document = parseRule(this.kind, body, id);
    return this.database.transaction(async (manager) => {
      await touch(manager, tenantId, 'rules');
      const rule = await this.find(manager, tenantId, id);
      await this.checkName(manager, { ...rule, ...document });
      await manager.update(Rule, { tenantId, kind: this.kind, id: rule.id }, document as object);
      if (this.kind === 'firing' && firesOtherwise(rule.definition, document.definition))
        await liftGuards(manager, tenantId, rule.id);
    });
  }

  /** What the rule leaves behind, guards or states, can no longer be seen; a job removes it. */
  async delete(tenantId: string, id: string): Promise<void> {
    await this.database.transaction(async (manager) => {
      await touch(manager, tenantId, 'rules');
      const rule = await this.find(manager, tenantId, id);
      await manager.delete(Rule, { tenantId, kind: this.kind, id: rule.id });
    });
  }

  // The tenant's rules are locked.
  private async checkName(manager: EntityManager, { tenantId, id, name }: Rule): Promise<void> {
    if (name === null) return;
    const namesake = await manager.findOneBy(Rule, { tenantId, kind: this.kind, name });
    if (namesake && namesake.id !== id)
      throw new ApiError('CONFLICT', `another ${NAMES[this.kind].name} is named "${name}"`);
  }

  private async find(manager: EntityManager, tenantId: string, id: string): Promise<Rule> {
    const rule = UUID.test(id) ? await manager.findOneBy(Rule, { tenantId, kind: this.kind, id }) : null;
    if (!rule) throw new ApiError('NOT_FOUND', `no ${NAMES[this.kind].name} ${id}`);
    return rule;
  }
}

const toDto = <Kind extends RuleKind>({ id, name, enabled, definition }: Rule): RuleDtos[Kind] =>
  ({ id, ...(name === null ? {} : { name }), enabled, ...definition }) as unknown as RuleDtos[Kind];

/** Guards of what a rule no longer distinguishes, or no longer waits for, would hold it back. */
const firesOtherwise = (before: Record<string, unknown>, after: Record<string, unknown>): boolean =>
  ['firingType', 'aggregationKeys', 'sleepDuration'].some(
    (name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]),
  );

// Locked in the order in which the reader locks them.
async function liftGuards(manager: EntityManager, tenantId: string, ruleId: string): Promise<void> {
  await manager.query(
    `WITH locked AS (SELECT context FROM firing_guards WHERE tenant_id = $1 AND firing_rule_id = $2 ORDER BY context FOR UPDATE)
     DELETE FROM firing_guards g USING locked l WHERE g.tenant_id = $1 AND g.firing_rule_id = $2 AND g.context = l.context`,
    [tenantId, ruleId],
  );
}
