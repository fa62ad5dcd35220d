import { type PoolClient, Query } from 'pg';
import { ApiError, invalidParameter } from '@orrery/core/http';
import { copyRows, type Database, driverClient } from '@orrery/core/database';
import type { AggregationNode, SearchRequest } from '../dsl/index.js';
import {
  type IndexedDocument,
  MAX_ANSWER,
  type RefusedDocument,
  type SearchAnswer,
  type SearchEngine,
} from '../search-engine.js';
import { sourceText } from '../source-filter.js';
import { Answer, type WantedHits } from './answers.js';
import { Gathering, tooMany } from './buckets.js';
import { condition } from './conditions.js';
import { searchableFields, storable } from './documents.js';
import { hitOf, hitsStatement } from './hits.js';
import { bucketCondition, passStatement, plan } from './passes.js';
import { Sql } from './sql.js';

/** Rows of one pass: documents that differ in their buckets or in a distinct value. */
const MAX_ROWS = 500_000;
/** Buckets whose hits one statement fetches. */
const HITS_AT_ONCE = 50;
/** Hits of top_hits in one answer. */
const MAX_TOP_HITS = 10_000;
const EXPIRED_AT_ONCE = 10_000;
/** Searches of a process at a time: the other connections of its pool are for indexing. */
const AT_ONCE = 4;

export interface EmbeddedOptions {
  /** Time of one search, milliseconds. */
  timeoutMs?: number;
}

/**
 * Searches in PostgreSQL, for one machine. Conditions and grouping are SQL; what comes back is one row for all documents
 * that are alike, handled as it arrives, so that neither memory nor the event loop feels how many documents there are.
 */
export class EmbeddedEngine implements SearchEngine {
  private readonly timeoutMs: number;
  private running = 0;
  private readonly waiting: Array<() => void> = [];

  constructor(
    private readonly database: Database,
    options: EmbeddedOptions = {},
  ) {
    this.timeoutMs = options.timeoutMs ?? 10_000;
  }

  async index(documents: readonly IndexedDocument[]): Promise<RefusedDocument[]> {
    if (documents.length === 0) return [];
    // The last one of an id counts; one statement must not have an id twice. Sorted, so that two instances do not wait
    // for each other in a circle.
    const unique = new Map(documents.map((document) => [`${document.tenantId} ${document.id}`, document]));
    const rows = [...unique.keys()].toSorted().map((key) => rowOf(unique.get(key)!));
    try {
      // Nearly always all of them are new, and COPY is several times as fast.
      await this.database.transaction(async (manager) => {
        // What says that they are indexed is committed after them in the same PostgreSQL, and its log is kept in order.
        await manager.query('SET LOCAL synchronous_commit = off');
        await copyRows(manager, 'documents', COLUMNS, rows);
      });
    } catch (error) {
      if (!ALREADY_THERE.includes(String((error as { code?: unknown }).code))) throw error;
      await this.replace(rows);
    }
    return [];
  }

  private async replace(rows: ReadonlyArray<ReturnType<typeof rowOf>>): Promise<void> {
    const [, , ...changed] = COLUMNS;
    await this.database.query(
      `INSERT INTO documents (${COLUMNS.join(', ')})
       SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::jsonb[], $9::text[])
       ON CONFLICT (tenant_id, id) DO UPDATE SET ${changed.map((column) => `${column} = excluded.${column}`).join(', ')}`,
      COLUMNS.map((_, i) => rows.map((row) => row[i])),
    );
  }

  async search(tenantId: string, request: SearchRequest): Promise<SearchAnswer> {
    const started = performance.now();
    if (this.running >= AT_ONCE) await new Promise<void>((resolve) => this.waiting.push(resolve));
    else this.running++;
    try {
      // Not the fault of this search.
      if (performance.now() - started > this.timeoutMs) throw new ApiError('SERVICE_UNAVAILABLE');
      return await this.run(tenantId, request);
    } finally {
      // Whoever waits takes the place over.
      const next = this.waiting.shift();
      if (next) next();
      else this.running--;
    }
  }

