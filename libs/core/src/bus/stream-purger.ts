import type { Bus } from './bus.js';
import { LeaseManager } from './leases.js';
import { purgeRead } from './positions.js';

/**
 * Frees the streams of what every registered reader has read: one instance at a time, by nothing but the bus, so that
 * streams do not fill up because something else is away.
 */
export class StreamPurger {
  private readonly leases: LeaseManager;
  private readonly purged = new Map<string, number>();
  private timer?: NodeJS.Timeout;
  private running = Promise.resolve();

  constructor(private readonly bus: Bus) {
    this.leases = new LeaseManager(bus, 'stream-purger', 1, {
      acquired: () => this.schedule(),
      lost: () => clearTimeout(this.timer),
    });
  }

  async start(): Promise<void> {
    await this.leases.start();
  }

  async stop(): Promise<void> {
    clearTimeout(this.timer);
    await this.running;
    await this.leases.stop();
  }

  private schedule(): void {
    this.timer = setTimeout(() => {
      this.running = purgeRead(this.bus, this.purged)
        .then(() => undefined)
        .catch((error: unknown) =>
          this.bus.logger.warn({ error: String(error) }, 'could not free the streams of what is read'),
        )
        .finally(() => this.leases.epoch(0) !== undefined && this.schedule());
    }, this.bus.options.leaseTtlMs / 2);
  }
}
