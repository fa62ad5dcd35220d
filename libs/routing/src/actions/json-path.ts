import { query } from 'jsonpath-rfc9535';
import parse from 'jsonpath-rfc9535/parser';

const MAX_LENGTH = 512;
export const JSON_PATH_EXPECTED = `a JSONPath of at most ${MAX_LENGTH} characters with names, indexes, slices, * and at most one .., such as $.value`;

/** Selectors that find at most one place. */
const SINGLE = new Set(['MemberNameShorthand', 'NameSelector', 'IndexSelector']);

type Segment = ReturnType<typeof parse>['segments'][number];

/** Selects a part of a message; undefined when there is none. */
export type Selection = (message: unknown) => unknown;

/**
 * Compiles the `jsonPath` of an action: "value" means "$.value" (HPU-003). A path that can select one place gives what is
 * there, any other the list of what it found.
 * @returns undefined when it is not one that may be used.
 */
export function compileJsonPath(text: unknown): Selection | undefined {
  if (typeof text !== 'string' || text === '' || text.length > MAX_LENGTH) return undefined;
  const path = text.startsWith('$') ? text : text.startsWith('[') ? `$${text}` : `$.${text}`;
  let segments: Segment[];
  try {
    ({ segments } = parse(path));
  } catch {
    return undefined;
  }
  // Filters can call regular expressions and queries within queries, and each list of selectors or .. multiplies what is
  // found: the path is the tenant's, and the work it makes must stay in proportion to the message.
  const selectors = segments.map(selectorsOf);
  if (selectors.some((each) => each.length !== 1 || each[0]!.type === 'FilterSelector')) return undefined;
  if (segments.filter(({ type }) => type === 'DescendantSegment').length > 1) return undefined;
  const one = segments.every(({ type }, i) => type === 'ChildSegment' && SINGLE.has(selectors[i]![0]!.type));
  return (message) => {
    const found = query(message as Parameters<typeof query>[0], path);
    if (found.length === 0) return undefined;
    return one ? found[0] : found;
  };
}

const selectorsOf = ({ node }: Segment): ReadonlyArray<{ type: string }> =>
  node.type === 'BracketedSelection' ? node.selectors : [node];