  private async run(tenantId: string, request: SearchRequest): Promise<SearchAnswer> {
    const started = performance.now();
    try {
      return await this.database.transaction(async (manager) => {
        const client = await driverClient(manager);
        await client.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY');
        // Rows rarely have the same fields, so nothing is gained by remembering what was read from them.
        await client.query('SET LOCAL enable_memoize = off');
        const run = new Run(client, tenantId, request, started + this.timeoutMs);
        const total = await run.total();
        const hits = request.size === 0 || total.value === 0 ? [] : await run.hits();
        const aggregations = request.aggregations.length === 0 ? undefined : await run.aggregations();
        return {
          took: Math.round(performance.now() - started),
          hits: { total, hits },
          ...(aggregations ? { aggregations } : {}),
        };
      });
    } catch (error) {
      // query_canceled: the statement was out of time.
      const code = String((error as { code?: unknown }).code);
      if (code === '57014') throw outOfTime(this.timeoutMs);
      // What the numbers of this search cannot do: overflows, statements that are too complex.
      if (/^(22|54)...$/.test(code))
        throw invalidParameter('body', 'a search that is simpler, and whose results are numbers of double precision');
      throw error;
    }
  }

  async count(tenantId: string, from?: string, to?: string): Promise<number> {
    const [row] = await this.database.query<{ number: number }>(
      `SELECT count(*)::float8 AS number FROM documents
       WHERE tenant_id = $1 AND ($2::timestamptz IS NULL OR created >= $2) AND ($3::timestamptz IS NULL OR created < $3)`,
      [tenantId, from ?? null, to ?? null],
    );
    return row!.number;
  }

  async expire(before: string): Promise<void> {
    // In portions: a delete of a month's rows would hold their locks, and its snapshot, for too long.
    for (;;) {
      const [, removed] = (await this.database.query(
        `DELETE FROM documents WHERE ctid = ANY (ARRAY(SELECT ctid FROM documents WHERE created < $1 LIMIT ${EXPIRED_AT_ONCE}))`,
        [before],
      )) as unknown as [unknown, number];
      if (removed < EXPIRED_AT_ONCE) return;
    }
  }

  async removeTenant(tenantId: string): Promise<void> {
    await this.database.query('DELETE FROM documents WHERE tenant_id = $1', [tenantId]);
  }
}

const COLUMNS = [
  'tenant_id',
  'id',
  'created',
  'timestamp',
  'stream_id',
  'model',
  'device_id',
  'fields',
  'source',
] as const;
/** unique_violation; deadlock_detected, of two that write the same documents. */
const ALREADY_THERE = ['23505', '40P01'];

const textOrNull = (value: unknown): string | null => (typeof value === 'string' ? storable(value) : null);

function rowOf(document: IndexedDocument): Array<string | null> {
  const { tenantId, id, created, source } = document;
  return [
    tenantId,
    id,
    created,
    typeof source['timestamp'] === 'string' ? source['timestamp'] : created,
    textOrNull(source['streamId']) ?? '',
    textOrNull(source['model']),
    textOrNull((source['metadata'] as { source?: unknown } | undefined)?.source),
    JSON.stringify(searchableFields(document)),
    sourceText(document),
  ];
}

const outOfTime = (timeoutMs: number): ApiError =>
  invalidParameter(
    'body',
    `a search that takes at most ${timeoutMs / 1000} s; narrow it by timestamp, streamId or model`,
  );

const tooLarge = (): ApiError =>
  invalidParameter('size', `fewer hits: those found have together more than ${MAX_ANSWER} characters`);

/** One search, within one transaction. */
class Run {
  private characters = 0;

  constructor(
    private readonly client: PoolClient,
    private readonly tenantId: string,
    private readonly request: SearchRequest,
    private readonly deadline: number,
  ) {}

  /** Every statement has this, and none has anything beside it that could widen it. */
  private where(sql: Sql): string {
    return `tenant_id = ${sql.value(this.tenantId, 'text')} AND (${condition(sql, this.request.query)})`;
  }

  async total(): Promise<SearchAnswer['hits']['total']> {
    const sql = new Sql();
    const cap = this.request.trackTotalHits;
    const [row] = await this.rows(
      sql,
      cap === true
        ? `SELECT count(*)::float8 FROM documents WHERE ${this.where(sql)}`
        : `SELECT count(*)::float8 FROM (SELECT FROM documents WHERE ${this.where(sql)} LIMIT ${cap + 1}) found`,
    );
    const value = row![0] as number;
    return cap !== true && value > cap ? { value: cap, relation: 'gte' } : { value, relation: 'eq' };
  }

