import { compileMessageFilter } from '@orrery/core/messages';
import type { Filter } from '../action-policies/policy-document.js';
import type { Subject } from './subject.js';

export type Predicate = (subject: Subject) => boolean;

/** Compiles a trigger's filter (manual 14.2.2): criteria combine with AND, the elements of one list with OR. */
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
  criteria.push(compileMessageFilter(filter ?? {}));
  return (subject) => criteria.every((criterion) => criterion(subject));
}
