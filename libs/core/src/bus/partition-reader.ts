import type { EntityManager } from 'typeorm';
import { type Database, outboxIsFull } from '../database/index.js';
import { type BatchSpans, metrics } from '../telemetry/index.js';
import type { Bus } from './bus.js';
import { writeDeadLetter } from './dead-letters.js';
import { LeaseManager } from './leases.js';
import { type Entry, PartitionFeeds } from './partition-feeds.js';
import { FencedError, fence, keptOrigins, movePositions, reportPositions, type Position } from './positions.js';
import type { ReadItem } from './read-items.js';
import { measureLag, type ReaderProgress } from './reader-lag.js';
import { streamName, type PartitionedStream } from './streams.js';
import { describeRead } from './traced-items.js';

/** Runs after the commit of the batch that returned it: to wake whoever waits for the effect. */
export type AfterCommit = () => void;

/**
 * What `handle` returns when it has written nothing. Such a batch is committed without waiting for the disk: at worst, after
 * a crash of PostgreSQL, it is handled again.
 */
export const NO_EFFECT = Symbol('no effect');

export interface ReaderOptions {
  /** Unique name of the reader: its positions and leases are found by it. */
  name: string;
  streams: PartitionedStream[];
  /** Positions live beside the effect, in the service's own schema. */
  database: Database;
  /** Applies a batch within the transaction that moves the positions. Items of one partition come in order. */
  handle(items: ReadItem[], manager: EntityManager): Promise<AfterCommit | typeof NO_EFFECT | void>;
  /**
   * True when it writes to the outbox for streams that come after those it reads: it reads on only while little waits there,
   * so that its own streams fill up, and who publishes slows down. Never for what a reader writes to a stream that it
   * reads itself: it would wait for itself.
   */
  handsOn?: boolean;
  maxItems?: number;
  /** Milliseconds to wait for more before each batch, for effects that are in no hurry: fewer and larger transactions. */
  lingerMs?: number;
}

const RETRY_MS = 500;
/** How often a reader that hands on looks at its outbox. */
const LOOK_MS = 100;

// SQLSTATE classes that say something about the data, not about the state of the server. Not 42: a table that is missing
// and a right that was taken away would set every message aside.
const DATA_ERROR = /^(22|23|54)/;
/** A statement that took too long. */
const QUERY_CANCELED = '57014';

/**
 * The one batch consumer of the platform. It reads the partitions it holds a lease for, and commits effect and
 * position in one transaction: a crash repeats nothing and skips nothing. A message that cannot be handled goes to
 * DEAD and its batch goes on; a server that cannot be reached makes the reader wait.
 */
export class PartitionReader {
  private readonly leases: LeaseManager;
  private readonly feeds: PartitionFeeds;
  /** Partitions of which the lease has been won and not lost since, with the epoch that it was won with. */
  private readonly won = new Map<number, number>();
  private readonly reported = new Map<string, number>();
  /** What is being applied. */
  private batch: Entry[] = [];
  private stopped = false;
  private loop?: Promise<void>;
  private wake?: () => void;
  private reporter?: NodeJS.Timeout;
  private unsubscribe?: () => void;
  private endMeasuring?: () => void;
  /** When its outbox was seen to have room, on the monotonic clock. */
  private roomAt = Number.NEGATIVE_INFINITY;
  private readonly counted;

  constructor(
    private readonly bus: Bus,
    private readonly options: ReaderOptions,
  ) {
    const { name } = options;
    this.counted = {
      messages: metrics.readMessages.labels(name),
      batchMessages: metrics.readBatchMessages.labels(name),
      batchSeconds: metrics.readBatchSeconds.labels(name),
      failures: metrics.failedBatches.labels(name),
    };
    // The first one is an increase only if there was a 0 before.
    this.counted.failures.inc(0);
    metrics.deadMessages.inc({ reader: name }, 0);
    this.feeds = new PartitionFeeds(bus, name, () => this.wake?.());
    this.leases = new LeaseManager(bus, name, bus.partitions, {
      acquired: (partition, epoch) => {
        this.won.set(partition, epoch);
        void this.open(partition, epoch);
      },
      lost: (partition) => this.drop(partition),
    });
  }

  async start(): Promise<void> {
    await reportPositions(this.bus, this.options.name, this.options.streams, new Map());
    this.loop = this.run();
    // After a disconnection the ordered consumers of nats.js count requests of the lost ones as pending, and may wait
    // half a minute for messages that they did not ask for: others are made, from the last entry.
    this.unsubscribe = this.bus.onReconnect(() => {
      this.feeds.pause();
      this.wake?.();
    });
    this.endMeasuring = measureLag(this.bus, this.options.name, () => this.progress());
    await this.leases.start();
    this.reporter = setInterval(() => void this.report(), 2000);
  }

