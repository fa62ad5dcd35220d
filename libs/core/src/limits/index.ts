export * from './limits.js';
export * from './offer-settings.js';
export { RateLimits, type Window } from './rate-limits.js';
