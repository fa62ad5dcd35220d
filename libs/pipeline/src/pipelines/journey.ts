import type { Database } from '@orrery/core/database';
import type { JourneyQuestion, JourneyStep } from '@orrery/core/journey';

/** Whether the message waits for its pipeline; what has become of it stands in the message. */
export async function journeySteps(
  database: Database,
  { tenantId, messageId }: JourneyQuestion,
): Promise<JourneyStep[]> {
  // Few wait, and headers are short. Quotes within their texts are escaped: this is the member and nothing else.
  const rows = await database.query<{ id: string; name: string }>(
    `SELECT p.id, p.name FROM waiting_messages w JOIN pipelines p ON p.tenant_id = w.tenant_id AND p.id = w.pipeline_id
     WHERE w.tenant_id = $1 AND strpos(w.header, $2) > 0 ORDER BY w.seq`,
    [tenantId, `"id":${JSON.stringify(messageId)}`],
  );
  return rows.map((pipeline) => ({ step: 'transformation', outcome: 'waiting', pipeline }));
}
