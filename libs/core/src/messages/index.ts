export * from './build.js';
export * from './data-message.js';
export * from './entry.js';
export * from './events.js';
export * from './filter.js';
export * from './message-id.js';
export * from './partition.js';
export * from './validation.js';
