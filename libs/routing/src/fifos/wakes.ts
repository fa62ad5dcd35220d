import type { Bus } from '@orrery/core/bus';
import type { FifoWake } from './queue.js';

export const wakeSubject = (partition: number): string => `fifo.wake.${partition}`;

/** Says which FIFOs of a partition have changed, and up to which number messages were dropped. */
export interface WakeMessage {
  fifos: number[];
  droppedTo?: Record<number, number>;
}

/** Wakes the dispatchers of FIFOs whose queues have changed, by a call when the dispatcher is in this process. */
export class Wakes {
  /** @param local tells the dispatcher of this process; false when another one owns the partition. */
  constructor(
    private readonly bus: Bus,
    private readonly local: (partition: number, wakes: readonly FifoWake[]) => boolean,
  ) {}

  /** After the commit of the change. */
  send(wakes: ReadonlyMap<number, readonly FifoWake[]>): void {
    for (const [partition, fifos] of wakes) {
      if (this.local(partition, fifos) || this.bus.connection.isClosed()) continue;
      const dropped = fifos.flatMap(({ id, droppedTo }) => (droppedTo ? [[id, droppedTo] as const] : []));
      const message: WakeMessage = {
        fifos: fifos.map(({ id }) => id),
        ...(dropped.length > 0 ? { droppedTo: Object.fromEntries(dropped) } : {}),
      };
      this.bus.connection.publish(wakeSubject(partition), JSON.stringify(message));
    }
  }
}
