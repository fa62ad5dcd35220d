import { seeded } from './random.mjs';
import { difference } from './search-compare.mjs';
import { knownFields, randomDocuments } from './search-data.mjs';
import { comparable, unmarked } from './search-reference.mjs';
import { UNREFERRED } from './search-queries.mjs';
import { someBody, spoiled } from './search-requests.mjs';
import { shrunk } from './search-shrink.mjs';

/** @typedef {Record<string, unknown>} Json */
/** @typedef {import('./search-data.mjs').SearchDocument} SearchDocument */
/** @typedef {{ took: number, hits: { total: { value: number, relation: string }, hits: Array<{ _source?: Json, sort?: unknown[] }> }, aggregations?: Json }} Answer */
/** @typedef {{ index: (documents: SearchDocument[]) => Promise<unknown[]>, search: (tenantId: string, request: object) => Promise<Answer> }} Engine */
/** @typedef {{ learn: (leaves: unknown, limit: number) => unknown, typeOf: (name: string) => string | undefined }} Fields */

/**
 * @typedef {object} Engines
 * @property {Engine} embedded
 * @property {Engine} elasticsearch
 * @property {import('./search-reference.mjs').Reference} reference
 * @property {(tenantId: string) => Fields} fieldsOf
 * @property {(document: SearchDocument) => unknown} leavesOf
 * @property {(body: unknown, version: string, typeOf: (name: string) => string | undefined) => { sort: unknown[], size: number }} parse
 * @property {(error: unknown) => { status: number, details: unknown } | undefined} refusalOf
 * @property {() => Promise<void>} refresh
 */

/** @typedef {{ kind: 'answer', answer: Answer } | { kind: 'refused', why: string } | { kind: 'failed', why: string }} Outcome */

const REQUESTS_PER_ROUND = 150;
const SLOW_MS = 15_000;
const ATTEMPTS = 3;
const SHOWN_OF_A_KIND = 2;

/**
 * @param {Engines} engines
 * @param {{ seed: number, rounds?: number, until?: number, firstRound?: number, only?: number, onProblem: (problem: string) => void, onRound?: (round: number, counts: Record<string, number>) => void }} options
 */
export async function fuzzSearch(
  engines,
  { seed, until = Infinity, firstRound = 0, rounds = Infinity, only, onProblem, onRound },
) {
  /** @type {Map<string, number>} */
  const kinds = new Map();
  const counts = { requests: 0, compared: 0, refused: 0, referenced: 0, pages: 0, problems: 0 };
  for (let round = firstRound; round < firstRound + rounds && Date.now() < until; round++) {
    await onRound?.(round, counts);
    await new Round(engines, seed, round, counts, kinds, onProblem).run(until, only);
  }
  return counts;
}

class Round {
  /** @param {Engines} engines @param {number} seed @param {number} round @param {Record<string, number>} counts @param {Map<string, number>} kinds how often what went wrong @param {(problem: string) => void} onProblem */
  constructor(engines, seed, round, counts, kinds, onProblem) {
    this.kinds = kinds;
    this.engines = engines;
    this.seed = seed;
    this.round = round;
    this.counts = counts;
    this.onProblem = onProblem;
    this.random = seeded(seed * 1_000_003 + round);
    this.tenant = `fuzz-${seed}-${round}-${process.pid}`;
    this.where = '';
  }

  /** @param {string} name */
  count(name) {
    this.counts[name] = (this.counts[name] ?? 0) + 1;
  }

  /** @param {string} tenant @param {number} number @param {number} firstId */
  fill(tenant, number, firstId) {
    const { engines, random } = this;
    const fields = engines.fieldsOf(tenant);
    return randomDocuments(random, tenant, number, firstId).filter((document) => {
      const leaves = /** @type {{ refusal?: unknown }} */ (engines.leavesOf(document));
      return !leaves.refusal && Array.isArray(fields.learn(leaves, 1000));
    });
  }

  /** @param {number} until @param {number} [only] */
  async run(until, only) {
    const { engines, random, tenant } = this;
    const own = this.fill(tenant, random.pick([0, 1, 20, 60, 120]), 1);
    const other = this.fill(`${tenant}-x`, 30, 1_000_000);
    for (const engine of [engines.embedded, engines.elasticsearch]) {
      await engine.index(own);
      await engine.index(other);
    }
    await engines.refresh();
    await engines.reference.fill(own);
    const typeOf = engines.fieldsOf(tenant).typeOf;
    this.typeOf = typeOf;
    this.ids = new Set(own.map(({ id }) => id));
    this.largest = largestIn(own);
    const fields = knownFields(own.length > 0 ? own : other, typeOf);
    if (fields.length === 0) return;
    for (let number = 0; number < REQUESTS_PER_ROUND && Date.now() < until; number++) {
      const context = {
        random: seeded((this.seed * 7919 + this.round) * 1009 + number),
        fields,
        ids: [...this.ids, '0'],
      };
      this.where = `seed ${this.seed}, round ${this.round}, request ${number}`;
      const body = someBody(context);
      const bad = context.random.chance(0.25);
      if (only === undefined || only === number)
        await this.request(bad ? spoiled(context, body) : body, !bad, bad ? context.random.pick(['v0', 'v1']) : 'v1');
    }
  }

