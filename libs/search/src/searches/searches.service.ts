import type { ApiKeyIdentity } from '@orrery/core/auth';
import { limitOf } from '@orrery/core/limits';
import { parseSearch, type Query, type SearchRequest } from '../dsl/index.js';
import type { FieldRegistry } from '../fields/index.js';
import type { SearchAnswer, SearchEngine } from '../search-engine.js';

const DAY_MS = 24 * 3600 * 1000;

export type ApiVersion = 'v0' | 'v1';

/** Answer of version 0: the total is a number (manual 13.4.1.1.2). */
export type SearchAnswerV0 = Omit<SearchAnswer, 'hits'> & {
  hits: { total: number; hits?: SearchAnswer['hits']['hits'] };
};
export type SearchAnswerV1 = Omit<SearchAnswer, 'hits'> & {
  hits: { total: SearchAnswer['hits']['total']; hits?: SearchAnswer['hits']['hits'] };
};

/** Searches of tenants in their messages (manual 13.4). */
export class SearchesService {
  constructor(
    private readonly engine: SearchEngine,
    private readonly registry: FieldRegistry,
  ) {}

  async search(
    key: ApiKeyIdentity,
    version: ApiVersion,
    body: unknown,
    trackTotalHits = false,
  ): Promise<SearchAnswerV0 | SearchAnswerV1> {
    const request = await this.parse(key, version, body);
    if (trackTotalHits) request.trackTotalHits = true;
    const { hits, ...answer } = await this.engine.search(key.tenantId, request);
    const listed = request.size > 0 ? { hits: hits.hits } : {};
    return version === 'v0'
      ? { ...answer, hits: { total: hits.total.value, ...listed } }
      : { ...answer, hits: { total: hits.total, ...listed } };
  }

  /** The messages alone, without the fields that they do not have. */
  async hits(key: ApiKeyIdentity, version: ApiVersion, body: unknown): Promise<Array<Record<string, unknown>>> {
    const request = await this.parse(key, version, body);
    const { hits } = await this.engine.search(key.tenantId, { ...request, aggregations: [], trackTotalHits: 1 });
    return hits.hits.flatMap(({ _source }) => (_source ? [withoutNulls(_source)] : []));
  }

  private async parse(key: ApiKeyIdentity, version: ApiVersion, body: unknown): Promise<SearchRequest> {
    const fields = await this.registry.of(key.tenantId);
    const now = Date.now();
    const request = parseSearch(body, version, fields.typeOf, now);
    return { ...request, query: searchable(request.query, now - limitOf(key.limits, 'searchDays') * DAY_MS) };
  }
}

/** Only what arrived within the retention delay of the account: what is older is removed some time later. */
const searchable = (query: Query, from: number): Query =>
  Number.isFinite(from)
    ? {
        kind: 'bool',
        must: [{ kind: 'range', field: { name: 'created', type: 'date' }, bounds: { gte: from } }, query],
        should: [],
        mustNot: [],
        least: 0,
      }
    : query;

/** Null members of the message and of its location; what is inside `value` is the sender's. */
function withoutNulls(message: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(message)
      .filter(([, value]) => value !== null)
      .map(([name, value]) => [
        name,
        name === 'location' && typeof value === 'object' ? withoutNulls(value as Record<string, unknown>) : value,
      ]),
  );
}
