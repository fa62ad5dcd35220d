export { createLogger, type Logger } from './logger.js';
export { metrics, registry } from './metrics.js';
