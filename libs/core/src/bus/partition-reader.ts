import { DeliverPolicy, type JsMsg } from '@nats-io/jetstream';
import type { EntityManager } from 'typeorm';
import type { Database } from '../database/index.js';
import { decodeEntry, type EntryItem } from '../messages/index.js';
import { type BatchSpans, metrics } from '../telemetry/index.js';
import type { Bus } from './bus.js';
import { writeDeadLetter } from './dead-letters.js';
import { LeaseManager } from './leases.js';
import { FencedError, fence, keptOrigins, movePositions, reportPositions, type Position } from './positions.js';
import { NUMBER_HEADER, ORIGIN_HEADER } from './publisher.js';
import { measureLag, type ReaderProgress } from './reader-lag.js';
import { streamName, type PartitionedStream } from './streams.js';
import { describeRead } from './traced-items.js';

/** One message or event, and where it was read. */
export interface ReadItem extends EntryItem {
  stream: PartitionedStream;
  partition: number;
  seq: number;
}

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
  maxItems?: number;
  /** Milliseconds to wait for more before each batch, for effects that are in no hurry: fewer and larger transactions. */
  lingerMs?: number;
}

interface Entry {
  stream: PartitionedStream;
  partition: number;
  seq: number;
  origin: string;
  number: number;
  items: ReadItem[];
  bytes: number;
  /** When the stream took it, epoch milliseconds. */
  at: number;
}

interface Feed {
  position: Position;
  /** Ends the consumer, on the server too, where it would stay for minutes. */
  close?: () => void;
  /** Sequence of the last entry taken into the buffer. */
  buffered: number;
  paused: boolean;
  /**
   * Counts the times that reading began or was interrupted. A consumer of an earlier time must not be heard: it has
   * passed over what came while the feed was paused, and its next message would hide that.
   */
  reading: number;
}

