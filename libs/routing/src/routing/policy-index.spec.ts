import { randomUUID } from 'node:crypto';
import type { Filter } from '../action-policies/policy-document.js';
import { compileFilter } from './filter.js';
import { PolicyIndex } from './policy-index.js';
import type { Subject } from './subject.js';

const policyOf = (filter: Filter, id = randomUUID()) => ({
  id,
  activeSince: 0,
  passes: compileFilter(filter),
  fifoNames: [],
  deliveries: [],
});
const subjectOf = (fields: Partial<Subject>): Subject => ({
  tenantId: 't',
  type: 'dataMessage',
  time: 0,
  routed: '',
  connectors: [],
  groupPath: undefined,
  deviceId: undefined,
  tags: [],
  status: undefined,
  messageType: undefined,
  ruleId: undefined,
  storedId: undefined,
  traceparent: undefined,
  ...fields,
});

/** A sequence that is the same in every run. */
function numbers(seed: number): (most: number) => number {
  let state = seed;
  return (most) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * most);
  };
}

it('finds exactly the policies whose filter a message passes, in their order', () => {
  const next = numbers(7);
  const paths = ['/', '/a', '/a/b', '/a/b/c', '/ab', '/a/bc', '/b/'];
  const some = <Item>(items: readonly Item[]): Item[] => items.filter(() => next(3) === 0);
  const maybe = <Item>(name: string, items: Item[]): object => (next(3) === 0 ? { [name]: items } : {});
  const index = new PolicyIndex();
  const policies = Array.from({ length: 400 }, () => {
    const filter: Filter = {
      ...maybe('deviceIds', some(['d1', 'd2', 'd3'])),
      ...maybe('connectors', some(['mqtt', 'lora'])),
      ...maybe('ruleIds', some(['r1', 'r2'])),
      ...maybe('messageTypes', some(['JOIN_REQUEST', 'JOIN_ACCEPT'])),
      ...maybe('status', some(['EXPIRED', 'error'])),
      ...maybe(
        'groupPaths',
        some(paths).map((path) => ({ path, includeSubPath: next(2) === 0 })),
      ),
      ...maybe(
        'tags',
        Array.from({ length: next(3) }, () => ['x', ...some(['y', 'z'])]),
      ),
    };
    const policy = policyOf(filter);
    index.add(policy, filter);
    return policy;
  });
  const oneOf = (...items: Array<string | undefined>): string | undefined => items[next(items.length)];
  let found = 0;
  for (let i = 0; i < 500; i++) {
    const subject = subjectOf({
      deviceId: oneOf('d1', 'd2', 'd9', undefined),
      connectors: some(['mqtt', 'lora', 'sms']),
      ruleId: oneOf('r1', 'r9', undefined),
      messageType: oneOf('JOIN_REQUEST', 'X', undefined),
      status: oneOf('EXPIRED', 'ERROR', 'PROCESSED', undefined),
      groupPath: oneOf(...paths.slice(0, 6), '/a/b/c/d', undefined),
      tags: some(['x', 'y', 'z', 'w']),
    });
    const expected = policies.filter((policy) => policy.passes(subject));
    expect(index.matching(subject)).toEqual(expected);
    found += expected.length;
  }
  expect(found).toBeGreaterThan(1000);
});

it('looks at the few of 1,000 policies that may concern a message', () => {
  const index = new PolicyIndex();
  let looked = 0;
  for (let i = 0; i < 1000; i++) {
    const filter: Filter = [
      { deviceIds: [`d${i}`] },
      { groupPaths: [{ path: `/site${i}`, includeSubPath: true }] },
      { tags: [[`t${i}`]] },
      { ruleIds: [`r${i}`] },
    ][i % 4]!;
    const { passes, ...policy } = policyOf({ ...filter, connectors: ['mqtt'] });
    const counted = (subject: Subject): boolean => {
      looked++;
      return passes(subject);
    };
    index.add({ ...policy, passes: counted }, { ...filter, connectors: ['mqtt'] });
  }
  const subject = subjectOf({
    deviceId: 'd4',
    groupPath: '/site5/floor/room',
    tags: ['t6', 'x', 'y'],
    connectors: ['mqtt'],
  });
  expect(index.matching(subject)).toHaveLength(3);
  expect(looked).toBe(3);
});