  /** Finishes the batch in hand, then lets others take over. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearInterval(this.reporter);
    this.unsubscribe?.();
    this.endMeasuring?.();
    this.wake?.();
    await this.loop;
    this.feeds.pause();
    await this.report();
    await this.leases.stop();
  }

  /** Partitions that this instance owns now. */
  get partitions(): number[] {
    return this.leases.keys;
  }

  private async open(partition: number, epoch: number): Promise<void> {
    metrics.ownedPartitions.set({ reader: this.options.name }, this.leases.keys.length);
    for (const stream of this.options.streams) {
      const name = streamName(stream, partition);
      while (!this.stopped && this.won.get(partition) === epoch) {
        try {
          const position = await fence(this.bus, this.options.database, this.options.name, name, epoch);
          // Lost meanwhile: a feed without a lease would be dropped by nobody.
          if (this.won.get(partition) !== epoch) return;
          this.feeds.open(stream, partition, position);
          break;
        } catch (error) {
          if (error instanceof FencedError) {
            this.leases.forget(partition);
            return;
          }
          this.bus.logger.warn(
            { reader: this.options.name, stream: name, error: String(error) },
            'could not start reading; trying again',
          );
          await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        }
      }
    }
  }

  private drop(partition: number): void {
    this.won.delete(partition);
    metrics.ownedPartitions.set({ reader: this.options.name }, this.leases.keys.length);
    this.feeds.drop(partition);
  }

