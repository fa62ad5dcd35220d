export { EmbeddedEngine, type EmbeddedOptions } from './embedded-engine.js';
export { embeddedMigrations } from './migrations.js';
