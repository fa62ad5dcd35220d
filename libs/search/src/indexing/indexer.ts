import type { Audit } from '@orrery/core/audit';
import type { FieldRegistry, Refusal } from '../fields/index.js';
import { searchMetrics } from '../metrics.js';
import type { IndexedDocument, SearchEngine } from '../search-engine.js';

/** Of names that the sender has chosen, in the audit log. */
const MAX_SHOWN = 512;

/** Puts messages into the index that fit the types of their model, and says in the audit log which do not (manual 13.3.1). */
export class Indexer {
  constructor(
    private readonly registry: FieldRegistry,
    private readonly engine: SearchEngine,
    private readonly audit: Audit,
  ) {}

  /**
   * @param silent refusals have been reported before.
   * @returns how many were indexed.
   * @throws when the engine or the database is away: nothing is lost by doing it again.
   */
  async index(documents: readonly IndexedDocument[], silent = false): Promise<number> {
    if (documents.length === 0) return 0;
    const verdicts = await this.registry.learn(documents);
    const indexable = documents.filter((_, i) => verdicts[i] === undefined);
    const refused = indexable.length > 0 ? await this.engine.index(indexable) : [];
    // After that: a batch that is done again reports once.
    if (!silent) {
      searchMetrics.refused.inc(documents.length - indexable.length + refused.length);
      for (const [i, refusal] of verdicts.entries()) if (refusal) this.report(documents[i]!, refusal);
      for (const { document, reason } of refused) this.report(document, { reason });
    }
    return indexable.length - refused.length;
  }

  /** @param refusal without a field when it is the engine's. */
  private report(
    { tenantId, id, model: given, source }: IndexedDocument,
    { field, reason }: Pick<Refusal, 'reason'> & Partial<Refusal>,
  ): void {
    const model = given?.slice(0, MAX_SHOWN);
    const { metadata, streamId } = source as {
      metadata?: { source?: string; connector?: string } | null;
      streamId: string;
    };
    this.audit.write({
      tenantId,
      level: 'error',
      category: 'data',
      subcategory: 'storage',
      type: 'not_indexed',
      description: `A data message${model === undefined ? '' : ` of model ${model}`} is stored but cannot be searched: ${field === undefined ? '' : `field ${field}: `}${reason}`,
      source: {
        ...(metadata?.source ? { deviceId: metadata.source.slice(0, MAX_SHOWN) } : {}),
        ...(metadata?.connector ? { connector: metadata.connector } : {}),
      },
      content: {
        messageId: id,
        streamId,
        ...(model === undefined ? {} : { model }),
        ...(field === undefined ? {} : { field }),
      },
    });
  }
}
