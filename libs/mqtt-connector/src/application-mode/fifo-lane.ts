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

/** A subscription that has ended. */
interface Ended {
  subscription: string;
  told: () => void;
}

/**
 * Requests with acknowledgements under way. The dispatcher frees its window when one arrives and answers when it has
 * written it: waiting for each answer would let a window through per write.
 */
const MAX_UNDER_WAY = 256;

/**
 * What one partition's dispatcher is told: acknowledgements and ended subscriptions. A request carries all that was
 * collected since the last one; it is repeated until it is answered. Acknowledgements go before the end of their
 * subscription, or the messages would be delivered again.
 */
export class FifoLane {
  private acks = new Map<string, Acknowledged>();
  private ended: Ended[] = [];
  /** Those whose acknowledgements have been sent: later ones of others wait until they are told. */
  private leaving: Ended[] = [];
  private scheduled = false;
  private underWay = 0;
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
    while ((this.scheduled || this.underWay > 0 || this.ended.length > 0) && Date.now() < deadline) await delay(10);
    this.stopped = true;
  }

  // The work of one turn of the event loop shares a request.
  private run(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.work();
    });
  }

  private work(): void {
    const to = { to: String(this.partition) };
    if (this.leaving.length === 0) {
      if (this.acks.size > 0) {
        if (this.underWay >= MAX_UNDER_WAY) return;
        const acks = [...this.acks.values()];
        this.acks = new Map();
        this.send(
          () => callRpc(this.bus, fifoAck, { acks }, to),
          () => acks.forEach(({ subscription, seqs }) => this.settled(subscription, seqs)),
        );
      }
      this.leaving = this.ended.splice(0);
    }
    if (this.leaving.length > 0 && this.underWay === 0) {
      const left = this.leaving.splice(0);
      const subscriptions = left.map(({ subscription }) => subscription);
      this.send(
        () => callRpc(this.bus, fifoUnsubscribe, { subscriptions }, to),
        () => left.forEach(({ told }) => told()),
      );
      this.run();
    }
  }

  private send(request: () => Promise<unknown>, answered: () => void): void {
    this.underWay++;
    void this.repeat(request).then(() => {
      this.underWay--;
      answered();
      this.run();
    });
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
