import { setImmediate } from 'node:timers/promises';
import { VersionedCache } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import { ApiError } from '@orrery/core/http';
import type { Logger } from '@orrery/core/telemetry';
import { LRUCache } from 'lru-cache';
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
  matchingIds: ReadonlySet<string>;
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

/** Rules that stay compiled while others of their tenant change. */
const MAX_RULES = 20_000;
/** Longest time that compiling keeps the process from anything else. */
const MAX_BLOCKED_MS = 20;

interface KnownRule {
  /** What it was compiled from. */
  source: string;
  compiled: object | undefined;
}

/** The rules of the tenants in hand, compiled once per version; versions are read in the transaction of each batch. */
export class RuleCache {
  private readonly tenants: VersionedCache<TenantRules>;
  private readonly known = new LRUCache<string, KnownRule>({ max: MAX_RULES });

  constructor(
    private readonly database: Database,
    private readonly logger: Logger,
  ) {
    this.tenants = new VersionedCache((key) => this.load(key.slice(key.indexOf(' ') + 1)), 5000);
  }

  get(tenantId: string, version: string): Promise<TenantRules> {
    return this.tenants.get(`${version} ${tenantId}`);
  }

  private async load(tenantId: string): Promise<TenantRules> {
    const rules = await this.database.manager.find(Rule, {
      where: { tenantId, enabled: true },
      order: { created: 'ASC', id: 'ASC' },
    });
    const firing = await this.all(rules, 'firing', compileFiring);
    const matching = await this.all(rules, 'matching', compileMatching);
    return {
      // A match that leads to no firing rule has no effect.
      matching: matching
        .map((rule) => ({ ...rule, firing: firing.filter(({ matchingIds }) => matchingIds.has(rule.id)) }))
        .filter((rule) => rule.firing.length > 0),
      states: await this.all(rules, 'state', compileState),
    };
  }

  private async all<Compiled extends object>(
    rules: readonly Rule[],
    kind: RuleKind,
    compile: (rule: Rule) => Compiled,
  ): Promise<Compiled[]> {
    const compiled: Compiled[] = [];
    let began = performance.now();
    for (const rule of rules) {
      if (rule.kind !== kind) continue;
      const one = this.one(rule, compile);
      if (one) compiled.push(one);
      if (performance.now() - began < MAX_BLOCKED_MS) continue;
      await setImmediate();
      began = performance.now();
    }
    return compiled;
  }

  /** Nothing for a rule of an earlier release that this one refuses: it must not stop the others. */
  private one<Compiled extends object>(rule: Rule, compile: (rule: Rule) => Compiled): Compiled | undefined {
    const source = JSON.stringify([rule.name, rule.definition]);
    const known = this.known.get(rule.id);
    if (known?.source === source) return known.compiled as Compiled | undefined;
    let compiled: Compiled | undefined;
    try {
      compiled = compile(rule);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.logger.error({ tenantId: rule.tenantId, rule: rule.id, error: error.details }, 'a rule is not applied');
    }
    this.known.set(rule.id, { source, compiled });
    return compiled;
  }
}

const dtoOf = ({ id, name, enabled, definition }: Rule): Record<string, unknown> => ({
  ...(name === null ? {} : { name }),
  ...definition,
  id,
  enabled,
});

export function compileMatching(rule: Rule): Omit<CompiledMatchingRule, 'firing'> {
  const dto = dtoOf(rule) as unknown as MatchingRuleDto;
  return {
    id: rule.id,
    name: rule.name ?? undefined,
    stored: { ...dto, dataPredicate: JSON.stringify(dto.dataPredicate) },
    dto,
    predicate: compileRuleLogic(dto.dataPredicate, 'dataPredicate'),
  };
}

export function compileFiring(rule: Rule): CompiledFiringRule {
  const dto = dtoOf(rule) as unknown as FiringRuleDto;
  return {
    id: rule.id,
    name: rule.name ?? undefined,
    stored: { ...dto },
    matchingIds: new Set(dto.matchingRuleIds.map((id) => id.toLowerCase())),
    keys: dto.aggregationKeys.map((path) => ({ path, read: compilePath(path) })),
    guard: dto.firingType === 'ALWAYS' ? undefined : { sleepMs: parseDuration(dto.sleepDuration) },
  };
}

export function compileState(rule: Rule): CompiledStateRule {
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
