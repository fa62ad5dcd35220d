import { type Client, errors } from '@elastic/elasticsearch';
import type { Logger } from '@orrery/core/telemetry';
import type { IndexedDocument, RefusedDocument } from '../search-engine.js';

/** Less than the client's own time-out: what nobody waits for any more should not be done either. */
const SERVER_TIMEOUT = '10s';
/** Times that documents are sent again which Elasticsearch had no room for, and milliseconds before the first of them. */
const ATTEMPTS = 5;
const PAUSE_MS = 100;
const TOO_LARGE = 413;

/** A document and its two lines in a bulk request. */
export interface BulkDocument {
  document: IndexedDocument;
  lines: string;
}

interface BulkAnswer {
  errors: boolean;
  items: Array<{ index: { status: number; error?: { type?: string; reason?: string } } }>;
}

/** The index is not there, or not as the engine makes it: it has to be made before the next attempt. */
export class IndexMissingError extends Error {}

/**
 * Writes documents, each alone: one that Elasticsearch will never take holds up no other, and those that it has no room for
 * at the moment are sent again without the others.
 * @throws when some are not written and may be later.
 */
export async function writeBulk(
  client: Client,
  logger: Logger,
  documents: readonly BulkDocument[],
): Promise<RefusedDocument[]> {
  const refused: RefusedDocument[] = [];
  let waiting = documents;
  for (let attempt = 1; ; attempt++) {
    const sent = await send(client, logger, waiting);
    refused.push(...sent.refused);
    if (sent.rejected.length === 0) return refused;
    if (attempt === ATTEMPTS) throw new Error(`Elasticsearch could not index: ${sent.reason}`);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * 2 ** (attempt - 1)));
    waiting = sent.rejected;
  }
}

interface Sent {
  refused: RefusedDocument[];
  rejected: BulkDocument[];
  /** Of a rejection. */
  reason?: string;
}

async function send(client: Client, logger: Logger, documents: readonly BulkDocument[]): Promise<Sent> {
  let answer: BulkAnswer;
  try {
    answer = (await client.transport.request({
      method: 'POST',
      path: '/_bulk',
      querystring: { timeout: SERVER_TIMEOUT, require_alias: true, filter_path: 'errors,items.*.status,items.*.error' },
      bulkBody: documents.map(({ lines }) => lines).join(''),
    })) as unknown as BulkAnswer;
  } catch (error) {
    if (!(error instanceof errors.ResponseError) || error.statusCode !== TOO_LARGE) throw error;
    return sendHalves(client, logger, documents);
  }
  const sent: Sent = { refused: [], rejected: [] };
  if (!answer.errors) return sent;
  for (const [i, { index }] of answer.items.entries()) {
    const { status, error } = index;
    if (!error) continue;
    const reason = `${status} ${error.type}: ${error.reason}`;
    if (status === 404) throw new IndexMissingError(`Elasticsearch could not index: ${reason}`);
    // What the document is, it remains; an index that somebody has closed may be opened again.
    if (status === 400 && error.type !== 'index_closed_exception') {
      const { document } = documents[i]!;
      logger.error({ documentId: document.id, tenantId: document.tenantId, error }, 'Elasticsearch refused a document');
      sent.refused.push({ document, reason: 'the index refused it' });
    } else {
      sent.rejected.push(documents[i]!);
      sent.reason = reason;
    }
  }
  return sent;
}

/** A proxy before Elasticsearch may take less at once than it does. */
async function sendHalves(client: Client, logger: Logger, documents: readonly BulkDocument[]): Promise<Sent> {
  const [first] = documents;
  if (documents.length === 1)
    return { refused: [{ document: first!.document, reason: 'it is larger than the index takes' }], rejected: [] };
  const middle = Math.ceil(documents.length / 2);
  const one = await send(client, logger, documents.slice(0, middle));
  const other = await send(client, logger, documents.slice(middle));
  return {
    refused: [...one.refused, ...other.refused],
    rejected: [...one.rejected, ...other.rejected],
    reason: other.reason ?? one.reason,
  };
}
