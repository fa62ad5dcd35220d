export { type ApiAnswer, type ApiClient, apiClient } from './api-client.js';
export { type Backend, eventually, installPlatform, startBackend, type TestPlatform } from './backend.js';
export { type KeyRing, keyRing } from './key-ring.js';
export { type Sample, sampled, samplesOf } from './samples.js';
export { type CollectedSpan, startTraceCollector, type TraceCollector } from './trace-collector.js';
export { withinWindow } from './within-window.js';
