import { UNREFERRED, WORDS_FROM, WORDS_TO } from './search-queries.mjs';

/** @typedef {Record<string, unknown>} Json */
/** @typedef {import('./search-data.mjs').SearchDocument} SearchDocument */
/** @typedef {{ transport: { request: (request: object) => Promise<unknown> } }} Client */

const LONGEST = 8191;

/** @param {string} separators */
const mapping = (separators) => ({
  settings: {
    'index.number_of_shards': 1,
    'index.number_of_replicas': 0,
    'index.mapping.total_fields.limit': 10_000,
    'index.mapping.depth.limit': 100,
    analysis: {
      tokenizer: { words: { type: 'pattern', pattern: separators } },
      analyzer: { words: { type: 'custom', tokenizer: 'words', filter: ['lowercase'] } },
    },
  },
  mappings: {
    date_detection: false,
    numeric_detection: false,
    dynamic_templates: [
      { points: { match: '@geopoint', mapping: { type: 'geo_point' } } },
      ...['long', 'double'].map((type) => ({ [type]: { match_mapping_type: type, mapping: { type: 'double' } } })),
      {
        strings: {
          match_mapping_type: 'string',
          mapping: { type: 'keyword', fields: { words: { type: 'text', analyzer: 'words' } } },
        },
      },
    ],
    properties: { timestamp: { type: 'date' }, created: { type: 'date' }, shown: { type: 'object', enabled: false } },
  },
});

/** A part of a message as a plain Elasticsearch can index it. @param {unknown} value @param {string} path @returns {unknown} */
function plain(value, path) {
  if (typeof value === 'string') return value.length > LONGEST ? undefined : value;
  if (Array.isArray(value)) {
    const elements = value.flatMap((each) => plain(each, path) ?? []);
    return elements.length === 0 ? undefined : elements;
  }
  if (typeof value !== 'object' || value === null) return value ?? undefined;
  const members = Object.entries(value).map(([key, each]) => [key, plain(each, path === '' ? key : `${path}.${key}`)]);
  const result = Object.fromEntries(members.filter(([, each]) => each !== undefined));
  // An object without a value is none, but a plain index would remember it.
  if (Object.keys(result).length === 0) return undefined;
  const { lat, lon } = /** @type {Json} */ (value);
  if (/(^|\.)location$/i.test(path) && typeof lat === 'number' && typeof lon === 'number')
    if (Math.abs(lat) <= 90 && Math.abs(lon) <= 180) result['@geopoint'] = { lat, lon };
  return result;
}

/**
 * The same messages in a plain index, by the names that users know, and the requests as they are written: what
 * Elasticsearch itself makes of them.
 */
export class Reference {
  /** @param {Client} client @param {string} index @param {string} separators pattern of what is between words */
  constructor(client, index, separators) {
    this.client = client;
    this.index = index;
    this.separators = separators;
  }

  /** Replaces what there is. @param {readonly SearchDocument[]} documents */
  async fill(documents) {
    await this.drop();
    await this.client.transport.request({ method: 'PUT', path: `/${this.index}`, body: mapping(this.separators) });
    if (documents.length === 0) return;
    const lines = documents.flatMap(({ id, source, model }) => {
      const { value, ...rest } = source;
      const body = {
        .../** @type {Json} */ (plain(rest, '')),
        ...(model === undefined ? {} : { [`@${model}`]: { value: plain(value, 'value') } }),
      };
      return [JSON.stringify({ index: { _id: id } }), JSON.stringify(body)];
    });
    const answer = /** @type {{ errors: boolean, items: unknown[] }} */ (
      await this.client.transport.request({
        method: 'POST',
        path: `/${this.index}/_bulk`,
        querystring: { refresh: 'true' },
        bulkBody: `${lines.join('\n')}\n`,
      })
    );
    if (answer.errors)
      throw new Error(
        `the plain index refused a document: ${JSON.stringify(answer.items.find((item) => JSON.stringify(item).includes('"error"'))).slice(0, 500)}`,
      );
  }

  async drop() {
    await this.client.transport.request({
      method: 'DELETE',
      path: `/${this.index}`,
      querystring: { ignore_unavailable: 'true' },
    });
  }

  /** Ids of the hits, how many there are, and the aggregations. @param {Json} body with marks around names of words */
  async ask(body) {
    const request = /** @type {Json} */ (
      JSON.parse(
        JSON.stringify(body)
          .replaceAll(new RegExp(`${WORDS_FROM}([^${WORDS_TO}]*)${WORDS_TO}`, 'g'), '$1.words')
          .replaceAll(/([^."])@geopoint"/g, '$1.@geopoint"'),
      )
    );
    likeOurs(request);
    const answer =
      /** @type {{ hits: { total: { value: number }, hits: Array<{ _id: string }> }, aggregations?: Json }} */ (
        await this.client.transport.request({
          method: 'POST',
          path: `/${this.index}/_search`,
          body: {
            ...request,
            query: { bool: { filter: [request['query'] ?? { match_all: {} }] } },
            sort: sorted(request['sort']),
            _source: false,
            track_total_hits: true,
          },
        })
      );
    return {
      total: answer.hits.total.value,
      ids: answer.hits.hits.map(({ _id }) => _id),
      aggregations: answer.aggregations,
    };
  }
}

/** @param {unknown} sort */
const sorted = (sort) => [
  ...(sort === undefined ? [] : Array.isArray(sort) ? sort : [sort]),
  { timestamp: 'desc' },
  { id: 'desc' },
];

/** What ours does where nothing is said. @param {unknown} value */
function likeOurs(value) {
  if (typeof value !== 'object' || value === null) return;
  for (const [key, each] of Object.entries(value)) {
    if (key === 'top_hits' && typeof each === 'object' && each !== null) {
      each.sort = sorted(each.sort);
      each._source = false;
    } else if (key === 'terms' && typeof each?.field === 'string') each.shard_size = 5000;
    else if (key === 'geo_bounds' && typeof each?.field === 'string') each.wrap_longitude = false;
    else likeOurs(each);
  }
}

/** A body without the marks. @param {unknown} body @returns {unknown} */
export const unmarked = (body) =>
  JSON.parse(JSON.stringify(body).replaceAll(new RegExp(`[${WORDS_FROM}${WORDS_TO}${UNREFERRED}]`, 'g'), ''));

/** Texts of metrics that are no dates. */
const WITHOUT_TEXT = /^(?!key).* (true|false)$|^(sum_of|var|std)/;

/** Aggregations without what only one of the two says: hits by their ids alone. @param {unknown} value @returns {unknown} */
export function comparable(value) {
  if (Array.isArray(value)) return value.map(comparable);
  if (typeof value !== 'object' || value === null) return value;
  const { hits, meta: _meta, ...rest } = /** @type {Json} */ (value);
  const list = /** @type {{ total?: unknown, hits?: Array<{ _id?: string, _source?: Json }> } | undefined} */ (hits);
  const others = Object.fromEntries(
    Object.entries(rest)
      .filter(
        ([key, each]) => !/_as_string/.test(key) || (typeof each === 'string' && !WITHOUT_TEXT.test(`${key} ${each}`)),
      )
      .map(([key, each]) => [key, comparable(each)]),
  );
  if (list === undefined) return others;
  if (!Array.isArray(list.hits)) return { ...others, hits: comparable(hits) };
  const total = typeof list.total === 'object' ? /** @type {{ value: number }} */ (list.total).value : list.total;
  return { ...others, hits: { total, ids: list.hits.map(({ _id, _source }) => _id ?? _source?.['id']) } };
}
