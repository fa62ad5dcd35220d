import { streamSubject } from '@orrery/core/bus';
import { type OutboxItem, writeOutbox } from '@orrery/core/database';
import { type EventHeader, newMessageId, partitionKey, partitionOf } from '@orrery/core/messages';
import type { EntityManager } from 'typeorm';
import { criterionDigest } from '../guards/criteria.js';
import { chunks, type Emitted } from './batch.js';
import type { Effects } from './effects.js';
import { type FiringContext, type Guard, guardKey, type TakenGuard } from './simple-events.js';
import { type Computed, MAX_STATE_LENGTH, rowKey, type State, type StateKey } from './state-changes.js';

/** Guards, states and events in the transaction of a batch. */
export class DatabaseEffects implements Effects {
  /** True once a statement has written something, or tried to. */
  written = false;

  constructor(
    private readonly manager: EntityManager,
    private readonly partitions: number,
  ) {}

  async readGuards(contexts: readonly FiringContext[]): Promise<Map<string, Guard>> {
    const rows = (await this.manager.query(
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

  async writeGuards(guards: readonly TakenGuard[]): Promise<Set<string>> {
    const won = new Set<string>();
    this.written ||= guards.length > 0;
    for (const chunk of chunks(guards, ({ fires }) => fires.at(-1)!.incoming.data.length)) {
      const rows = (await this.manager.query(
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
          chunk.map((guard) => guard.matchingContext()),
          chunk.map(({ since }) => new Date(since)),
          chunk.map(({ expires }) => (expires === Infinity ? null : new Date(expires))),
        ],
      )) as Array<{ id: string }>;
      for (const { id } of rows) won.add(id);
    }
    return won;
  }

  async readStates(keys: readonly StateKey[]): Promise<Map<string, State>> {
    const rows = (await this.manager.query(
      `SELECT s.rule_id, s.key, s.state FROM states s
       JOIN unnest($1::text[], $2::uuid[], $3::text[]) AS v(tenant_id, rule_id, key)
         ON s.tenant_id = v.tenant_id AND s.rule_id = v.rule_id AND s.key = v.key`,
      [keys.map(({ tenantId }) => tenantId), keys.map(({ rule }) => rule.id), keys.map(({ digest }) => digest)],
    )) as Array<{ rule_id: string; key: string; state: string }>;
    return new Map(rows.map(({ rule_id: rule, key, state }) => [rowKey(rule, key), JSON.parse(state) as State]));
  }

  async writeStates(computed: readonly Computed[]): Promise<Set<string>> {
    const written = new Set<string>();
    this.written ||= computed.length > 0;
    for (const chunk of chunks(computed, () => MAX_STATE_LENGTH)) {
      const rows = (await this.manager.query(
        `INSERT INTO states AS s (tenant_id, rule_id, key, state, previous, changed)
         SELECT *, $6::timestamptz FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[])
         ON CONFLICT (tenant_id, rule_id, key) DO UPDATE SET state = EXCLUDED.state, previous = EXCLUDED.previous,
           changed = EXCLUDED.changed
         WHERE s.state = EXCLUDED.previous
         RETURNING rule_id, key`,
        [
          chunk.map(({ stateKey }) => stateKey.tenantId),
          chunk.map(({ stateKey }) => stateKey.rule.id),
          chunk.map(({ stateKey }) => stateKey.digest),
          chunk.map(({ after }) => JSON.stringify(after)),
          chunk.map(({ before }) => (before === null ? null : JSON.stringify(before))),
          new Date(),
        ],
      )) as Array<{ rule_id: string; key: string }>;
      for (const { rule_id: rule, key } of rows) written.add(rowKey(rule, key));
    }
    return written;
  }

  publish(events: readonly Emitted[]): Promise<void> {
    this.written = true;
    return writeOutbox(
      this.manager,
      events.map((event) => this.outboxItem(event)),
    );
  }

  // The transaction, the leases and the other work of the process go on.
  async breathe(): Promise<void> {
    await this.manager.query('SELECT 1');
  }

  private outboxItem({ incoming, type, rules, body }: Emitted): OutboxItem {
    const { tenantId } = incoming;
    const key = partitionKey(incoming.header);
    const { traceparent } = incoming.header;
    const header: EventHeader = {
      tenantId,
      type,
      key,
      ...(traceparent === undefined ? {} : { traceparent }),
      stored: { id: newMessageId(), rules, cause: incoming.header.id },
    };
    return {
      subject: streamSubject('EVENTS', partitionOf(tenantId, key, this.partitions)),
      header: JSON.stringify(header),
      body: body(),
    };
  }
}
