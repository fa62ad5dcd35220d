/** A search, and what both engines answer. What isn't said is only compared between them. */
export interface Case {
  name: string;
  body: Record<string, unknown>;
  /** TENANT when absent. */
  tenant?: string;
  version?: 'v0' | 'v1';
  /** hits.total.value; with `gte`, of a count that was cut. */
  total?: number;
  gte?: boolean;
  /** A member of each hit, in the order of the hits; sorted when the search has no order. */
  hits?: { of: string; values: unknown[] };
  /** Members of the aggregations that must be so; what isn't named may be. */
  aggregations?: Record<string, unknown>;
  /** Percentiles and cardinality are estimates: most part of the value by which they may differ. */
  tolerance?: number;
  /** Instead, of versions before 8.9: their percentiles of few values are others. */
  olderTolerance?: number;
}

export const filter = (name: string, query: Record<string, unknown>, total?: number, tenant?: string): Case => ({
  name,
  body: { query, size: 0, track_total_hits: true },
  ...(total === undefined ? {} : { total }),
  ...(tenant === undefined ? {} : { tenant }),
});

export const aggregate = (
  name: string,
  aggregation: Record<string, unknown>,
  expected?: Record<string, unknown>,
  query?: Record<string, unknown>,
): Case => ({
  name,
  body: { size: 0, ...(query ? { query } : {}), aggs: { a: aggregation } },
  ...(expected ? { aggregations: { a: expected } } : {}),
});
