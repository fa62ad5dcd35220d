import { ApiError } from '@orrery/core/http';
import { COUNTS, counter, histogram } from '@orrery/core/telemetry';
import type { SearchEngine } from './search-engine.js';

export const searchMetrics = {
  searchSeconds: histogram(
    'orrery_search_seconds',
    'Time of a search in the engine. Outcome: answered, refused (the request is at fault), failed',
    ['outcome'],
  ),
  indexSeconds: histogram('orrery_search_index_seconds', 'Time of giving documents to the engine'),
  indexDocuments: histogram('orrery_search_index_documents', 'Documents given to the engine at once', [], COUNTS),
  indexFailures: counter('orrery_search_index_failures_total', 'Times that the engine did not take documents'),
  refused: counter(
    'orrery_search_refused_total',
    'Messages that do not fit the types or the fields of their account, or that the engine refused',
  ),
};

/** An engine whose work is measured. */
export function measured(engine: SearchEngine): SearchEngine {
  return {
    ...(engine.prepare ? { prepare: () => engine.prepare!() } : {}),
    async index(documents) {
      const end = searchMetrics.indexSeconds.startTimer();
      try {
        const refused = await engine.index(documents);
        end();
        searchMetrics.indexDocuments.observe(documents.length);
        return refused;
      } catch (error) {
        searchMetrics.indexFailures.inc();
        throw error;
      }
    },
    async search(tenantId, request) {
      const end = searchMetrics.searchSeconds.startTimer();
      try {
        const answer = await engine.search(tenantId, request);
        end({ outcome: 'answered' });
        return answer;
      } catch (error) {
        end({ outcome: error instanceof ApiError && error.status < 500 ? 'refused' : 'failed' });
        throw error;
      }
    },
    count: (...parameters) => engine.count(...parameters),
    expire: (before) => engine.expire(before),
    removeTenant: (tenantId) => engine.removeTenant(tenantId),
  };
}
