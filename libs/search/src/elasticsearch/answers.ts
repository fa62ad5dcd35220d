import { type AggregationNode, PIPELINE_KINDS, type Sort, type SourceFilter } from '../dsl/index.js';
import { filterSource } from '../source-filter.js';
import { aggregationName, isAnyOrder } from './aggregations.js';

type Json = Record<string, unknown>;

export interface RawHit {
  _source?: { source: Json };
  sort?: unknown[];
}

export interface Hit {
  _source?: Json;
  sort?: unknown[];
}

/** A hit without what tells about indices. */
export function hitOf(raw: RawHit, filter: SourceFilter, sorts: readonly Sort[]): Hit {
  const source = raw._source && filterSource(raw._source.source, filter);
  const values = [...(raw.sort ?? [])];
  return {
    ...(source ? { _source: source } : {}),
    ...(sorts.length > 0 ? { sort: sorts.map((sort) => (isAnyOrder(sort) ? null : sortValue(values.shift()))) } : {}),
  };
}

/** Fields that a document does not have sort as if they were endless. */
const sortValue = (value: unknown): unknown =>
  value === 'Infinity' || value === '-Infinity' || (typeof value === 'number' && Math.abs(value) > 9.2e18)
    ? null
    : value;

/** Answers by the names of the request. */
export function answersOf(nodes: readonly AggregationNode[], raw: Json): Json {
  const answers: Json = {};
  nodes.forEach(({ name, aggregation, children }, i) => {
    if (PIPELINE_KINDS.includes(aggregation.kind)) return;
    const answer = raw[aggregationName(i)] as Json;
    if (aggregation.kind === 'top_hits') {
      const { total, hits } = answer['hits'] as { total: { value: number }; hits: RawHit[] };
      answers[name] = {
        hits: {
          total: total.value,
          max_score: null,
          hits: hits.map((hit) => hitOf(hit, aggregation.source, aggregation.sort)),
        },
      };
      return;
    }
    const { meta: _meta, ...rest } = answer;
    answers[name] = children.length === 0 && !('buckets' in rest) ? rest : withChildren(rest, children);
  });
  return answers;
}

function withChildren(answer: Json, children: readonly AggregationNode[]): Json {
  const { buckets } = answer;
  const bucket = (each: Json): Json => {
    const own = Object.fromEntries(Object.entries(each).filter(([key]) => !/^a\d+$/.test(key)));
    return { ...own, ...answersOf(children, each) };
  };
  if (buckets === undefined) return bucket(answer);
  if (Array.isArray(buckets)) return { ...answer, buckets: (buckets as Json[]).map(bucket) };
  return {
    ...answer,
    buckets: Object.fromEntries(Object.entries(buckets as Json).map(([key, each]) => [key, bucket(each as Json)])),
  };
}
