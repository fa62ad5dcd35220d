import { DeliverPolicy, type JsMsg } from '@nats-io/jetstream';
import type { Bus } from './bus.js';
import type { Position } from './positions.js';
import { NUMBER_HEADER, ORIGIN_HEADER } from './publisher.js';
import type { ReadItem } from './read-items.js';
import { streamName, type PartitionedStream } from './streams.js';

export interface Entry {
  /** Of the stream with its partition, as in {@link streamName}. */
  name: string;
  /** By which it was fetched. */
  feed: Feed;
  seq: number;
  origin: string;
  number: number;
  items: readonly ReadItem[];
  bytes: number;
  /** When the stream took it, epoch milliseconds. */
  at: number;
}

interface Feed {
  readonly stream: PartitionedStream;
  readonly partition: number;
  /** Of what is committed. */
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
const MAX_BUFFERED_BYTES = 32 << 20;
/** Entries that a partition's stream may send ahead. What is under way when a full reader stops is sent again later. */
const ENTRIES_AHEAD = 8;

/**
 * What a reader has fetched of the partitions that it owns, and not handled yet: bounded, as consumers fetch ahead without
 * asking. When it is full they end, and begin again at the entry after the last one that was taken.
 */
export class PartitionFeeds {
  private readonly feeds = new Map<string, Feed>();
  private buffer: Entry[] = [];
  private items = 0;
  private bytes = 0;

  /** @param arrived an entry has come. */
  constructor(
    private readonly bus: Bus,
    private readonly reader: string,
    private readonly arrived: () => void,
  ) {}

  /** Messages that wait. */
  get waiting(): number {
    return this.items;
  }

  get isEmpty(): boolean {
    return this.buffer.length === 0;
  }

  /** Begins to read after a position; when that fails now, with the next `resume`. */
  open(stream: PartitionedStream, partition: number, position: Position): void {
    const feed: Feed = { stream, partition, position, buffered: position.seq, paused: true, reading: 0 };
    this.feeds.set(streamName(stream, partition), feed);
    this.resume();
  }

  /** Forgets a partition and what was fetched of it. */
  drop(partition: number): void {
    for (const [name, feed] of this.feeds) {
      if (feed.partition !== partition) continue;
      feed.close?.();
      this.feeds.delete(name);
    }
    this.buffer = this.buffer.filter(({ name }) => this.feeds.has(name));
    this.items = this.buffer.reduce((sum, entry) => sum + entry.items.length, 0);
    this.bytes = this.buffer.reduce((sum, entry) => sum + entry.bytes, 0);
  }

  /** Committed position of a stream; undefined when its partition is not read here any more. */
  position(name: string): Position | undefined {
    return this.feeds.get(name)?.position;
  }

  /** Whether its partition has been read here ever since it was fetched. */
  holds({ name, feed }: Entry): boolean {
    return this.feeds.get(name) === feed;
  }

  moved(name: string, position: Position): void {
    const feed = this.feeds.get(name);
    if (feed) feed.position = position;
  }

  /** Committed positions of all streams that are read. */
  *positions(): Iterable<{ name: string; stream: PartitionedStream; partition: number; seq: number }> {
    for (const [name, { stream, partition, position }] of this.feeds)
      yield { name, stream, partition, seq: position.seq };
  }

  /** What has been fetched, in the order in which it is handled. */
  get entries(): readonly Entry[] {
    return this.buffer;
  }

  /** Takes entries out, at least one, with at most so many messages unless a single entry has more. */
  next(maxItems: number): Entry[] {
    let count = 0;
    let items = 0;
    while (count < this.buffer.length && (count === 0 || items + this.buffer[count]!.items.length <= maxItems))
      items += this.buffer[count++]!.items.length;
    const batch = this.buffer.splice(0, count);
    for (const entry of batch) {
      this.items -= entry.items.length;
      this.bytes -= entry.bytes;
    }
    return batch;
  }

  /** Ends all consumers. What was fetched stays. */
  pause(): void {
    for (const feed of this.feeds.values()) {
      feed.paused = true;
      feed.reading++;
      feed.close?.();
      delete feed.close;
    }
  }

  /** Reads on where reading was interrupted, soon enough that there is work until the next entries come. */
  resume(): void {
    if (this.items >= MAX_BUFFERED_ITEMS / 2) return;
    for (const feed of this.feeds.values())
      if (feed.paused)
        this.resumeFeed(feed).catch((error: unknown) =>
          this.bus.logger.warn({ reader: this.reader, error: String(error) }, 'could not resume reading; trying again'),
        );
  }

  private isCurrent(feed: Feed): boolean {
    return this.feeds.get(streamName(feed.stream, feed.partition)) === feed;
  }

  // An ordered consumer acknowledges nothing and is made anew, from the last entry, when it missed one.
  private async resumeFeed(feed: Feed): Promise<void> {
    if (!feed.paused) return;
    feed.paused = false;
    const reading = ++feed.reading;
    try {
      const consumer = await this.bus.js.consumers.get(streamName(feed.stream, feed.partition), {
        deliver_policy: DeliverPolicy.StartSequence,
        opt_start_seq: feed.buffered + 1,
      });
      const messages = await consumer.consume({
        max_messages: ENTRIES_AHEAD,
        callback: (message) => {
          if (feed.reading === reading) this.take(feed, message);
        },
      });
      const close = (): void => {
        void messages.close();
        consumer.delete().catch(() => undefined);
      };
      if (this.isCurrent(feed) && feed.reading === reading) feed.close = close;
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

  private take(feed: Feed, message: JsMsg): void {
    if (feed.paused || message.seq <= feed.buffered || !this.isCurrent(feed)) return;
    const { stream, partition } = feed;
    const { seq, data } = message;
    const name = streamName(stream, partition);
    feed.buffered = seq;
    let items: readonly ReadItem[] = [];
    try {
      items = this.bus.decoded.of(stream, partition, message);
    } catch (error) {
      this.bus.logger.error({ stream: name, seq, error: String(error) }, 'skipped an entry of unknown format');
    }
    this.buffer.push({
      name,
      feed,
      seq,
      origin: message.headers?.get(ORIGIN_HEADER) ?? '',
      number: Number(message.headers?.get(NUMBER_HEADER) ?? 0),
      items,
      bytes: data.length,
      at: message.info.timestampNanos / 1e6,
    });
    this.items += items.length;
    this.bytes += data.length;
    if (this.items > MAX_BUFFERED_ITEMS || this.bytes > MAX_BUFFERED_BYTES) this.pause();
    this.arrived();
  }
}
