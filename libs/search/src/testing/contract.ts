import { parseSearch, type SearchRequest } from '../dsl/index.js';
import type { SearchAnswer, SearchEngine } from '../search-engine.js';
import { bucketCases } from './cases/buckets.js';
import type { Case } from './cases/case.js';
import { cornerCases } from './cases/corners.js';
import { dateCases } from './cases/dates.js';
import { geoCases } from './cases/geo.js';
import { hitCases } from './cases/hits.js';
import { metricCases } from './cases/metrics.js';
import { queryCases } from './cases/queries.js';
import { termCases } from './cases/terms.js';
import { contractDocuments, contractTypes, TENANT } from './data.js';

export type { Case } from './cases/case.js';
export * from './data.js';

export const CASES: readonly Case[] = [
  ...queryCases,
  ...geoCases,
  ...hitCases,
  ...metricCases,
  ...termCases,
  ...bucketCases,
  ...dateCases,
  ...cornerCases,
];

const types = contractTypes(contractDocuments());

export const requestOf = ({ body, version }: Case): SearchRequest => parseSearch(body, version ?? 'v1', types);

export const ask = (engine: SearchEngine, each: Case): Promise<SearchAnswer> =>
  engine.search(each.tenant ?? TENANT, requestOf(each));

/** @throws what is not as the case expects. */
export function checkAnswer(each: Case, answer: SearchAnswer): void {
  if (each.total !== undefined)
    expect(answer.hits.total).toEqual({ value: each.total, relation: each.gte ? 'gte' : 'eq' });
  if (each.hits) {
    const { of, values } = each.hits;
    expect(answer.hits.hits.map(({ _source }) => member(_source, of))).toEqual(values);
  }
  if (each.aggregations) expectPart(each.aggregations, answer.aggregations, each.tolerance ?? 0, 'aggregations');
}

/** @throws where two engines do not answer alike: numbers within 1e-6 of each other, or the tolerance of the case. */
export function compareAnswers(each: Case, one: SearchAnswer, other: SearchAnswer): void {
  expect(other.hits.total).toEqual(one.hits.total);
  const ordered = requestOf(each).sort.length > 0;
  const hits = ({ hits: { hits: list } }: SearchAnswer): unknown =>
    ordered ? list.map(({ _source }) => _source) : list.length;
  expect(hits(other)).toEqual(hits(one));
  // Of unordered hits, which ones come first is each engine's own; all of them are compared when they fit.
  if (!ordered && one.hits.total.relation === 'eq' && one.hits.hits.length === one.hits.total.value)
    expect(sortedIds(other)).toEqual(sortedIds(one));
  expectSame(withoutSorts(one.aggregations), withoutSorts(other.aggregations), each.tolerance ?? 1e-6, 'aggregations');
}

const sortedIds = (answer: SearchAnswer): unknown[] =>
  answer.hits.hits.map(({ _source }) => _source?.['id']).toSorted();

function member(value: unknown, path: string): unknown {
  if (path === '') return value;
  return path.split('.').reduce<unknown>((inner, key) => (inner as Record<string, unknown> | undefined)?.[key], value);
}

/** Sort values of top_hits are no part of what the platform answers alike: engines print what is missing differently. */
function withoutSorts(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutSorts);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, inner]) => !(key === 'sort' && Array.isArray(inner)))
      .map(([key, inner]) => [key, withoutSorts(inner)]),
  );
}

const close = (a: number, b: number, tolerance: number): boolean =>
  Math.abs(a - b) <= Math.max(1e-6, tolerance) * Math.max(1, Math.abs(a), Math.abs(b));

function expectPart(expected: unknown, actual: unknown, tolerance: number, path: string): void {
  if (typeof expected === 'number' && typeof actual === 'number' && close(expected, actual, tolerance)) return;
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual)) throw new Error(`${path}: an array was expected, not ${JSON.stringify(actual)}`);
    // Of buckets, all of them are told, but where estimates are.
    if (tolerance === 0 && expected.length !== actual.length)
      throw new Error(`${path}: ${expected.length} were expected, not ${JSON.stringify(actual)}`);
    expected.forEach((each, i) => expectPart(each, actual[i], tolerance, `${path}[${i}]`));
  } else if (typeof expected === 'object' && expected !== null) {
    if (typeof actual !== 'object' || actual === null)
      throw new Error(`${path}: an object was expected, not ${JSON.stringify(actual)}`);
    for (const [key, each] of Object.entries(expected))
      expectPart(each, (actual as Record<string, unknown>)[key], tolerance, `${path}.${key}`);
  } else if (expected !== actual)
    throw new Error(`${path}: ${JSON.stringify(expected)} was expected, not ${JSON.stringify(actual)}`);
}

function expectSame(one: unknown, other: unknown, tolerance: number, path: string): void {
  if (typeof one === 'number' && typeof other === 'number' && close(one, other, tolerance)) return;
  if (typeof one !== 'object' || one === null || typeof other !== 'object' || other === null) {
    if (one !== other)
      throw new Error(`${path}: ${JSON.stringify(one)} by one engine, ${JSON.stringify(other)} by the other`);
    return;
  }
  const keys = new Set([...Object.keys(one), ...Object.keys(other)]);
  for (const key of keys)
    expectSame(
      (one as Record<string, unknown>)[key],
      (other as Record<string, unknown>)[key],
      tolerance,
      `${path}.${key}`,
    );
}
