import { GREEDY_FORMATS, randomFormat, randomPayload, randomWords, spoiledFormat } from './decoder-formats.mjs';
import { seeded } from './random.mjs';

const PAYLOADS_PER_FORMAT = 4;

/**
 * @typedef {object} Decoders
 * @property {(format: string) => Record<'decode' | 'decodeForMessage', (payload: Buffer) => unknown>} compileBinaryFormat
 * @property {new (...args: never[]) => Error} DefinitionError
 * @property {new (...args: never[]) => Error} DecodingError
 */

/**
 * Compiles random formats and decodes random payloads with those that are accepted.
 *
 * @param {Decoders} decoders
 * @param {{ seed: number, formats: number, maxMs?: number, onProgress?: (formats: number) => void }} options
 *   `maxMs`: what one compilation or decoding may take
 * @returns what happened how often, and the longest run in milliseconds
 * @throws {Error} that names format and payload when something else than the two errors comes out, or takes too long
 */
export function fuzzDecoders(
  { compileBinaryFormat, DefinitionError, DecodingError },
  { seed, formats, maxMs = 50, onProgress },
) {
  const counts = { accepted: 0, refused: 0, decoded: 0, undecodable: 0, longestMs: 0 };

  /**
   * @template Result
   * @param {() => Result} run
   * @param {new (...args: never[]) => Error} Expected
   * @param {() => string} what
   */
  const attempt = (run, Expected, what) => {
    let fastest = Number.POSITIVE_INFINITY;
    /** @type {Result | undefined} */
    let result;
    // A run that waited for the processor or for the collector of garbage is fast the next time.
    for (let i = 0; i < 5 && fastest > maxMs; i++) {
      const began = performance.now();
      try {
        result = run();
      } catch (error) {
        if (!(error instanceof Expected)) throw new Error(`${what()}: ${error}`, { cause: error });
        result = undefined;
      }
      fastest = Math.min(fastest, performance.now() - began);
    }
    counts.longestMs = Math.max(counts.longestMs, fastest);
    if (fastest > maxMs) throw new Error(`${what()}: took ${Math.round(fastest)} ms, ${maxMs} ms are allowed`);
    return result;
  };

  for (let number = 0; number < formats; number++) {
    const random = seeded(seed * 1_000_003 + number);
    const written = randomFormat(random);
    const format =
      GREEDY_FORMATS[number] ??
      (random.chance(0.7) ? written : random.chance(0.7) ? spoiledFormat(written, random) : randomWords(random));
    const shown = JSON.stringify(format.length > 2000 ? `${format.slice(0, 2000)}…` : format);
    const where = `format ${number} of seed ${seed} ${shown}`;
    const compiled = attempt(
      () => compileBinaryFormat(format),
      DefinitionError,
      () => where,
    );
    counts[compiled ? 'accepted' : 'refused']++;
    for (let i = 0; i < PAYLOADS_PER_FORMAT && compiled; i++) {
      const payload =
        number < GREEDY_FORMATS.length ? Buffer.alloc(100_000, random.integer(256)) : randomPayload(random);
      const method = random.pick(/** @type {const} */ (['decode', 'decodeForMessage']));
      const decoded = attempt(
        () => compiled[method](payload),
        DecodingError,
        () => `${where}, payload ${payload.toString('hex', 0, 1000)}`,
      );
      counts[decoded ? 'decoded' : 'undecodable']++;
    }
    onProgress?.(number + 1);
  }
  return counts;
}
