import { randomUUID } from 'node:crypto';
import { isTrue } from '@orrery/core/json-logic';
import { criterionDigest, digestOf } from '../guards/criteria.js';
import type { CriterionDto } from '../guards/guard.dto.js';
import { type Batch, chunks, type Incoming, inLockOrder, referenceTo } from './batch.js';
import type { CompiledFiringRule, CompiledMatchingRule } from './tenant-rules.js';

/** A match that a firing rule applies to. */
interface Match {
  incoming: Incoming;
  matching: CompiledMatchingRule;
}

/** By firing rule, then by the JSON of the criteria. */
type FiringContexts = Map<CompiledFiringRule, Map<string, FiringContext>>;

/** The matches of one firing context, in the order of the messages. */
interface FiringContext {
  tenantId: string;
  firing: CompiledFiringRule;
  criteria: CriterionDto[];
  digest: string;
  matches: Match[];
}

/** A guard that is in the database. */
interface Guard {
  id: string;
  /** Epoch milliseconds; Infinity when it stays until it is removed. */
  expires: number;
}

/** Simple event processing (manual 17.2.5): matching rules, then the firing rules that they lead to. */
export async function processSimpleEvents(batch: Batch): Promise<void> {
  const contexts: FiringContexts = new Map();
  for (const incoming of batch.messages) {
    for (const matching of incoming.rules.matching) {
      if (!isTrue(batch.evaluate(matching, matching.predicate, incoming))) continue;
      for (const firing of matching.firing)
        if (firing.guard) addMatch(contexts, firing, { incoming, matching });
        else await fire(batch, firing, { incoming, matching });
    }
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
    const guards = await readGuards(batch, open);
    const taken = open.flatMap((context) => decide(context, guards.get(guardKey(context.firing.id, context.digest))));
    const won = await writeGuards(batch, taken);
    for (const { context, fires, id } of taken)
      if (won.has(id)) for (const match of fires) await fire(batch, context.firing, match);
    open = taken.filter(({ id }) => !won.has(id)).map(({ context }) => context);
  }
}

interface TakenGuard {
  context: FiringContext;
  fires: Match[];
  id: string;
  replaces: string | null;
  /** Arrival of the match that it is for, epoch milliseconds. */
  since: number;
  expires: number;
}

/** Which matches of a context fire, and the guard that the last of them leaves; nothing when none does. */
function decide(context: FiringContext, guard: Guard | undefined): TakenGuard[] {
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
  return fires.length === 0 ? [] : [{ context, fires, id: randomUUID(), replaces: guard?.id ?? null, since, expires }];
}

const guardKey = (firingRuleId: string, digest: string): string => `${firingRuleId} ${digest}`;

async function readGuards(batch: Batch, contexts: readonly FiringContext[]): Promise<Map<string, Guard>> {
  const rows = (await batch.manager.query(
    `SELECT g.firing_rule_id, g.context, g.id, g.expires FROM firing_guards g
     JOIN unnest($1::text[], $2::uuid[], $3::text[]) AS v(tenant_id, firing_rule_id, context)
       ON g.tenant_id = v.tenant_id AND g.firing_rule_id = v.firing_rule_id AND g.context = v.context`,
    [
      contexts.map(({ tenantId }) => tenantId),
      contexts.map(({ firing }) => firing.id),
      contexts.map(({ digest }) => digest),
    ],
  )) as Array<{ firing_rule_id: string; context: string; id: string; expires: Date | null }>;
  return new Map(
    rows.map(({ firing_rule_id: rule, context, id, expires }) => [
      guardKey(rule, context),
      { id, expires: expires?.getTime() ?? Infinity },
    ]),
  );
}

/** @returns the ids of the guards that are in force now. */
async function writeGuards(batch: Batch, guards: readonly TakenGuard[]): Promise<Set<string>> {
  const won = new Set<string>();
  for (const chunk of chunks(guards, ({ fires }) => fires.at(-1)!.incoming.data.length)) {
    const { manager } = batch;
    const rows = (await manager.query(
      `INSERT INTO firing_guards AS g
         (tenant_id, firing_rule_id, context, id, replaces, criteria, criteria_digests, matching_context, created, expires)
       SELECT tenant_id, firing_rule_id, context, id, replaces, criteria, string_to_array(digests, ' '), matching_context,
         created, expires
       FROM unnest($1::text[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[],
         $9::timestamptz[], $10::timestamptz[])
         AS v(tenant_id, firing_rule_id, context, id, replaces, criteria, digests, matching_context, created, expires)
       ON CONFLICT (tenant_id, firing_rule_id, context) DO UPDATE SET id = EXCLUDED.id, replaces = EXCLUDED.replaces,
         criteria = EXCLUDED.criteria, criteria_digests = EXCLUDED.criteria_digests,
         matching_context = EXCLUDED.matching_context, created = EXCLUDED.created, expires = EXCLUDED.expires
       WHERE g.id = EXCLUDED.replaces
       RETURNING id`,
      [
        chunk.map(({ context }) => context.tenantId),
        chunk.map(({ context }) => context.firing.id),
        chunk.map(({ context }) => context.digest),
        chunk.map(({ id }) => id),
        chunk.map(({ replaces }) => replaces),
        chunk.map(({ context }) => JSON.stringify(context.criteria)),
        chunk.map(({ context }) => context.criteria.map(criterionDigest).join(' ')),
        chunk.map(({ fires }) => matchingContext(batch, fires.at(-1)!, fires.at(-1)!.matching.dto)),
        chunk.map(({ since }) => new Date(since)),
        chunk.map(({ expires }) => (expires === Infinity ? null : new Date(expires))),
      ],
    )) as Array<{ id: string }>;
    for (const { id } of rows) won.add(id);
  }
  return won;
}

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
