import type { QueueReader, ReadPage } from '../dispatcher/consumed-fifo.js';
import type { FifoWake, QueuedMessage } from '../fifos/queue.js';

/** The rows of one FIFO. Pages are read at once, and answered when the test says so. */
export class Rows implements QueueReader {
  readonly bodies = new Map<number, string>();
  readonly pending = new Set<number>();
  readonly asked: Array<{ limit: number; bytes: number }> = [];
  last = 1000;
  private answers: Array<() => void> = [];

  add(...bodies: string[]): FifoWake {
    const added = bodies.map((body) => {
      this.bodies.set(++this.last, body);
      return { seq: this.last, body, bytes: body.length };
    });
    return { id: 1, added };
  }

  dropOldest(count: number): FifoWake {
    const gone = [...this.bodies.keys()].slice(0, count);
    for (const seq of gone) this.bodies.delete(seq);
    return { id: 1, droppedTo: gone.at(-1) ?? 0 };
  }

  after(_fifoId: number, seq: number, limit: number, bytes: number): Promise<ReadPage> {
    this.asked.push({ limit, bytes });
    return this.page([...this.bodies.keys()].filter((each) => each > seq).slice(0, limit), bytes);
  }

  these(_fifoId: number, seqs: readonly number[], bytes: number): Promise<ReadPage> {
    return this.page(
      seqs.filter((seq) => this.bodies.has(seq)),
      bytes,
    );
  }

  acknowledging(): ReadonlySet<number> {
    return this.pending;
  }

  get reading(): number {
    return this.answers.length;
  }

  /** Answers what was asked until now. */
  async answer(): Promise<void> {
    for (const answer of this.answers.splice(0)) answer();
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  }

  async answerAll(): Promise<void> {
    while (this.answers.length > 0) await this.answer();
  }

  private page(seqs: number[], most: number): Promise<ReadPage> {
    const messages: QueuedMessage[] = [];
    let bytes = 0;
    for (const seq of seqs) {
      if (bytes >= most) break;
      const body = this.bodies.get(seq)!;
      messages.push({ seq, body, bytes: body.length });
      bytes += body.length;
    }
    const cut = messages.length < seqs.length;
    return new Promise((resolve) => this.answers.push(() => resolve({ messages, cut })));
  }
}
