/** Reasons for not reading from a socket; it is read again when none is left. */
export const Hold = {
  Connecting: 1,
  Bus: 2,
  Unanswered: 4,
  Reload: 8,
  Subscribing: 16,
  Output: 32,
  Draining: 64,
} as const;
export type Hold = (typeof Hold)[keyof typeof Hold];
