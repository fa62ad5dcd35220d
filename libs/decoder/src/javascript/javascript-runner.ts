import { DefinitionError } from '../decoding.js';
import { ComputingBudget } from './computing-budget.js';
import { SandboxThread, STUCK_AFTER, ThreadEnded } from './sandbox-thread.js';
import type { Answer } from './sandbox.worker.mjs';

/** A payload for a script of a tenant's decoder. */
export interface ScriptJob {
  tenantId: string;
  /** Names decoder and revision. Jobs of one tenant and key may share what the script leaves behind, and no others do. */
  key: string;
  script: string;
  payload: string;
}

/** What `decode` returned, an object or an array, as its JSON has it; or why there is none. */
export type ScriptResult = { fields: object } | { error: string };

const MAX_SCRIPT = 1_048_576;
/** Most jobs, and characters of scripts and payloads, that the thread is given at once. */
const MAX_CHUNK = 200;
const CHUNK_CHARACTERS = 1_048_576;

const OVERDRAWN = 'the script was not run, as scripts of this account took too long just now';

interface Task {
  job: ScriptJob;
  /** Names the sandbox. */
  sandbox: string;
  settle: (result: ScriptResult) => void;
  fail: (error: Error) => void;
}

interface Chunk {
  tasks: Task[];
  /** Scripts by sandbox. */
  scripts: Map<string, string>;
}

/**
 * Runs scripts of decoders (manual 11.3.5) in a thread, each in a sandbox of its own. `decode(payload)` may compute for
 * 50 ms; what runs longer than 500 ms at a stretch costs the thread, and the others' jobs begin again in another. Scripts
 * are of ECMAScript 2023, with a clock that stands still while they run, and with neither network, files, timers nor
 * modules. They must not count on what they left behind: sandboxes are renewed.
 */
export class JavaScriptRunner {
  private readonly queue: Task[] = [];
  private thread: Promise<SandboxThread> | undefined;
  /** The questions to the thread, one after the other. */
  private turn: Promise<void> = Promise.resolve();
  private closed = false;

  constructor(private readonly budget = new ComputingBudget()) {}

  /** @returns the results in the order of the jobs. */
  run(jobs: readonly ScriptJob[]): Promise<ScriptResult[]> {
    const results = jobs.map(
      (job) =>
        new Promise<ScriptResult>((settle, fail) => {
          this.queue.push({ job, sandbox: JSON.stringify([job.tenantId, job.key]), settle, fail });
        }),
    );
    void this.next(() => this.work());
    return Promise.all(results);
  }

  /** @throws DefinitionError when the script does not compile, defines no `decode`, or the tenant's scripts take too long. */
  async check(script: string, tenantId: string): Promise<void> {
    if (script.length > MAX_SCRIPT) throw new DefinitionError(`a script has at most ${MAX_SCRIPT} characters`);
    const problem = await this.next(async () => {
      if (!this.budget.allows(tenantId)) return OVERDRAWN;
      const answer = await this.look(script);
      this.budget.charge(tenantId, undefined, answer.cost);
      return answer.problem;
    });
    if (problem !== undefined) throw new DefinitionError(problem);
  }

  private async look(script: string): Promise<{ problem?: string; cost: number }> {
    const thread = await this.started();
    try {
      return await thread.check({ check: script });
    } catch (error) {
      return { problem: this.lost(error).message, cost: STUCK_AFTER };
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    await (await this.thread?.catch(() => undefined))?.stop();
    await this.turn;
  }

  private next<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.turn.then(work);
    this.turn = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  private async work(): Promise<void> {
    while (this.queue.length > 0) {
      const chunk = this.chunk();
      if (chunk.tasks.length === 0) continue;
      try {
        this.queue.unshift(...(await this.ask(chunk)));
      } catch (error) {
        for (const task of [...chunk.tasks, ...this.queue.splice(0)]) task.fail(error as Error);
      }
    }
  }

  /** The next jobs that may run. */
  private chunk(): Chunk {
    const tasks: Task[] = [];
    const scripts = new Map<string, string>();
    let characters = 0;
    let taken = 0;
    for (const task of this.queue) {
      const { tenantId, script, payload } = task.job;
      if (tasks.length === MAX_CHUNK || characters > CHUNK_CHARACTERS) break;
      taken++;
      if (!this.budget.allows(tenantId, task.sandbox)) {
        task.settle({ error: OVERDRAWN });
        continue;
      }
      tasks.push(task);
      characters += payload.length + (scripts.has(task.sandbox) ? 0 : script.length);
      scripts.set(task.sandbox, script);
    }
    this.queue.splice(0, taken);
    return { tasks, scripts };
  }

  /** @returns the tasks that are not settled, to be asked again. */
  private async ask({ tasks, scripts }: Chunk): Promise<Task[]> {
    const thread = await this.started();
    try {
      const answers = await thread.run({
        scripts,
        jobs: tasks.map((task) => ({ key: task.sandbox, payload: task.job.payload })),
      });
      for (const [i, answer] of answers.entries()) this.settle(tasks[i]!, answer);
      return tasks.slice(answers.length);
    } catch (error) {
      // What the thread had done of the others is lost with it.
      const { job, message } = this.lost(error);
      this.settle(tasks[job]!, { error: message, cost: STUCK_AFTER });
      return tasks.toSpliced(job, 1);
    }
  }

  private settle(task: Task, answer: Answer): void {
    this.budget.charge(task.job.tenantId, task.sandbox, answer.cost);
    task.settle('error' in answer ? { error: answer.error } : { fields: JSON.parse(answer.json) as object });
  }

  private async started(): Promise<SandboxThread> {
    // A thread may end without being asked.
    const alive = (await this.thread)?.alive;
    if (this.closed) throw new Error('scripts are not run any more: the service is closing');
    if (!alive) this.thread = SandboxThread.start();
    try {
      return await this.thread!;
    } catch (error) {
      this.thread = undefined;
      throw error;
    }
  }

  /** Lets go of a thread that ended, which is the doing of a script unless the service closes. */
  private lost(error: unknown): ThreadEnded {
    this.thread = undefined;
    if (error instanceof ThreadEnded && !this.closed) return error;
    throw error;
  }
}
