import type { Database } from '@orrery/core/database';
import type { JourneyQuestion, JourneyStep } from '@orrery/core/journey';
import type { Settled } from './delivery-queue.js';

/** Attempts are remembered for so long, and so many of all tenants together. */
const KEPT_DAYS = 7;
const KEPT_ATTEMPTS = 2_000_000;
/** Characters of what came of an attempt. */
const MAX_TOLD = 500;
/** Of one message. */
const MAX_STEPS = 1000;

/** A statement that remembers attempts; its parameters begin at $13. */
export const RECORD_ATTEMPTS = `
  INSERT INTO delivery_attempts (tenant_id, stored_id, message_id, policy_id, kind, attempt, outcome, told)
  SELECT * FROM unnest($13::text[], $14::text[], $15::uuid[], $16::uuid[], $17::text[], $18::int[], $19::text[], $20::text[])`;

/** What is known of attempts for the journeys of messages that are stored. @returns the parameters of `RECORD_ATTEMPTS`. */
export function recordAttempts(ended: readonly Settled[], again: readonly Settled[]): unknown[][] {
  const failed = (each: Settled): boolean =>
    each.failed === true || each.succeeded === false || each.audit !== undefined;
  const rows = [
    ...ended.map((each) => ({ ...each, outcome: failed(each) ? 'failed' : 'done' })),
    // What is given back untried has not been attempted.
    ...again
      .filter((each) => each.again!.attempt > each.delivery.attempt)
      .map((each) => ({ ...each, outcome: 'retrying' })),
  ].filter(({ delivery }) => delivery.storedId !== undefined);
  const deliveries = rows.map(({ delivery }) => delivery);
  return [
    deliveries.map(({ tenantId }) => tenantId),
    deliveries.map(({ storedId }) => storedId),
    deliveries.map(({ messageId }) => messageId),
    deliveries.map(({ policyId }) => policyId ?? null),
    deliveries.map(({ kind, queue }) => kind ?? queue),
    deliveries.map(({ attempt }) => attempt + 1),
    rows.map(({ outcome }) => outcome),
    rows.map(({ told }) => told?.replaceAll('\0', '').slice(0, MAX_TOLD) ?? null),
  ];
}

/** Forgets the oldest attempts. */
export async function forgetAttempts(database: Database): Promise<void> {
  await database.query(
    `DELETE FROM delivery_attempts WHERE at < now() - make_interval(days => $1)
       OR seq <= (SELECT max(seq) FROM delivery_attempts) - $2`,
    [KEPT_DAYS, KEPT_ATTEMPTS],
  );
}

interface Row {
  storedId: string;
  kind: string | null;
  outcome: JourneyStep['outcome'];
  time: Date | null;
  reason: string | null;
  attempt: number;
  policyId: string | null;
  policyName: string | null;
  messageUUID: string;
  due: Date | null;
}

/** What has become of the message, and of its events, on the ways to other systems. */
export async function journeySteps(
  database: Database,
  { tenantId, messageId, eventIds }: JourneyQuestion,
): Promise<JourneyStep[]> {
  const rows = await database.query<Row>(
    `SELECT s.*, p.name AS "policyName" FROM (
       SELECT stored_id AS "storedId", kind, outcome, at AS time, told AS reason, attempt, policy_id AS "policyId",
         message_id AS "messageUUID", NULL::timestamptz AS due, 0 AS later, seq
       FROM delivery_attempts WHERE tenant_id = $1 AND stored_id = ANY($2::text[])
       UNION ALL
       SELECT d.stored_id, coalesce(a.kind, d.queue), 'waiting', NULL, NULL, d.attempt + 1, a.policy_id, d.message_id,
         CASE WHEN d.taken THEN NULL ELSE d.due END, 1, d.seq
       FROM deliveries d LEFT JOIN delivered_actions a ON a.tenant_id = d.tenant_id AND a.id = d.action_id
       WHERE d.tenant_id = $1 AND d.stored_id = ANY($2::text[])
     ) s LEFT JOIN action_policies p ON p.tenant_id = $1 AND p.id = s."policyId"
     ORDER BY s.later, s.seq LIMIT ${MAX_STEPS}`,
    [tenantId, [messageId, ...eventIds]],
  );
  return [...rows.map((row) => stepOf(row, messageId)), ...(await fifoSteps(database, tenantId, messageId))];
}

const stepOf = (row: Row, messageId: string): JourneyStep => ({
  step: row.kind!,
  outcome: row.outcome,
  ...(row.time === null ? {} : { time: row.time.toISOString() }),
  ...(row.reason === null ? {} : { reason: row.reason }),
  attempt: row.attempt,
  ...(row.due === null ? {} : { due: row.due.toISOString() }),
  messageUUID: row.messageUUID,
  ...(row.storedId === messageId ? {} : { eventId: row.storedId }),
  ...(row.policyId === null
    ? {}
    : { policy: { id: row.policyId, ...(row.policyName === null ? {} : { name: row.policyName }) } }),
});

/** Messages leave a FIFO without a trace: only what still waits there is known. */
async function fifoSteps(database: Database, tenantId: string, messageId: string): Promise<JourneyStep[]> {
  // The FIFOs of an account hold 20 MiB together.
  const waiting = await database.query<{ fifoName: string; expires: Date }>(
    `SELECT f.name AS "fifoName", m.expires FROM fifos f JOIN fifo_messages m ON m.fifo_id = f.id
     WHERE f.tenant_id = $1 AND strpos(m.body, $2) > 0 AND m.expires > now() ORDER BY f.name, m.seq LIMIT ${MAX_STEPS}`,
    [tenantId, `"id":"${messageId}"`],
  );
  const steps = waiting.map(({ fifoName, expires }): JourneyStep => ({
    step: 'fifoPublish',
    outcome: 'waiting',
    fifoName,
    expires: expires.toISOString(),
  }));
  const reason = 'messages that have left a FIFO, and events in one, are not remembered';
  return [...steps, { step: 'fifoPublish', outcome: 'notKept', reason }];
}
