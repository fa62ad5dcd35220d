import { type ApiError, invalidParameter } from '@orrery/core/http';
import type { Field, FieldTypes, Scalar } from './tree.js';
import { fieldName } from './fields.js';

export type Json = Record<string, unknown>;

/** What a whole request may use up. */
const MAX_DEPTH = 40;
const MAX_CLAUSES = 1024;
/** Each one is answered for each bucket around it. */
const MAX_AGGREGATIONS = 100;
/** Dates, each by each format that it is tried with, and three for a step of date math: some 50 microseconds each. */
const MAX_DATES = 12_000;

/** What the clauses of one request share while it is read. */
export class Reading {
  private clauses = 0;
  private aggregations = 0;
  private dates = 0;

  constructor(
    readonly typeOf: FieldTypes,
    /** `now` of the request, milliseconds: one instant for all its clauses. */
    readonly now: number,
    readonly version: 'v0' | 'v1',
  ) {}

  /** Counts a query or an aggregation. */
  count(path: string, depth: number): void {
    if (depth > MAX_DEPTH) throw refuse(path, `at most ${MAX_DEPTH} levels of queries or aggregations`);
    if (++this.clauses > MAX_CLAUSES)
      throw refuse(path, `at most ${MAX_CLAUSES} queries and aggregations in a request`);
  }

  countAggregation(path: string, depth: number): void {
    this.count(path, depth);
    if (++this.aggregations > MAX_AGGREGATIONS)
      throw refuse(path, `at most ${MAX_AGGREGATIONS} aggregations in a request`);
  }

  countDate(path: string, work: number): void {
    if ((this.dates += work) > MAX_DATES) throw refuse(path, 'fewer dates, or less date math, in a request');
  }

  field(path: string, value: unknown): Field {
    if (typeof value !== 'string' || value === '' || value.length > 512) throw refuse(path, 'the name of a field');
    // Those of Elasticsearch's own, such as _id: they would find nothing.
    if (value.startsWith('_')) throw refuse(path, 'the name of a field of messages; they are identified by id');
    const name = fieldName(textAt(path, value));
    return { name, type: this.typeOf(name) };
  }
}

/** 400 that says where in the body, and what is expected there. */
export const refuse = (path: string, expected: string): ApiError => invalidParameter(path, expected);

/** Path of a member, as in `query.bool.must[1].nosuch`; a long name of the user's is cut. */
export const at = (path: string, key: string | number): string => {
  if (typeof key === 'number') return `${path}[${key}]`;
  const shown = key.length > 80 ? `${key.slice(0, 80)}…` : key;
  return path === '' ? shown : `${path}.${shown}`;
};

export function objectAt(path: string, value: unknown): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refuse(path, 'an object');
  return value as Json;
}

/** An object with no members but these. */
export function clauseAt(path: string, value: unknown, allowed: readonly string[]): Json {
  const object = objectAt(path, value);
  for (const key of Object.keys(object))
    if (!allowed.includes(key)) throw refuse(at(path, key), `one of ${allowed.toSorted().join(', ')}`);
  return object;
}

/** The one member of an object. */
export function onlyMember(path: string, value: unknown, what: string): [string, unknown] {
  const entries = Object.entries(objectAt(path, value));
  if (entries.length !== 1) throw refuse(path, `an object with exactly one member, ${what}`);
  return entries[0]!;
}

export const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : [value]);

export function integerAt(path: string, value: unknown, min: number, max: number): number {
  // Elasticsearch takes numbers in strings too, and so do its clients.
  const number = typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isInteger(number) || number < min || number > max)
    throw refuse(path, `an integer between ${min} and ${max}`);
  return number;
}

export function numberAt(path: string, value: unknown): number {
  const number = typeof value === 'string' && isNumeric(value) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isFinite(number)) throw refuse(path, 'a number');
  return number;
}

export function booleanAt(path: string, value: unknown, absent: boolean): boolean {
  if (value === undefined) return absent;
  if (value === true || value === 'true') return true;
  if (value === false || value === 'false') return false;
  throw refuse(path, 'true or false');
}

export function textAt(path: string, value: unknown, maxLength = 1000): string {
  if (typeof value !== 'string' || value.length > maxLength)
    throw refuse(path, `a string of at most ${maxLength} characters`);
  // PostgreSQL keeps no NUL, and no document has one.
  if (value.includes('\0') || /\p{Surrogate}/u.test(value))
    throw refuse(path, 'a string of Unicode characters without NUL');
  return value;
}

export function wordAt<Word extends string>(path: string, value: unknown, words: readonly Word[], absent?: Word): Word {
  if (value === undefined && absent !== undefined) return absent;
  const word = typeof value === 'string' ? value.toLowerCase() : undefined;
  if (word === undefined || !(words as readonly string[]).includes(word))
    throw refuse(path, `one of ${words.join(', ')}`);
  return word as Word;
}

export const isNumeric = (text: string): boolean => /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$/.test(text);

/** A value as the type of its field has it. Dates are read by their queries. */
export function scalarAt(path: string, value: unknown, field: Field): Scalar {
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean')
    throw refuse(path, 'a string, a number or a boolean');
  switch (field.type) {
    case 'number':
      return numberAt(path, value);
    case 'boolean':
      if (value !== true && value !== false && value !== 'true' && value !== 'false')
        throw refuse(path, 'true, false, "true" or "false", as the field is boolean');
      return value === true || value === 'true';
    case 'geo':
      throw refuse(path, `a geo query, as ${field.name} is a point`);
    case 'string':
      return textAt(path, String(value), 8191);
    default:
      return typeof value === 'string' ? textAt(path, value, 8191) : value;
  }
}
