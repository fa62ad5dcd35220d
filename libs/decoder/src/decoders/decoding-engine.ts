import { DecodingError } from '../decoding.js';
import type { JavaScriptRunner } from '../javascript/javascript-runner.js';
import { type CompiledDecoder, decodeHere } from './compiled-decoder.js';
import { type DecodedItem, itemsOf } from './decoded-item.js';

/** A payload and the decoder for it. */
export interface DecodingJob {
  decoder: CompiledDecoder;
  /** Whose payload it is. */
  tenantId: string;
  /** Names decoder and revision: jobs of one tenant and key may run in one sandbox. */
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
  constructor(private readonly scripts: JavaScriptRunner) {}

  /** @returns the outcomes in the order of the jobs. */
  async decode(jobs: readonly DecodingJob[]): Promise<Outcome[]> {
    const outcomes = Array.from<Outcome>({ length: jobs.length });
    const scripted: Array<{ job: DecodingJob; index: number }> = [];
    let turn = performance.now();
    const pause = async (): Promise<void> => {
      if (performance.now() - turn < TURN_MS) return;
      await new Promise((resolve) => setImmediate(resolve));
      turn = performance.now();
    };
    for (const [index, job] of jobs.entries()) {
      if (job.decoder.script !== undefined) {
        scripted.push({ job, index });
        continue;
      }
      outcomes[index] = attempt(() => [{ fields: decodeHere(job.decoder, job.payload, job.stored) }]);
      await pause();
    }
    if (scripted.length > 0) {
      const results = await this.scripts.run(
        scripted.map(({ job: { tenantId, key, decoder, payload } }) => ({
          tenantId,
          key,
          script: decoder.script!,
          payload,
        })),
      );
      for (const [i, { job, index }] of scripted.entries()) {
        const result = results[i]!;
        outcomes[index] =
          'error' in result ? new DecodingError(result.error) : attempt(() => itemsOf(job.decoder, result.fields));
        await pause();
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
