import { RenderingWork } from '@orrery/core/templates';
import { DecodingError } from '../decoding.js';

/** Most characters of JSON that templates make of a payload: a few tags may name a large field many times. */
const MAX_OUTPUT = 2_097_152;

/** What the renderings for one payload take up together. */
export class Output {
  readonly work = new RenderingWork();
  private size = 0;

  /** @throws DecodingError when it is too much. */
  add<T>(value: T): T {
    this.count(value);
    return value;
  }

  /** Characters of JSON at least: with a separator after each value. */
  private count(value: unknown): void {
    this.spend(typeof value === 'string' ? value.length + 3 : 2);
    if (typeof value !== 'object' || value === null) return;
    if (Array.isArray(value)) for (const element of value) this.count(element);
    else
      for (const [name, member] of Object.entries(value)) {
        this.addName(name);
        this.count(member);
      }
  }

  addName(name: string): void {
    this.spend(name.length + 3);
  }

  private spend(characters: number): void {
    this.size += characters;
    if (this.size > MAX_OUTPUT) throw new DecodingError(`the template makes more than ${MAX_OUTPUT} characters`);
  }
}
