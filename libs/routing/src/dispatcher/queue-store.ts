import type { Bus } from '@orrery/core/bus';
import { BatchRunner, type Database } from '@orrery/core/database';
import { removeMessages } from '../fifos/queue.js';
import { routingMetrics } from '../metrics.js';
import type { HeldMessage, QueueReader, ReadPage } from './consumed-fifo.js';

/** Bytes after which a delivery takes no further message. */
const MAX_DELIVERY_BYTES = 4 << 20;
const RETRY_MS = 500;
/**
 * Acknowledgements are written so often at most: each time the row of the FIFO is locked, which who fills it waits for.
 * Windows are free before.
 */
const WRITE_EVERY_MS = 20;
const NONE: ReadonlySet<number> = new Set();

interface Row {
  seq: string;
  /** Null when the page is large enough without it. */
  body: string | null;
  traceparent: string | null;
}

/** The queues of FIFOs in PostgreSQL, as a dispatcher uses them. */
export class QueueStore implements QueueReader {
  private readonly pending = new Map<number, Set<number>>();
  private readonly acknowledgements: BatchRunner<{ fifoId: number; seqs: readonly number[] }>;
  private stopped = false;

  constructor(
    private readonly bus: Bus,
    private readonly database: Database,
  ) {
    this.acknowledgements = new BatchRunner(
      async (acks) => {
        await this.remove(acks.flatMap(({ fifoId, seqs }) => seqs.map((seq) => ({ fifoId, seq }))));
        for (const { fifoId, seqs } of acks) {
          const pending = this.pending.get(fifoId);
          for (const seq of seqs) pending?.delete(seq);
          if (pending?.size === 0) this.pending.delete(fifoId);
        }
        return acks.map(() => undefined);
      },
      500,
      WRITE_EVERY_MS,
    );
  }

  after(fifoId: number, seq: number, limit: number, bytes: number): Promise<ReadPage> {
    return this.page('seq > $2', [fifoId, seq, limit], bytes);
  }

  these(fifoId: number, seqs: readonly number[], bytes: number): Promise<ReadPage> {
    return this.page('seq = ANY($2::bigint[])', [fifoId, seqs, seqs.length], bytes);
  }

  /** Those of these messages that still exist: others take no place in a window, nor do those of a deleted FIFO. */
  async existing(fifoId: number, seqs: readonly number[]): Promise<HeldMessage[]> {
    if (seqs.length === 0) return [];
    const rows = await this.database.query<{ seq: string; bytes: number }>(
      'SELECT seq, octet_length(body) AS bytes FROM fifo_messages WHERE fifo_id = $1 AND seq = ANY($2::bigint[])',
      [fifoId, seqs],
    );
    return rows.map(({ seq, bytes }) => ({ seq: Number(seq), bytes }));
  }

  acknowledging(fifoId: number): ReadonlySet<number> {
    return this.pending.get(fifoId) ?? NONE;
  }

  /** Resolves when the messages have left the queue. */
  acknowledge(fifoId: number, seqs: readonly number[]): Promise<void> {
    if (seqs.length === 0) return Promise.resolve();
    let pending = this.pending.get(fifoId);
    if (!pending) this.pending.set(fifoId, (pending = new Set()));
    for (const seq of seqs) pending.add(seq);
    return this.acknowledgements.add({ fifoId, seqs });
  }

  /** Finishes what was acknowledged. */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.acknowledgements.idle();
  }

  // Bodies are large and lie outside the row: those beyond the size of a delivery are not even read.
  private async page(
    condition: string,
    parameters: [number, number | readonly number[], number],
    bytes: number,
  ): Promise<ReadPage> {
    const rows = await this.database.query<Row>(
      `SELECT seq, CASE WHEN sum(size) OVER (ORDER BY seq) - size < $4 THEN body END AS body, traceparent
       FROM (SELECT seq, size, body, traceparent FROM fifo_messages WHERE fifo_id = $1 AND ${condition} AND expires > now()
         ORDER BY seq LIMIT $3) AS head ORDER BY seq`,
      [...parameters, Math.min(bytes, MAX_DELIVERY_BYTES)],
    );
    const end = rows.findIndex(({ body }) => body === null);
    const read = end === -1 ? rows : rows.slice(0, end);
    const messages = read.map(({ seq, body, traceparent }) => ({
      seq: Number(seq),
      body: body!,
      bytes: Buffer.byteLength(body!),
      traceparent: traceparent ?? undefined,
    }));
    return { messages, cut: end !== -1 };
  }

  // An acknowledgement that cannot be written must not be forgotten: its message would be delivered again.
  private async remove(messages: ReadonlyArray<{ fifoId: number; seq: number }>): Promise<void> {
    for (;;) {
      try {
        await this.database.transaction((manager) => removeMessages(manager, messages, true));
        routingMetrics.fifoMessages.inc({ outcome: 'delivered' }, messages.length);
        return;
      } catch (error) {
        if (this.stopped) throw error;
        this.bus.logger.warn({ error: String(error) }, 'could not write acknowledgements; trying again');
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }
}
