import { parseAggregations } from './aggregations/parse.js';
import { checkOrders } from './aggregations/paths.js';
import { at, clauseAt, integerAt, Reading, refuse } from './clause.js';
import { parseSearchAfter, parseSort, parseSource } from './hits.js';
import { parseQuery } from './queries.js';
import type { FieldTypes, SearchRequest } from './tree.js';

/** As Elasticsearch: deeper pages go by search_after. */
const MAX_WINDOW = 10_000;
/** Of everything written in a request: characters of strings and names, and values. */
const MAX_CHARACTERS = 512 * 1024;
const MAX_VALUES = 50_000;
const MAX_NESTING = 200;

/**
 * Reads the body of a search (Elasticsearch 7). Only what both engines answer alike is let through; the field types are
 * those of the tenant. `trackTotalHits` is the one of the body, or of the version: all in v0, 10,000 in v1.
 * @throws ApiError 400 that names the clause, as in `query.bool.must[1].nosuch`.
 */
export function parseSearch(body: unknown, version: 'v0' | 'v1', typeOf: FieldTypes, now = Date.now()): SearchRequest {
  checkSize(body);
  const clause = clauseAt('body', body ?? {}, [
    'query',
    'aggs',
    'aggregations',
    'size',
    'from',
    'sort',
    'search_after',
    '_source',
    'track_total_hits',
  ]);
  const reading = new Reading(typeOf, now, version);
  const query =
    clause['query'] === undefined ? ({ kind: 'all' } as const) : parseQuery(reading, 'query', clause['query'], 0);
  if (clause['aggs'] !== undefined && clause['aggregations'] !== undefined)
    throw refuse('body', 'either aggs or aggregations');
  const key = clause['aggs'] === undefined ? 'aggregations' : 'aggs';
  const aggregations = parseAggregations(reading, key, clause[key], 0);
  checkOrders(key, aggregations);
  const size = clause['size'] === undefined ? 10 : integerAt('size', clause['size'], 0, MAX_WINDOW);
  const from = clause['from'] === undefined ? 0 : integerAt('from', clause['from'], 0, MAX_WINDOW);
  if (from + size > MAX_WINDOW)
    throw refuse('from', `from and size that are together at most ${MAX_WINDOW}; search_after goes further`);
  const sort = parseSort(reading, 'sort', clause['sort']);
  const after = clause['search_after'];
  if (after !== undefined && from > 0) throw refuse('from', '0 with search_after');
  return {
    query,
    aggregations,
    size,
    from,
    sort,
    ...(after === undefined ? {} : { searchAfter: parseSearchAfter('search_after', after, sort) }),
    source: parseSource('_source', clause['_source']),
    trackTotalHits: trackTotalHits(clause['track_total_hits'], version),
  };
}

function trackTotalHits(value: unknown, version: 'v0' | 'v1'): number | true {
  if (value === undefined || value === false) return version === 'v0' ? true : 10_000;
  return value === true ? true : integerAt('track_total_hits', value, 1, 2_147_483_647);
}

/** Without recursion: a body that is too deep must not exhaust the stack either. */
function checkSize(body: unknown): void {
  const open: Array<{ value: unknown; depth: number; path: string }> = [{ value: body, depth: 0, path: '' }];
  let characters = 0;
  let values = 0;
  while (open.length > 0) {
    const { value, depth, path } = open.pop()!;
    if (typeof value === 'string') characters += value.length;
    else if (typeof value === 'object' && value !== null) {
      // The path is only said where it is short enough to be of use.
      const child = (key: string | number): string => (depth < 5 ? at(path, key) : path);
      if (depth > MAX_NESTING) throw refuse(path, `at most ${MAX_NESTING} levels of objects and arrays`);
      if (Array.isArray(value))
        value.forEach((each, i) => open.push({ value: each, depth: depth + 1, path: child(i) }));
      else
        for (const [name, each] of Object.entries(value)) {
          characters += name.length;
          open.push({ value: each, depth: depth + 1, path: child(name) });
        }
    }
    if (++values > MAX_VALUES || characters > MAX_CHARACTERS)
      throw refuse('body', `at most ${MAX_VALUES} values and ${MAX_CHARACTERS} characters`);
  }
}