const MAX_BUFFERED_ITEMS = 20_000;
/** Entries that a partition's stream may send ahead. What is under way when a full reader stops is sent again later. */
const ENTRIES_AHEAD = 8;
const MAX_BUFFERED_BYTES = 32 << 20;
const RETRY_MS = 500;

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
  private readonly feeds = new Map<string, Feed>();
  /** Partitions of which the lease has been won and not lost since, with the epoch that it was won with. */
  private readonly won = new Map<number, number>();
  private readonly reported = new Map<string, number>();
  private buffer: Entry[] = [];
  /** What is being applied. */
  private batch: Entry[] = [];
  private bufferedItems = 0;
  private bufferedBytes = 0;
  private stopped = false;
  private loop?: Promise<void>;
  private wake?: () => void;
  private reporter?: NodeJS.Timeout;
  private unsubscribe?: () => void;
  private endMeasuring?: () => void;
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
    this.leases = new LeaseManager(bus, options.name, bus.partitions, {
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
      this.pause();
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
    for (const feed of this.feeds.values()) {
      feed.reading++;
      feed.close?.();
    }
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
          this.feeds.set(name, { position, buffered: position.seq, paused: true, reading: 0 });
          await this.resume(stream, partition);
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
    for (const stream of this.options.streams) {
      const name = streamName(stream, partition);
      this.feeds.get(name)?.close?.();
      this.feeds.delete(name);
    }
    const kept = this.buffer.filter((entry) => entry.partition !== partition);
    this.buffer = kept;
    this.bufferedItems = kept.reduce((sum, entry) => sum + entry.items.length, 0);
    this.bufferedBytes = kept.reduce((sum, entry) => sum + entry.bytes, 0);
  }

  // An ordered consumer acknowledges nothing and is made anew, from the last entry, when it missed one.
  private async resume(stream: PartitionedStream, partition: number): Promise<void> {
    const name = streamName(stream, partition);
    const feed = this.feeds.get(name);
    if (!feed?.paused) return;
    feed.paused = false;
    const reading = ++feed.reading;
    try {
      const consumer = await this.bus.js.consumers.get(name, {
        deliver_policy: DeliverPolicy.StartSequence,
        opt_start_seq: feed.buffered + 1,
      });
      const messages = await consumer.consume({
        max_messages: ENTRIES_AHEAD,
        callback: (message) => {
          if (feed.reading === reading) this.take(stream, partition, feed, message);
        },
      });
      const close = (): void => {
        void messages.close();
        consumer.delete().catch(() => undefined);
      };
      if (this.feeds.get(name) === feed && feed.reading === reading) feed.close = close;
      else close();
      // It ends by itself when the server will not go on with it: reading then begins again.
      void messages.closed().then(() => {
        if (feed.reading !== reading) return;
        feed.reading++;
        feed.paused = true;
        delete feed.close;
      });
    } catch (error) {
      if (feed.reading === reading) feed.paused = true;
      throw error;
    }
  }

  private take(stream: PartitionedStream, partition: number, feed: Feed, message: JsMsg): void {
    if (feed.paused || message.seq <= feed.buffered || this.feeds.get(streamName(stream, partition)) !== feed) return;
    feed.buffered = message.seq;
    const number = Number(message.headers?.get(NUMBER_HEADER) ?? 0);
    const origin = message.headers?.get(ORIGIN_HEADER) ?? '';
    let items: ReadItem[] = [];
    try {
      const { seq } = message;
      items = decodeEntry(message.data).map(({ header, body }) => ({ header, body, stream, partition, seq }));
    } catch (error) {
      this.bus.logger.error(
        { stream: streamName(stream, partition), seq: message.seq, error: String(error) },
        'skipped an entry of unknown format',
      );
    }
    this.buffer.push({
      stream,
      partition,
      seq: message.seq,
      origin,
      number,
      items,
      bytes: message.data.length,
      at: message.info.timestampNanos / 1e6,
    });
    this.bufferedItems += items.length;
    this.bufferedBytes += message.data.length;
    if (this.bufferedItems > MAX_BUFFERED_ITEMS || this.bufferedBytes > MAX_BUFFERED_BYTES) this.pause();
    this.wake?.();
  }

  // The consumer fetches ahead without asking, so a reader that falls behind stops consuming and later starts again.
  private pause(): void {
    for (const feed of this.feeds.values()) {
      feed.paused = true;
      feed.reading++;
      feed.close?.();
      delete feed.close;
    }
  }

  private resumeAll(): void {
    for (const stream of this.options.streams)
      for (let partition = 0; partition < this.bus.partitions; partition++)
        if (this.feeds.get(streamName(stream, partition))?.paused)
          this.resume(stream, partition).catch((error: unknown) =>
            this.bus.logger.warn(
              { reader: this.options.name, error: String(error) },
              'could not resume reading; trying again',
            ),
          );
  }

  private async run(): Promise<void> {
    while (!this.stopped) {
      if (this.buffer.length === 0) {
        this.resumeAll();
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
      this.batch = this.nextBatch();
      await this.process(this.batch);
      this.batch = [];
      // Soon enough that there is work until the next ones come.
      if (this.bufferedItems < MAX_BUFFERED_ITEMS / 2) this.resumeAll();
    }
  }

  /** Until the time is over, or a batch is full. */
  private async linger(ms: number): Promise<void> {
    const enough = (): boolean => this.stopped || this.bufferedItems >= this.maxItems;
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

  private nextBatch(): Entry[] {
    const max = this.maxItems;
    let count = 0;
    let items = 0;
    while (count < this.buffer.length && (count === 0 || items + this.buffer[count]!.items.length <= max))
      items += this.buffer[count++]!.items.length;
    const batch = this.buffer.splice(0, count);
    for (const entry of batch) {
      this.bufferedItems -= entry.items.length;
      this.bufferedBytes -= entry.bytes;
    }
    return batch;
  }

  private async process(batch: Entry[]): Promise<void> {
    let entries = batch;
    while (entries.length > 0 && !this.stopped) {
      entries = entries.filter((entry) => this.feeds.has(streamName(entry.stream, entry.partition)));
      try {
        await this.commit(entries, (items, manager) => this.options.handle(items, manager));
        return;
      } catch (error) {
        if (error instanceof FencedError) {
          for (const stream of error.streams) {
            const partition = Number(stream.slice(stream.lastIndexOf('_') + 1));
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
      const name = streamName(entry.stream, entry.partition);
      let position = moved.get(name);
      if (!position) {
        const feed = this.feeds.get(name)!;
        const epoch = this.leases.epoch(entry.partition);
        if (epoch === undefined) throw new FencedError([name]);
        position = { ...feed.position, epoch, origins: keptOrigins(feed.position.origins) };
        moved.set(name, position);
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
    const spans = this.bus.tracing.batch(`${name} process`, 'consumer', items, describeRead(name, items.length));
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
    for (const [name, position] of moved) {
      const feed = this.feeds.get(name);
      if (feed) feed.position = position;
    }
    this.counted.messages.inc(items.length);
    for (const each of after) each();
  }

  private progress(): ReaderProgress[] {
    const oldest = new Map<string, number>();
    for (const { stream, partition, seq, at } of [...this.batch, ...this.buffer]) {
      const name = streamName(stream, partition);
      if (!oldest.has(name) && seq > (this.feeds.get(name)?.position.seq ?? seq)) oldest.set(name, at);
    }
    return this.options.streams.flatMap((stream) =>
      this.partitions.flatMap((partition) => {
        const name = streamName(stream, partition);
        const feed = this.feeds.get(name);
        return feed ? { stream, partition, committed: feed.position.seq, oldestAt: oldest.get(name) } : [];
      }),
    );
  }

  private async report(): Promise<void> {
    const committed = new Map(
      [...this.feeds]
        .filter(([name, feed]) => this.reported.get(name) !== feed.position.seq)
        .map(([name, feed]) => [name, feed.position.seq]),
    );
    if (committed.size === 0) return;
    for (const [name, seq] of committed) this.reported.set(name, seq);
    await reportPositions(this.bus, this.options.name, this.options.streams, committed).catch((error: unknown) =>
      this.bus.logger.warn({ error: String(error) }, 'could not report positions'),
    );
  }
}

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
