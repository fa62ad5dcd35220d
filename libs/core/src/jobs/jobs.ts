import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import type { Logger } from '../telemetry/index.js';

/** Work that is done again and again, by one instance at a time. */
export interface RepeatedJob {
  /** Unique in the platform, such as `store.retention`. */
  name: string;
  everyMs: number;
  run(): Promise<void>;
}

/**
 * Repeated work on BullMQ. Redis holds the schedule alone and nothing that could not be rebuilt: each start declares
 * its jobs again, and a job that fails is logged and runs at its next time.
 */
export class Jobs {
  private readonly connection: Redis;
  private readonly queues: Queue[] = [];
  private readonly workers: Worker[] = [];

  constructor(
    redisUrl: string,
    private readonly logger: Logger,
  ) {
    this.connection = new Redis(redisUrl, { maxRetriesPerRequest: null });
    this.connection.on('error', (error) => this.logger.warn({ error: error.message }, 'Redis is not reachable'));
  }

  async repeat(job: RepeatedJob): Promise<void> {
    const name = job.name.replaceAll(':', '-');
    const queue = new Queue(name, { connection: this.connection, prefix: 'orrery' });
    this.queues.push(queue);
    const worker = new Worker(
      name,
      async () => {
        try {
          await job.run();
        } catch (error) {
          this.logger.error({ job: job.name, error }, 'a job failed; it runs again at its next time');
        }
      },
      { connection: this.connection, prefix: 'orrery', drainDelay: 30 },
    );
    worker.on('error', (error) =>
      this.logger.warn({ job: job.name, error: error.message }, 'a job queue reported an error'),
    );
    this.workers.push(worker);
    await queue.upsertJobScheduler(
      name,
      { every: job.everyMs },
      { opts: { removeOnComplete: true, removeOnFail: true } },
    );
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