  async hits(): Promise<SearchAnswer['hits']['hits']> {
    const sql = new Sql();
    const rows = await this.rows(sql, hitsStatement(sql, this.where(sql), this.request));
    return rows.map((row) => hitOf(row, this.request.source));
  }

  async aggregations(): Promise<Record<string, unknown>> {
    const nodes = this.request.aggregations;
    const gathering = new Gathering();
    for (const pass of plan(nodes)) {
      const sql = new Sql();
      let rows = 0;
      await this.each(sql, passStatement(sql, this.where(sql), pass, MAX_ROWS + 1), (row) => {
        if (++rows > MAX_ROWS) throw tooMany();
        gathering.add(pass, row);
      });
    }
    if (nodes.some(({ aggregation }) => aggregation.kind === 'top_hits')) gathering.root.count = await this.count();
    const answer = new Answer();
    const rendered = answer.render(nodes as AggregationNode[], gathering.root, []);
    await this.fillTopHits(answer.wanted);
    return rendered;
  }

  private async count(): Promise<number> {
    const sql = new Sql();
    const [row] = await this.rows(sql, `SELECT count(*)::float8 FROM documents WHERE ${this.where(sql)}`);
    return row![0] as number;
  }

  private async fillTopHits(wanted: readonly WantedHits[]): Promise<void> {
    const most = wanted.reduce(
      (sum, { aggregation, into }) => sum + Math.min(aggregation.size, into['total'] as number),
      0,
    );
    if (most > MAX_TOP_HITS) throw invalidParameter('aggs', `top_hits of at most ${MAX_TOP_HITS} hits in an answer`);
    for (let start = 0; start < wanted.length; start += HITS_AT_ONCE) {
      const some = wanted.slice(start, start + HITS_AT_ONCE).filter(({ aggregation }) => aggregation.size > 0);
      if (some.length === 0) continue;
      const sql = new Sql();
      const where = this.where(sql);
      const statements = some.map(({ aggregation, steps }, i) => {
        const bucket = steps.map((step) => ` AND ${bucketCondition(sql, step.aggregation, step.key)}`).join('');
        // Sort values have different types in different buckets: as JSON they fit into one column. As text, which is
        // counted before it is read.
        const statement = hitsStatement(
          sql,
          `${where}${bucket}`,
          aggregation,
          (columns) => `json_build_array(${columns.join(', ')})::text AS hit`,
        );
        return `(SELECT ${i} AS i, row_number() OVER () AS r, h.hit FROM (${statement}) h)`;
      });
      const rows = await this.rows(sql, `${statements.join(' UNION ALL ')} ORDER BY i, r`);
      for (const [i, , hit] of rows) {
        const { aggregation, into } = some[i as number]!;
        (into['hits'] as unknown[]).push(hitOf(JSON.parse(hit as string) as unknown[], aggregation.source));
      }
    }
  }

  private async rows(sql: Sql, text: string): Promise<unknown[][]> {
    const rows: unknown[][] = [];
    await this.each(sql, text, (row) => {
      for (const value of row)
        if (typeof value === 'string' && (this.characters += value.length) > MAX_ANSWER) throw tooLarge();
      rows.push(row);
    });
    return rows;
  }

  /** Hands rows on as they arrive, and lets the others of the process go on between the packets. */
  private async each(sql: Sql, text: string, take: (row: unknown[]) => void): Promise<void> {
    const left = Math.ceil(this.deadline - performance.now());
    if (left <= 0) throw Object.assign(new Error('out of time'), { code: '57014' });
    await this.client.query(`SET LOCAL statement_timeout = ${left}`);
    await new Promise<void>((resolve, reject) => {
      let failure: unknown;
      const query = new Query({ text, values: sql.parameters as never[], rowMode: 'array' } as never);
      query.on('row', (row: unknown) => {
        if (failure !== undefined) return;
        try {
          take(row as unknown[]);
        } catch (error) {
          // The rest of the rows is read and dropped: the connection is needed again.
          failure = error;
        }
      });
      query.on('error', reject);
      query.on('end', () => (failure === undefined ? resolve() : reject(failure as Error)));
      this.client.query(query);
    });
  }
}
