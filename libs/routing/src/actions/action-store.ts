import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Secrets } from '@orrery/core/secrets';
import type { EntityManager } from 'typeorm';
import type { Actions } from '../action-policies/policy-document.js';
import { DELIVERED_KINDS, type DeliveredAction, type DeliveredKind } from './action.js';

/** Actions as a policy's row has them: those that are delivered by the ids of their rows. */
export type StoredActions = { [Kind in DeliveredKind]?: string[] } & { fifoPublish?: Array<{ fifoName: string }> };

/** An action that is delivered. Its row never changes: what waits for it goes out as it was meant when it came. */
export type ActionRow = DeliveredAction & { id: string };

const PURPOSE = 'routing:action';

const isDelivered = (kind: string): kind is DeliveredKind => (DELIVERED_KINDS as readonly string[]).includes(kind);

/** Ids of the delivered actions of a policy, by kind, in the order of the policy. */
export const deliveredIds = (stored: StoredActions): Array<{ kind: DeliveredKind; id: string }> =>
  DELIVERED_KINDS.flatMap((kind) => (stored[kind] ?? []).map((id) => ({ kind, id })));

/** The delivered actions of policies, encrypted: headers, URLs and keys hold credentials. */
export class ActionStore {
  constructor(private readonly secrets: Secrets) {}

  /** Opens the actions of policies of a tenant. */
  async read(manager: EntityManager, tenantId: string, ids: readonly string[]): Promise<Map<string, ActionRow>> {
    if (ids.length === 0) return new Map();
    const rows = (await manager.query(
      'SELECT id, kind, sealed FROM delivered_actions WHERE tenant_id = $1 AND id = ANY($2::uuid[])',
      [tenantId, ids],
    )) as Array<{ id: string; kind: DeliveredKind; sealed: string }>;
    return new Map(
      rows.map(({ id, kind, sealed }) => {
        const action: unknown = JSON.parse(this.secrets.open({ tenantId, purpose: PURPOSE }, sealed));
        return [id, { id, kind, action } as ActionRow];
      }),
    );
  }

  /** The actions of a policy as its tenant gave them. */
  open(stored: StoredActions, rows: ReadonlyMap<string, ActionRow>): Actions {
    const actions: Actions = {};
    for (const [kind, list] of Object.entries(stored))
      Object.assign(actions, {
        [kind]: isDelivered(kind) ? (list as string[]).map((id) => rows.get(id)!.action) : list,
      });
    return actions;
  }

  /** Writes what is new. Actions that have not changed keep their rows; the rows of others are retired. */
  async write(
    manager: EntityManager,
    tenantId: string,
    policyId: string,
    actions: Actions,
    present: StoredActions = {},
  ): Promise<StoredActions> {
    const before = await this.read(
      manager,
      tenantId,
      deliveredIds(present).map(({ id }) => id),
    );
    const stored: StoredActions = {};
    const added: ActionRow[] = [];
    for (const [kind, list] of Object.entries(actions)) {
      if (!isDelivered(kind)) {
        Object.assign(stored, { [kind]: list });
        continue;
      }
      stored[kind] = (list as Array<DeliveredAction['action']>).map((action) => {
        const same = [...before.values()].find((row) => row.kind === kind && isDeepStrictEqual(row.action, action));
        if (same) {
          before.delete(same.id);
          return same.id;
        }
        const row = { id: randomUUID(), kind, action } as ActionRow;
        added.push(row);
        return row.id;
      });
    }
    if (added.length > 0)
      await manager.query(
        `INSERT INTO delivered_actions (tenant_id, id, policy_id, kind, sealed)
         SELECT $1, id, $2, kind, sealed FROM unnest($3::uuid[], $4::text[], $5::text[]) AS v(id, kind, sealed)`,
        [
          tenantId,
          policyId,
          added.map(({ id }) => id),
          added.map(({ kind }) => kind),
          added.map(({ action }) => this.secrets.seal({ tenantId, purpose: PURPOSE }, JSON.stringify(action))),
        ],
      );
    if (before.size > 0)
      await manager.query(
        'UPDATE delivered_actions SET retired = now() WHERE tenant_id = $1 AND id = ANY($2::uuid[])',
        [tenantId, [...before.keys()]],
      );
    return stored;
  }

  /** What waits for the actions of the policy is not delivered any more. */
  async delete(manager: EntityManager, tenantId: string, policyId: string): Promise<void> {
    await manager.query('DELETE FROM delivered_actions WHERE tenant_id = $1 AND policy_id = $2', [tenantId, policyId]);
  }
}
