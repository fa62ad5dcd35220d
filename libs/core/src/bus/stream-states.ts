import type { JetStreamManager } from '@nats-io/jetstream';
import { deadline } from '@nats-io/transport-node';
import { metrics, onScrape } from '../telemetry/index.js';
import { PARTITIONED_STREAMS } from './streams.js';

/** What a stream holds. */
export interface StreamState {
  firstSeq: number;
  lastSeq: number;
  /** When the first and the last entry came, epoch milliseconds. */
  firstAt: number;
  lastAt: number;
}

/** A scrape does not wait for longer. */
const ANSWER_MS = 1000;

const PARTITIONED = new RegExp(`^(${PARTITIONED_STREAMS.join('|')})_(\\d+)$`);

/** How far the partitioned streams are: asked in one request for all of them and all readers of a process. */
export class StreamStates {
  /** The last known ones, by name. */
  readonly known = new Map<string, StreamState>();
  private asking?: Promise<void> | undefined;
  private fills: Array<[stream: string, partition: string, fill: number, state: StreamState]> = [];
  private users = 0;
  private ends?: () => void;

  constructor(private readonly jsm: JetStreamManager) {}

  /** Shows the streams at each scrape as long as somebody reads them. @returns ends it. */
  watch(): () => void {
    if (this.users++ === 0) this.ends = onScrape(() => this.measure());
    return () => {
      if (--this.users === 0) this.ends?.();
    };
  }

  /** Asks anew. Rejects when there is no answer; then what is known stays. */
  refresh(): Promise<void> {
    return (this.asking ??= deadline(this.ask(), ANSWER_MS).finally(() => (this.asking = undefined)));
  }

  private async ask(): Promise<void> {
    const fills: typeof this.fills = [];
    for await (const { config, state } of this.jsm.streams.list()) {
      const [, stream, partition] = PARTITIONED.exec(config.name) ?? [];
      if (stream === undefined || partition === undefined) continue;
      const { first_seq: firstSeq, last_seq: lastSeq, first_ts, last_ts, messages, bytes } = state;
      // An empty stream has no first entry, and says that it came in the year 1.
      const known = {
        firstSeq: messages > 0 ? firstSeq : lastSeq + 1,
        lastSeq,
        firstAt: Date.parse(first_ts),
        lastAt: Date.parse(last_ts),
      };
      this.known.set(config.name, known);
      fills.push([stream, partition, config.max_bytes > 0 ? bytes / config.max_bytes : 0, known]);
    }
    this.fills = fills;
  }

  private async measure(): Promise<() => void> {
    await this.refresh().catch(() => undefined);
    return () => {
      const now = Date.now();
      for (const [stream, partition, fill, { firstSeq, lastSeq, firstAt }] of this.fills) {
        metrics.streamFill.set({ stream, partition }, fill);
        const age = firstSeq > lastSeq ? 0 : Math.max(0, now - firstAt);
        metrics.streamOldest.set({ stream, partition }, age / 1000);
      }
    };
  }
}
