import { DecodingError } from '../decoding.js';
import { type CompiledDecoder, decodeHere } from './compiled-decoder.js';
import { type DecodedItem, itemsOf } from './decoded-item.js';

/** The sandbox of scripts. */
export interface ScriptRunner {
  /** @throws DefinitionError when the script does not compile or defines no function `decode`. */
  check(script: string): Promise<void>;
  /** @returns the outcomes in the order of the jobs. */
  run(
    jobs: ReadonlyArray<{ key: string; script: string; payload: string }>,
  ): Promise<Array<{ fields: unknown } | { error: string }>>;
}

/** A payload and the decoder for it. */
export interface DecodingJob {
  decoder: CompiledDecoder;
  /** Names tenant, decoder and revision: scripts of one key share their state, and no others do. */
  key: string;
  payload: string;
  /** Names arrays as in stored messages (manual 11.3.2.2). */
  stored: boolean;
}

/** A single item unless the decoder is a split decoder. */
export type Outcome = DecodedItem[] | DecodingError;

/** How long this process decodes without doing anything else, in milliseconds. */
const TURN_MS = 20;

/** Decodes payloads, for messages and for tests of decoders alike. */
export class DecodingEngine {
  constructor(private readonly scripts: ScriptRunner) {}

  /** @returns the outcomes in the order of the jobs. */
  async decode(jobs: readonly DecodingJob[]): Promise<Outcome[]> {
    const outcomes = Array.from<Outcome>({ length: jobs.length });
    const scripted: Array<{ job: DecodingJob; index: number }> = [];
    let turn = performance.now();
    for (const [index, job] of jobs.entries()) {
      if (job.decoder.script !== undefined) {
        scripted.push({ job, index });
        continue;
      }
      outcomes[index] = attempt(() => [{ fields: decodeHere(job.decoder, job.payload, job.stored) }]);
      if (performance.now() - turn < TURN_MS) continue;
      await new Promise((resolve) => setImmediate(resolve));
      turn = performance.now();
    }
    if (scripted.length > 0) {
      const results = await this.scripts.run(
        scripted.map(({ job }) => ({ key: job.key, script: job.decoder.script!, payload: job.payload })),
      );
      for (const [i, { job, index }] of scripted.entries()) {
        const result = results[i]!;
        outcomes[index] =
          'error' in result ? new DecodingError(result.error) : attempt(() => itemsOf(job.decoder, result.fields));
      }
    }
    return outcomes;
  }
}

function attempt(decode: () => DecodedItem[]): Outcome {
  try {
    return decode();
  } catch (error) {
    if (error instanceof DecodingError) return error;
    throw error;
  }
}
