/** Which messages or events something is for (manual 11.4.2 and 14.2.2). An absent or empty list is no criterion. */
export interface MessageFilter {
  connectors?: string[];
  encodings?: string[];
  groupPaths?: Array<{ path: string; includeSubPath: boolean }>;
  /** One set that is fully contained in the tags is enough. */
  tags?: string[][];
}

/** What filters look at. */
export interface Filterable {
  connectors: readonly string[];
  encoding?: string | undefined;
  groupPath: string | undefined;
  tags: readonly string[];
}

/** Compiles a filter: criteria combine with AND, the elements of one list with OR. The cheapest look first. */
export function compileMessageFilter(filter: MessageFilter): (subject: Filterable) => boolean {
  const criteria: Array<(subject: Filterable) => boolean> = [];
  const { connectors, encodings, groupPaths, tags } = filter;
  if (encodings && encodings.length > 0) {
    const set = new Set(encodings);
    criteria.push(({ encoding }) => encoding !== undefined && set.has(encoding));
  }
  if (connectors && connectors.length > 0) {
    const set = new Set(connectors);
    criteria.push((subject) => subject.connectors.some((connector) => set.has(connector)));
  }
  if (groupPaths && groupPaths.length > 0) {
    const paths = groupPaths.map(({ path, includeSubPath }) => ({
      path: path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path,
      below: includeSubPath ? (path.endsWith('/') ? path : `${path}/`) : undefined,
    }));
    criteria.push(({ groupPath }) =>
      groupPath === undefined
        ? false
        : paths.some(({ path, below }) => groupPath === path || (below !== undefined && groupPath.startsWith(below))),
    );
  }
  if (tags && tags.length > 0)
    criteria.push((subject) => tags.some((set) => set.every((tag) => subject.tags.includes(tag))));
  return (subject) => criteria.every((criterion) => criterion(subject));
}