  private async run(): Promise<void> {
    while (!this.stopped) {
      if (this.feeds.isEmpty) {
        this.feeds.resume();
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, 1000);
          this.wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
        continue;
      }
      if (this.options.lingerMs) await this.linger(this.options.lingerMs);
      if (this.options.handsOn) await this.room();
      this.batch = this.feeds.next(this.maxItems);
      await this.process(this.batch);
      this.batch = [];
      this.feeds.resume();
    }
  }

  /** Until what was handed on before has been published, but for a little. */
  private async room(): Promise<void> {
    if (performance.now() - this.roomAt < LOOK_MS) return;
    // Whether PostgreSQL answers is seen by the batch.
    while (!this.stopped && (await outboxIsFull(this.options.database).catch(() => false)))
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    this.roomAt = performance.now();
  }

  /** Until the time is over, or a batch is full. */
  private async linger(ms: number): Promise<void> {
    const enough = (): boolean => this.stopped || this.feeds.waiting >= this.maxItems;
    if (enough()) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => {
        if (!enough()) return;
        clearTimeout(timer);
        resolve();
      };
    });
  }

  private get maxItems(): number {
    return this.options.maxItems ?? 1000;
  }

  private async process(batch: Entry[]): Promise<void> {
    let entries = batch;
    while (entries.length > 0 && !this.stopped) {
      entries = entries.filter((entry) => this.feeds.holds(entry));
      try {
        await this.commit(entries, (items, manager) => this.options.handle(items, manager));
        return;
      } catch (error) {
        if (error instanceof FencedError) {
          for (const entry of entries) {
            // What was lost and won again meanwhile is ours; only this batch is of the time before.
            if (!error.streams.includes(entry.name) || !this.feeds.holds(entry)) continue;
            const partition = partitionOf(entry.name);
            this.leases.forget(partition);
            this.drop(partition);
          }
          continue;
        }
        // PostgreSQL had no time for it: smaller batches may fit. One entry is tried until it does.
        if (isDataError(error) || (entries.length > 1 && sqlState(error) === QUERY_CANCELED)) {
          await this.isolate(entries);
          return;
        }
        this.counted.failures.inc();
        this.bus.logger.warn({ reader: this.options.name, error: String(error) }, 'a batch failed; trying again');
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  /** Finds the entry that makes a batch fail, by halves. */
  private async isolate(entries: Entry[]): Promise<void> {
    if (entries.length === 1) return this.applyOneByOne(entries[0]!);
    const middle = Math.floor(entries.length / 2);
    await this.process(entries.slice(0, middle));
    await this.process(entries.slice(middle));
  }

  /** Applies an entry's messages each behind a savepoint, and sets aside those that fail. */
  private async applyOneByOne(entry: Entry): Promise<void> {
    const retry = async (error: unknown): Promise<void> => {
      this.counted.failures.inc();
      this.bus.logger.warn({ reader: this.options.name, error: String(error) }, 'a batch failed; trying again');
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      await this.process([entry]);
    };
    try {
      await this.commit([entry], async (items, manager, spans) => {
        const after: AfterCommit[] = [];
        let dead = 0;
        for (const item of items) {
          await manager.query('SAVEPOINT item');
          try {
            const done = await this.options.handle([item], manager);
            if (typeof done === 'function') after.push(done);
          } catch (error) {
            if (!isDataError(error)) throw error;
            await manager.query('ROLLBACK TO SAVEPOINT item');
            await writeDeadLetter(this.bus, this.options.name, item, error);
            spans.fail(item, error);
            dead++;
          }
        }
        metrics.deadMessages.inc({ reader: this.options.name }, dead);
        return () => after.forEach((each) => each());
      });
    } catch (error) {
      await retry(error);
    }
  }

  private async commit(
    entries: Entry[],
    handle: (
      items: ReadItem[],
      manager: EntityManager,
      spans: BatchSpans<ReadItem>,
    ) => ReturnType<ReaderOptions['handle']>,
  ): Promise<void> {
    if (entries.length === 0) return;
    const moved = new Map<string, Position>();
    const items: ReadItem[] = [];
    for (const entry of entries) {
      if (!this.feeds.holds(entry)) throw new FencedError([entry.name]);
      let position = moved.get(entry.name);
      if (!position) {
        const committed = this.feeds.position(entry.name);
        const epoch = this.leases.epoch(partitionOf(entry.name));
        if (committed === undefined || epoch === undefined) throw new FencedError([entry.name]);
        position = { ...committed, epoch, origins: keptOrigins(committed.origins) };
        moved.set(entry.name, position);
      }
      position.seq = entry.seq;
      if (entry.number > 0) {
        if (entry.number <= (position.origins[entry.origin]?.[0] ?? 0)) continue;
        position.origins[entry.origin] = [entry.number, Date.now()];
      }
      for (const item of entry.items) items.push(item);
    }
    const began = performance.now();
    const after: AfterCommit[] = [];
    const { name } = this.options;
    const spans = this.bus.tracing.batch(
      `${name} process`,
      'consumer',
      items,
      describeRead(name, items.length),
      (item, header) => item.withHeader(header),
    );
    try {
      await this.options.database.transaction(async (manager) => {
        await movePositions(manager, name, [...moved]);
        const done = items.length > 0 ? await handle(items, manager, spans) : NO_EFFECT;
        if (done === NO_EFFECT) await manager.query('SET LOCAL synchronous_commit = off');
        else if (done) after.push(done);
      });
      spans.end();
    } catch (error) {
      spans.end(error);
      throw error;
    }
    this.counted.batchSeconds.observe((performance.now() - began) / 1000);
    this.counted.batchMessages.observe(items.length);
    for (const [stream, position] of moved) this.feeds.moved(stream, position);
    this.counted.messages.inc(items.length);
    try {
      for (const each of after) each();
    } catch (error) {
      // The effect is there, and must not be tried again.
      this.bus.logger.error({ reader: name, error }, 'what follows a batch failed');
    }
  }

  private progress(): ReaderProgress[] {
    const oldest = new Map<string, number>();
    for (const { name, seq, at } of [...this.batch, ...this.feeds.entries])
      if (!oldest.has(name) && seq > (this.feeds.position(name)?.seq ?? seq)) oldest.set(name, at);
    return [...this.feeds.positions()].map(({ name, stream, partition, seq }) => ({
      stream,
      partition,
      committed: seq,
      oldestAt: oldest.get(name),
    }));
  }

  private async report(): Promise<void> {
    const committed = new Map<string, number>();
    for (const { name, seq } of this.feeds.positions()) if (this.reported.get(name) !== seq) committed.set(name, seq);
    if (committed.size === 0) return;
    try {
      await reportPositions(this.bus, this.options.name, this.options.streams, committed);
      for (const [name, seq] of committed) this.reported.set(name, seq);
    } catch (error) {
      this.bus.logger.warn({ error: String(error) }, 'could not report positions');
    }
  }
}

/** Of a stream, by its name. */
const partitionOf = (stream: string): number => Number(stream.slice(stream.lastIndexOf('_') + 1));

/** True when the data is to blame: repeating the batch would fail again. */
function isDataError(error: unknown): boolean {
  if (error instanceof FencedError) return false;
  const state = sqlState(error);
  if (state !== undefined) return DATA_ERROR.test(state);
  // A programming error blames the message that provoked it; lost connections and time-outs have a code or say so.
  return error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError;
}

/** The SQLSTATE of an error of PostgreSQL. */
function sqlState(error: unknown): string | undefined {
  const { code, driverError } = error as { code?: unknown; driverError?: { code?: unknown } };
  const state = driverError?.code ?? code;
  return typeof state === 'string' && /^[0-9A-Z]{5}$/.test(state) ? state : undefined;
}
