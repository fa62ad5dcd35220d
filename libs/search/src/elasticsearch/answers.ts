import { type AggregationNode, PIPELINE_KINDS, type Sort, type SourceFilter } from '../dsl/index.js';
import { shownSource } from '../source-filter.js';
import { aggregationName, isAnyOrder } from './aggregations.js';

type Json = Record<string, unknown>;

export interface RawHit {
  /** As text, or as earlier versions have written it. */
  _source?: { source: string | Json };
  sort?: unknown[];
}

export interface Hit {
  _source?: Json;
  sort?: unknown[];
}

/** A hit without what tells about indices. */
export function hitOf(raw: RawHit, filter: SourceFilter, sorts: readonly Sort[]): Hit {
  const source = raw._source && shownSource(messageOf(raw._source.source), filter);
  const values = [...(raw.sort ?? [])];
  return {
    ...(source ? { _source: source } : {}),
    ...(sorts.length > 0 ? { sort: sorts.map((sort) => (isAnyOrder(sort) ? null : sortValue(values.shift()))) } : {}),
  };
}

const messageOf = (source: string | Json): Json => (typeof source === 'string' ? (JSON.parse(source) as Json) : source);

/** Fields that a document does not have sort as if they were endless. */
const sortValue = (value: unknown): unknown =>
  value === 'Infinity' || value === '-Infinity' || (typeof value === 'number' && Math.abs(value) > 9.2e18)
    ? null
    : value;

/** Answers by the names of the request. They replace those of Elasticsearch in the same object: copies of many buckets would take long. */
export function answersOf(nodes: readonly AggregationNode[], raw: Json): Json {
  // All of them first: a name may look like a place.
  const answers = nodes.map((_, i) => raw[aggregationName(i)] as Json | undefined);
  nodes.forEach((_, i) => delete raw[aggregationName(i)]);
  nodes.forEach(({ name, aggregation, children }, i) => {
    const answer = answers[i];
    if (answer === undefined || PIPELINE_KINDS.includes(aggregation.kind)) return;
    if (aggregation.kind === 'top_hits') {
      const { total, hits } = answer['hits'] as { total: { value: number }; hits: RawHit[] };
      raw[name] = {
        hits: {
          total: total.value,
          max_score: null,
          hits: hits.map((hit) => hitOf(hit, aggregation.source, aggregation.sort)),
        },
      };
      return;
    }
    delete answer['meta'];
    raw[name] = answer;
    const { buckets } = answer;
    if (buckets !== undefined) for (const bucket of Object.values(buckets as Json)) answersOf(children, bucket as Json);
    else answersOf(children, answer);
  });
  return raw;
}
