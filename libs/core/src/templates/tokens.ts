import mustache from 'mustache';

/** A template that cannot be used, or what it makes of a view is too large. The text says what was expected. */
export class TemplateError extends Error {
  constructor(
    /** The message without the position. */
    readonly reason: string,
    /** Index of the first character that is wrong, counted from 0; none for errors while rendering. */
    readonly position?: number,
  ) {
    super(position === undefined ? reason : `${reason} (character ${position})`);
  }
}

/** A piece of a template. `at` is the index of its first character in the template. */
export type Token =
  | { kind: 'text'; text: string; at: number }
  | { kind: 'name'; name: string; at: number }
  | { kind: 'section'; name: string; inverted: boolean; content: Token[]; at: number };

/** Most characters of a template. */
const MAX_TEMPLATE = 65_536;
/** Most characters of one tag: the parser's expressions are quadratic in the white space of a tag. */
const MAX_TAG = 512;
/** Most sections within sections. */
const MAX_NESTING = 20;

// A writer of our own, since the package's default one keeps every template that it ever parsed.
const writer = Object.assign(new mustache.Writer(), { templateCache: undefined });

/**
 * Parses a Mustache template (mustache.github.io). Partials and other delimiters are refused.
 * @throws TemplateError with the position of what is wrong.
 */
export function parseTemplate(text: string): Token[] {
  if (text.length > MAX_TEMPLATE)
    throw new TemplateError(`a template has at most ${MAX_TEMPLATE} characters`, MAX_TEMPLATE);
  checkTags(text);
  return (writer.parse(text) as ParsedToken[]).flatMap(token);
}

/** What the package parses: kind, value, start, end, and the content of a section. */
type ParsedToken = [string, string, number, number, ParsedToken[]?];

function token([kind, value, at, , content]: ParsedToken): Token[] {
  switch (kind) {
    case 'text':
      return [{ kind: 'text', text: value, at }];
    case 'name':
    case '&':
      return [{ kind: 'name', name: value, at }];
    case '#':
    case '^':
      return [{ kind: 'section', name: value, inverted: kind === '^', content: content!.flatMap(token), at }];
    default:
      return [];
  }
}

/** The parser reports some of these without a place, and accepts others that are not wanted here. */
function checkTags(text: string): void {
  const open: Array<{ name: string; at: number }> = [];
  for (let at = text.indexOf('{{'); at !== -1;) {
    const { type, name, end } = tagAt(text, at);
    if (type === '>') throw new TemplateError('partials ({{>) are not supported', at);
    if (type === '=') throw new TemplateError('other delimiters ({{=) are not supported', at);
    if (type !== '!' && !/^[^{}]+$/.test(name)) throw new TemplateError('expected a name in {{ }}', at);
    if (type === '#' || type === '^') {
      if (open.length === MAX_NESTING)
        throw new TemplateError(`at most ${MAX_NESTING} sections may contain each other`, at);
      open.push({ name, at });
    } else if (type === '/') close(open.pop(), name, at);
    at = text.indexOf('{{', end);
  }
  const unclosed = open.pop();
  if (unclosed) throw new TemplateError(`expected {{/${unclosed.name}}} after {{#${unclosed.name}}}`, unclosed.at);
}

function close(section: { name: string } | undefined, name: string, at: number): void {
  if (section === undefined) throw new TemplateError(`{{/${name}}} closes no section`, at);
  if (section.name !== name) throw new TemplateError(`expected {{/${section.name}}}, not {{/${name}}}`, at);
}

function tagAt(text: string, at: number): { type: string; name: string; end: number } {
  // Ends are looked for as the parser does: white space may stand before and after the type.
  const tag = text.slice(at, at + MAX_TAG);
  const [opening, type] = /^\{\{\s*([#^/>{&=!]?)/.exec(tag) as unknown as [string, string];
  const closing = type === '{' ? '}}}' : '}}';
  const end = tag.indexOf(closing, opening.length);
  if (end === -1) throw new TemplateError(`expected ${closing} at most ${MAX_TAG} characters after {{`, at);
  return { type, name: tag.slice(opening.length, end).trim(), end: at + end + closing.length };
}
