import { at, booleanAt, clauseAt, integerAt, listOf, numberAt, refuse, type Reading } from '../clause.js';
import { formatAt } from '../queries.js';
import { type Aggregation, type Field } from '../tree.js';
import { missingNumber, missingScalar, numeric, typed } from './fields.js';

export function metric(
  reading: Reading,
  path: string,
  value: unknown,
  kind: 'stats' | 'avg' | 'min' | 'max' | 'sum',
): Aggregation {
  const clause = clauseAt(path, value, ['field', 'missing', 'format']);
  const field = numeric(reading, path, clause);
  const format =
    clause['format'] === undefined ? {} : { format: dateFormat(at(path, 'format'), clause['format'], field) };
  return { kind, field, ...missingNumber(path, clause, field), ...format };
}

/** The text of a date format that can be printed. */
function dateFormat(path: string, value: unknown, field?: Field): string {
  if (field && field.type !== 'date') throw refuse(path, `nothing, as ${field.name} is no date`);
  formatAt(path, value);
  return value as string;
}

export function counted(
  reading: Reading,
  path: string,
  value: unknown,
  kind: 'value_count' | 'cardinality',
): Aggregation {
  const clause = clauseAt(path, value, ['field', 'missing', 'precision_threshold']);
  if (clause['precision_threshold'] !== undefined)
    integerAt(at(path, 'precision_threshold'), clause['precision_threshold'], 0, 1_000_000);
  const field = typed(reading, path, clause, ['number', 'date', 'boolean', 'string'], 'a field of values');
  return { kind, field, ...missingScalar(path, clause, field) };
}

export function parsePercentiles(reading: Reading, path: string, value: unknown): Aggregation {
  const clause = clauseAt(path, value, ['field', 'percents', 'keyed', 'missing', 'tdigest']);
  const percents = clause['percents'] === undefined ? [1, 5, 25, 50, 75, 95, 99] : listOf(clause['percents']);
  if (percents.length === 0 || percents.length > 100)
    throw refuse(at(path, 'percents'), 'an array of 1 to 100 numbers');
  const numbers = percents.map((percent, i) => {
    const number = numberAt(at(at(path, 'percents'), i), percent);
    if (number < 0 || number > 100) throw refuse(at(at(path, 'percents'), i), 'a number between 0 and 100');
    return number;
  });
  const field = numeric(reading, path, clause);
  const keyed = booleanAt(at(path, 'keyed'), clause['keyed'], true);
  return {
    kind: 'percentiles',
    field,
    percents: numbers.toSorted((a, b) => a - b),
    keyed,
    ...missingNumber(path, clause, field),
  };
}
