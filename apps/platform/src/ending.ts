import type { Socket } from 'node:net';

/** Milliseconds. */
export const ENDING_MS = 30_000;

/**
 * A side that has ended still gets what the other one sends; but one that then is silent for so long would hold two
 * connections until it pleases to go.
 */
export function endInTime(one: Socket, other: Socket, ms = ENDING_MS): void {
  for (const [ended, left] of [
    [one, other],
    [other, one],
  ] as const) {
    ended.once('end', () => left.setTimeout(ms));
    left.once('timeout', () => {
      ended.destroy();
      left.destroy();
    });
  }
}
