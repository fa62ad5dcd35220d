import { setTimeout as sleep } from 'node:timers/promises';
import { registry, scrapedGauges } from './metrics.js';

/** Measures something that only its state tells. @returns what writes the values, without waiting for anything. */
export type Measure = () => Promise<() => void> | (() => void);

/** Whoever asks others must have its answer by then: a part that is down must not hide the metrics of the rest. */
const MEASURE_MS = 2000;
/** Several Prometheus servers, and whoever asks again and again, share one measurement. */
const FRESH_MS = 1000;

const measures = new Set<Measure>();
let underWay: Promise<void> | undefined;
let measuredAt = 0;

/** Measures at each scrape. @returns ends it. */
export function onScrape(measure: Measure): () => void {
  measures.add(measure);
  return () => measures.delete(measure);
}

async function measureAll(): Promise<void> {
  const late = new AbortController();
  const writes = await Promise.all(
    [...measures].map((measure) =>
      Promise.race([
        (async () => measure())(),
        sleep(MEASURE_MS, undefined, { signal: late.signal, ref: false }),
      ]).catch(() => undefined),
    ),
  );
  late.abort();
  // What is no longer measured here, such as a partition that another instance owns now, leaves no value behind.
  for (const gauge of scrapedGauges) gauge.reset();
  for (const write of writes) write?.();
  measuredAt = performance.now();
}

/** The metrics of this process, in Prometheus' text format. */
export async function scrape(): Promise<string> {
  if (measuredAt === 0 || performance.now() - measuredAt > FRESH_MS)
    await (underWay ??= measureAll().finally(() => (underWay = undefined)));
  return registry.metrics();
}

/** Measures at each scrape as long as a service runs. */
export function measuring(measure: Measure): { start(): Promise<void>; stop(): Promise<void> } {
  let end: (() => void) | undefined;
  return {
    start: async () => void (end = onScrape(measure)),
    stop: async () => end?.(),
  };
}
