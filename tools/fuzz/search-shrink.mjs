/** Attempts to make a body smaller. */
const MOST = 120;
/** And how long they may take, milliseconds. */
const LONGEST_MS = 8000;

/**
 * A smaller body with which the same still happens: members and elements are left out, or replaced by what is in them.
 *
 * @param {unknown} body
 * @param {(body: unknown) => Promise<boolean>} happens
 */
export async function shrunk(body, happens) {
  let least = body;
  let left = MOST;
  const until = Date.now() + LONGEST_MS;
  for (let smaller = true; smaller;) {
    smaller = false;
    for (let place = 0; left > 0; place++) {
      const candidates = without(least, place);
      if (candidates === undefined) break;
      for (const candidate of candidates) {
        if (left-- <= 0 || Date.now() > until) return least;
        if (!(await happens(candidate))) continue;
        least = candidate;
        smaller = true;
        // What has moved to this place is next.
        place--;
        break;
      }
    }
  }
  return least;
}

/**
 * Bodies without the member at a place, counted from the outside; undefined when there is none at this place.
 *
 * @param {unknown} body
 * @param {number} wanted
 */
function without(body, wanted) {
  /** @type {unknown[]} */
  const open = [structuredClone(body)];
  const root = open[0];
  let place = 0;
  for (let i = 0; i < open.length; i++) {
    const holder = /** @type {Record<string, unknown>} */ (open[i]);
    for (const key of Object.keys(holder)) {
      const value = holder[key];
      if (place++ === wanted) {
        const inner =
          typeof value === 'object' && value !== null
            ? Object.values(value).filter((each) => typeof each === 'object' && each !== null)
            : [];
        const results = [];
        if (Array.isArray(holder)) holder.splice(Number(key), 1);
        else delete holder[key];
        results.push(structuredClone(root));
        if (Array.isArray(holder)) holder.splice(Number(key), 0, value);
        for (const each of inner) {
          holder[key] = each;
          results.push(structuredClone(root));
        }
        return results;
      }
      if (typeof value === 'object' && value !== null) open.push(value);
    }
  }
  return undefined;
}
