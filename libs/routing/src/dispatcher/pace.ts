/** Acknowledgements come in bursts: in a shorter time they tell no pace. */
const PACE_MS = 10;

/** How fast a FIFO is consumed. */
export class Pace {
  private acknowledged = 0;
  private from = 0;
  /** Acknowledgements a millisecond. */
  private pace = 0;

  measure(acknowledged: number): void {
    this.acknowledged += acknowledged;
    const now = performance.now();
    const elapsed = now - this.from;
    if (elapsed < PACE_MS) return;
    this.pace = this.acknowledged / elapsed;
    this.acknowledged = 0;
    this.from = now;
  }

  /** What is acknowledged in so many milliseconds. */
  within(ms: number): number {
    return Math.round(this.pace * ms);
  }

  /** Nothing has been acknowledged. */
  stop(): void {
    this.pace = 0;
    this.acknowledged = 0;
    this.from = performance.now();
  }
}
