import { setTimeout as delay } from 'node:timers/promises';

interface Waiting<Item, Result> {
  item: Item;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

/** Runs one batch at a time: what arrives meanwhile is the next one, so that many callers share a transaction. */
export class BatchRunner<Item, Result = void> {
  private waiting: Array<Waiting<Item, Result>> = [];
  private running?: Promise<void>;
  private began = Number.NEGATIVE_INFINITY;

  /**
   * @param work answers one result per item, in their order; a batch that it rejects is rejected for all of its callers.
   * @param everyMs least time from one batch to the next, unless that is full: fewer transactions under load.
   */
  constructor(
    private readonly work: (items: Item[]) => Promise<Result[]>,
    private readonly maxItems: number,
    private readonly everyMs = 0,
  ) {}

  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ item, resolve, reject });
      this.running ??= this.run();
    });
  }

  /** Resolves when nothing is left to do. */
  async idle(): Promise<void> {
    await this.running;
  }

  private async run(): Promise<void> {
    // Callers of the same turn of the event loop share the first batch already.
    await Promise.resolve();
    while (this.waiting.length > 0) {
      const early = this.began + this.everyMs - performance.now();
      if (early > 0 && this.waiting.length < this.maxItems) await delay(early);
      this.began = performance.now();
      const batch = this.waiting.splice(0, this.maxItems);
      try {
        const results = await this.work(batch.map(({ item }) => item));
        batch.forEach(({ resolve }, i) => resolve(results[i]!));
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    delete this.running;
  }
}
