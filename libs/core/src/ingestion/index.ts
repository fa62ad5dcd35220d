export { Ingestion } from './ingestion.js';
export { forward, writeStageFilters } from './stages.js';
