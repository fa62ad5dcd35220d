import { DecodingError } from '../decoding.js';

/** Most characters that a template makes of a payload: a few tags may name a large field many times. */
const MAX_OUTPUT = 1_048_576;

/** What one rendering takes up. */
export class Output {
  private size = 0;

  /** @throws DecodingError when it is too much. */
  add<T>(value: T): T {
    this.count(value);
    return value;
  }

  private count(value: unknown): void {
    this.size += typeof value === 'string' ? value.length : 1;
    if (this.size > MAX_OUTPUT) throw new DecodingError(`the template makes more than ${MAX_OUTPUT} characters`);
    if (typeof value !== 'object' || value === null) return;
    for (const member of Object.values(value)) this.count(member);
  }
}
