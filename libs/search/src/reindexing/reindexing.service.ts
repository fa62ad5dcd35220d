import { randomUUID } from 'node:crypto';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { type Bus, callRpc } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import { limitOf } from '@orrery/core/limits';
import { normalizeTimestamp } from '@orrery/core/messages';
import { countArrived } from '@orrery/store/contract';
import type { SearchEngine } from '../search-engine.js';
import type { CountsDto, CreateReindexingDto, ReindexingDto } from './reindexing.dto.js';

const DAY_MS = 24 * 3600 * 1000;
/** Of an account; the older ones are forgotten. */
const KEPT = 100;
const MOST_RUNNING = 5;
const COUNT_TIMEOUT_MS = 30_000;

interface Row {
  id: string;
  status: ReindexingDto['status'];
  from_time: Date;
  to_time: Date;
  cursor: { created: string } | null;
  read: string;
  indexed: string;
  error: string | null;
  created: Date;
  updated: Date;
}

const COLUMNS = 'id, status, from_time, to_time, cursor, read, indexed, error, created, updated';
const isUuid = (text: string): boolean => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);

const toDto = (row: Row): ReindexingDto => ({
  id: row.id,
  status: row.status,
  from: row.from_time.toISOString(),
  to: row.to_time.toISOString(),
  ...(row.cursor ? { position: new Date(row.cursor.created).toISOString() } : {}),
  read: Number(row.read),
  indexed: Number(row.indexed),
  ...(row.error === null ? {} : { error: row.error }),
  created: row.created.toISOString(),
  updated: row.updated.toISOString(),
});

/** What tenants ask for; reindexer.ts does it. */
export class ReindexingService {
  constructor(
    private readonly bus: Bus,
    private readonly database: Database,
    private readonly engine: SearchEngine,
    private readonly wake: () => void,
  ) {}

  async create(key: ApiKeyIdentity, dto: CreateReindexingDto): Promise<ReindexingDto> {
    const { tenantId } = key;
    const { from, to } = rangeOf(key, dto);
    const rows = await this.database.transaction(async (manager) => {
      // One after the other: each has to see those that the others begin.
      await manager.query('SELECT pg_advisory_xact_lock(hashtext($1))', [`search.reindexings.${tenantId}`]);
      return (await manager.query(
        `INSERT INTO reindexings (tenant_id, id, status, from_time, to_time)
         SELECT $1, $2, 'RUNNING', $3, $4
         WHERE (SELECT count(*) FROM reindexings WHERE tenant_id = $1 AND status = 'RUNNING') < ${MOST_RUNNING}
         RETURNING ${COLUMNS}`,
        [tenantId, randomUUID(), from, to],
      )) as Row[];
    });
    if (!rows[0])
      throw new ApiError('CONFLICT', { reason: `${MOST_RUNNING} re-indexings of this account are running already` });
    await this.database.query(
      `DELETE FROM reindexings WHERE tenant_id = $1 AND id IN (
         SELECT id FROM reindexings WHERE tenant_id = $1 ORDER BY created DESC, id OFFSET ${KEPT})`,
      [tenantId],
    );
    this.wake();
    return toDto(rows[0]);
  }

  async list(tenantId: string): Promise<ReindexingDto[]> {
    const rows = await this.database.query<Row>(
      `SELECT ${COLUMNS} FROM reindexings WHERE tenant_id = $1 ORDER BY created DESC, id LIMIT ${KEPT}`,
      [tenantId],
    );
    return rows.map(toDto);
  }

  async find(tenantId: string, id: string): Promise<ReindexingDto> {
    const rows = isUuid(id)
      ? await this.database.query<Row>(`SELECT ${COLUMNS} FROM reindexings WHERE tenant_id = $1 AND id = $2`, [
          tenantId,
          id,
        ])
      : [];
    if (!rows[0]) throw new ApiError('NOT_FOUND', { reindexingId: id });
    return toDto(rows[0]);
  }

  async cancel(tenantId: string, id: string): Promise<void> {
    await this.find(tenantId, id);
    await this.database.query(
      `UPDATE reindexings SET status = 'CANCELLED', updated = now()
       WHERE tenant_id = $1 AND id = $2 AND status = 'RUNNING'`,
      [tenantId, id],
    );
  }

  /** Messages that do not fit the types of their model are in the store alone. */
  async counts(key: ApiKeyIdentity, range: CreateReindexingDto): Promise<CountsDto> {
    const { from, to } = rangeOf(key, range);
    const request = { tenantId: key.tenantId, from: from.toISOString(), to: to.toISOString() };
    const [{ count }, indexed] = await Promise.all([
      callRpc(this.bus, countArrived, request, { timeoutMs: COUNT_TIMEOUT_MS }),
      this.engine.count(key.tenantId, request.from, request.to),
    ]);
    return { stored: count, indexed };
  }
}

function rangeOf({ limits }: ApiKeyIdentity, dto: CreateReindexingDto): { from: Date; to: Date } {
  const now = Date.now();
  const oldest = Math.max(0, now - limitOf(limits, 'searchDays') * DAY_MS);
  const dateOf = (name: 'from' | 'to', absent: number): Date => {
    const given = dto[name] ?? undefined;
    const date = given === undefined ? new Date(absent).toISOString() : normalizeTimestamp(given);
    // Nothing has arrived before.
    if (date === undefined || date < '1970') throw invalidParameter(name, 'an ISO 8601 date from 1970 on');
    return new Date(date);
  };
  const [from, to] = [dateOf('from', oldest), dateOf('to', now)];
  if (from > to) throw invalidParameter('from', 'a date that is not after to');
  return { from, to };
}
