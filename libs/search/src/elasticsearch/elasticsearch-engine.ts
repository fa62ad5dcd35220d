import { type Client, errors } from '@elastic/elasticsearch';
import { ApiError, invalidParameter } from '@orrery/core/http';
import type { Logger } from '@orrery/core/telemetry';
import type { Scalar, SearchRequest, Sort } from '../dsl/index.js';
import type { FieldRegistry, TenantFields } from '../fields/index.js';
import type { IndexedDocument, SearchAnswer, SearchEngine } from '../search-engine.js';
import { answersOf, hitOf, type RawHit } from './answers.js';
import { isAnyOrder, sortHits, translateAggregations, translateSort } from './aggregations.js';
import { documentId, indexBody, indexedDocument, indexOf, TENANT } from './mapping.js';
import { tenantQuery } from './queries.js';

/** Of one request: large enough to be fast, small enough for the memory of a small cluster. */
const BULK_BYTES = 5_000_000;
const SEARCH_TIMEOUT = '10s';
const MOVING_MS = 500;

export interface ElasticsearchOptions {
  client: Client;
  /** Begin of the indices' names. */
  index: string;
  /** Primary shards of each month. */
  shards: number;
  registry: FieldRegistry;
  logger: Logger;
}

interface BulkAnswer {
  errors: boolean;
  items: Array<{ index: { status: number; error?: { type?: string; reason?: string } } }>;
}

/** Documents in Elasticsearch 7 or 8, in one index a month for all tenants; see mapping.ts. */
export class ElasticsearchEngine implements SearchEngine {
  private readonly indices = new Set<string>();

  constructor(private readonly options: ElasticsearchOptions) {}

  async index(documents: readonly IndexedDocument[]): Promise<void> {
    const { registry, index } = this.options;
    let lines: string[] = [];
    let bytes = 0;
    let chunk: IndexedDocument[] = [];
    for (const document of documents) {
      const name = indexOf(index, document.created);
      await this.ensureIndex(name);
      const action = JSON.stringify({ index: { _index: name, _id: documentId(document) } });
      const body = JSON.stringify(indexedDocument(document, await registry.known(document.tenantId)));
      if (bytes > 0 && bytes + body.length > BULK_BYTES) {
        await this.bulk(chunk, lines);
        [lines, chunk, bytes] = [[], [], 0];
      }
      lines.push(action, body);
      chunk.push(document);
      bytes += action.length + body.length;
    }
    if (chunk.length > 0) await this.bulk(chunk, lines);
  }

  private async bulk(documents: readonly IndexedDocument[], lines: readonly string[]): Promise<void> {
    const { client, logger } = this.options;
    const answer = (await client.transport.request({
      method: 'POST',
      path: '/_bulk',
      bulkBody: `${lines.join('\n')}\n`,
    })) as unknown as BulkAnswer;
    if (!answer.errors) return;
    for (const [i, { index }] of answer.items.entries()) {
      const { status, error } = index;
      if (!error) continue;
      // Somebody has dropped the index meanwhile: the next attempt makes it again.
      if (status === 404) this.indices.clear();
      // What the document is, it remains: trying again would hold all others up.
      if (status === 400) logger.error({ documentId: documents[i]!.id, error }, 'Elasticsearch refused a document');
      else throw new Error(`Elasticsearch could not index: ${status} ${error.type}: ${error.reason}`);
    }
  }

