import { type Client, errors } from '@elastic/elasticsearch';
import { ApiError, invalidParameter } from '@orrery/core/http';
import type { Logger } from '@orrery/core/telemetry';
import type { Scalar, SearchRequest, Sort } from '../dsl/index.js';
import type { FieldRegistry, TenantFields } from '../fields/index.js';
import {
  type IndexedDocument,
  MAX_ANSWER,
  type RefusedDocument,
  type SearchAnswer,
  type SearchEngine,
} from '../search-engine.js';
import { answersOf, hitOf, type RawHit } from './answers.js';
import { isAnyOrder, sortHits, translateAggregations, translateSort } from './aggregations.js';
import { requestAtMost, TooLargeError } from './client.js';
import { extremesOf, openHistograms, tooManyEmpty } from './empty-buckets.js';
import { type BulkDocument, IndexMissingError, writeBulk } from './bulk.js';
import { documentId, indexBody, indexedDocument, indexOf, SOURCE, TENANT, writeAlias } from './mapping.js';
import { tenantQuery } from './queries.js';

/** Of one request: large enough to be fast, small enough for the memory of a small cluster. */
const BULK_BYTES = 5_000_000;
const BULK_DOCUMENTS = 500;
/** Requests at once: Elasticsearch spends one thread on what a request has for a shard. */
const IN_FLIGHT = 4;
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
  /** Bytes of an answer to a search. */
  maxAnswer?: number;
}

/** Documents in Elasticsearch 7 or 8, in one index a month for all tenants; see mapping.ts. */
export class ElasticsearchEngine implements SearchEngine {
  private readonly indices = new Set<string>();

  constructor(private readonly options: ElasticsearchOptions) {}

  async index(documents: readonly IndexedDocument[]): Promise<RefusedDocument[]> {
    const { client, logger } = this.options;
    const refused: RefusedDocument[] = [];
    const chunks = this.chunks(documents);
    // All of them end before anybody tries again: a cluster that is slow gets no more to do.
    const ends = await Promise.allSettled(
      Array.from({ length: IN_FLIGHT }, async () => {
        for await (const chunk of chunks) refused.push(...(await writeBulk(client, logger, chunk)));
      }),
    );
    for (const end of ends) {
      if (end.status === 'fulfilled') continue;
      // Somebody has dropped an index meanwhile: the next attempt makes it again.
      if (end.reason instanceof IndexMissingError) this.indices.clear();
      throw end.reason;
    }
    return refused;
  }

  private get maxAnswer(): number {
    return this.options.maxAnswer ?? MAX_ANSWER;
  }

  /** What goes into one request. Written when its turn comes: not all of it is in memory at once. */
  private async *chunks(documents: readonly IndexedDocument[]): AsyncGenerator<BulkDocument[]> {
    const { registry, index } = this.options;
    let chunk: BulkDocument[] = [];
    let bytes = 0;
    for (const document of documents) {
      const name = indexOf(index, document.created);
      await this.ensureIndex(name);
      const action = JSON.stringify({ index: { _index: writeAlias(name), _id: documentId(document) } });
      const body = JSON.stringify(indexedDocument(document, await registry.known(document.tenantId)));
      if (chunk.length === BULK_DOCUMENTS || (bytes > 0 && bytes + body.length > BULK_BYTES)) {
        yield chunk;
        [chunk, bytes] = [[], 0];
      }
      chunk.push({ document, lines: `${action}\n${body}\n` });
      bytes += action.length + body.length;
    }
    if (chunk.length > 0) yield chunk;
  }

