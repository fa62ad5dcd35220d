import { type AggregationNode, PIPELINE_KINDS, type SourceFilter } from '../dsl/index.js';
import { aggregationName } from './aggregations.js';

type Json = Record<string, unknown>;

export interface RawHit {
  _source?: { source: Json };
  sort?: unknown[];
}

export interface Hit {
  _source?: Json;
  sort?: unknown[];
}

/** Filters `_source` as a request wants it. */
export type SourceView = (source: Json, filter: SourceFilter) => Json | undefined;

/** A hit without what tells about indices. */
export function hitOf(raw: RawHit, filter: SourceFilter, view: SourceView, sorted: boolean): Hit {
  const source = raw._source && view(raw._source.source, filter);
  return {
    ...(source ? { _source: source } : {}),
    ...(sorted && raw.sort ? { sort: raw.sort.map(sortValue) } : {}),
  };
}

/** Fields that a document does not have sort as infinite. */
const sortValue = (value: unknown): unknown => (value === 'Infinity' || value === '-Infinity' ? null : value);

/** Answers by the names of the request. */
export function answersOf(nodes: readonly AggregationNode[], raw: Json, view: SourceView): Json {
  const answers: Json = {};
  nodes.forEach(({ name, aggregation, children }, i) => {
    if (PIPELINE_KINDS.includes(aggregation.kind)) return;
    const answer = raw[aggregationName(i)] as Json;
    if (aggregation.kind === 'top_hits') {
      const { total, hits } = answer['hits'] as { total: { value: number }; hits: RawHit[] };
      const sorted = aggregation.sort.length > 0;
      answers[name] = {
        hits: {
          total: total.value,
          max_score: null,
          hits: hits.map((hit) => hitOf(hit, aggregation.source, view, sorted)),
        },
      };
      return;
    }
    const { meta: _meta, ...rest } = answer;
    answers[name] = children.length === 0 && !('buckets' in rest) ? rest : withChildren(rest, children, view);
  });
  return answers;
}

function withChildren(answer: Json, children: readonly AggregationNode[], view: SourceView): Json {
  const { buckets } = answer;
  const bucket = (each: Json): Json => {
    const own = Object.fromEntries(Object.entries(each).filter(([key]) => !/^a\d+$/.test(key)));
    return { ...own, ...answersOf(children, each, view) };
  };
  if (buckets === undefined) return bucket(answer);
  if (Array.isArray(buckets)) return { ...answer, buckets: (buckets as Json[]).map(bucket) };
  return {
    ...answer,
    buckets: Object.fromEntries(Object.entries(buckets as Json).map(([key, each]) => [key, bucket(each as Json)])),
  };
}
