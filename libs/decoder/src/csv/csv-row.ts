import { DecodingError } from '../decoding.js';
import type { CsvOptions } from './csv.js';

/**
 * Splits the first row of a payload into cells. The package csv-parse is not used: its escape character is honoured
 * within quotes only, a quote within an unquoted value is an error to it, and it is ten times slower on single rows.
 */
export class CsvRow {
  private readonly escape: string | undefined;

  constructor(
    private readonly options: CsvOptions,
    /** Number of cells that a row must have. */
    private readonly columns: number,
  ) {
    this.escape = options.useEscapeChar ? options.escapeChar : undefined;
  }

  /** @throws DecodingError when the row has another number of cells, or quotes are not closed. */
  read(payload: string): string[] {
    if (payload === '') throw new DecodingError('the payload is empty');
    const cells = this.isPlain(payload) ? this.split(payload) : this.scan(payload);
    if (cells.length !== this.columns) {
      const found = cells.length > this.columns ? 'more' : cells.length;
      throw new DecodingError(`expected ${this.columns} values in the row, found ${found}`);
    }
    return this.options.skipWhiteSpace ? cells.map((cell) => cell.trim()) : cells;
  }

  private isPlain(payload: string): boolean {
    if (payload.includes(this.options.quoteChar)) return false;
    return this.escape === undefined || !payload.includes(this.escape);
  }

  private split(payload: string): string[] {
    const { lineFeedSeparator, columnSeparator } = this.options;
    const end = payload.indexOf(lineFeedSeparator);
    const row = end === -1 ? payload : payload.slice(0, lineFeedSeparator === '\n' ? beforeReturn(payload, end) : end);
    // One too many tells that the row is too long, however long it is.
    return row.split(columnSeparator, this.columns + 1);
  }

  private scan(payload: string): string[] {
    const cells: string[] = [];
    let at = 0;
    do {
      const cell = this.cell(payload, at);
      cells.push(cell.text);
      at = cell.end;
      if (!payload.startsWith(this.options.columnSeparator, at)) break;
      at += this.options.columnSeparator.length;
    } while (cells.length <= this.columns);
    return cells;
  }

  /** Reads a cell; `end` is where its separator stands. */
  private cell(payload: string, at: number): { text: string; end: number } {
    const start = this.options.skipWhiteSpace ? this.afterSpace(payload, at) : at;
    if (payload.startsWith(this.options.quoteChar, start)) return this.quoted(payload, start);
    return this.unquoted(payload, at);
  }

  private unquoted(payload: string, start: number): { text: string; end: number } {
    let text = '';
    let copied = start;
    let at = start;
    while (at < payload.length && !this.endsAt(payload, at)) {
      if (this.isEscape(payload, at)) {
        text += payload.slice(copied, at);
        copied = at + this.escape!.length;
        at = copied + 1;
      } else at++;
    }
    return { text: text + payload.slice(copied, at), end: at };
  }

  private quoted(payload: string, start: number): { text: string; end: number } {
    const { quoteChar } = this.options;
    let text = '';
    let copied = start + quoteChar.length;
    let at = copied;
    while (at < payload.length) {
      if (this.isEscape(payload, at)) {
        text += payload.slice(copied, at);
        copied = at + this.escape!.length;
        at = copied + 1;
      } else if (!payload.startsWith(quoteChar, at)) at++;
      else if (payload.startsWith(quoteChar, at + quoteChar.length)) {
        // A doubled quote is one of the value (RFC 4180).
        text += payload.slice(copied, at + quoteChar.length);
        copied = at + 2 * quoteChar.length;
        at = copied;
      } else return { text: text + payload.slice(copied, at), end: this.endOfQuoted(payload, at + quoteChar.length) };
    }
    throw new DecodingError(`expected ${quoteChar} at the end of the value that begins at character ${start}`);
  }

  private endOfQuoted(payload: string, closed: number): number {
    const end = this.options.skipWhiteSpace ? this.afterSpace(payload, closed) : closed;
    if (end >= payload.length || this.endsAt(payload, end)) return end;
    throw new DecodingError(`expected a separator after the quote, at character ${end}`);
  }

  /** Whether a separator stands there. */
  private endsAt(payload: string, at: number): boolean {
    const { columnSeparator, lineFeedSeparator } = this.options;
    if (payload.startsWith(columnSeparator, at) || payload.startsWith(lineFeedSeparator, at)) return true;
    return lineFeedSeparator === '\n' && payload.startsWith('\r\n', at);
  }

  private isEscape(payload: string, at: number): boolean {
    return this.escape !== undefined && payload.startsWith(this.escape, at);
  }

  private afterSpace(payload: string, start: number): number {
    let at = start;
    // A separator may be white space itself.
    while (at < payload.length && payload[at]!.trim() === '' && !this.endsAt(payload, at)) at++;
    return at;
  }
}

const beforeReturn = (payload: string, end: number): number => (payload[end - 1] === '\r' ? end - 1 : end);
