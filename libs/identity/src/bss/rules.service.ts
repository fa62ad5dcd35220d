import { randomUUID } from 'node:crypto';
import { controlSubject } from '@orrery/core/bus';
import { type Database, writeOutbox } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import { type EntityManager, QueryFailedError } from 'typeorm';
import { isTitle } from '../tenants/json-object.js';
import type { RuleDocument } from './rule-document.js';
import { Rule } from './rule.entity.js';

/** Kind of control event: a rule has a new version, so that customers may have to follow. */
export const RULE_CONTROL = 'bssRule';

/** How a rule is designated (manual 21.3): a display name is that of its latest version. */
export type RuleSelector = { id: string } | { name: string } | { displayName: string };

/** Offers and options, written by administrators (manual 21.3). */
export class RulesService {
  constructor(private readonly database: Database) {}

  /** @throws ApiError CONFLICT when the name is taken; 400 when the versions would differ in their type */
  create(document: RuleDocument): Promise<Rule> {
    return this.database.transaction((manager) => insertRule(manager, document));
  }

  list({ limit, offset }: { limit: number; offset: number }): Promise<[Rule[], number]> {
    return this.database.manager.findAndCount(Rule, { order: { number: 'ASC' }, take: limit, skip: offset });
  }

  /** @throws ApiError NOT_FOUND */
  get(id: string): Promise<Rule> {
    return findRule(this.database.manager, { id });
  }

  /** @throws ApiError NOT_FOUND */
  async setDisabled(id: string, disabled: boolean): Promise<Rule> {
    const rule = await this.get(id);
    await this.database.manager.update(Rule, { id }, { disabled });
    return { ...rule, disabled };
  }
}

export async function insertRule(manager: EntityManager, document: RuleDocument): Promise<Rule> {
  const { displayName, type, name } = document;
  // Versions of one rule are created one after the other.
  await manager.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`rules/${displayName}`]);
  const earlier = await manager.findOneBy(Rule, { displayName });
  if (earlier && earlier.type !== type)
    throw invalidParameter('type', `${earlier.type}, as the other versions of "${displayName}"`);
  const id = randomUUID();
  try {
    await manager.insert(Rule, { ...(document as object), id });
  } catch (error) {
    if (error instanceof QueryFailedError && (error.driverError as { code?: string }).code === '23505')
      throw new ApiError('CONFLICT', { name });
    throw error;
  }
  await writeOutbox(manager, [{ subject: controlSubject(RULE_CONTROL), header: '{}', body: '{}' }]);
  return manager.findOneByOrFail(Rule, { id });
}

/** @throws ApiError NOT_FOUND */
export async function findRule(manager: EntityManager, selector: RuleSelector): Promise<Rule> {
  // What is no name is not asked of PostgreSQL, which refuses some characters.
  const rule = Object.values(selector).every((value) => isTitle(value))
    ? await manager.findOne(Rule, { where: selector, order: { number: 'DESC' } })
    : null;
  if (!rule) throw new ApiError('NOT_FOUND', 'no such rule');
  return rule;
}
