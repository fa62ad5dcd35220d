export { createLogger, type Logger } from './logger.js';
export { COUNTS, counter, gauge, histogram, metrics, registry, scrapedGauge } from './metrics.js';
export { type Measure, measuring, onScrape, scrape } from './scrape.js';
export * from './trace-context.js';
export * from './tracing.js';
