export { Jobs, type RepeatedJob } from './jobs.js';
