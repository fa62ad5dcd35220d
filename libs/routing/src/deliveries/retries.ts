/** Milliseconds before each retry, in their order (manual 14.3.2.2). */
export const RETRY_DELAYS_MS: readonly number[] = [
  ...Array.from({ length: 3 }, () => 5_000),
  ...Array.from({ length: 3 }, () => 300_000),
  ...Array.from({ length: 12 }, () => 7_200_000),
];

/** @param attempt attempts that had failed before the one that has failed now. */
export const retryAfter = (attempt: number): { ms: number; attempt: number } | undefined => {
  const ms = RETRY_DELAYS_MS[attempt];
  return ms === undefined ? undefined : { ms, attempt: attempt + 1 };
};
