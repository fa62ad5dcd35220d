import { setTimeout as delay } from 'node:timers/promises';

/** Not done again after so long, that a failure is told before Jest ends the test. */
const AGAIN_MS = 200_000;

/**
 * Does something within one window of the clock, such as a minute. When the window ended before it did, it is done
 * again: what is counted in the scenario must be of a tenant or key of its own.
 * @param neededMs begins when so much of a window is left.
 */
export async function withinWindow<Result>(
  lengthMs: number,
  scenario: () => Promise<Result>,
  neededMs = 0,
): Promise<Result> {
  for (const until = Date.now() + AGAIN_MS; ;) {
    const left = lengthMs - (Date.now() % lengthMs);
    if (left < neededMs) await delay(left + 5);
    const window = Math.floor(Date.now() / lengthMs);
    try {
      return await scenario();
    } catch (error) {
      if (Math.floor(Date.now() / lengthMs) === window || Date.now() > until) throw error;
    }
  }
}
