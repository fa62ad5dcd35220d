import { at, booleanAt, clauseAt, isNumeric, type Reading, refuse, textAt, wordAt } from './clause.js';
import { checkBoost, equals, parseQuery, patternAt } from './queries.js';
import type { Field, Query } from './tree.js';
import { words } from './words.js';

const EVERY_FIELD: Field = { name: '*', type: 'string' };
// What ends a plain term: blanks and what has a meaning of its own.
const TERM = /(?:\\.|[^\s()"\\[\]{}:^~])+/y;

/**
 * Basics of Lucene's syntax: words, "phrases", field:value, field:(a OR b), ranges [a TO b] {a TO b} and >=, wildcards,
 * _exists_:field, AND OR NOT && || ! + -, parentheses. Fuzziness, regular expressions, boosts and slop are refused. Both
 * engines get what it means as a query, and not the text.
 */
export function parseQueryString(reading: Reading, path: string, value: unknown, depth: number): Query {
  const clause = clauseAt(path, value, [
    'query',
    'default_field',
    'fields',
    'default_operator',
    'lenient',
    'analyze_wildcard',
    'boost',
  ]);
  checkBoost(path, clause);
  booleanAt(at(path, 'lenient'), clause['lenient'], false);
  booleanAt(at(path, 'analyze_wildcard'), clause['analyze_wildcard'], false);
  const named = clause['fields'] ?? (clause['default_field'] === undefined ? ['*'] : [clause['default_field']]);
  if (!Array.isArray(named) || named.length === 0 || named.length > 50)
    throw refuse(at(path, 'fields'), 'an array of 1 to 50 names of fields');
  const fields = named.map((name, i) => (name === '*' ? EVERY_FIELD : reading.field(at(at(path, 'fields'), i), name)));
  const text = textAt(at(path, 'query'), clause['query'], 4000);
  const and = wordAt(at(path, 'default_operator'), clause['default_operator'], ['or', 'and'], 'or') === 'and';
  return new LuceneParser(reading, at(path, 'query'), text, and, depth).parse(fields);
}

class LuceneParser {
  private position = 0;

  constructor(
    private readonly reading: Reading,
    private readonly path: string,
    private readonly text: string,
    private readonly defaultAnd: boolean,
    private depth: number,
  ) {}

  parse(fields: Field[]): Query {
    if (this.text.trim() === '') return { kind: 'none' };
    const query = this.clauses(fields);
    if (this.position < this.text.length) throw this.unexpected('the end of the query');
    return query;
  }

  private unexpected(expected: string): Error {
    return refuse(this.path, `${expected} at position ${this.position}`);
  }

  private skip(): void {
    while (/\s/.test(this.text[this.position] ?? '')) this.position++;
  }

  private take(...symbols: string[]): string | undefined {
    for (const symbol of symbols)
      if (this.text.startsWith(symbol, this.position)) {
        this.position += symbol.length;
        return symbol;
      }
    return undefined;
  }

  private operator(...names: string[]): boolean {
    this.skip();
    for (const name of names)
      if (
        this.text.startsWith(name, this.position) &&
        (!/\w/.test(name) || /[\s(]/.test(this.text[this.position + name.length] ?? ' '))
      ) {
        this.position += name.length;
        return true;
      }
    return false;
  }

  /** As Lucene reads it: AND and OR decide whether the clauses beside them are required, they do not bind. */
  private clauses(fields: Field[]): Query {
    this.reading.count(this.path, ++this.depth);
    const found: Array<{ query: Query; occur: 'must' | 'should' | 'not' }> = [];
    for (;;) {
      this.skip();
      if (this.position >= this.text.length || this.text[this.position] === ')') break;
      const and = found.length > 0 && this.operator('AND', '&&');
      const or = !and && found.length > 0 && this.operator('OR', '||');
      let negated = false;
      while (this.operator('NOT', '!')) negated = !negated;
      this.skip();
      const sign = this.take('+', '-');
      if (sign === '-') negated = !negated;
      const query = this.clause(fields);
      const last = found.at(-1);
      if (and && last?.occur === 'should') last.occur = 'must';
      if (or && this.defaultAnd && last?.occur === 'must') last.occur = 'should';
      const required = sign === '+' || and || (this.defaultAnd && !or);
      found.push({ query, occur: negated ? 'not' : required ? 'must' : 'should' });
    }
    this.depth--;
    if (found.length === 0) throw this.unexpected('a word');
    if (found.length === 1 && found[0]!.occur !== 'not') return found[0]!.query;
    const of = (occur: string): Query[] => found.filter((each) => each.occur === occur).map(({ query }) => query);
    const [must, should] = [of('must'), of('should')];
    return { kind: 'bool', must, should, mustNot: of('not'), least: must.length === 0 && should.length > 0 ? 1 : 0 };
  }

  private clause(fields: Field[]): Query {
    this.reading.count(this.path, this.depth);
    this.skip();
    if (this.take('(')) return this.group(fields);
    const start = this.position;
    const name = this.plain();
    if (name !== undefined && this.take(':')) {
      this.skip();
      if (name === '_exists_') {
        const field = this.plain();
        if (field === undefined) throw this.unexpected('the name of a field');
        return { kind: 'exists', field: this.reading.field(this.path, unescape(field)) };
      }
      const field = unescape(name) === '*' ? EVERY_FIELD : this.reading.field(this.path, unescape(name));
      return this.take('(') ? this.group([field]) : this.value([field]);
    }
    this.position = start;
    return this.value(fields);
  }

  private group(fields: Field[]): Query {
    const query = this.clauses(fields);
    this.skip();
    if (!this.take(')')) throw this.unexpected('")"');
    return query;
  }

  private plain(): string | undefined {
    TERM.lastIndex = this.position;
    const found = TERM.exec(this.text)?.[0];
    if (found !== undefined) this.position += found.length;
    return found;
  }

  private value(fields: Field[]): Query {
    const open = this.take('[', '{');
    if (open) return this.range(fields, open);
    const comparison = this.take('>=', '<=', '>', '<');
    if (comparison) {
      const bound = this.bound();
      const key = { '>=': 'gte', '<=': 'lte', '>': 'gt', '<': 'lt' }[comparison]!;
      return this.any(fields, (field) => this.bounds(field, { [key]: bound }));
    }
    if (this.take('"')) {
      const end = /(?:\\.|[^"\\])*"/sy;
      end.lastIndex = this.position;
      const found = end.exec(this.text)?.[0];
      if (found === undefined) throw this.unexpected('a closing quotation mark');
      this.position += found.length;
      this.noModifier();
      return this.any(fields, (field) => this.text_(field, unescape(found.slice(0, -1)), true));
    }
    const term = this.plain();
    if (term === undefined) throw this.unexpected('a word');
    if (term.startsWith('/')) throw this.unexpected('no regular expression');
    this.noModifier();
    if (term === '*')
      return this.any(fields, (field) => (field.name === '*' ? { kind: 'all' } : { kind: 'exists', field }));
    if (/(^|[^\\])[*?]/.test(term)) {
      const pattern = patternAt(this.path, term);
      // Of no other type than string; a number has no pattern.
      return this.any(fields, (field) =>
        field.type === 'string' || field.type === undefined
          ? { kind: 'wildcard', field, pattern, anyCase: false }
          : { kind: 'none' },
      );
    }
    return this.any(fields, (field) => this.text_(field, unescape(term), false));
  }

  private noModifier(): void {
    if (/[~^]/.test(this.text[this.position] ?? '')) throw this.unexpected('no fuzziness, slop or boost');
  }

  private bound(): string {
    this.skip();
    const start = this.position;
    if (this.take('"')) {
      const end = this.text.indexOf('"', this.position);
      if (end < 0) throw this.unexpected('a closing quotation mark');
      this.position = end + 1;
      return this.text.slice(start + 1, end);
    }
    const found = /[^\s\])}]+/y;
    found.lastIndex = start;
    const bound = found.exec(this.text)?.[0];
    if (bound === undefined) throw this.unexpected('a bound');
    this.position += bound.length;
    return unescape(bound);
  }

  private range(fields: Field[], open: string): Query {
    const from = this.bound();
    if (!this.operator('TO')) throw this.unexpected('TO');
    const to = this.bound();
    this.skip();
    const close = this.take(']', '}');
    if (!close) throw this.unexpected('"]" or "}"');
    return this.any(fields, (field) =>
      this.bounds(field, {
        ...(from === '*' ? {} : { [open === '[' ? 'gte' : 'gt']: from }),
        ...(to === '*' ? {} : { [close === ']' ? 'lte' : 'lt']: to }),
      }),
    );
  }

  private bounds(field: Field, bounds: Record<string, string>): Query {
    if (field.name === '*') throw this.unexpected('the name of a field before a range,');
    return parseQuery(this.reading, this.path, { range: { [field.name]: bounds } }, this.depth);
  }

  private text_(field: Field, text: string, phrase: boolean): Query {
    if (field.type === 'string' || field.type === undefined) {
      const found = words(text);
      if (found.length === 0) return { kind: 'none' };
      return phrase && found.length > 1
        ? { kind: 'phrase', field, words: found }
        : { kind: 'words', field, words: found, all: false };
    }
    if (field.type === 'number' && !isNumeric(text)) throw refuse(this.path, `a number for ${field.name}`);
    return equals(this.reading, this.path, field, text);
  }

  private any(fields: Field[], query: (field: Field) => Query): Query {
    if (fields.length === 1) return query(fields[0]!);
    return { kind: 'bool', must: [], should: fields.map(query), mustNot: [], least: 1 };
  }
}

const unescape = (text: string): string => text.replace(/\\(.)/gs, '$1');
