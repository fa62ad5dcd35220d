import { type Bus, callRpc, RpcUnavailableError } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import { WokenWork } from '@orrery/core/jobs';
import type { Running } from '@orrery/core/service';
import type { Logger } from '@orrery/core/telemetry';
import { type ArrivalCursor, type ArrivalRange, type ArrivedPage, readArrived } from '@orrery/store/contract';
import { storedDocument } from '../indexing/documents.js';
import type { Indexer } from '../indexing/indexer.js';

const EVERY_MS = 5000;
/** An instance that has not been heard of for so long is gone; a page takes much less. */
const LEASE = `interval '60 seconds'`;
const PAGE_TIMEOUT_MS = 30_000;
/** Then another one has its turn. */
const PAGES_AT_ONCE = 20;

interface Job {
  tenant_id: string;
  id: string;
  from_time: Date;
  to_time: Date;
  cursor: ArrivalCursor | null;
}

/**
 * Reads stored messages in the order of their arrival and indexes them again, a page at a time. Indexing is idempotent, and
 * the position is kept after each page: whatever happens, it goes on from there, in another instance too.
 */
export class Reindexer implements Running {
  private readonly work: WokenWork;

  constructor(
    private readonly bus: Bus,
    private readonly database: Database,
    private readonly indexer: Indexer,
    logger: Logger,
  ) {
    this.work = new WokenWork({
      name: 're-indexing',
      everyMs: EVERY_MS,
      run: (stopped) => this.run(stopped),
      logger,
    });
  }

  async start(): Promise<void> {
    this.work.wake();
  }

  stop(): Promise<void> {
    return this.work.stop();
  }

  wake(): void {
    this.work.wake();
  }

  private async run(stopped: () => boolean): Promise<void> {
    for (let job = await this.claim(); job; job = stopped() ? undefined : await this.claim()) {
      try {
        await this.runJob(job, stopped);
      } catch (error) {
        const reason =
          error instanceof RpcUnavailableError
            ? 'the store does not answer'
            : 'the index or the database does not answer';
        await this.release(job, reason);
        throw error;
      }
    }
  }

  private async claim(): Promise<Job | undefined> {
    const [jobs] = (await this.database.query(
      `UPDATE reindexings SET holder = $1, leased_until = now() + ${LEASE}
       WHERE (tenant_id, id) = (
         SELECT tenant_id, id FROM reindexings
         WHERE status = 'RUNNING' AND (leased_until IS NULL OR leased_until < now())
         ORDER BY updated LIMIT 1 FOR UPDATE SKIP LOCKED)
       RETURNING tenant_id, id, from_time, to_time, cursor`,
      [this.bus.instance],
    )) as unknown as [Job[]];
    return jobs[0];
  }

  private async runJob({ tenant_id: tenantId, id, from_time, to_time, cursor }: Job, stopped: () => boolean) {
    const range = { tenantId, from: from_time.toISOString(), to: to_time.toISOString() };
    let reading = this.read(range, cursor ?? undefined);
    for (let page = 0; page < PAGES_AT_ONCE && !stopped(); page++) {
      const { messages, next } = await reading;
      // The next page is read while this one is indexed.
      if (next) reading = this.read(range, next);
      const documents = messages.map((message) => storedDocument(tenantId, message));
      const indexed = await this.indexer.index(documents, true);
      const [, kept] = (await this.database.query(
        `UPDATE reindexings SET cursor = coalesce($4, cursor), read = read + $5, indexed = indexed + $6,
           status = $7, error = NULL, leased_until = now() + ${LEASE}, updated = now()
         WHERE tenant_id = $1 AND id = $2 AND holder = $3 AND status = 'RUNNING'`,
        [
          tenantId,
          id,
          this.bus.instance,
          next ? JSON.stringify(next) : null,
          messages.length,
          indexed,
          next ? 'RUNNING' : 'DONE',
        ],
      )) as unknown as [unknown, number];
      // Cancelled, or another instance goes on with it.
      if (kept === 0 || !next) return;
    }
    await this.release({ tenant_id: tenantId, id }, null);
  }

  private read(range: ArrivalRange, after: ArrivalCursor | undefined): Promise<ArrivedPage> {
    const page = callRpc(
      this.bus,
      readArrived,
      { ...range, ...(after ? { after } : {}) },
      { timeoutMs: PAGE_TIMEOUT_MS },
    );
    // Perhaps nobody comes back for it.
    page.catch(() => undefined);
    return page;
  }

  /** Leaves it to whoever is first. */
  private async release({ tenant_id, id }: Pick<Job, 'tenant_id' | 'id'>, error: string | null): Promise<void> {
    await this.database.query(
      `UPDATE reindexings SET leased_until = NULL, error = $4, updated = now()
       WHERE tenant_id = $1 AND id = $2 AND holder = $3 AND status = 'RUNNING'`,
      [tenant_id, id, this.bus.instance, error],
    );
  }
}
