/** Where a thread shows how far it is: the index of the job that runs, and a number that changes while it goes on. */
export const JOB = 0;
export const BEATS = 1;