  /** @param {unknown} marked @param {boolean} good @param {string} version */
  async request(marked, good, version) {
    this.count('requests');
    const found = await this.check(marked, good, version);
    if (found === undefined) return;
    const kind = kindOf(found);
    this.counts['problems'] = (this.counts['problems'] ?? 0) + 1;
    const before = (this.kinds.get(kind) ?? 0) + 1;
    this.kinds.set(kind, before);
    if (before > SHOWN_OF_A_KIND) return;
    const least = await shrunk(marked, async (smaller) => {
      const again = await this.check(smaller, good, version);
      return again !== undefined && kindOf(again) === kind;
    });
    this.onProblem(
      `${this.where}: ${await this.check(least, good, version)}\n  ${JSON.stringify(least).slice(0, 3000)}`,
    );
  }

  /**
   * What is wrong with the answers to a body.
   *
   * @param {unknown} marked @param {boolean} good @param {string} version
   * @returns {Promise<string | undefined>}
   */
  async check(marked, good, version) {
    const body = unmarked(marked);
    const request = this.parse(body, version);
    if (typeof request === 'string') return request;
    if (request === undefined) return undefined;
    const [one, other] = await this.askBoth(request);
    if (typeof one === 'string') return one;
    if (!one || !other) return undefined;
    const found =
      difference(one.hits, other.hits, 0, 'hits') ??
      difference(withoutSorts(one.aggregations), withoutSorts(other.aggregations), this.slack, 'aggregations');
    if (found !== undefined) return `embedded and Elasticsearch differ at ${found}`;
    this.count('compared');
    return (
      (good ? await this.refer(/** @type {Json} */ (marked), one) : undefined) ??
      (await this.nextPage(/** @type {Json} */ (body), one))
    );
  }

  /**
   * @param {object} request
   * @returns {Promise<[Answer, Answer] | [string] | []>} both answers, what is wrong, or nothing when both have refused
   */
  async askBoth(request) {
    const [one, other] = await Promise.all([
      this.ask(this.engines.embedded, request),
      this.ask(this.engines.elasticsearch, request),
    ]);
    if (one.kind === 'failed') return [`embedded failed: ${one.why}`];
    if (other.kind === 'failed') return [`Elasticsearch failed: ${other.why}`];
    if (one.kind === 'answer' && other.kind === 'answer') return [one.answer, other.answer];
    if (one.kind === 'refused' && other.kind === 'refused') {
      this.count('refused');
      return [];
    }
    // What is too many is each engine's own: buckets, and digits of a square.
    const why = `${one.kind === 'refused' ? one.why : ''}${other.kind === 'refused' ? other.why : ''}`;
    if (/fewer buckets|double precision/.test(why)) {
      this.count('refused');
      return [];
    }
    return [
      `only ${one.kind === 'refused' ? `embedded refused: ${one.why}` : `Elasticsearch refused: ${other.kind === 'refused' ? other.why : ''}`}`,
    ];
  }

  /** @param {unknown} body @param {string} version */
  parse(body, version) {
    try {
      return this.engines.parse(body, version, /** @type {Fields['typeOf']} */ (this.typeOf));
    } catch (error) {
      const refusal = this.engines.refusalOf(error);
      const [detail] = /** @type {Array<{ field?: string, expected?: string }>} */ (refusal?.details ?? []);
      if (refusal?.status !== 400 || !detail?.field || !detail.expected) return `the parser failed: ${inWords(error)}`;
      this.count('refused');
      return undefined;
    }
  }

  /** @param {Engine} engine @param {object} request @returns {Promise<Outcome>} */
  async ask(engine, request) {
    /** @type {Outcome} */
    let outcome = { kind: 'failed', why: 'not asked' };
    // One that waited for the processor is fast the next time.
    for (let attempt = 0; attempt < ATTEMPTS && outcome.kind === 'failed'; attempt++)
      outcome = await this.askOnce(engine, request);
    return outcome;
  }

