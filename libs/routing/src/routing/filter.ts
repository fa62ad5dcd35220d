import type { Filter } from '../action-policies/policy-document.js';
import type { Subject } from './subject.js';

export type Predicate = (subject: Subject) => boolean;

/**
 * Compiles a trigger's filter: criteria combine with AND, the elements of one list with OR (manual 14.2.2).
 * An empty list is no criterion. The cheapest look first.
 */
export function compileFilter(filter: Filter | undefined): Predicate {
  const criteria: Predicate[] = [];
  const oneOf = (list: string[] | undefined, value: (subject: Subject) => string | undefined): void => {
    if (!list || list.length === 0) return;
    const set = new Set(list);
    criteria.push((subject) => set.has(value(subject) ?? ''));
  };
  oneOf(filter?.deviceIds, (subject) => subject.deviceId);
  oneOf(
    filter?.status?.map((status) => status.toUpperCase()),
    (subject) => subject.status,
  );
  oneOf(filter?.messageTypes, (subject) => subject.messageType);
  oneOf(filter?.ruleIds, (subject) => subject.ruleId);
  const { connectors, groupPaths, tags } = filter ?? {};
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
  // One set that is fully contained in the tags is enough (RTE-011).
  if (tags && tags.length > 0)
    criteria.push((subject) => tags.some((set) => set.every((tag) => subject.tags.includes(tag))));
  return (subject) => criteria.every((criterion) => criterion(subject));
}
