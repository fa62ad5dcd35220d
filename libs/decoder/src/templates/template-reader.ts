import { DefinitionError } from '../decoding.js';
import { compileText, compileUnquoted, type Value } from './template-values.js';

/** Most objects and arrays in each other. */
const MAX_LEVELS = 20;

/** Reads the JSON of a decoder's template, whose values hold tags. */
export class TemplateReader {
  private at = 0;

  constructor(private readonly text: string) {}

  read(): Value {
    this.skipSpace();
    if (this.text[this.at] !== '{') throw this.expected('{, the beginning of a JSON object');
    const value = this.object(1);
    this.skipSpace();
    if (this.at < this.text.length) throw this.expected('the end of the template');
    return value;
  }

  private value(level: number): Value {
    this.skipSpace();
    if (level > MAX_LEVELS) throw new DefinitionError(`at most ${MAX_LEVELS} levels`, this.at);
    const character = this.text[this.at];
    if (character === '"') return this.string();
    if (character === '[') return this.array(level);
    if (character === '{' && this.text[this.at + 1] !== '{') return this.object(level);
    return this.unquoted();
  }

  private object(level: number): Value {
    const names: string[] = [];
    const values: Value[] = [];
    this.list('}', () => {
      names.push(this.name());
      this.skipSpace();
      if (this.text[this.at] !== ':') throw this.expected(': after the name');
      this.at++;
      values.push(this.value(level + 1));
    });
    return (fields, output) => {
      const object: Record<string, unknown> = {};
      for (let i = 0; i < names.length; i++) {
        output.addName(names[i]!);
        object[names[i]!] = values[i]!(fields, output);
      }
      return object;
    };
  }

  private array(level: number): Value {
    const values: Value[] = [];
    this.list(']', () => values.push(this.value(level + 1)));
    return (fields, output) => values.map((value) => value(fields, output));
  }

  /** Reads what stands between an opening character and `end`, separated by commas. */
  private list(end: string, each: () => void): void {
    this.at++;
    this.skipSpace();
    if (this.text[this.at] !== end) {
      for (;;) {
        each();
        this.skipSpace();
        if (this.text[this.at] !== ',') break;
        this.at++;
      }
    }
    if (this.text[this.at] !== end) throw this.expected(`, or ${end}`);
    this.at++;
  }

  private name(): string {
    this.skipSpace();
    const at = this.at;
    if (this.text[at] !== '"') throw this.expected('a name in double quotes');
    const name = this.literal().content;
    if (name.includes('.')) throw new DefinitionError(`the name "${name}" must not contain a dot`, at);
    if (name.includes('{{')) throw new DefinitionError('a name must not contain tags', at);
    // Assigned to an object, it would not become a field.
    if (name === '__proto__') throw new DefinitionError('the name __proto__ is not allowed', at);
    return name;
  }

  private string(): Value {
    const at = this.at;
    const { content, escaped } = this.literal();
    // Positions within the content are those of the template when nothing in it is escaped.
    return compileText(content, (position) => (escaped ? at : at + 1 + position));
  }

  private literal(): { content: string; escaped: boolean } {
    const literal = /"[^"\\]*(?:\\.[^"\\]*)*"/sy;
    literal.lastIndex = this.at;
    const raw = literal.exec(this.text)?.[0];
    if (raw === undefined) throw new DefinitionError('expected " at the end of the text', this.at);
    try {
      const content = JSON.parse(raw) as string;
      this.at += raw.length;
      return { content, escaped: raw.includes('\\') };
    } catch {
      throw new DefinitionError('the text has a control character or an escape that JSON does not have', this.at);
    }
  }

  private unquoted(): Value {
    const at = this.at;
    while (this.at < this.text.length && !/[,\]}]/.test(this.text[this.at]!)) this.pass();
    const raw = this.text.slice(at, this.at).trimEnd();
    if (raw === '') throw this.expected('a value');
    return compileUnquoted(raw, (position) => at + position);
  }

  /** Passes a character, or a whole tag, whose braces end nothing. */
  private pass(): void {
    if (!this.text.startsWith('{{', this.at)) {
      this.at++;
      return;
    }
    const closing = this.text.startsWith('{{{', this.at) ? '}}}' : '}}';
    const end = this.text.indexOf(closing, this.at);
    if (end === -1) throw this.expected(`${closing} after {{`);
    this.at = end + closing.length;
  }

  private skipSpace(): void {
    while (/^[ \t\r\n]$/.test(this.text[this.at] ?? '')) this.at++;
  }

  private expected(what: string): DefinitionError {
    return new DefinitionError(`expected ${what}`, this.at);
  }
}
