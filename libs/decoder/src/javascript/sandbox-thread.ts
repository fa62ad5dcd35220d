import { Worker } from 'node:worker_threads';
import type { Answer, Check, Chunk } from './sandbox.worker.mjs';

/** Milliseconds without an answer after which a thread is ended: a single long operation of a script cannot be otherwise. */
export const STUCK_AFTER = 500;
/** Milliseconds that a thread may take to start, on a machine that has other things to do. */
const START_TIME_OUT = 30_000;

/** The thread was ended: at a script's doing when it was stuck. */
export class ThreadEnded extends Error {
  constructor(
    message: string,
    /** Index of the job that it was at. */
    readonly job: number,
  ) {
    super(message);
  }
}

/** A thread that runs scripts in sandboxes. One question at a time. */
export class SandboxThread {
  private readonly progress = new Int32Array(new SharedArrayBuffer(4));
  private readonly worker = new Worker(new URL('./sandbox.worker.mjs', import.meta.url), {
    workerData: this.progress.buffer,
    resourceLimits: { maxOldGenerationSizeMb: 128, stackSizeMb: 4 },
    // A script has nothing to do with either.
    env: {},
    stdin: false,
  });
  private settle: { resolve: (answer: unknown) => void; reject: (error: Error) => void } | undefined;
  private ended: Error | undefined;

  private constructor() {
    this.worker.on('message', (answer) => this.settle?.resolve(answer));
    this.worker.on('error', (error) => this.end(`the thread failed: ${error.message}`));
    this.worker.on('exit', (code) => this.end(`the thread exited with code ${code}`));
  }

  /** @throws Error when it does not start. */
  static async start(): Promise<SandboxThread> {
    const thread = new SandboxThread();
    try {
      await thread.answer(START_TIME_OUT);
    } catch (error) {
      throw new Error('the thread for scripts does not start', { cause: error });
    }
    return thread;
  }

  /**
   * Answers for the first jobs of a chunk, at least one.
   * @throws ThreadEnded
   */
  run(chunk: Chunk): Promise<Answer[]> {
    return this.ask(chunk) as Promise<Answer[]>;
  }

  /** @throws ThreadEnded */
  check(check: Check): Promise<{ problem?: string }> {
    return this.ask(check) as Promise<{ problem?: string }>;
  }

  async stop(): Promise<void> {
    this.end('the thread was stopped');
    await this.worker.terminate();
  }

  private ask(question: Chunk | Check): Promise<unknown> {
    this.progress[0] = 0;
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window
    this.worker.postMessage(question);
    return this.answer(STUCK_AFTER);
  }

  private async answer(milliseconds: number): Promise<unknown> {
    if (this.ended) throw this.ended;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise((resolve, reject) => {
        this.settle = { resolve, reject };
        const late = (): void => {
          // Its answer may have waited for this thread: it is heard before another timer.
          timer = setTimeout(() => void this.stuck(), 20);
        };
        timer = setTimeout(late, milliseconds);
      });
    } finally {
      clearTimeout(timer);
      this.settle = undefined;
    }
  }

  private async stuck(): Promise<void> {
    this.end('the script took too long');
    await this.worker.terminate();
  }

  private end(message: string): void {
    this.ended ??= new ThreadEnded(message, Atomics.load(this.progress, 0));
    this.settle?.reject(this.ended);
  }
}
