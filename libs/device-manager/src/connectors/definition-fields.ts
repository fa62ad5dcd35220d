import type { FieldError } from '@orrery/core/messages';
import { isText } from '../text.js';
import type { Definition } from './connector.js';

/** Reads the fields of a definition one by one, and keeps what is wrong with each. Null is as if it were not there. */
export class DefinitionFields {
  constructor(
    private readonly definition: Definition,
    private readonly path = '',
    readonly errors: FieldError[] = [],
  ) {}

  refuse(field: string, expected: string): undefined {
    this.errors.push({ field: `${this.path}${field}`, expected });
  }

  names(): string[] {
    return Object.keys(this.definition);
  }

  given(field: string): boolean {
    return this.definition[field] !== undefined && this.definition[field] !== null;
  }

  /** @returns undefined when it is missing or wrong */
  text(field: string, expected: string, valid: (text: string) => boolean): string | undefined {
    const value = this.definition[field];
    return typeof value === 'string' && valid(value) ? value : this.refuse(field, expected);
  }

  optionalText(field: string, expected: string, valid: (text: string) => boolean): Definition {
    if (!this.given(field)) return {};
    return { [field]: this.text(field, expected, valid) };
  }

  /** Name of the decoder of what the node sends (manual 5.5). */
  encoding(): Definition {
    return this.optionalText('encoding', 'the name of a decoder, 1 to 256 characters', (text) => isText(text, 1, 256));
  }

  /** A boolean; the texts of the manual's examples are booleans too. */
  optionalBoolean(field: string): Definition {
    const value = this.definition[field];
    if (!this.given(field)) return {};
    if (value === true || value === 'true') return { [field]: true };
    if (value === false || value === 'false') return { [field]: false };
    this.refuse(field, 'true or false');
    return {};
  }

  /** Fields of an object inside; their errors are found here too. */
  object(field: string): DefinitionFields | undefined {
    const value = this.definition[field];
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return this.refuse(field, 'an object');
    return new DefinitionFields(value as Definition, `${this.path}${field}.`, this.errors);
  }
}
