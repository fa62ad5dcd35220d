import type { Database } from '@orrery/core/database';
import type { JourneyQuestion, JourneyStep } from '@orrery/core/journey';
import { messageTime } from '@orrery/core/messages';
import { entryJson } from './entry-json.js';

/** How far the clocks of two machines may differ. */
const CLOCK_SKEW_MS = 60_000;
/** Of one message. */
const MAX_ENTRIES = 100;

interface Row {
  timestamp: Date;
  entry: { type: string; level: string; category: string; subcategory?: string; description: string };
}

/** What was reported of the message or its events. */
export async function journeySteps(
  database: Database,
  { tenantId, messageId, eventIds }: JourneyQuestion,
): Promise<JourneyStep[]> {
  const rows = await database.query<Row>(
    `SELECT timestamp, entry FROM messages WHERE tenant_id = $1 AND timestamp >= $3 AND entry @> ANY ($2::jsonb[])
     ORDER BY timestamp, id LIMIT ${MAX_ENTRIES}`,
    [
      tenantId,
      [messageId, ...eventIds].map((id) => entryJson({ content: { messageId: id } })),
      new Date(messageTime(messageId).getTime() - CLOCK_SKEW_MS),
    ],
  );
  return rows.map(({ timestamp, entry: { type, level, category, subcategory, description } }) => ({
    step: 'audit',
    outcome: level === 'error' ? 'failed' : 'done',
    time: timestamp.toISOString(),
    reason: description,
    entry: { type, level, category, subcategory },
  }));
}
