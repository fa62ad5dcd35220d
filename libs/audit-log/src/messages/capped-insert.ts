import type { EntityManager } from 'typeorm';

/** What is kept of an entry; `entry` is JSON without the tenant. */
export type Row = [tenantId: string, id: string, timestamp: string, entry: string];

/**
 * Keeps entries, at most `perMinute` of a tenant, category, subcategory and minute of their timestamps; the next one is
 * replaced by an entry that says so (manual 19.2), later than the others, and those that follow are left out. What is
 * kept already is counted, so that it does not matter who kept it. Only one transaction at a time may do this.
 */
export async function insertCapped(manager: EntityManager, rows: Row[], perMinute: number): Promise<void> {
  if (rows.length === 0) return;
  await manager.query(
    `WITH entries AS (
       SELECT tenant_id, id, timestamp, v.entry::jsonb AS entry, place,
         date_trunc('minute', timestamp, 'UTC') AS minute,
         coalesce(v.entry::jsonb ->> 'category', '') AS category,
         coalesce(v.entry::jsonb ->> 'subcategory', '') AS subcategory
       FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[]) WITH ORDINALITY
         AS v (tenant_id, id, timestamp, entry, place)
     ), kept AS (
       SELECT flow.*, before.count, before.latest
       FROM (SELECT DISTINCT tenant_id, minute, category, subcategory FROM entries) AS flow
       CROSS JOIN LATERAL (
         SELECT count(*) AS count, max(m.timestamp) AS latest FROM messages AS m
         WHERE m.tenant_id = flow.tenant_id
           AND m.timestamp >= flow.minute AND m.timestamp < flow.minute + interval '1 minute'
           AND coalesce(m.entry ->> 'category', '') = flow.category
           AND coalesce(m.entry ->> 'subcategory', '') = flow.subcategory
       ) AS before
     ), ranked AS (
       SELECT tenant_id, id, timestamp, entry, category, subcategory,
         count + row_number() OVER (PARTITION BY tenant_id, minute, category, subcategory ORDER BY place) AS rank,
         least(
           greatest(latest, max(timestamp) OVER (PARTITION BY tenant_id, minute, category, subcategory))
             + interval '1 millisecond',
           minute + interval '59.999 seconds'
         ) AS last
       FROM entries JOIN kept USING (tenant_id, minute, category, subcategory)
     )
     INSERT INTO messages (tenant_id, id, timestamp, entry)
     SELECT tenant_id, id, timestamp, entry FROM ranked WHERE rank <= $5
     UNION ALL
     SELECT tenant_id, id, last, jsonb_build_object(
         'id', id,
         'timestamp', to_char(last AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
         'level', 'error',
         'category', category,
         'subcategory', subcategory,
         'type', 'limit_reached',
         'description', format('More than %s audit log messages of this kind in a minute: the others of this minute are left out', $5::bigint)
       ) FROM ranked WHERE rank = $5 + 1
     ON CONFLICT DO NOTHING`,
    [...[0, 1, 2, 3].map((column) => rows.map((row) => row[column])), perMinute],
  );
}
