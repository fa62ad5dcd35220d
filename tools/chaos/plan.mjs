import { seeded } from '../fuzz/random.mjs';

/** Seconds from one fault to the next. */
const SLOT = { least: 12, most: 25 };

/**
 * Which fault happens when: the same for each seed, names and length. Where there is time for it, each happens once before one happens again; each
 * has a slot of the time, in which its beginning is drawn. One that lasts longer delays the next ones.
 *
 * @param {number} seed
 * @param {readonly string[]} names
 * @param {number} seconds
 * @returns {Array<{ name: string, at: number, seed: number }>} `at` is in seconds; `seed` is for what the fault draws
 */
export function planOf(seed, names, seconds) {
  const random = seeded(seed);
  const slot = Math.min(SLOT.most, Math.max(SLOT.least, seconds / names.length));
  const count = Math.max(1, Math.floor(seconds / slot));
  /** @type {string[]} */
  let left = [];
  return Array.from({ length: count }, (_, i) => {
    if (left.length === 0) left = [...names];
    const [name] = left.splice(random.integer(left.length), 1);
    const at = Math.round((i + random.integer(500) / 1000) * slot * 10) / 10;
    return { name: /** @type {string} */ (name), at, seed: random.integer(2 ** 31) };
  });
}
