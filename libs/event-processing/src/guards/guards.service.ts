import type { Database } from '@orrery/core/database';
import { ApiError, invalidParameters } from '@orrery/core/http';
import { type FieldError, isShallow } from '@orrery/core/messages';
import { isObject, UUID } from '../rules/rule-document.js';
import { criterionDigest } from './criteria.js';
import type { CriterionDto, FiringGuardDto } from './guard.dto.js';

interface Row {
  id: string;
  firing_rule_id: string;
  criteria: string;
  matching_context: string;
  created: Date;
  expires: Date | null;
}

/** Which guards: those of a firing rule, that hold all of these values. */
export interface Selection {
  firingRuleId: string;
  criteria: CriterionDto[];
}

// What has expired, and what a deleted rule has left, waits for the job that removes it.
const IN_FORCE = `g.tenant_id = $1 AND (g.expires IS NULL OR g.expires > now())
  AND EXISTS (SELECT 1 FROM rules r WHERE r.tenant_id = $1 AND r.kind = 'firing' AND r.id = g.firing_rule_id)`;
const COLUMNS = 'g.id, g.firing_rule_id, g.criteria, g.matching_context, g.created, g.expires';

/** What keeps firing rules from firing again (manual 17.2.5.4). */
export class GuardsService {
  constructor(private readonly database: Database) {}

  /** Newest first. */
  async list(
    tenantId: string,
    { size, page }: { size: number; page: number },
    selection?: Selection,
  ): Promise<FiringGuardDto[]> {
    const parameters: unknown[] = [tenantId, size, size * page];
    const rows = await this.database.query<Row>(
      `SELECT ${COLUMNS} FROM firing_guards g WHERE ${IN_FORCE} ${selected(selection, parameters)}
       ORDER BY g.created DESC, g.id LIMIT $2 OFFSET $3`,
      parameters,
    );
    return rows.map((row) => toDto(tenantId, row));
  }

  async get(tenantId: string, id: string): Promise<FiringGuardDto> {
    const [row] = UUID.test(id)
      ? await this.database.query<Row>(`SELECT ${COLUMNS} FROM firing_guards g WHERE ${IN_FORCE} AND g.id = $2`, [
          tenantId,
          id,
        ])
      : [];
    if (!row) throw new ApiError('NOT_FOUND', `no firing guard ${id}`);
    return toDto(tenantId, row);
  }

  /** The next match of its context fires again. */
  async delete(tenantId: string, id: string): Promise<void> {
    if (!UUID.test(id) || (await this.remove('AND g.id = $2', [tenantId, id])) === 0)
      throw new ApiError('NOT_FOUND', `no firing guard ${id}`);
  }

  /** @returns how many there were. */
  deleteSelected(tenantId: string, selection: Selection): Promise<number> {
    const parameters: unknown[] = [tenantId];
    return this.remove(selected(selection, parameters), parameters);
  }

  // Locked in the order in which the reader locks them.
  private async remove(condition: string, parameters: unknown[]): Promise<number> {
    return this.database.transaction(async (manager) => {
      const [, removed] = (await manager.query(
        `WITH locked AS (SELECT g.id FROM firing_guards g WHERE ${IN_FORCE} ${condition}
           ORDER BY g.firing_rule_id, g.context FOR UPDATE)
         DELETE FROM firing_guards d USING locked l WHERE d.tenant_id = $1 AND d.id = l.id`,
        parameters,
      )) as [unknown, number];
      return removed;
    });
  }
}

function selected(selection: Selection | undefined, parameters: unknown[]): string {
  if (!selection) return '';
  const rule = parameters.push(selection.firingRuleId);
  const digests = parameters.push(selection.criteria.map(criterionDigest));
  return `AND g.firing_rule_id = $${rule} AND g.criteria_digests @> $${digests}::text[]`;
}

const toDto = (tenantId: string, row: Row): FiringGuardDto => ({
  id: row.id,
  tenantId,
  firingRuleId: row.firing_rule_id,
  guardCriteria: JSON.parse(row.criteria) as CriterionDto[],
  matchingContext: JSON.parse(row.matching_context) as unknown,
  created: row.created.toISOString(),
  ...(row.expires === null ? {} : { expireAt: row.expires.toISOString() }),
});

/** @throws GENERIC_INVALID_PARAMETER_ERROR that lists every bad field. */
export function parseSelection(body: unknown): Selection {
  if (!isObject(body)) throw invalidParameters([{ field: '', expected: 'a JSON object' }]);
  const errors: FieldError[] = [];
  const { firingRuleId } = body;
  if (typeof firingRuleId !== 'string' || !UUID.test(firingRuleId))
    errors.push({ field: 'firingRuleId', expected: 'the id of a firing rule (required)' });
  const given = body['selectionCriteria'] ?? [];
  if (!Array.isArray(given) || given.length > 20)
    errors.push({ field: 'selectionCriteria', expected: 'a list of at most 20 items' });
  else
    given.forEach((each: unknown, i) => {
      if (!isObject(each) || typeof each['keyPath'] !== 'string' || !isShallow(each['value']))
        errors.push({ field: `selectionCriteria[${i}]`, expected: 'an object with a keyPath and a value' });
    });
  if (errors.length > 0) throw invalidParameters(errors);
  return {
    firingRuleId: firingRuleId as string,
    // A value that is missing is that of messages without the key.
    criteria: (given as CriterionDto[]).map(({ keyPath, value }) => ({ keyPath, value: value ?? null })),
  };
}
