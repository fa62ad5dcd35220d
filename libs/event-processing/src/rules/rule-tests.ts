import type { Database } from '@orrery/core/database';
import { ApiError, invalidParameters } from '@orrery/core/http';
import { isTrue, LogicError } from '@orrery/core/json-logic';
import { isShallow } from '@orrery/core/messages';
import { contextOf } from '../contexts/context-cache.js';
import { compileRuleLogic, type RuleLogic } from '../logic/rule-logic.js';
import { isObject } from './rule-document.js';
import type { PredicateTestResultDto, StateFunctionTestResultDto } from './rule.dto.js';

/** Applies logic to a message that somebody wrote, with the tenant's context and without any effect (manual 17.4). */
export class RuleTests {
  constructor(private readonly database: Database) {}

  async predicate(tenantId: string, body: unknown): Promise<PredicateTestResultDto> {
    const { data, dataPredicate } = fieldsOf(body);
    const logic = compiled(dataPredicate, 'dataPredicate');
    const { valid, dataValid, result } = await this.evaluate(tenantId, logic, data);
    return {
      dataPredicateValid: valid,
      dataValid,
      ...(result === undefined ? {} : { dataPredicateResult: isTrue(result) }),
    };
  }

  async stateFunction(tenantId: string, body: unknown): Promise<StateFunctionTestResultDto> {
    const { currentState, data, stateProcessingFunction } = fieldsOf(body);
    const logic = compiled(stateProcessingFunction, 'stateProcessingFunction', true);
    // `{}` is how the manual writes that there is none.
    const state = typeof currentState === 'object' ? null : (currentState ?? null);
    const { valid, dataValid, result } = await this.evaluate(tenantId, logic, data, state);
    return {
      stateFunctionValid: valid,
      dataValid,
      ...(result === undefined ? {} : { stateFunctionResult: result }),
    };
  }

  private async evaluate(
    tenantId: string,
    logic: RuleLogic | undefined,
    data: unknown,
    state: unknown = null,
  ): Promise<{ valid: boolean; dataValid: boolean; result?: unknown }> {
    const dataValid = isObject(data) && isShallow(data);
    if (!logic || !dataValid) return { valid: logic !== undefined, dataValid };
    const context = await contextOf(this.database, tenantId);
    try {
      const result = logic(data, { context: (key) => context.get(key), state, now: new Date() });
      return { valid: true, dataValid, result };
    } catch (error) {
      // The operands of this message do not fit, or the evaluation takes too long: there is no result.
      if (error instanceof LogicError) return { valid: false, dataValid };
      throw error;
    }
  }
}

function fieldsOf(body: unknown): Record<string, unknown> {
  if (!isObject(body)) throw invalidParameters([{ field: '', expected: 'a JSON object' }]);
  return body;
}

function compiled(logic: unknown, field: string, currentstate = false): RuleLogic | undefined {
  if (!isObject(logic)) return undefined;
  try {
    return compileRuleLogic(logic, field, { currentstate });
  } catch (error) {
    if (error instanceof ApiError) return undefined;
    throw error;
  }
}
