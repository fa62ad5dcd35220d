export { Ingestion } from './ingestion.js';
export { forward, forwardAll, writeStageFilters } from './stages.js';
