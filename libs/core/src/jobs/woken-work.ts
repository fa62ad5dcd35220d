import { type Logger, metrics } from '../telemetry/index.js';

const RETRY_MS = 5000;

export interface WokenWorkOptions {
  /** For the log and metrics. */
  name: string;
  /** Milliseconds after which it is done although nobody has woken it. */
  everyMs: number;
  /**
   * Must bear being done by several processes at once. Ends early once `stopped` says so.
   * @returns milliseconds until it should be done again, when that is sooner than `everyMs`.
   */
  run(stopped: () => boolean): Promise<number | void>;
  logger: Logger;
}

/** Work that is done as soon as it is woken, from time to time, and again soon when it has failed; one run at a time. */
export class WokenWork {
  private timer?: NodeJS.Timeout;
  private running?: Promise<void>;
  private again = false;
  private stopped = false;

  private readonly done;

  constructor(private readonly options: WokenWorkOptions) {
    this.done = metrics.jobRuns.labels({ job: options.name, outcome: 'done' });
    metrics.jobRuns.inc({ job: options.name, outcome: 'failed' }, 0);
  }

  /** Also begins it: what came while nobody was there waits. */
  wake(): void {
    if (this.stopped) return;
    if (this.running) {
      this.again = true;
      return;
    }
    clearTimeout(this.timer);
    this.again = false;
    const { name, everyMs, logger } = this.options;
    this.running = this.options
      .run(() => this.stopped)
      .then(
        (next) => {
          this.done.inc();
          return this.again ? 0 : Math.min(next ?? everyMs, everyMs);
        },
        (error: unknown) => {
          metrics.jobRuns.inc({ job: name, outcome: 'failed' });
          logger.warn({ work: name, error: String(error) }, 'work failed; trying again');
          return Math.min(RETRY_MS, everyMs);
        },
      )
      .then((pauseMs) => {
        delete this.running;
        if (!this.stopped) this.timer = setTimeout(() => this.wake(), pauseMs);
      });
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.running;
  }
}
