import type { SearchRequest } from './dsl/index.js';
import type { Leaves } from './fields/index.js';

/** A message or stored event as it is indexed: its types have been checked against those of its model. */
export interface IndexedDocument {
  tenantId: string;
  id: string;
  /** Of arrival, ISO 8601: retention counts from it. */
  created: string;
  /** The message. */
  source: Record<string, unknown>;
  /** The same as the store keeps it, JSON, when it is at hand; what a search shows as `_source`, see `shownSource`. */
  text?: string;
  /** False when the message has no model: its value is not searchable. */
  model?: string;
  /** Of the source, when they are known; see `leavesOf`. */
  leaves?: Leaves;
}

/** A document that the engine does not take, and never will. */
export interface RefusedDocument {
  document: IndexedDocument;
  /** For its sender. */
  reason: string;
}

/** Characters of an answer, all hits and buckets together: it is held in memory. */
export const MAX_ANSWER = 64_000_000;

/** As Elasticsearch 7 answers, without what tells about its indices. */
export interface SearchAnswer {
  /** Milliseconds. */
  took: number;
  hits: {
    total: { value: number; relation: 'eq' | 'gte' };
    /** `_source` is absent when the request wants none. */
    hits: Array<{ _source?: Record<string, unknown>; sort?: unknown[] }>;
  };
  aggregations?: Record<string, unknown>;
}

/**
 * Keeps documents and finds them (the two engines pass one suite, testing/contract.ts). Fields are addressed as users do:
 * `@<model>.value.<path>`, `<path of a location>.@geopoint`, and the members of a message other than value.
 */
export interface SearchEngine {
  /** Makes what it will need in the next weeks; called at the start and several times a day. */
  prepare?(): Promise<void>;
  /**
   * Idempotent by tenant and id. Resolves when the documents are kept, at the latest with the next commit of the
   * database of this service; they are found soon after.
   * @returns those that it refused, as a rule none.
   * @throws when the engine is away.
   */
  index(documents: readonly IndexedDocument[]): Promise<RefusedDocument[]>;
  /** Only documents of this tenant, whatever the request says. The request is one of `parseSearch`. @throws ApiError 400 that names what the engine refuses. */
  search(tenantId: string, request: SearchRequest): Promise<SearchAnswer>;
  /** Of arrival: from, inclusive, to, exclusive; ISO 8601. */
  count(tenantId: string, from?: string, to?: string): Promise<number>;
  /** Removes what arrived before (ISO 8601). */
  expire(before: string): Promise<void>;
  removeTenant(tenantId: string): Promise<void>;
}
