import { DeliverPolicy, type ConsumerMessages, type JsMsg } from '@nats-io/jetstream';
import type { StoredAuditEntry } from '@orrery/core/audit';
import { type Bus, fence, FencedError, LeaseManager, movePositions, type Position } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import { metrics, type Logger } from '@orrery/core/telemetry';
import type { EntityManager } from 'typeorm';
import { AUDIT_READER } from '../contract.js';
import { insertCapped, type Row } from './capped-insert.js';
import { entryJson } from './entry-json.js';

const STREAM = 'AUDIT';
const BATCH = 500;
const MAX_WAITING = 5000;
const RETRY_MS = 500;

// SQLSTATE classes by which PostgreSQL says that it cannot take these data, whenever it is asked.
const DATA_ERROR = /^(22|54)/;

/**
 * Writes what arrives on AUDIT, one instance at a time. Messages and position are committed together, so that a crash
 * repeats and skips nothing; an entry that cannot be kept is logged and left out, which the log is allowed to do.
 */
export class MessagesReader {
  private readonly leases: LeaseManager;
  private messages?: ConsumerMessages;
  private reading: Promise<void> = Promise.resolve();
  private stopped = false;
  private unsubscribe?: () => void;

  constructor(
    private readonly bus: Bus,
    private readonly database: Database,
    private readonly logger: Logger,
    /** Entries that are kept of a tenant, category, subcategory and minute. */
    private readonly perMinute: number,
  ) {
    this.leases = new LeaseManager(bus, AUDIT_READER, 1, {
      acquired: () => {
        this.reading = this.reading.then(() => this.read());
      },
      lost: () => void this.messages?.close(),
    });
  }

  start(): Promise<void> {
    // An ordered consumer that was lost with its connection may wait half a minute: another one is made.
    this.unsubscribe = this.bus.onReconnect(() => void this.messages?.close());
    return this.leases.start();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.unsubscribe?.();
    await this.messages?.close();
    await this.reading;
    await this.leases.stop();
  }

  private get owner(): boolean {
    return !this.stopped && this.leases.epoch(0) !== undefined;
  }

  private async read(): Promise<void> {
    while (this.owner)
      try {
        await this.follow();
      } catch (error) {
        if (error instanceof FencedError) return this.leases.forget(0);
        this.logger.warn({ error: String(error) }, 'could not keep audit entries; trying again');
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
  }

  private async follow(): Promise<void> {
    const epoch = this.leases.epoch(0);
    if (epoch === undefined) return;
    const position = await fence(this.bus, this.database, AUDIT_READER, STREAM, epoch);
    const consumer = await this.bus.js.consumers.get(STREAM, {
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: position.seq + 1,
    });
    const waiting: JsMsg[] = [];
    let ended = false;
    let wake = (): void => undefined;
    const messages = await consumer.consume({
      max_messages: BATCH,
      callback: (message) => {
        waiting.push(message);
        // The consumer fetches ahead without asking: it is made anew when what waits has been written.
        if (waiting.length >= MAX_WAITING) void this.messages?.close();
        wake();
      },
    });
    this.messages = messages;
    void messages.closed().then(() => {
      ended = true;
      wake();
    });
    while (this.owner) {
      if (waiting.length > 0) await this.commit(waiting.splice(0, BATCH), position);
      else if (ended) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
    await messages.close();
  }

  private async commit(batch: JsMsg[], position: Position): Promise<void> {
    const rows = batch.flatMap((message) => this.toRow(message));
    const epoch = this.leases.epoch(0);
    if (epoch === undefined) throw new FencedError([STREAM]);
    const moved = { ...position, epoch, seq: batch.at(-1)!.seq };
    const write = (insertRows: (manager: EntityManager) => Promise<void>): Promise<void> =>
      this.database.transaction(async (manager) => {
        await movePositions(manager, AUDIT_READER, [[STREAM, moved]]);
        await insertRows(manager);
      });
    try {
      await write((manager) => insertCapped(manager, rows, this.perMinute));
    } catch (error) {
      if (!isDataError(error)) throw error;
      await write((manager) => this.insertOneByOne(manager, rows));
    }
    position.seq = moved.seq;
    metrics.readMessages.inc({ reader: AUDIT_READER }, rows.length);
  }

  private async insertOneByOne(manager: EntityManager, rows: Row[]): Promise<void> {
    for (const row of rows) {
      await manager.query('SAVEPOINT entry');
      try {
        await insertCapped(manager, [row], this.perMinute);
      } catch (error) {
        if (!isDataError(error)) throw error;
        await manager.query('ROLLBACK TO SAVEPOINT entry');
        this.leaveOut(row[1], String(error));
      }
      await manager.query('RELEASE SAVEPOINT entry');
    }
  }

  private toRow(message: JsMsg): Row[] {
    try {
      const { tenantId, ...entry } = message.json<StoredAuditEntry>();
      for (const [name, value] of Object.entries({ tenantId, id: entry.id }))
        if (typeof value !== 'string' || value === '') throw new TypeError(`${name} is missing`);
      return [[tenantId, entry.id, new Date(entry.timestamp).toISOString(), entryJson(entry)]];
    } catch (error) {
      this.leaveOut(message.seq, String(error));
      return [];
    }
  }

  private leaveOut(which: string | number, error: string): void {
    this.logger.error({ entry: which, error }, 'left out an audit entry that cannot be kept');
    metrics.deadMessages.inc({ reader: AUDIT_READER });
  }
}

function isDataError(error: unknown): boolean {
  const code = (error as { driverError?: { code?: unknown } }).driverError?.code;
  return typeof code === 'string' && DATA_ERROR.test(code);
}
