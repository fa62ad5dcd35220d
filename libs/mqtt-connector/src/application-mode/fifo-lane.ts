import { setTimeout as delay } from 'node:timers/promises';
import { type Bus, callRpc } from '@orrery/core/bus';
import { fifoAck, fifoHeartbeat, fifoUnsubscribe } from '@orrery/routing/contract';

const REPEAT_MS = 250;

/** A subscription as far as its dispatcher must be told about it. */
interface Acknowledged {
  subscription: string;
  fifoId: number;
  seqs: number[];
}

/**
 * What one partition's dispatcher is told: acknowledgements and ended subscriptions. One request is under way, the next
 * one carries all that was collected meanwhile; it is repeated until it is answered. Acknowledgements go before the end
 * of their subscription, or the messages would be delivered again.
 */
export class FifoLane {
  private acks = new Map<string, Acknowledged>();
  private ended: Array<{ subscription: string; told: () => void }> = [];
  private running = false;
  private beating = false;
  private stopped = false;

  constructor(
    private readonly bus: Bus,
    private readonly partition: number,
    /** The dispatcher knows that these are acknowledged. */
    private readonly settled: (subscription: string, seqs: number[]) => void,
  ) {}

  acknowledge(subscription: string, fifoId: number, seq: number): void {
    const acknowledged = this.acks.get(subscription);
    if (acknowledged) acknowledged.seqs.push(seq);
    else this.acks.set(subscription, { subscription, fifoId, seqs: [seq] });
    this.run();
  }

  /** Resolves when the dispatcher knows it. */
  end(subscription: string): Promise<void> {
    return new Promise((told) => {
      this.ended.push({ subscription, told });
      this.run();
    });
  }

  /** Tells the dispatcher that these subscriptions live. @returns those that it does not know. */
  async beat(subscriptions: string[]): Promise<string[]> {
    if (this.beating) return [];
    this.beating = true;
    try {
      const { unknown } = await callRpc(
        this.bus,
        fifoHeartbeat,
        { instance: this.bus.instance, subscriptions },
        { to: String(this.partition), timeoutMs: 1000 },
      );
      return unknown;
    } catch {
      // Nobody holds the partition at the moment: whoever takes it says so.
      return [];
    } finally {
      this.beating = false;
    }
  }

  /** Waits, at most so long, until the dispatcher knows everything. */
  async stop(timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (this.running && Date.now() < deadline) await delay(10);
    this.stopped = true;
  }

  // The work of one turn of the event loop shares a request.
  private run(): void {
    if (this.running) return;
    this.running = true;
    setImmediate(() => void this.work());
  }

  private async work(): Promise<void> {
    const to = { to: String(this.partition) };
    while ((this.acks.size > 0 || this.ended.length > 0) && !this.stopped) {
      const acks = [...this.acks.values()];
      const ended = this.ended;
      this.acks = new Map();
      this.ended = [];
      if (acks.length > 0) {
        await this.repeat(() => callRpc(this.bus, fifoAck, { acks }, to));
        for (const { subscription, seqs } of acks) this.settled(subscription, seqs);
      }
      if (ended.length > 0) {
        const subscriptions = ended.map(({ subscription }) => subscription);
        await this.repeat(() => callRpc(this.bus, fifoUnsubscribe, { subscriptions }, to));
        for (const { told } of ended) told();
      }
    }
    this.running = false;
  }

  private async repeat(request: () => Promise<unknown>): Promise<void> {
    while (!this.stopped)
      try {
        await request();
        return;
      } catch (error) {
        this.bus.logger.debug(
          { partition: this.partition, error: String(error) },
          'the FIFO dispatcher did not answer',
        );
        await delay(REPEAT_MS);
      }
  }
}
