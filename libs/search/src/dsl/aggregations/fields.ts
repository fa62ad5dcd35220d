import { at, integerAt, numberAt, refuse, scalarAt, type Json, type Reading } from '../clause.js';
import { type Field, type Scalar } from '../tree.js';
import { MAX_BUCKETS } from './limits.js';

export const fieldOf = (reading: Reading, path: string, clause: Json): Field =>
  reading.field(at(path, 'field'), clause['field']);

export function typed(reading: Reading, path: string, clause: Json, types: readonly string[], what: string): Field {
  const field = fieldOf(reading, path, clause);
  if (field.type !== undefined && !types.includes(field.type))
    throw refuse(at(path, 'field'), `${what}; ${field.name} has values of type ${field.type}`);
  return field;
}

export const numeric = (reading: Reading, path: string, clause: Json): Field =>
  typed(reading, path, clause, ['number', 'date', 'boolean'], 'a field of numbers');
export const geo = (reading: Reading, path: string, clause: Json): Field =>
  typed(reading, path, clause, ['geo'], 'a location followed by .@geopoint');
export const dates = (reading: Reading, path: string, clause: Json): Field =>
  typed(reading, path, clause, ['date'], 'a date');

/** What a document without the field counts as. A date is never missing. */
export function missingNumber(path: string, clause: Json, field: Field): { missing?: number } {
  const value = clause['missing'];
  if (value === undefined) return {};
  const where = at(path, 'missing');
  if (field.type === 'boolean') return { missing: Number(scalarAt(where, value, field)) };
  const number = numberAt(where, value);
  return field.type === 'date' ? {} : { missing: number };
}

export function missingScalar(path: string, clause: Json, field: Field): { missing?: Scalar } {
  const value = clause['missing'];
  if (value === undefined) return {};
  if (field.type === 'date' || field.type === 'geo') throw refuse(at(path, 'missing'), 'nothing for dates and points');
  const scalar = scalarAt(at(path, 'missing'), value, field);
  // Of a field that nobody has, buckets are texts.
  return { missing: field.type === undefined ? String(scalar) : scalar };
}

export const sizeOf = (path: string, clause: Json, absent: number): number =>
  clause['size'] === undefined ? absent : integerAt(at(path, 'size'), clause['size'], 1, MAX_BUCKETS);