  /** Makes the indices of this month and the next: a search fails while a new one is not yet there. */
  async prepare(now = new Date()): Promise<void> {
    const next = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1, 1));
    for (const month of [now, next]) await this.ensureIndex(indexOf(this.options.index, month.toISOString()));
  }

  /** Indices are made on purpose: with automatic creation a missing mapping would be guessed. */
  private async ensureIndex(name: string): Promise<void> {
    if (this.indices.has(name)) return;
    const { client, shards } = this.options;
    try {
      await client.transport.request({ method: 'PUT', path: `/${name}`, body: indexBody(shards) });
    } catch (error) {
      if (errorType(error) !== 'resource_already_exists_exception') throw error;
    }
    this.indices.add(name);
  }

  async search(tenantId: string, request: SearchRequest): Promise<SearchAnswer> {
    const { client, index, registry } = this.options;
    const fields = await registry.of(tenantId);
    const { query, aggregations, size, from, sort, searchAfter, source, trackTotalHits } = request;
    const body = {
      query: tenantQuery(tenantId, query, fields),
      size,
      from,
      track_total_hits: trackTotalHits,
      timeout: SEARCH_TIMEOUT,
      // Newest first where the order is not asked for.
      ...(size > 0 ? order(sort, searchAfter, fields) : {}),
      _source: size > 0 && source !== false,
      ...(aggregations.length > 0 ? { aggs: translateAggregations(aggregations, fields) } : {}),
    };
    const answer = await this.ask<{
      took: number;
      timed_out: boolean;
      _shards: { failed: number };
      hits: { total: SearchAnswer['hits']['total']; hits: RawHit[] };
      aggregations?: Record<string, unknown>;
    }>(() =>
      client.transport.request({
        method: 'POST',
        path: `/${index}-*/_search`,
        querystring: { allow_no_indices: true, ignore_unavailable: true, allow_partial_search_results: false },
        body,
      }),
    );
    // An answer from a part of the documents would be a wrong one.
    if (answer.timed_out) throw tooLong();
    const { total, hits } = answer.hits;
    return {
      took: answer.took,
      hits: { total, hits: hits.map((hit) => hitOf(hit, source, sort)) },
      ...(aggregations.length > 0 ? { aggregations: answersOf(aggregations, answer.aggregations ?? {}) } : {}),
    };
  }

  async count(tenantId: string, from?: string, to?: string): Promise<number> {
    const { client, index } = this.options;
    const created = { ...(from ? { gte: from } : {}), ...(to ? { lt: to } : {}) };
    const filter = [{ term: { [TENANT]: tenantId } }, { range: { created } }];
    const { count } = await this.ask<{ count: number }>(() =>
      client.transport.request({
        method: 'POST',
        path: `/${index}-*/_count`,
        querystring: { allow_no_indices: true, ignore_unavailable: true },
        body: { query: { bool: { filter } } },
      }),
    );
    return count;
  }

  async expire(before: string): Promise<void> {
    const { client, index } = this.options;
    const found = (await client.transport.request({
      method: 'GET',
      path: `/${index}-*`,
      querystring: { allow_no_indices: true, filter_path: '*.settings.index.uuid' },
    })) as Record<string, unknown>;
    // A month goes when the next one has begun before.
    const kept = indexOf(index, before);
    for (const name of Object.keys(found))
      if (/-\d{4}\.\d{2}$/.test(name) && name < kept) {
        await client.transport.request({
          method: 'DELETE',
          path: `/${name}`,
          querystring: { ignore_unavailable: true },
        });
        this.indices.delete(name);
      }
  }

  async removeTenant(tenantId: string): Promise<void> {
    const { client, index } = this.options;
    // It goes on in the cluster when this process does not wait for its end; conflicts are documents that change meanwhile.
    const answer = (await client.transport.request(
      {
        method: 'POST',
        path: `/${index}-*/_delete_by_query`,
        querystring: { allow_no_indices: true, ignore_unavailable: true, conflicts: 'proceed', refresh: true },
        body: { query: { term: { [TENANT]: tenantId } } },
      },
      { requestTimeout: 600_000 },
    )) as { failures?: unknown[] };
    if (answer.failures && answer.failures.length > 0)
      throw new Error(`Elasticsearch could not remove all documents of tenant ${tenantId}`);
  }

  /** Errors as clients get them: never what they tell about indices. */
  private async ask<Answer>(question: () => Promise<unknown>): Promise<Answer> {
    try {
      return (await question().catch(async (error: unknown) => {
        // A shard that is just beginning or moving.
        if (!(error instanceof errors.ResponseError) || error.statusCode !== 503) throw error;
        await new Promise((resolve) => setTimeout(resolve, MOVING_MS));
        return question();
      })) as Answer;
    } catch (error) {
      if (error instanceof errors.TimeoutError) throw tooLong();
      const text = error instanceof errors.ResponseError ? JSON.stringify(error.body) : '';
      if (text.includes('too_many_buckets'))
        throw invalidParameter(
          'aggs',
          'aggregations that make fewer buckets, as with a smaller size or a longer interval',
        );
      this.options.logger.warn({ error: String(error), answer: text.slice(0, 2000) }, 'Elasticsearch refused a search');
      if (error instanceof errors.ResponseError && error.statusCode === 400)
        throw invalidParameter('body', 'a search that Elasticsearch can answer; this combination of clauses is none');
      throw new ApiError('SERVICE_UNAVAILABLE', { reason: 'the index cannot be asked at the moment' });
    }
  }
}

/** Without a tie-breaker after a hit: its values are those of the sorts that were asked for. */
function order(
  sorts: readonly Sort[],
  after: ReadonlyArray<Scalar | null> | undefined,
  fields: TenantFields,
): Record<string, unknown> {
  if (!after) return { sort: sortHits(sorts, fields) };
  const values = sorts.flatMap((sort, i) => (isAnyOrder(sort) ? [] : [afterValue(sort, after[i] ?? null)]));
  // After a hit of any order nothing is known to come.
  if (values.length === 0) return { size: 0 };
  return { sort: translateSort(sorts, fields), search_after: values };
}

/** What is missing sorts as if it was endless, strings as null. */
function afterValue({ field, missingFirst, descending }: Sort, value: Scalar | null): Scalar | null {
  if (value !== null || field.type === 'string') return value;
  return missingFirst === descending ? 'Infinity' : '-Infinity';
}

const tooLong = (): ApiError =>
  new ApiError('SERVICE_UNAVAILABLE', {
    reason: `the search took more than ${SEARCH_TIMEOUT}: ask for less at once, such as a shorter time`,
  });

const errorType = (error: unknown): unknown =>
  error instanceof errors.ResponseError ? (error.body as { error?: { type?: string } })?.error?.type : undefined;
