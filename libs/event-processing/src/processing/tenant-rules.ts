import { VersionedCache } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import { ApiError } from '@orrery/core/http';
import type { Logger } from '@orrery/core/telemetry';
import { compileRuleLogic, type RuleLogic } from '../logic/rule-logic.js';
import { compilePath, parseDuration } from '../rules/rule-document.js';
import type { FiringRuleDto, MatchingRuleDto, StateProcessingRuleDto } from '../rules/rule.dto.js';
import { Rule, type RuleKind } from '../rules/rule.entity.js';

/** What every rule has when it is ready to run. */
export interface CompiledRule {
  id: string;
  name: string | undefined;
  /** As stored events show it: logic is a JSON string (manual 15.4.2). */
  stored: Record<string, unknown>;
}

export interface CompiledMatchingRule extends CompiledRule {
  dto: MatchingRuleDto;
  predicate: RuleLogic;
  /** The enabled firing rules that it leads to. */
  firing: CompiledFiringRule[];
}

export interface CompiledFiringRule extends CompiledRule {
  keys: Array<{ path: string; read: (message: unknown) => unknown }>;
  /** Whether it is held back after an event: ONCE for ever, SLEEP for so many milliseconds, ALWAYS not at all. */
  guard: { sleepMs: number | undefined } | undefined;
}

export interface CompiledStateRule extends CompiledRule {
  filter: RuleLogic | undefined;
  key: (message: unknown) => unknown;
  next: RuleLogic;
}

/** What a tenant's messages are evaluated by: enabled rules alone, in the order of their creation. */
export interface TenantRules {
  matching: CompiledMatchingRule[];
  states: CompiledStateRule[];
}

/** The rules of the tenants in hand, compiled once per version; versions are read in the transaction of each batch. */
export class RuleCache {
  private readonly compiled: VersionedCache<TenantRules>;

  constructor(
    private readonly database: Database,
    private readonly logger: Logger,
  ) {
    this.compiled = new VersionedCache((key) => this.load(key.slice(key.indexOf(' ') + 1)), 5000);
  }

  get(tenantId: string, version: string): Promise<TenantRules> {
    return this.compiled.get(`${version} ${tenantId}`);
  }

  private async load(tenantId: string): Promise<TenantRules> {
    const rules = await this.database.manager.find(Rule, {
      where: { tenantId, enabled: true },
      order: { created: 'ASC', id: 'ASC' },
    });
    const all = <Compiled>(kind: RuleKind, compile: (rule: Rule) => Compiled): Compiled[] =>
      rules.flatMap((rule) => (rule.kind === kind ? this.compiledOne(rule, compile) : []));
    const firing = all('firing', (rule) => ({ ids: firingDto(rule).matchingRuleIds, compiled: compileFiring(rule) }));
    const matching = all('matching', (rule) => ({
      ...compileMatching(rule),
      firing: firing
        .filter(({ ids }) => ids.some((id) => id.toLowerCase() === rule.id))
        .map(({ compiled }) => compiled),
    }));
    // A match that leads to no firing rule has no effect.
    return { matching: matching.filter((rule) => rule.firing.length > 0), states: all('state', compileState) };
  }

  /** A rule of an earlier release that this one refuses must not stop the others. */
  private compiledOne<Compiled>(rule: Rule, compile: (rule: Rule) => Compiled): Compiled[] {
    try {
      return [compile(rule)];
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.logger.error({ tenantId: rule.tenantId, rule: rule.id, error: error.details }, 'a rule is not applied');
      return [];
    }
  }
}

const dtoOf = ({ id, name, enabled, definition }: Rule): Record<string, unknown> => ({
  ...(name === null ? {} : { name }),
  ...definition,
  id,
  enabled,
});
const firingDto = (rule: Rule): FiringRuleDto => dtoOf(rule) as unknown as FiringRuleDto;

function compileMatching(rule: Rule): Omit<CompiledMatchingRule, 'firing'> {
  const dto = dtoOf(rule) as unknown as MatchingRuleDto;
  return {
    id: rule.id,
    name: rule.name ?? undefined,
    stored: { ...dto, dataPredicate: JSON.stringify(dto.dataPredicate) },
    dto,
    predicate: compileRuleLogic(dto.dataPredicate, 'dataPredicate'),
  };
}

function compileFiring(rule: Rule): CompiledFiringRule {
  const dto = firingDto(rule);
  return {
    id: rule.id,
    name: rule.name ?? undefined,
    stored: { ...dto },
    keys: dto.aggregationKeys.map((path) => ({ path, read: compilePath(path) })),
    guard: dto.firingType === 'ALWAYS' ? undefined : { sleepMs: parseDuration(dto.sleepDuration) },
  };
}

function compileState(rule: Rule): CompiledStateRule {
  const dto = dtoOf(rule) as unknown as StateProcessingRuleDto;
  const { filterPredicate, stateFunction } = dto;
  return {
    id: rule.id,
    name: rule.name ?? undefined,
    stored: {
      ...dto,
      stateFunction: JSON.stringify(stateFunction),
      filterPredicate: JSON.stringify(filterPredicate ?? null),
    },
    filter: filterPredicate ? compileRuleLogic(filterPredicate, 'filterPredicate') : undefined,
    key: compilePath(dto.stateKeyPath),
    next: compileRuleLogic(stateFunction, 'stateFunction', { currentstate: true }),
  };
}
