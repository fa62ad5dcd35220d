import type { JsMsg } from '@nats-io/jetstream';
import { decodeEntry, type EntryItem } from '../messages/index.js';
import type { PartitionedStream } from './streams.js';

/** One message or event, and where it was read. The readers of a process share it, so that nobody may change it. */
export class ReadItem implements EntryItem {
  private parsed?: object;

  constructor(
    readonly header: string,
    readonly body: string,
    readonly stream: PartitionedStream,
    readonly partition: number,
    readonly seq: number,
  ) {}

  /** The header as an object. @throws SyntaxError */
  headerAs<Header extends object>(): Readonly<Header> {
    return (this.parsed ??= JSON.parse(this.header) as object) as Header;
  }

  withHeader(header: string): ReadItem {
    return new ReadItem(header, this.body, this.stream, this.partition, this.seq);
  }
}

/** Entries that readers may still get: a bound for the keys alone. */
const MAX_KNOWN = 512;

/**
 * What the readers of a process have decoded, as long as one of them holds it: most readers get each entry at nearly the
 * same time, and it is decoded, and kept in memory, once.
 */
export class ReadItems {
  private readonly known = new Map<string, WeakRef<readonly ReadItem[]>>();

  /** @throws Error when the entry has an unknown format. */
  of(stream: PartitionedStream, partition: number, { seq, data, info }: JsMsg): readonly ReadItem[] {
    // With the time: a stream that is made anew counts from 1 again.
    const key = `${stream} ${partition} ${seq} ${info.timestampNanos}`;
    const known = this.known.get(key)?.deref();
    if (known) return known;
    const items = decodeEntry(data).map(({ header, body }) => new ReadItem(header, body, stream, partition, seq));
    this.known.set(key, new WeakRef(items));
    if (this.known.size > MAX_KNOWN) this.known.delete(this.known.keys().next().value!);
    return items;
  }
}
