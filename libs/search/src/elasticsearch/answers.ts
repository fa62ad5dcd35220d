import { type Aggregation, type AggregationNode, PIPELINE_KINDS, type Sort, type SourceFilter } from '../dsl/index.js';
import { shownSource } from '../source-filter.js';
import { aggregationName, BOUNDS, isAnyOrder, isExtreme } from './aggregations.js';

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
    ...(sorts.length > 0
      ? { sort: sorts.map((sort) => (isAnyOrder(sort) ? null : sortValue(sort, values.shift()))) }
      : {}),
  };
}

const messageOf = (source: string | Json): Json => (typeof source === 'string' ? (JSON.parse(source) as Json) : source);

/** Fields that a document does not have sort as if they were endless. */
function sortValue({ field }: Sort, value: unknown): unknown {
  if (field.type === 'string') return value;
  const endless = typeof value === 'string' || (field.type !== 'number' && Math.abs(Number(value)) > 9.2e18);
  return endless ? null : value;
}

const DATES: readonly string[] = ['value', 'min', 'max', 'avg', 'sum'].map((name) => `${name}_as_string`);

/** A metric as it was asked for. Texts are those of dates: of truth there is no average, and of a variance no date. */
function metricOf(aggregation: Aggregation, answer: Json): Json {
  if (answer['buckets'] !== undefined || !('field' in aggregation) || aggregation.kind === 'missing') return answer;
  const { kind, field } = aggregation;
  if (isExtreme(kind)) {
    const text = answer[`${kind}_as_string`];
    return { value: answer[kind], ...(field.type === 'date' && text !== undefined ? { value_as_string: text } : {}) };
  }
  if (kind === 'percentiles') {
    if (field.type !== 'date') withoutTexts(answer['values'] as Json);
  } else
    for (const key of Object.keys(answer))
      if (key.endsWith('_as_string') && (field.type !== 'date' || !DATES.includes(key))) delete answer[key];
  return answer;
}

/** Of percentiles, by their keys or in a list. */
function withoutTexts(values: Json | Json[]): void {
  for (const each of Array.isArray(values) ? values : [values])
    for (const key of Object.keys(each)) if (key.endsWith('_as_string')) delete each[key];
}

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
    if (aggregation.kind === 'geo_bounds') {
      const [only] = answer['buckets'] as Json[];
      raw[name] = only?.[BOUNDS] ?? {};
      return;
    }
    delete answer['meta'];
    raw[name] = metricOf(aggregation, answer);
    const { buckets } = answer;
    if (buckets !== undefined) for (const bucket of Object.values(buckets as Json)) answersOf(children, bucket as Json);
    else answersOf(children, answer);
  });
  return raw;
}
