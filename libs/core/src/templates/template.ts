import { parseTemplate, TemplateError, type Token } from './tokens.js';

export interface Template {
  /**
   * The text that the template makes of a view, which is any JSON value.
   * @param work given to renderings that may take so long together; each has its own otherwise.
   * @throws TemplateError when it would be longer than 1 MiB, or take too long.
   */
  render(view: unknown, work?: RenderingWork): string;
}

/** The value of a name, which may be dotted, in the view at hand and those around it; undefined when there is none. */
export type Lookup = (name: string) => unknown;

/** Compiles `{{#name}}content{{/name}}` to what it renders; `text` renders the content as any other. */
export type SectionFunction = (content: Token[]) => (lookup: Lookup, text: () => string) => string;

export interface TemplateOptions {
  /** Sections that are functions, by name. They hide fields of the same name. */
  functions?: Record<string, SectionFunction>;
  /** The JSON text of an object or an array; JSON.stringify by default. */
  stringify?: (value: object) => string;
}

/** Most characters that a template renders. */
const MAX_OUTPUT = 1_048_576;
/** Most tags and looks at a field of one rendering: about 50 ms. */
const MAX_STEPS = 1_000_000;
/** Characters of what a function computes, such as an expression, that count as one step. */
const STEP_LENGTH = 8;

/** What renderings may still cost together. */
export class RenderingWork {
  private steps = 0;

  /** @throws TemplateError when it is too much. */
  spend(steps: number): void {
    this.steps += steps;
    if (this.steps > MAX_STEPS) throw new TemplateError('the template takes too long to render');
  }
}

/**
 * Compiles a Mustache template once for many renderings. The template is a client's: it reaches own fields of the view
 * only, calls nothing but the given functions, and its work and output are bounded. Values are inserted without
 * escaping, objects as JSON text, and a name of nothing as empty text (manual 17.3.3).
 * @throws TemplateError with the position of what is wrong.
 */
export function compileTemplate(text: string, options: TemplateOptions = {}): Template {
  const render = compileTokens(parseTemplate(text), new Map(Object.entries(options.functions ?? {})));
  const stringify = options.stringify ?? JSON.stringify;
  return {
    render(view, work = new RenderingWork()) {
      const rendered = render(new Rendering(view, stringify, work));
      if (rendered.length > MAX_OUTPUT) throw tooLong();
      return rendered;
    },
  };
}

type Part = (rendering: Rendering) => string;

function compileTokens(tokens: Token[], functions: Map<string, SectionFunction>): Part {
  const parts = tokens.map((token) => compileToken(token, functions));
  if (parts.length === 1) return parts[0]!;
  return (rendering) => {
    let text = '';
    for (const part of parts) text += part(rendering);
    return text;
  };
}

function compileToken(token: Token, functions: Map<string, SectionFunction>): Part {
  if (token.kind === 'text') return (rendering) => rendering.write(token.text);
  if (token.kind === 'name') {
    const path = pathOf(token.name);
    return (rendering) => rendering.writeValue(rendering.lookup(path));
  }
  const content = compileTokens(token.content, functions);
  const section = token.inverted ? undefined : functions.get(token.name);
  if (section !== undefined) {
    const render = section(token.content);
    const cost = 1 + lengthOf(token.content) / STEP_LENGTH;
    return (rendering) => {
      rendering.spend(cost);
      return render(
        (name) => rendering.lookup(pathOf(name)),
        () => content(rendering),
      );
    };
  }
  const path = pathOf(token.name);
  if (token.inverted) return (rendering) => (shown(rendering.lookup(path)) ? '' : content(rendering));
  return (rendering) => renderSection(rendering, rendering.lookup(path), content);
}

function renderSection(rendering: Rendering, value: unknown, content: Part): string {
  if (!shown(value)) return '';
  if (value === true) return content(rendering);
  if (!Array.isArray(value)) return rendering.within(value, content);
  let text = '';
  for (const each of value) text += rendering.within(each, content);
  return text;
}

const shown = (value: unknown): boolean => (Array.isArray(value) ? value.length > 0 : Boolean(value));

/** Characters of the text in a section. */
const lengthOf = (tokens: readonly Token[]): number =>
  tokens.reduce(
    (length, token) =>
      length + (token.kind === 'text' ? token.text.length : token.kind === 'section' ? lengthOf(token.content) : 0),
    0,
  );

/** Parts of a dotted name; none for `.`, the view itself. */
const pathOf = (name: string): string[] => (name === '.' ? [] : name.split('.'));

const tooLong = (): TemplateError => new TemplateError(`the rendered text is longer than ${MAX_OUTPUT} characters`);

/** One rendering: the views that names are looked up in, innermost last, and what it has cost. */
class Rendering {
  private readonly views: unknown[];
  private written = 0;

  constructor(
    view: unknown,
    private readonly stringify: (value: object) => string,
    private readonly work: RenderingWork,
  ) {
    this.views = [view];
  }

  write(text: string): string {
    this.spend(1);
    this.written += text.length;
    if (this.written > MAX_OUTPUT) throw tooLong();
    return text;
  }

  writeValue(value: unknown): string {
    if (value === null || value === undefined || typeof value === 'function') return this.write('');
    return this.write(typeof value === 'object' ? this.json(value) : String(value));
  }

  private json(value: object): string {
    try {
      return this.stringify(value);
    } catch {
      throw new TemplateError('a value is nested too deeply to be inserted');
    }
  }

  within(view: unknown, content: Part): string {
    this.spend(1);
    this.views.push(view);
    const text = content(this);
    this.views.pop();
    return text;
  }

  lookup(path: string[]): unknown {
    this.spend(1);
    for (let i = this.views.length - 1; i >= 0; i--) {
      const found = this.follow(this.views[i], path);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  private follow(view: unknown, path: string[]): unknown {
    let value = view;
    for (const name of path) {
      this.spend(1);
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
      value = (value as Record<string, unknown>)[name];
    }
    return value;
  }

  spend(steps: number): void {
    this.work.spend(steps);
  }
}
