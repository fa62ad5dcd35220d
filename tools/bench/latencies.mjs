/** Collects latencies in milliseconds and tells their percentiles. */
export class Latencies {
  /** @type {number[]} */
  values = [];

  /** @param {number} ms */
  add(ms) {
    this.values.push(ms);
  }

  get percentiles() {
    const sorted = Float64Array.from(this.values).sort();
    /** @param {number} p */
    const at = (p) =>
      sorted.length === 0
        ? Number.NaN
        : /** @type {number} */ (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))]);
    return { p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999) };
  }
}
