import type { Audit } from '@orrery/core/audit';
import { type Bus, serveRpc } from '@orrery/core/bus';
import { BatchRunner, type Database } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import type { Running } from '@orrery/core/service';
import { fifoPublish } from '../contract.js';
import { type Arrival, countEnqueued, enqueue } from './queue.js';
import type { Wakes } from './wakes.js';

/** Room beside a message in a delivery. */
const ENVELOPE_BYTES = 4096;

/** Takes messages that applications publish to a FIFO themselves (manual 16.2.1.2, MQA-011). */
export class FifoPublishing implements Running {
  private readonly writer: BatchRunner<Arrival, boolean>;
  private served?: { drain(): Promise<void> };

  constructor(
    private readonly bus: Bus,
    database: Database,
    audit: Audit,
    wakes: Wakes,
  ) {
    this.writer = new BatchRunner(async (arrivals) => {
      const done = await database.transaction((manager) => enqueue(manager, arrivals));
      countEnqueued(done);
      for (const entry of done.dropped) audit.write(entry);
      wakes.send(done.wakes);
      return done.found;
    }, 500);
  }

  async start(): Promise<void> {
    this.served = serveRpc(this.bus, fifoPublish, async ({ tenantId, fifoName, body }) => {
      // Delivered as a JSON string when it holds line breaks, with a header.
      const most = this.bus.maxPayload - ENVELOPE_BYTES;
      if (body.length * 6 > most && Buffer.byteLength(JSON.stringify(body)) > most)
        throw invalidParameter('body', `at most ${most} bytes as a JSON string`);
      if (body.includes('\0')) throw invalidParameter('body', 'text without the NUL character');
      if (!(await this.writer.add({ tenantId, fifoName, body })))
        throw new ApiError('NOT_FOUND', `no FIFO "${fifoName}"`);
      return {};
    });
  }

  async stop(): Promise<void> {
    await this.served?.drain();
    await this.writer.idle();
  }
}
