import type { Filter } from '../action-policies/policy-document.js';
import type { CompiledPolicy } from './tenant-policies.js';
import type { Subject } from './subject.js';

interface Entry {
  /** Place of the policy among all of its tenant. */
  order: number;
  policy: CompiledPolicy;
}

/** What a filter is found by: one criterion of it, as keys of which a message has few. */
interface Criterion {
  /** Keys under which a policy with this filter stands; undefined when the filter has no such criterion. */
  keysOf(filter: Filter): string[] | undefined;
  /** Keys of a message. */
  keysIn(subject: Subject): readonly string[];
}

const list = (values: readonly string[] | undefined): string[] | undefined =>
  values && values.length > 0 ? [...new Set(values)] : undefined;
const one = (value: string | undefined): string[] => (value === undefined ? [] : [value]);

/** The path without the slash at its end, which means the same group. */
const plain = (path: string): string => (path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path);

/** A group and those above it: policies for a group with its sub-groups stand under `below`. */
function groupKeys(path: string | undefined): string[] {
  if (path === undefined) return [];
  const keys = [`at ${path}`, 'below /'];
  for (let end = path.length; end > 0; end = path.lastIndexOf('/', end - 1)) keys.push(`below ${path.slice(0, end)}`);
  return keys;
}

/** The criteria from the one that leaves most policies out. */
const CRITERIA: readonly Criterion[] = [
  { keysOf: ({ deviceIds }) => list(deviceIds), keysIn: ({ deviceId }) => one(deviceId) },
  { keysOf: ({ ruleIds }) => list(ruleIds), keysIn: ({ ruleId }) => one(ruleId) },
  // A set that is contained in the tags of a message has its first tag there.
  { keysOf: ({ tags }) => list(tags?.map((set) => set[0]!)), keysIn: ({ tags }) => tags },
  {
    keysOf: ({ groupPaths }) =>
      list(groupPaths?.map(({ path, includeSubPath }) => `${includeSubPath ? 'below' : 'at'} ${plain(path)}`)),
    keysIn: ({ groupPath }) => groupKeys(groupPath),
  },
  { keysOf: ({ messageTypes }) => list(messageTypes), keysIn: ({ messageType }) => one(messageType) },
  { keysOf: ({ status }) => list(status?.map((each) => each.toUpperCase())), keysIn: ({ status }) => one(status) },
  { keysOf: ({ connectors }) => list(connectors), keysIn: ({ connectors }) => connectors },
];

/**
 * The policies of a tenant for one trigger. Each stands under what it filters by, so that a message looks at the few that
 * may concern it instead of all.
 */
export class PolicyIndex {
  private readonly rest: Entry[] = [];
  private readonly found = new Map<Criterion, Map<string, Entry[]>>();
  private count = 0;

  add(policy: CompiledPolicy, filter: Filter = {}): void {
    const entry = { order: this.count++, policy };
    for (const criterion of CRITERIA) {
      const keys = criterion.keysOf(filter);
      if (!keys) continue;
      let byKey = this.found.get(criterion);
      if (!byKey) this.found.set(criterion, (byKey = new Map()));
      for (const key of keys) {
        const entries = byKey.get(key);
        if (entries) entries.push(entry);
        else byKey.set(key, [entry]);
      }
      return;
    }
    this.rest.push(entry);
  }

  /** The policies whose filter the message passes, in their order. */
  matching(subject: Subject): CompiledPolicy[] {
    const matching = this.rest.filter(({ policy }) => policy.passes(subject));
    const sorted = matching.length;
    for (const [criterion, byKey] of this.found)
      for (const key of criterion.keysIn(subject))
        for (const entry of byKey.get(key) ?? []) if (entry.policy.passes(subject)) matching.push(entry);
    if (matching.length === sorted) return matching.map(({ policy }) => policy);
    // A policy may stand under several keys of the message.
    matching.sort((a, b) => a.order - b.order);
    return matching.filter((entry, i) => entry !== matching[i - 1]).map(({ policy }) => policy);
  }
}
