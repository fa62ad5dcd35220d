export { HeldCounts, type Place } from './held-counts.js';
export { LimitStore } from './limit-store.js';
export * from './limits.js';
export * from './offer-settings.js';
export { type Passage, type Rate, RateLimits } from './rate-limits.js';
export { SharedCounters } from './shared-counters.js';
export type { Window } from './windows.js';
