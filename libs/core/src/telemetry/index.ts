export { createLogger, type Logger } from './logger.js';
export { counter, gauge, histogram, metrics, registry, scrapedGauge } from './metrics.js';
export { type Measure, onScrape, scrape } from './scrape.js';
export * from './trace-context.js';
export * from './tracing.js';
