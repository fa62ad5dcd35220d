import { type Client, errors } from '@elastic/elasticsearch';
import type { Logger } from '@orrery/core/telemetry';
import type { IndexedDocument, RefusedDocument } from '../search-engine.js';

/** Less than the client's own time-out: what nobody waits for any more should not be done either. */
const SERVER_TIMEOUT = '10s';
/** Times in a row that documents are sent of which Elasticsearch takes none, and milliseconds before the second one. */
const ATTEMPTS = 5;
const PAUSE_MS = 100;
const TOO_LARGE = 413;
const NO_ROOM = 429;

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
  for (let inVain = 0; ;) {
    const { rejected, reason, ...sent } = await send(client, logger, waiting);
    refused.push(...sent.refused);
    if (rejected.length === 0) return refused;
    // Whoever gives up begins with all of them again: not while it takes some, as it does of a few shards at a time.
    inVain = rejected.length === waiting.length ? inVain + 1 : 0;
    if (inVain === ATTEMPTS) throw new Error(`Elasticsearch could not index: ${reason}`);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * 2 ** Math.max(0, inVain - 1)));
    waiting = rejected;
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
    if (!(error instanceof errors.ResponseError)) throw error;
    if (error.statusCode === TOO_LARGE) return sendHalves(client, logger, documents);
    // For the request itself: since version 8 it needs room too.
    if (error.statusCode === NO_ROOM)
      return { refused: [], rejected: [...documents], reason: `${NO_ROOM} ${error.message}` };
    throw error;
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
