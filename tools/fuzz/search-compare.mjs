/** @typedef {Record<string, unknown>} Json */

/** @param {unknown} value @returns {value is object} */
const isObject = (value) => typeof value === 'object' && value !== null;

/**
 * Where two answers differ, in words; undefined when they are alike. Numbers may differ by a millionth of themselves and
 * by `slack`, which is what sums of huge numbers leave.
 *
 * @param {unknown} one
 * @param {unknown} other
 * @param {number} slack
 * @param {string} [path]
 * @returns {string | undefined}
 */
export function difference(one, other, slack, path = '') {
  // Percentiles, which are estimates.
  if (typeof one === typeof other && !isObject(one) && /\.values\./.test(path)) return undefined;
  // Of exactly as many hits as are counted, Elasticsearch does not always know that there are no more.
  if (path === 'hits.total.relation') return undefined;
  if (typeof one === 'number' && typeof other === 'number') {
    const squared = /\.(sum_of_squares|variance|std_deviation|upper|lower)\w*$/.test(path);
    const allowed =
      1e-6 * Math.max(1e-3, Math.abs(one), Math.abs(other)) + (squared ? 1e9 * slack * slack + slack : slack);
    if (one === other || Math.abs(one - other) <= allowed) return undefined;
  }
  if (!isObject(one) || !isObject(other) || Array.isArray(one) !== Array.isArray(other))
    return one === other ? undefined : `${path}: ${shown(one)} and ${shown(other)}`;
  const [a, b] = /** @type {[Json, Json]} */ ([one, other]);
  if (Array.isArray(one) && Array.isArray(other) && one.length !== other.length)
    return `${path}: ${one.length} and ${other.length} elements, ${shown(one)} and ${shown(other)}`;
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const found = difference(a[key], b[key], slack, `${path}.${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** @param {unknown} value */
const shown = (value) => (JSON.stringify(value) ?? 'nothing').slice(0, 300);
