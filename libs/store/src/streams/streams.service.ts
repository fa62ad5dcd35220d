import { Readable } from 'node:stream';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { type Bus, BusUnavailableError } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import { Ingestion } from '@orrery/core/ingestion';
import { accountMinute, invalidParameter, invalidParameters } from '@orrery/core/http';
import { limitOf, LIMITS, type RateLimits } from '@orrery/core/limits';
import type { Audit } from '@orrery/core/audit';
import {
  buildMessage,
  checkStreamId,
  type FieldError,
  isMessageId,
  MAX_TAGS,
  messageTime,
  normalizeTimestamp,
  parsePublished,
  type PublishedMessage,
} from '@orrery/core/messages';

const DAY_MS = 24 * 3600 * 1000;
/** How long a client waits for the bus before it gets a 503. */
const PUBLISH_TIMEOUT_MS = 10_000;
/** Mistakes of a bulk that are listed: it may hold millions. */
const MAX_ERRORS = 1000;
/** Messages of a bulk that its trace follows. */
const MAX_TRACED = 10;

/** Of messages that are read at once, of up to a gigabyte: a client that is slow to take them makes us hold a few times as much. */
const PAGE_BYTES = 2_000_000;

/** Query parameters of reading a stream (manual 13.2.5). */
export interface StreamQuery {
  limit?: string;
  timeRange?: string;
  bookmarkId?: string;
}

interface Selection {
  key: ApiKeyIdentity;
  conditions: string[];
  parameters: unknown[];
}

/** Of a message in its stream. */
interface Place {
  timestamp: Date | string;
  id: string;
}

interface Page {
  /** JSON texts, separated by commas. */
  text: string;
  count: number;
  /** The last one of a page that was full: perhaps there are more. */
  next?: Place;
}

/** Puts messages into streams over HTTP and reads them back. */
export class StreamsService {
  readonly ingestion: Ingestion;

  constructor(
    private readonly bus: Bus,
    private readonly database: Database,
    private readonly rateLimits: RateLimits,
    private readonly audit: Audit,
  ) {
    this.ingestion = new Ingestion(bus);
  }

  /** @returns the id of the message, once the bus has it on disk. @throws 400 that lists every bad field. */
  async add(key: ApiKeyIdentity, streamId: string, body: unknown, traceparent?: string): Promise<string> {
    if (typeof body !== 'object' || body === null || Array.isArray(body))
      throw invalidParameter('body', 'a JSON object');
    const message = this.parse(key, { ...body, streamId });
    this.checkRoom();
    return this.publish(key, message, traceparent);
  }

  /** All or nothing: one bad element rejects the whole bulk. @returns the ids in the order of the elements. */
  async addBulk(key: ApiKeyIdentity, body: unknown, traceparent?: string): Promise<string[]> {
    if (!Array.isArray(body)) throw invalidParameter('body', 'an array of data messages');
    const most = limitOf(key.limits, 'messagesPerBulk');
    if (body.length > most) throw invalidParameter('body', `at most ${most} messages`);
    const errors: FieldError[] = [];
    const messages: PublishedMessage[] = [];
    for (let i = 0; i < body.length && errors.length < MAX_ERRORS; i++) {
      const parsed = this.check(body[i]);
      if (Array.isArray(parsed))
        for (const error of parsed)
          errors.push({ field: error.field ? `[${i}].${error.field}` : `[${i}]`, expected: error.expected });
      else messages.push(parsed);
    }
    if (errors.length > 0) throw this.refused(key, errors);
    this.checkRoom();
    return Promise.all(
      messages.map((message, i) => this.publish(key, message, i < MAX_TRACED ? traceparent : undefined)),
    );
  }

  // What is given up on stays in memory until the bus answers again: clients that try again must not add to it.
  private checkRoom(): void {
    if (this.ingestion.saturated) throw new BusUnavailableError('too many messages wait for the bus');
  }

  /** The stream's messages from newest to oldest, as the JSON text of an array; piece by piece when it is long. */
  async read(key: ApiKeyIdentity, streamId: string, query: StreamQuery): Promise<string | Readable> {
    // The stream of the events of a stream has a longer name than any other.
    const error = checkStreamId(streamId.replace(/^event:(?=.)/, ''));
    if (error) throw invalidParameters([error]);

    const parameters: unknown[] = [
      key.tenantId,
      streamId,
      new Date(Math.max(0, Date.now() - limitOf(key.limits, 'dataDays') * DAY_MS)),
    ];
    const conditions = ['tenant_id = $1', 'stream_id = $2', 'created >= $3'];
    const [from, to] = this.timeRange(query.timeRange);
    if (from !== undefined) conditions.push(`timestamp >= $${parameters.push(from)}`);
    if (to !== undefined) conditions.push(`timestamp <= $${parameters.push(to)}`);
    const bookmark =
      query.bookmarkId === undefined ? undefined : await this.bookmark(key.tenantId, streamId, query.bookmarkId);
    const limit = this.limit(query.limit);
    const selection = { key, conditions, parameters };
    const first = await this.page(selection, limit, bookmark);
    if (!first.next) return `[${first.text}]`;
    return Readable.from(this.pieces(selection, limit, first), { objectMode: false });
  }

