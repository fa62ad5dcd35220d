import type { JourneyQuestion, JourneyStep } from '@orrery/core/journey';
import { parseSearch } from '../dsl/index.js';
import type { SearchEngine } from '../search-engine.js';

/** Whether the message is in the index. */
export async function journeySteps(
  engine: SearchEngine,
  { tenantId, messageId }: JourneyQuestion,
): Promise<JourneyStep[]> {
  const query = { query: { ids: { values: [messageId] } }, size: 1, _source: false };
  const request = parseSearch(query, 'v1', () => undefined, Date.now());
  const { hits } = await engine.search(tenantId, request);
  return [{ step: 'indexing', outcome: hits.hits.length > 0 ? 'done' : 'absent' }];
}