  /** Makes the indices of this month and the next: a search fails while a new one is not yet there. */
  async prepare(now = new Date()): Promise<void> {
    const next = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1, 1));
    for (const month of [now, next]) await this.ensureIndex(indexOf(this.options.index, month.toISOString()));
  }

  /**
   * Indices are made on purpose: one that Elasticsearch makes by itself has a mapping that it guesses. It does so for no
   * alias, and there is one for each index that was made here.
   */
  private async ensureIndex(name: string): Promise<void> {
    if (this.indices.has(name)) return;
    const { client, shards } = this.options;
    const alias = writeAlias(name);
    try {
      const body = { ...indexBody(shards), aliases: { [alias]: {} } };
      await client.transport.request({ method: 'PUT', path: `/${name}`, body });
    } catch (error) {
      if (errorType(error) !== 'resource_already_exists_exception') throw error;
      // By a version that wrote to the index itself.
      await client.transport.request({ method: 'PUT', path: `/${name}/_alias/${alias}` });
    }
    this.indices.add(name);
  }

  async search(tenantId: string, request: SearchRequest): Promise<SearchAnswer> {
    const { client, index, registry } = this.options;
    const fields = await registry.of(tenantId);
    const { query, aggregations, size, from, sort, searchAfter, source, trackTotalHits } = request;
    await this.refuseEndless(tenantId, request, fields);
    const body = {
      query: tenantQuery(tenantId, query, fields),
      size,
      from,
      track_total_hits: trackTotalHits,
      timeout: SEARCH_TIMEOUT,
      // Newest first where the order is not asked for.
      ...(size > 0 ? order(sort, searchAfter, fields) : {}),
      _source: size > 0 && source !== false ? SOURCE : false,
      ...(aggregations.length > 0 ? { aggs: translateAggregations(aggregations, fields) } : {}),
    };
    const answer = await this.ask<{
      took: number;
      timed_out: boolean;
      _shards: { failed: number };
      hits: { total: SearchAnswer['hits']['total']; hits: RawHit[] };
      aggregations?: Record<string, unknown>;
    }>(() =>
      requestAtMost(client, this.maxAnswer, {
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

  private async refuseEndless(tenantId: string, request: SearchRequest, fields: TenantFields): Promise<void> {
    const histograms = openHistograms(request.aggregations);
    if (histograms.length === 0) return;
    const { client, index } = this.options;
    const header = { ignore_unavailable: true, allow_no_indices: true, allow_partial_search_results: false };
    const { responses } = await this.ask<{ responses: ExtremeAnswer[] }>(async () => {
      const answer = (await client.transport.request({
        method: 'POST',
        path: `/${index}-*/_msearch`,
        bulkBody: extremesOf(histograms, tenantQuery(tenantId, request.query, fields), fields)
          .flatMap((body) => [header, { ...body, timeout: SEARCH_TIMEOUT }])
          .map((line) => `${JSON.stringify(line)}\n`)
          .join(''),
      })) as unknown as { responses: ExtremeAnswer[] };
      // What was not asked of all documents says nothing of the others.
      const failed = answer.responses.find(({ status, timed_out }) => status >= 500 || timed_out);
      if (failed)
        throw new Error(`the extremes of a histogram could not be asked for: ${JSON.stringify(failed.error)}`);
      return answer;
    });
    // One that is refused is refused again in the search itself, which says why.
    const extremes = responses.map(({ hits }) => hits?.hits[0]?.sort[0]);
    if (tooManyEmpty(histograms, extremes)) throw tooManyBuckets();
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
    // Another installation's names may begin alike.
    const month = /^-\d{4}\.\d{2}$/;
    for (const name of Object.keys(found))
      if (month.test(name.slice(index.length)) && name < kept) {
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
    // It removes what a search finds: what was written a moment ago is found after a refresh only.
    await client.transport.request({
      method: 'POST',
      path: `/${index}-*/_refresh`,
      querystring: { allow_no_indices: true, ignore_unavailable: true },
    });
    // Conflicts are documents that change meanwhile. Longer than any request may take: as a task of the cluster.
    const { task } = (await client.transport.request({
      method: 'POST',
      path: `/${index}-*/_delete_by_query`,
      querystring: {
        allow_no_indices: true,
        ignore_unavailable: true,
        conflicts: 'proceed',
        refresh: true,
        wait_for_completion: false,
      },
      body: { query: { term: { [TENANT]: tenantId } } },
    })) as unknown as { task: string };
    for (let pause = 20; ; pause = Math.min(2 * pause, 5000)) {
      await new Promise((resolve) => setTimeout(resolve, pause));
      const { completed, error, response } = (await client.transport.request({
        method: 'GET',
        path: `/_tasks/${task}`,
      })) as unknown as { completed: boolean; error?: unknown; response?: { failures: unknown[] } };
      if (!completed) continue;
      if (!error && response?.failures.length === 0) return;
      throw new Error(`Elasticsearch could not remove all documents of tenant ${tenantId}`);
    }
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
      if (error instanceof TooLargeError) throw tooLarge(this.maxAnswer);
      const text = error instanceof errors.ResponseError ? JSON.stringify(error.body) : '';
      if (text.includes('too_many_buckets')) throw tooManyBuckets();
      this.options.logger.warn({ error: String(error), answer: text.slice(0, 2000) }, 'Elasticsearch refused a search');
      if (error instanceof errors.ResponseError && error.statusCode === 400)
        throw invalidParameter('body', 'a search that Elasticsearch can answer; this combination of clauses is none');
      throw new ApiError('SERVICE_UNAVAILABLE', {
        reason:
          error instanceof errors.TimeoutError
            ? 'the index did not answer in time: it is away or busy, or much was asked for at once'
            : 'the index cannot be asked at the moment',
      });
    }
  }
}

interface ExtremeAnswer {
  status: number;
  timed_out?: boolean;
  error?: unknown;
  hits?: { hits: Array<{ sort: unknown[] }> };
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

/** What is missing sorts as if it was endless, strings as null. Of truth there is no text for it, but a number. */
function afterValue({ field, missingFirst, descending }: Sort, value: Scalar | null): Scalar | null {
  if (value !== null || field.type === 'string') return value;
  const last = missingFirst === descending;
  if (field.type === 'boolean') return last ? 1e21 : -1e21;
  return last ? 'Infinity' : '-Infinity';
}

const tooManyBuckets = (): ApiError =>
  invalidParameter('aggs', 'aggregations that make fewer buckets, as with a smaller size or a longer interval');

const tooLong = (): ApiError =>
  new ApiError('SERVICE_UNAVAILABLE', {
    reason: `the search took more than ${SEARCH_TIMEOUT}: ask for less at once, such as a shorter time`,
  });

const tooLarge = (most: number): ApiError =>
  invalidParameter('body', `a search with a smaller answer, of at most ${most} bytes: fewer hits, buckets or metrics`);

const errorType = (error: unknown): unknown =>
  error instanceof errors.ResponseError ? (error.body as { error?: { type?: string } })?.error?.type : undefined;
