import { metrics, onScrape } from '../telemetry/index.js';
import type { Bus } from './bus.js';
import { streamName, type PartitionedStream } from './streams.js';

/** How far a reader is in one partition. */
export interface ReaderProgress {
  stream: PartitionedStream;
  partition: number;
  /** Sequence of the last entry whose effect is committed. */
  committed: number;
  /** When the first of the others came, if it has been taken: epoch milliseconds. */
  oldestAt: number | undefined;
}

/** Shows at each scrape how far a reader is behind in the partitions that it owns. @returns ends it. */
export function measureLag(bus: Bus, reader: string, progress: () => ReaderProgress[]): () => void {
  const unwatch = bus.streams.watch();
  const end = onScrape(async () => {
    // Without an answer of the bus, what was known before is the best there is.
    await bus.streams.refresh().catch(() => undefined);
    return () => {
      const now = Date.now();
      for (const { stream, partition, committed: last, oldestAt } of progress()) {
        const state = bus.streams.known.get(streamName(stream, partition));
        if (!state) continue;
        // A reader that is new does not wait for what was freed before it came.
        const committed = Math.max(last, state.firstSeq - 1);
        const labels = { reader, stream, partition };
        const lag = Math.max(0, state.lastSeq - committed);
        metrics.lagEntries.set(labels, lag);
        // What has not been taken is the first entry of the stream, if no other reader is slower.
        const since = oldestAt ?? (state.firstSeq === committed + 1 ? state.firstAt : state.lastAt);
        metrics.lagSeconds.set(labels, lag === 0 ? 0 : Math.max(0, now - since) / 1000);
      }
    };
  });
  return () => {
    end();
    unwatch();
  };
}
