import { randomUUID } from 'node:crypto';
import { isTrue } from '@orrery/core/json-logic';
import { digestOf } from '../guards/criteria.js';
import type { CriterionDto } from '../guards/guard.dto.js';
import { type Batch, type Incoming, inLockOrder, referenceTo } from './batch.js';
import type { CompiledFiringRule, CompiledMatchingRule } from './tenant-rules.js';

/** A match that a firing rule applies to. */
interface Match {
  incoming: Incoming;
  matching: CompiledMatchingRule;
}

/** By firing rule, then by the JSON of the criteria. */
type FiringContexts = Map<CompiledFiringRule, Map<string, FiringContext>>;

/** The matches of one firing context, in the order of the messages. */
export interface FiringContext {
  tenantId: string;
  firing: CompiledFiringRule;
  criteria: CriterionDto[];
  digest: string;
  matches: Match[];
}

/** A guard that is in force. */
export interface Guard {
  id: string;
  /** Epoch milliseconds; Infinity when it stays until it is removed. */
  expires: number;
}

/** Simple event processing (manual 17.2.5): matching rules, then the firing rules that they lead to. */
export async function processSimpleEvents(batch: Batch): Promise<void> {
  const contexts: FiringContexts = new Map();
  for (const incoming of batch.messages) {
    const began = performance.now();
    for (const matching of incoming.rules.matching) {
      if (!isTrue(batch.evaluate(matching, matching.predicate, incoming))) continue;
      for (const firing of matching.firing)
        if (firing.guard) addMatch(contexts, firing, { incoming, matching });
        else await fire(batch, firing, { incoming, matching });
    }
    batch.evaluatedSince(began);
    if (batch.isLong) await batch.breathe();
  }
  await fireGuarded(batch, contexts);
}

function addMatch(contexts: FiringContexts, firing: CompiledFiringRule, match: Match): void {
  const { incoming } = match;
  const { tenantId } = incoming;
  const criteria = firing.keys.map(({ path, read }) => ({ keyPath: path, value: read(incoming.message) ?? null }));
  let ofRule = contexts.get(firing);
  if (!ofRule) contexts.set(firing, (ofRule = new Map()));
  const key = JSON.stringify(criteria);
  const known = ofRule.get(key);
  if (!known) ofRule.set(key, { tenantId, firing, criteria, digest: digestOf(criteria), matches: [match] });
  // After one match of a message, no other one can fire; nor after the first, when that is once.
  else if (firing.guard?.sleepMs !== undefined && known.matches.at(-1)!.incoming !== incoming)
    known.matches.push(match);
}

/**
 * Guards are taken by comparing and setting: a context whose guard another instance has set in the meantime is locked
 * by the attempt, and decided again. All instances lock in the same order.
 */
async function fireGuarded(batch: Batch, contexts: FiringContexts): Promise<void> {
  let open = inLockOrder(
    [...contexts.values()].flatMap((ofRule) => [...ofRule.values()]),
    ({ tenantId, firing, digest }) => `${tenantId} ${guardKey(firing.id, digest)}`,
  );
  while (open.length > 0) {
    const guards = await batch.effects.readGuards(open);
    const taken = open.flatMap((context) =>
      decide(batch, context, guards.get(guardKey(context.firing.id, context.digest))),
    );
    const won = await batch.effects.writeGuards(taken);
    for (const { context, fires, id } of taken)
      if (won.has(id)) for (const match of fires) await fire(batch, context.firing, match);
    open = taken.filter(({ id }) => !won.has(id)).map(({ context }) => context);
  }
}

export interface TakenGuard {
  context: FiringContext;
  fires: Match[];
  id: string;
  replaces: string | null;
  /** Arrival of the match that it is for, epoch milliseconds. */
  since: number;
  expires: number;
  /** Of the last match, as JSON text. */
  matchingContext: () => string;
}

/** Which matches of a context fire, and the guard that the last of them leaves; nothing when none does. */
function decide(batch: Batch, context: FiringContext, guard: Guard | undefined): TakenGuard[] {
  const { sleepMs = Infinity } = context.firing.guard!;
  const fires: Match[] = [];
  let expires = guard?.expires ?? -Infinity;
  let since = 0;
  for (const match of context.matches) {
    const { arrived } = match.incoming;
    if (arrived < expires) continue;
    fires.push(match);
    since = arrived;
    expires = arrived + sleepMs;
  }
  const last = fires.at(-1);
  if (!last) return [];
  const replaces = guard?.id ?? null;
  const described = (): string => matchingContext(batch, last, last.matching.dto);
  return [{ context, fires, id: randomUUID(), replaces, since, expires, matchingContext: described }];
}

export const guardKey = (firingRuleId: string, digest: string): string => `${firingRuleId} ${digest}`;

const matchingContext = (batch: Batch, { incoming }: Match, rule: unknown, type = ''): string =>
  `{"tenantId":${JSON.stringify(incoming.tenantId)},"timestamp":"${batch.timestamp}",` +
  `"matchingRule":${JSON.stringify(rule)},"data":{${type}${incoming.data}}}`;

/** The routed event (manual 15.4.2.2). */
function fire(batch: Batch, firing: CompiledFiringRule, match: Match): Promise<void> {
  const { incoming, matching } = match;
  const body = (): string => {
    const context = matchingContext(batch, match, referenceTo(matching), '"type":"dataMessage","version":1,');
    return (
      `{"type":"matchingFired","version":1,"tenantId":${JSON.stringify(incoming.tenantId)},` +
      `"timestamp":"${batch.timestamp}","firingRule":${JSON.stringify(referenceTo(firing))},"matchingContext":${context}}`
    );
  };
  return batch.emit(incoming, 'matchingFired', { firingRule: firing.stored, matchingRule: matching.stored }, body);
}
