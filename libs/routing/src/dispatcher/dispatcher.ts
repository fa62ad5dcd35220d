import { type Bus, LeaseManager } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import type { Running } from '@orrery/core/service';
import { FIFO_CONTROL, FIFO_HEARTBEAT_MS, type FifoChange } from '../contract.js';
import type { FifoWake } from '../fifos/queue.js';
import { ConsumerCounts } from './consumer-counts.js';
import { type DispatcherParts, OwnedPartition } from './owned-partition.js';
import { QueueStore } from './queue-store.js';
import { ReadAheadBudget } from './read-ahead.js';

/** Heartbeats between two looks for what a lost wake or control event would have told. */
const LOOK_EVERY = 5;

/**
 * Hands the messages of FIFOs to the connectors (contract.ts). Partitions of FIFOs are leased: each has one dispatcher.
 * A FIFO without subscribers costs nothing here.
 */
export class Dispatcher implements Running {
  private readonly owned = new Map<number, OwnedPartition>();
  private readonly parts: DispatcherParts;
  private readonly leases: LeaseManager;
  private timer?: NodeJS.Timeout;
  private beats = 0;
  private stopping = false;
  private stops: Array<() => void> = [];

  constructor(
    private readonly bus: Bus,
    private readonly database: Database,
  ) {
    const counts = new ConsumerCounts(database, (partition, fifoId) => this.owned.get(partition)?.count(fifoId));
    this.parts = { bus, database, queue: new QueueStore(bus, database), counts, budget: new ReadAheadBudget() };
    this.leases = new LeaseManager(bus, 'fifo-dispatcher', bus.partitions, {
      acquired: (partition) => {
        if (this.stopping) return;
        const taken = new OwnedPartition(partition, this.parts, () => this.leases.epoch(partition) !== undefined);
        this.owned.set(partition, taken);
        void taken.open();
      },
      lost: (partition) => {
        this.owned.get(partition)?.close();
        this.owned.delete(partition);
      },
    });
  }

  async start(): Promise<void> {
    const changes = this.bus.onControl(FIFO_CONTROL, ({ header }) => {
      const { fifoId } = JSON.parse(header) as FifoChange;
      for (const partition of this.owned.values()) partition.forget(fifoId);
    });
    // Wakes that were sent while the connection was down are lost.
    const forget = this.bus.onReconnect(() => this.owned.forEach((partition) => partition.wake()));
    this.stops = [() => changes.unsubscribe(), forget];
    this.timer = setInterval(() => this.beat(), FIFO_HEARTBEAT_MS);
    await this.leases.start();
  }

  async stop(): Promise<void> {
    this.stopping = true;
    clearInterval(this.timer);
    for (const stop of this.stops) stop();
    const closed = [...this.owned.values()];
    for (const partition of closed) partition.close();
    this.owned.clear();
    await Promise.all(closed.map((partition) => partition.delivered()));
    await this.parts.counts.idle();
    await this.parts.queue.stop();
    await this.leases.stop();
  }

  /** Tells that queues have changed. @returns false when another instance dispatches the partition. */
  wake(partition: number, wakes: readonly FifoWake[]): boolean {
    const owned = this.owned.get(partition);
    owned?.changed(wakes);
    return owned !== undefined && this.leases.epoch(partition) !== undefined;
  }

  private beat(): void {
    for (const partition of this.owned.values()) partition.dropSilent();
    if (++this.beats % LOOK_EVERY === 0)
      this.look().catch((error: unknown) =>
        this.bus.logger.warn({ error: String(error) }, 'could not look for messages of FIFOs; trying again'),
      );
  }

  // One query for all FIFOs with subscribers.
  private async look(): Promise<void> {
    const handed = new Map([...this.owned.values()].flatMap((partition) => [...partition.handed()]));
    if (handed.size === 0) return;
    const rows = await this.database.query<{ id: number; partition: number; next_seq: string }>(
      'SELECT id, partition, next_seq FROM fifos WHERE id = ANY($1::int[])',
      [[...handed.keys()]],
    );
    const existing = new Map(rows.map((row) => [row.id, row]));
    for (const [id, last] of handed) {
      const row = existing.get(id);
      if (!row) for (const partition of this.owned.values()) partition.forget(id);
      else if (Number(row.next_seq) - 1 > last) this.owned.get(row.partition)?.wake([id]);
    }
  }
}
