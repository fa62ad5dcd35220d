import { ApiError } from '@orrery/core/http';

/** Lets a few things be done at once and a bounded number wait for their turn, in order. */
export class Slots {
  private running = 0;
  private readonly waiting: Array<() => void> = [];

  constructor(
    private readonly atOnce: number,
    private readonly mostWaiting: number,
  ) {}

  get idle(): boolean {
    return this.running === 0;
  }

  /** @throws ApiError SERVICE_UNAVAILABLE when too many wait. */
  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.running < this.atOnce) this.running++;
    else if (this.waiting.length >= this.mostWaiting) throw new ApiError('SERVICE_UNAVAILABLE');
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
    try {
      return await work();
    } finally {
      // The slot is handed over, so that nobody overtakes those who wait.
      const next = this.waiting.shift();
      if (next) next();
      else this.running--;
    }
  }
}
