import type { SourceFilter } from './dsl/tree.js';
import type { IndexedDocument } from './search-engine.js';

type Json = Record<string, unknown>;

/** What an engine keeps to show. */
export const sourceText = ({ text, source }: IndexedDocument): string => text ?? JSON.stringify(source);

/** What a search shows of a message: what the message does not have is null (manual 15.2.3). */
export function shownSource(message: Json, filter: SourceFilter): Json | undefined {
  const location = message['location'] as Json | null | undefined;
  return filterSource(
    {
      extra: null,
      model: null,
      value: null,
      ...message,
      location: location ? { provider: null, alt: null, accuracy: null, ...location } : null,
    },
    filter,
  );
}

/** `*` stands for any characters, dots included; a name stands for all that is below it. */
function matcher(patterns: readonly string[]): (path: string) => boolean {
  const whole = patterns.map(
    (pattern) =>
      new RegExp(
        `^${pattern
          .split('*')
          .map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'))
          .join('.*')}(\\..*)?$`,
        's',
      ),
  );
  return (path) => whole.some((expression) => expression.test(path));
}

/** What a request wants of a document (`_source`); undefined for nothing at all. */
function filterSource(source: Json, filter: SourceFilter): Json | undefined {
  if (filter === true) return source;
  if (filter === false) return undefined;
  const excluded = matcher(filter.excludes);
  const included = filter.includes.length === 0 ? () => true : matcher(filter.includes);
  return choose(source, '', (path) => included(path) && !excluded(path), excluded) ?? {};
}

function choose(
  object: Json,
  path: string,
  wanted: (path: string) => boolean,
  excluded: (path: string) => boolean,
): Json | undefined {
  const chosen: Json = {};
  let any = false;
  for (const [key, value] of Object.entries(object)) {
    const name = path === '' ? key : `${path}.${key}`;
    if (excluded(name)) continue;
    const below = chooseValue(value, name, wanted, excluded);
    if (below === undefined) continue;
    // Own, whatever its name is.
    Object.defineProperty(chosen, key, { value: below, enumerable: true, configurable: true, writable: true });
    any = true;
  }
  return any ? chosen : undefined;
}

function chooseValue(
  value: unknown,
  name: string,
  wanted: (path: string) => boolean,
  excluded: (path: string) => boolean,
): unknown {
  if (typeof value !== 'object' || value === null) return wanted(name) ? value : undefined;
  if (Array.isArray(value)) {
    if (value.length === 0) return wanted(name) ? value : undefined;
    const elements = value
      .map((element) => chooseValue(element, name, wanted, excluded))
      .filter((element) => element !== undefined);
    return elements.length > 0 ? elements : undefined;
  }
  if (Object.keys(value).length === 0) return wanted(name) ? value : undefined;
  return choose(value as Json, name, wanted, excluded);
}