  private async *pieces(selection: Selection, limit: number, page: Page): AsyncIterable<string> {
    let [before, left] = ['[', limit];
    for (;;) {
      if (page.count > 0) yield `${before}${page.text}`;
      if (!page.next) break;
      before = ',';
      left -= page.count;
      try {
        page = await this.page(selection, left, page.next);
      } catch (error) {
        // Too late for a status: the connection is cut, and nobody else tells why.
        const [tenantId, streamId] = selection.parameters;
        this.bus.logger.error({ tenantId, streamId, error }, 'a read of a stream was cut off');
        throw error;
      }
    }
    yield ']';
  }

  /** What comes next, but no more than is held at once. */
  private async page({ key, conditions, parameters }: Selection, limit: number, after?: Place): Promise<Page> {
    const values = [...parameters];
    const where = [...conditions];
    if (after) where.push(`(timestamp, id) < ($${values.push(after.timestamp)}, $${values.push(after.id)})`);
    // Only the message that fills the page says where it is.
    const rows = await this.database.query<{ body: string; last: Place | null }>(
      `SELECT body, CASE WHEN bytes >= ${PAGE_BYTES} THEN json_build_object('timestamp', timestamp, 'id', id) END AS last
       FROM (
         SELECT *, sum(octet_length(body)) OVER (ORDER BY timestamp DESC, id DESC) AS bytes
         FROM (
           SELECT timestamp, id, body FROM messages
           WHERE ${where.join(' AND ')} ORDER BY timestamp DESC, id DESC LIMIT ${limit}
         ) wanted
       ) measured WHERE bytes - octet_length(body) < ${PAGE_BYTES} ORDER BY timestamp DESC, id DESC`,
      values,
    );
    if (rows.length > 0 && Number.isFinite(limitOf(key.limits, 'streamReadsPerMinute')))
      await this.rateLimits.pass([
        accountMinute(key.tenantId, 'streamReadsPerMinute', Number.POSITIVE_INFINITY, rows.length),
      ]);
    const text = rows.map(({ body }) => body).join(',');
    const last = rows.length < limit ? rows.at(-1)?.last : undefined;
    return { text, count: rows.length, ...(last ? { next: last } : {}) };
  }

  private limit(text: string | undefined): number {
    if (text === undefined) return 100;
    if (!/^\d+$/.test(text) || Number(text) < 1) throw invalidParameter('limit', 'a whole number from 1');
    return Math.min(Number(text), LIMITS.streamReadSize.value);
  }

  private timeRange(text: string | undefined): [from: string | undefined, to: string | undefined] {
    if (text === undefined) return [undefined, undefined];
    // A parameter that is repeated comes as a list.
    const bounds = String(text).split(',');
    const [from, to] = bounds.map((bound) => (bound === '' ? undefined : normalizeTimestamp(bound)));
    if (bounds.length !== 2 || bounds.some((bound, i) => bound !== '' && (i === 0 ? from : to) === undefined))
      throw invalidParameter(
        'timeRange',
        'two ISO 8601 dates separated by a comma, of which one may be left out; in a URL the + of a zone is written %2B',
      );
    return [from, to];
  }

  private async bookmark(tenantId: string, streamId: string, id: string): Promise<Place> {
    const rows = isMessageId(id)
      ? await this.database.query<{ timestamp: Date }>(
          'SELECT timestamp FROM messages WHERE created = $1 AND id = $2 AND tenant_id = $3 AND stream_id = $4',
          [messageTime(id), id, tenantId, streamId],
        )
      : [];
    if (!rows[0]) throw invalidParameter('bookmarkId', 'the id of a message of this stream');
    return { timestamp: rows[0].timestamp, id };
  }

  private parse(key: ApiKeyIdentity, body: unknown): PublishedMessage {
    const parsed = this.check(body);
    if (Array.isArray(parsed)) throw this.refused(key, parsed);
    return parsed;
  }

  private check(body: unknown): PublishedMessage | FieldError[] {
    // The size of the element alone is not known, so its value is measured.
    const parsed = parsePublished(body, Number.POSITIVE_INFINITY);
    if (Array.isArray(parsed)) return parsed;
    if (parsed.locationError) return [parsed.locationError];
    if (parsed.streamId === undefined) return [{ field: 'streamId', expected: 'the stream of the message' }];
    return parsed;
  }

  // Too many tags are the one mistake over HTTP that the manual wants in the audit log too (MSG-006, LIM-063).
  private refused(key: ApiKeyIdentity, errors: FieldError[]): Error {
    if (errors.some((error) => error.field.endsWith('tags') && error.expected.startsWith('at most')))
      this.audit.write({
        tenantId: key.tenantId,
        level: 'error',
        category: 'data',
        subcategory: 'storage',
        type: 'too_many_tags',
        description: `A data message with more than ${MAX_TAGS} tags was refused`,
        source: { connector: 'http', apiKeyId: key.id },
      });
    return invalidParameters(errors);
  }

  private async publish(key: ApiKeyIdentity, published: PublishedMessage, traceparent?: string): Promise<string> {
    const { header, message } = buildMessage(published, {
      tenantId: key.tenantId,
      connector: 'http',
      apiKeyId: key.id,
      ...(traceparent === undefined ? {} : { traceparent }),
    });
    await this.ingestion.publish(header, message, { timeoutMs: PUBLISH_TIMEOUT_MS });
    return message.id;
  }
}