  /** @param {Engine} engine @param {object} request @returns {Promise<Outcome>} */
  async askOnce(engine, request) {
    const began = Date.now();
    try {
      const answer = await engine.search(this.tenant, request);
      const taken = Date.now() - began;
      if (taken > SLOW_MS) return { kind: 'failed', why: `${taken} ms` };
      for (const { _source } of answer.hits.hits)
        if (_source?.['id'] !== undefined && !this.ids?.has(/** @type {string} */ (_source['id'])))
          return { kind: 'failed', why: 'a message of another account' };
      if (answer.hits.total.value > (this.ids?.size ?? 0))
        return { kind: 'failed', why: 'more messages than the account has' };
      return { kind: 'answer', answer };
    } catch (error) {
      const refusal = this.engines.refusalOf(error);
      return refusal?.status === 400
        ? { kind: 'refused', why: JSON.stringify(refusal.details) }
        : { kind: 'failed', why: inWords(error) };
    }
  }

  get slack() {
    return 1e-9 * (this.largest ?? 0);
  }

  /** What Elasticsearch itself makes of the body. @param {Json} marked @param {Answer} answer */
  async refer(marked, answer) {
    const text = JSON.stringify(marked);
    // It takes milliseconds for those of the time zone, and prints this format in UTC.
    if (text.includes(UNREFERRED) || (text.includes('"time_zone"') && /\d{10}|basic_date/.test(text))) return undefined;
    // It loses documents where these two are asked for a field that nobody has.
    for (const [, name] of text.matchAll(/"(?:min|max)":\{"field":("[^,}]*")/g))
      if (this.typeOf?.(JSON.parse(/** @type {string} */ (name))) === undefined) return undefined;
    let expected;
    try {
      expected = await this.engines.reference.ask(marked);
    } catch (error) {
      // It refuses what ours answer, such as fields that nobody has.
      if (/** @type {{ statusCode?: number }} */ (error).statusCode !== undefined) return undefined;
      throw error;
    }
    this.count('referenced');
    const { total, hits } = answer.hits;
    const found =
      (total.relation === 'eq' && total.value !== expected.total
        ? `total: ${total.value} and ${expected.total}`
        : undefined) ??
      (marked['_source'] === undefined
        ? difference(
            hits.map(({ _source }) => _source?.['id']),
            expected.ids,
            0,
            'hits',
          )
        : undefined) ??
      difference(comparable(answer.aggregations), comparable(expected.aggregations), this.slack, 'aggregations');
    return found && `the engines and plain Elasticsearch differ at ${found}`;
  }

  /** Goes on after one of the hits. @param {Json} body @param {Answer} answer @returns {Promise<string | undefined>} */
  async nextPage(body, answer) {
    if (typeof body !== 'object' || body === null) return undefined;
    const { hits } = answer.hits;
    const hit = hits[Math.floor(hits.length / 3)];
    if (body['sort'] === undefined || hit?.sort === undefined) return undefined;
    const { from: _from, aggs: _aggs, aggregations: _aggregations, ...rest } = body;
    const request = this.parse({ ...rest, search_after: hit.sort }, 'v1');
    if (typeof request === 'string' || request === undefined)
      return `the sort values of a hit are refused: ${JSON.stringify(hit.sort)}`;
    this.count('pages');
    const [one, other] = await this.askBoth(request);
    if (typeof one === 'string') return `after ${JSON.stringify(hit.sort)} ${one}`;
    if (!one || !other) return `what comes after ${JSON.stringify(hit.sort)} is refused`;
    // Those alike are in any order, and the page may end among them.
    const pages = [one, other].map(({ hits: { total, hits: list } }) => ({
      total,
      sorts: list.map(({ sort }) => sort),
    }));
    const found = difference(pages[0], pages[1], 0, 'next page');
    return found && `embedded and Elasticsearch, after ${JSON.stringify(hit.sort)}, differ at ${found}`;
  }
}

/** Problems of one kind differ in numbers and values. @param {string} problem */
const kindOf = (problem) => problem.replaceAll(/[\d.]+/g, '').slice(0, 70);

/** @param {unknown} error */
const inWords = (error) => (error instanceof Error ? (error.stack ?? error.message) : String(error)).slice(0, 600);

/** Sort values of top_hits are no part of what is promised. @param {unknown} value @returns {unknown} */
function withoutSorts(value) {
  if (Array.isArray(value)) return value.map(withoutSorts);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, each]) => !(key === 'sort' && Array.isArray(each)))
      .map(([key, each]) => [key, withoutSorts(each)]),
  );
}

/** @param {unknown} value @returns {number} */
function largestIn(value) {
  if (typeof value === 'number') return Math.abs(value);
  if (typeof value !== 'object' || value === null) return 0;
  return Object.values(value).reduce((largest, each) => Math.max(largest, largestIn(each)), 0);
}
