export { BatchRunner } from './batch-runner.js';
export { coreMigrations } from './core.migrations.js';
export { Database, driverClient, migrate, type DatabaseOptions, type Schema } from './database.js';
export { copyRows } from './copy.js';
export { outboxChannel, outboxIsFull, writeOutbox, type OutboxItem } from './outbox.js';
