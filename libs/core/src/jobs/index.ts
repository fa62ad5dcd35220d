export { Jobs, type RepeatedJob } from './jobs.js';
export { WokenWork, type WokenWorkOptions } from './woken-work.js';
