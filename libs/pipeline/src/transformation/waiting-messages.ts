import { copyRows, type Database } from '@orrery/core/database';
import { forward } from '@orrery/core/ingestion';
import type { MessageHeader } from '@orrery/core/messages';
import type { EntityManager } from 'typeorm';

/** A message that a pipeline is to handle. */
export interface Arrival {
  tenantId: string;
  pipelineId: string;
  partition: number;
  /** Messages of one key are transformed one after the other. */
  key: string;
  /** JSON. */
  header: string;
  body: string;
}

/** As it waits. Numbers of a key grow with their arrival. */
export interface WaitingMessage extends Arrival {
  seq: string;
}

/** A message that goes on. */
export interface Outcome {
  seq: string;
  partition: number;
  header: MessageHeader;
  body: string;
}

const COLUMNS = ['tenant_id', 'pipeline_id', 'partition', 'key', 'header', 'body'];

/** `full`: as many wait as may. `gone`: the pipeline has just been deleted. */
export type Admission = 'waits' | 'full' | 'gone';

/**
 * Lets messages wait for their pipeline, up to `max` of each pipeline.
 * @returns what happened to each.
 */
export async function enqueue(manager: EntityManager, arrivals: readonly Arrival[], max: number): Promise<Admission[]> {
  const counts = countsOf(arrivals);
  await lockPipelines(manager, counts);
  const admissions = arrivals.map((arrival): Admission => {
    const count = counts.get(arrival.pipelineId)!;
    if (count.waiting === undefined) return 'gone';
    if (count.waiting + count.change >= max) return 'full';
    count.change++;
    return 'waits';
  });
  await copyRows(
    manager,
    'waiting_messages',
    COLUMNS,
    arrivals
      .filter((_, i) => admissions[i] === 'waits')
      .map((each) => [each.tenantId, each.pipelineId, each.partition, each.key, each.header, each.body]),
  );
  await applyCounts(manager, counts);
  return admissions;
}

/**
 * Hands messages on and ends their waiting, in one transaction. One that no longer waits has been handed on by another
 * instance, which had taken over, or its tenant is gone: it goes nowhere.
 * @returns the numbers of those that were handed on.
 */
export function complete(database: Database, outcomes: readonly Outcome[]): Promise<Set<string>> {
  return database.transaction(async (manager) => {
    const [deleted] = (await manager.query(
      `DELETE FROM waiting_messages WHERE seq = ANY($1::bigint[])
       RETURNING seq, tenant_id AS "tenantId", pipeline_id AS "pipelineId"`,
      [outcomes.map(({ seq }) => seq)],
    )) as [Array<{ seq: string; tenantId: string; pipelineId: string }>, number];
    const done = new Set(deleted.map(({ seq }) => seq));
    const onward = outcomes.filter(({ seq }) => done.has(seq));
    for (const partition of new Set(onward.map((outcome) => outcome.partition)))
      await forward(
        manager,
        partition,
        onward.filter((outcome) => outcome.partition === partition),
      );
    const counts = countsOf(deleted);
    await lockPipelines(manager, counts);
    for (const { pipelineId } of deleted) counts.get(pipelineId)!.change--;
    await applyCounts(manager, counts);
    return done;
  });
}

/** How many messages of a pipeline wait, and by how many that changes. */
interface Count {
  tenantId: string;
  /** Undefined when there is no such pipeline. */
  waiting?: number;
  change: number;
}

const countsOf = (of: ReadonlyArray<{ tenantId: string; pipelineId: string }>): Map<string, Count> =>
  new Map(of.map(({ tenantId, pipelineId }) => [pipelineId, { tenantId, change: 0 }]));

// In one order, so that transactions that wait for each other do so in a queue.
async function lockPipelines(manager: EntityManager, counts: Map<string, Count>): Promise<void> {
  if (counts.size === 0) return;
  const rows = (await manager.query(
    `SELECT id, waiting FROM pipelines
     WHERE (tenant_id, id) IN (SELECT * FROM unnest($1::text[], $2::uuid[])) ORDER BY tenant_id, id FOR UPDATE`,
    [[...counts.values()].map(({ tenantId }) => tenantId), [...counts.keys()]],
  )) as Array<{ id: string; waiting: number }>;
  for (const { id, waiting } of rows) counts.get(id)!.waiting = waiting;
}

async function applyCounts(manager: EntityManager, counts: Map<string, Count>): Promise<void> {
  const changed = [...counts].filter(([, { change }]) => change !== 0);
  if (changed.length === 0) return;
  await manager.query(
    `UPDATE pipelines p SET waiting = p.waiting + c.change
     FROM unnest($1::text[], $2::uuid[], $3::int[]) AS c(tenant_id, id, change)
     WHERE p.tenant_id = c.tenant_id AND p.id = c.id`,
    [changed.map(([, { tenantId }]) => tenantId), changed.map(([id]) => id), changed.map(([, { change }]) => change)],
  );
}

/** Tenants whose messages wait in these partitions. */
export async function waitingTenants(database: Database, partitions: readonly number[]): Promise<string[]> {
  const rows = await database.query<{ tenant_id: string }>(
    'SELECT DISTINCT tenant_id FROM waiting_messages WHERE partition = ANY($1::int[])',
    [partitions],
  );
  return rows.map((row) => row.tenant_id);
}

/**
 * The next messages of a tenant, but those of the keys that are busy.
 * @param bytes after which no further message is taken.
 */
export async function nextMessages(
  database: Database,
  tenantId: string,
  partitions: readonly number[],
  busy: readonly string[],
  limit: number,
  bytes: number,
): Promise<{ messages: WaitingMessage[]; more: boolean }> {
  const rows = await database.query<WaitingMessage & { body: string | null }>(
    `SELECT seq, tenant_id AS "tenantId", pipeline_id AS "pipelineId", partition, key, header,
       CASE WHEN sum(octet_length(body)) OVER (ORDER BY seq) - octet_length(body) < $5 THEN body END AS body
     FROM (SELECT * FROM waiting_messages
       WHERE tenant_id = $1 AND partition = ANY($2::int[]) AND key <> ALL($3::text[]) ORDER BY seq LIMIT $4) AS head
     ORDER BY seq`,
    [tenantId, partitions, busy, limit, bytes],
  );
  const messages = rows.filter(({ body }) => body !== null);
  return { messages, more: rows.length === limit || messages.length < rows.length };
}
