import { Worker } from 'node:worker_threads';
import { BEATS, JOB } from './progress.mjs';
import type { Answer, Check, Chunk } from './sandbox.worker.mjs';
import { threadTime } from './thread-time.mjs';

/** Milliseconds of computing without a sign of life after which a thread is ended: a single long operation cannot be otherwise. */
export const STUCK_AFTER = 500;
/** How often signs of life are looked for, in milliseconds. Looks are counted, as this thread may be late itself. */
const LOOK_EVERY = 50;
/** Milliseconds after which a thread is ended although it had to wait, as it has while it starts. */
const WAIT_TIME_OUT = 30_000;

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
  private readonly progress = new Int32Array(new SharedArrayBuffer(8));
  private readonly worker = new Worker(new URL('./sandbox.worker.mjs', import.meta.url), {
    workerData: this.progress.buffer,
    resourceLimits: { maxOldGenerationSizeMb: 128, stackSizeMb: 4 },
    // Secrets of this process are not needed there.
    env: {},
    stdin: false,
  });
  private settle: { resolve: (answer: unknown) => void; reject: (error: Error) => void } | undefined;
  private ended: Error | undefined;
  /** Its name for the system, where there is one. */
  private name: string | undefined;

  private constructor() {
    this.worker.on('message', (answer) => this.settle?.resolve(answer));
    this.worker.on('error', (error) => this.end(`the thread failed: ${error.message}`));
    this.worker.on('exit', (code) => this.end(`the thread exited with code ${code}`));
  }

  /** @throws Error when it does not start. */
  static async start(): Promise<SandboxThread> {
    const thread = new SandboxThread();
    try {
      thread.name = (await thread.answer(WAIT_TIME_OUT)) as string | undefined;
    } catch (error) {
      throw new Error('the thread for scripts does not start', { cause: error });
    }
    return thread;
  }

  /** Whether it can be asked. */
  get alive(): boolean {
    return this.ended === undefined;
  }

  /**
   * Answers for the first jobs of a chunk, at least one.
   * @throws ThreadEnded
   */
  run(chunk: Chunk): Promise<Answer[]> {
    return this.ask(chunk) as Promise<Answer[]>;
  }

  /** @throws ThreadEnded */
  check(check: Check): Promise<{ problem?: string; cost: number }> {
    return this.ask(check) as Promise<{ problem?: string; cost: number }>;
  }

  async stop(): Promise<void> {
    this.end('the thread was stopped');
    await this.worker.terminate();
  }

  private ask(question: Chunk | Check): Promise<unknown> {
    this.progress[JOB] = 0;
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window
    this.worker.postMessage(question);
    return this.answer(STUCK_AFTER);
  }

  private async answer(patience: number): Promise<unknown> {
    if (this.ended) throw this.ended;
    let beats = -1;
    let quiet = 0;
    let before: number | undefined;
    const look = (): void => {
      const now = Atomics.load(this.progress, BEATS);
      quiet = now === beats ? quiet + LOOK_EVERY : 0;
      beats = now;
      if (quiet === LOOK_EVERY) before = this.computed();
      // An answer that waited for this thread is heard before the next look.
      if (quiet < patience) return;
      // On a busy machine the thread may have had to wait; what it did before the first look is not known.
      const computed = (this.computed() ?? patience) - (before ?? 0);
      if (computed >= patience - LOOK_EVERY * 2 || quiet >= WAIT_TIME_OUT) void this.stuck();
    };
    const timer = setInterval(look, LOOK_EVERY);
    try {
      return await new Promise((resolve, reject) => {
        this.settle = { resolve, reject };
      });
    } finally {
      clearInterval(timer);
      this.settle = undefined;
    }
  }

  private computed(): number | undefined {
    return this.name === undefined ? undefined : threadTime(this.name);
  }

  private async stuck(): Promise<void> {
    this.end('the script took too long');
    await this.worker.terminate();
  }

  private end(message: string): void {
    this.ended ??= new ThreadEnded(message, Atomics.load(this.progress, JOB));
    this.settle?.reject(this.ended);
  }
}
