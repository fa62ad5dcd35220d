/**
 * Numbers that look random and are the same for each seed (mulberry32).
 *
 * @param {number} seed
 */
export function seeded(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  /** @param {number} below */
  const integer = (below) => Math.floor(next() * below);
  return {
    integer,
    /** @param {number} probability */
    chance: (probability) => next() < probability,
    /** @template Item @param {readonly Item[]} items @returns {Item} */
    pick: (items) => /** @type {Item} */ (items[integer(items.length)]),
  };
}

/** @typedef {ReturnType<typeof seeded>} Random */
