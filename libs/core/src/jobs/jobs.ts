import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { RpcUnavailableError } from '../bus/index.js';
import { type Logger, metrics } from '../telemetry/index.js';

/** How often, with longer and longer pauses, a job is tried that needs a service which is not there, as when both start. */
const ATTEMPTS = 8;
const FIRST_PAUSE_MS = 1000;

/** Work that is done again and again, by one instance at a time. */
export interface RepeatedJob {
  /** Unique in the platform, such as `store.retention`. */
  name: string;
  everyMs: number;
  run(): Promise<void>;
}

/**
 * Repeated work on BullMQ. Redis holds the schedule alone and nothing that could not be rebuilt: each start declares
 * its jobs again, and a job that fails is logged and runs at its next time; after some tries within two minutes, when another
 * service could not be asked.
 */
export class Jobs {
  private readonly connection: Redis;
  private readonly queues: Queue[] = [];
  private readonly workers: Worker[] = [];
  private readonly schedules = new Set<() => Promise<unknown>>();
  private warnedAt = 0;

  constructor(
    redisUrl: string,
    private readonly logger: Logger,
  ) {
    this.connection = new Redis(redisUrl, { maxRetriesPerRequest: null });
    this.connection.on('error', (error) => this.warn(error));
    // A Redis that was started again may have lost the schedule.
    this.connection.on('ready', () =>
      this.schedules.forEach((declare) => declare().catch((error) => this.warn(error))),
    );
  }

  async repeat(job: RepeatedJob): Promise<void> {
    const name = job.name.replaceAll(':', '-');
    metrics.jobRuns.inc({ job: job.name, outcome: 'failed' }, 0);
    const queue = new Queue(name, { connection: this.connection, prefix: 'orrery' });
    this.queues.push(queue);
    const worker = new Worker(
      name,
      async ({ attemptsMade }) => {
        try {
          await job.run();
          metrics.jobRuns.inc({ job: job.name, outcome: 'done' });
        } catch (error) {
          if (error instanceof RpcUnavailableError && attemptsMade + 1 < ATTEMPTS) throw error;
          metrics.jobRuns.inc({ job: job.name, outcome: 'failed' });
          this.logger.error({ job: job.name, error }, 'a job failed; it runs again at its next time');
        }
      },
      { connection: this.connection, prefix: 'orrery', drainDelay: 30 },
    );
    queue.on('error', (error) => this.warn(error, job.name));
    worker.on('error', (error) => this.warn(error, job.name));
    this.workers.push(worker);
    const declare = (): Promise<unknown> =>
      queue.upsertJobScheduler(
        name,
        { every: job.everyMs },
        {
          opts: {
            removeOnComplete: true,
            removeOnFail: true,
            attempts: ATTEMPTS,
            backoff: { type: 'exponential', delay: FIRST_PAUSE_MS },
          },
        },
      );
    await declare();
    this.schedules.add(declare);
  }

  // Every connection of every job reports the same, several times a second.
  private warn(error: Error, job?: string): void {
    if (Date.now() - this.warnedAt < 10_000) return;
    this.warnedAt = Date.now();
    this.logger.warn({ job, error: error.message }, 'jobs wait: Redis does not answer');
  }

  async ping(): Promise<void> {
    await this.connection.ping();
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.workers.map((worker) => worker.close()));
    await Promise.allSettled(this.queues.map((queue) => queue.close()));
    this.connection.disconnect();
  }
}
