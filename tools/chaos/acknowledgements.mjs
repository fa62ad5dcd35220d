/** A connection that hears nothing for less than this is not said to have paused, in milliseconds. */
const PAUSE_MS = 100;

/**
 * When acknowledgements came, of all clients together and of each: how long which of them waited.
 */
export class Acknowledgements {
  /** @type {Array<{ from: number, to: number, client: number | undefined }>} */
  #pauses = [];
  /** @type {Map<number | undefined, number>} */
  #last = new Map();

  /** @param {number} clients */
  constructor(clients) {
    for (let client = 0; client < clients; client++) this.#last.set(client, Date.now());
    this.#last.set(undefined, Date.now());
  }

  /** @param {number} client */
  add(client) {
    const now = Date.now();
    for (const who of [client, undefined]) {
      const last = this.#last.get(who) ?? now;
      if (now - last >= PAUSE_MS) this.#pauses.push({ from: last, to: now, client: who });
      this.#last.set(who, now);
    }
  }

  /** True when every client has heard something since. @param {number} time epoch milliseconds */
  allSince(time) {
    return [...this.#last.values()].every((last) => last > time);
  }

  /**
   * Milliseconds of the longest pause since then: in which nobody heard anything, and in which one client did not.
   *
   * @param {number} time epoch milliseconds
   * @returns {{ all: number, one: number }}
   */
  longestSince(time) {
    const now = Date.now();
    const longest = { all: 0, one: 0 };
    const open = [...this.#last].map(([client, from]) => ({ from, to: now, client }));
    for (const { from, to, client } of [...this.#pauses.filter((pause) => pause.to > time), ...open]) {
      const whose = client === undefined ? 'all' : 'one';
      longest[whose] = Math.max(longest[whose], to - from);
    }
    return longest;
  }
}
