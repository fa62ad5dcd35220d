import { randomUUID } from 'node:crypto';
import type { Database } from '@orrery/core/database';
import { ApiError, invalidParameters } from '@orrery/core/http';
import { limitOf, type LimitValues } from '@orrery/core/limits';
import type { FieldError } from '@orrery/core/messages';
import type { EntityManager } from 'typeorm';
import { parseDuration, UUID } from '../rules/rule-document.js';
import type { ActivityRuleDto, ActivityRuleView } from './activity-rule.dto.js';
import { ActivityRule, ruleView } from './activity-rule.entity.js';
import { SHORTEST_MS } from './activity-state.js';
import { lockTenant } from './activity-tenants.js';
import { requestSync } from './target-syncs.js';

const MAX_TAGS = 20;

/** Activity rules of a tenant (manual 17.2.7.2). What a change means for states follows soon after it. */
export class ActivityRulesService {
  constructor(private readonly database: Database) {}

  /** In the order of their creation. There are as many as the limit of the offer allows. */
  async list(tenantId: string, name?: string): Promise<ActivityRuleView[]> {
    const rules = await this.database.manager.find(ActivityRule, {
      where: { tenantId, ...(name === undefined ? {} : { name }) },
      order: { created: 'ASC', id: 'ASC' },
    });
    return rules.map(ruleView);
  }

  async get(tenantId: string, id: string): Promise<ActivityRuleView> {
    return ruleView(await this.find(this.database.manager, tenantId, id));
  }

  create(tenantId: string, limits: LimitValues, body: ActivityRuleDto): Promise<ActivityRuleView> {
    check(limits, body);
    return this.database.transaction(async (manager) => {
      await manager.query('INSERT INTO activity_tenants (tenant_id) VALUES ($1) ON CONFLICT DO NOTHING', [tenantId]);
      await lockTenant(manager, tenantId);
      const max = limitOf(limits, 'activityRules');
      if ((await manager.countBy(ActivityRule, { tenantId })) >= max)
        throw new ApiError('GENERIC_QUOTA_EXCEEDED_ERROR', `at most ${max} activity rules`);
      const now = new Date();
      const rule: ActivityRule = {
        tenantId,
        id: randomUUID(),
        ...columnsOf(body),
        version: 1,
        changed: now,
        created: now,
      };
      await this.checkName(manager, rule);
      await manager.insert(ActivityRule, rule as object);
      await requestSync(manager, tenantId, rule.id, now);
      return ruleView(rule);
    });
  }

  update(tenantId: string, limits: LimitValues, id: string, body: ActivityRuleDto): Promise<void> {
    check(limits, body);
    return this.database.transaction(async (manager) => {
      await lockTenant(manager, tenantId);
      const rule = await this.find(manager, tenantId, id);
      Object.assign(rule, columnsOf(body), { version: rule.version + 1, changed: new Date() });
      await this.checkName(manager, rule);
      await manager.update(ActivityRule, { tenantId, id: rule.id }, rule as object);
      await requestSync(manager, tenantId, rule.id, rule.changed);
    });
  }

  async delete(tenantId: string, id: string): Promise<void> {
    await this.database.transaction(async (manager) => {
      await lockTenant(manager, tenantId);
      const rule = await this.find(manager, tenantId, id);
      await manager.delete(ActivityRule, { tenantId, id: rule.id });
      await requestSync(manager, tenantId, rule.id, new Date());
    });
  }

  // The tenant's rules are locked.
  private async checkName(manager: EntityManager, { tenantId, id, name }: ActivityRule): Promise<void> {
    const namesake = await manager.findOneBy(ActivityRule, { tenantId, name });
    if (namesake && namesake.id !== id) throw new ApiError('CONFLICT', `another activity rule is named "${name}"`);
  }

  private async find(manager: EntityManager, tenantId: string, id: string): Promise<ActivityRule> {
    const rule = UUID.test(id) ? await manager.findOneBy(ActivityRule, { tenantId, id }) : null;
    if (!rule) throw new ApiError('NOT_FOUND', `no activity rule ${id}`);
    return rule;
  }
}

/** What the DTO cannot tell of itself. @throws GENERIC_INVALID_PARAMETER_ERROR that lists every bad field. */
function check(limits: LimitValues, { targets, tags }: ActivityRuleDto): void {
  const errors: FieldError[] = [];
  const atMost = (field: string, list: unknown[] | null | undefined, max: number): void => {
    if ((list?.length ?? 0) > max) errors.push({ field, expected: `at most ${max} items` });
  };
  atMost('targets.deviceIds', targets.deviceIds, limitOf(limits, 'activityRuleDevices'));
  atMost('targets.groupPaths', targets.groupPaths, limitOf(limits, 'activityRuleGroups'));
  atMost('tags', tags, MAX_TAGS);
  if (!targets.deviceIds?.length && !targets.groupPaths?.length)
    errors.push({ field: 'targets', expected: 'at least one of deviceIds or one of groupPaths' });
  if (errors.length > 0) throw invalidParameters(errors);
}

const handledMs = (duration: string): string => String(Math.max(Math.ceil(parseDuration(duration)!), SHORTEST_MS));

function columnsOf(body: ActivityRuleDto) {
  const { duration, repeatInterval } = body.silentPolicy;
  return {
    name: body.name,
    enabled: body.enabled,
    silentPolicy: { duration, ...(repeatInterval ? { repeatInterval } : {}) },
    targets: {
      deviceIds: body.targets.deviceIds ?? [],
      groupPaths: (body.targets.groupPaths ?? []).map(({ path, includeSubPath }) => ({
        path,
        includeSubPath: includeSubPath ?? false,
      })),
    },
    tags: body.tags ?? null,
    delayMs: handledMs(duration),
    repeatMs: repeatInterval ? handledMs(repeatInterval) : null,
  };
}
