import type { Bus } from '@orrery/core/bus';

/** Says which FIFOs of a partition have new messages: `{fifos: [id…]}`. */
export const wakeSubject = (partition: number): string => `fifo.wake.${partition}`;

/** Wakes the dispatchers of FIFOs with new messages, by a call when the dispatcher is in this process. */
export class Wakes {
  /** @param local tells the dispatcher of this process; false when another one owns the partition. */
  constructor(
    private readonly bus: Bus,
    private readonly local: (partition: number, fifoIds: readonly number[]) => boolean,
  ) {}

  send(wakes: ReadonlyMap<number, readonly number[]>): void {
    for (const [partition, fifos] of wakes)
      if (!this.local(partition, fifos) && !this.bus.connection.isClosed())
        this.bus.connection.publish(wakeSubject(partition), JSON.stringify({ fifos }));
  }
}
