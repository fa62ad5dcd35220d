export * from './limits.js';
export { RateLimits, type Window } from './rate-limits.js';
