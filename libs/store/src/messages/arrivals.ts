import type { Bus } from '@orrery/core/bus';
import { serveRpc } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import type { Running } from '@orrery/core/service';
import { type ArrivalCursor, type ArrivalRange, type ArrivedPage, countArrived, readArrived } from './arrived.js';

/** Messages of one page, and rows of all tenants that it looks at. */
const PAGE = 1000;
/** Rows that are looked at when none of those was the tenant's: it takes a moment, however few there are. */
const SCANNED = 20_000;
/** Of bodies in one page: they travel escaped, and NATS takes 8 MB at most. */
const PAGE_BYTES = 2_000_000;

interface Row {
  created: string;
  id: string;
  /** Null when the row is not of the page. */
  body: string | null;
}

/** Answers other services about what has been stored, such as the index when it is made again. */
export class Arrivals implements Running {
  private subscriptions: Array<{ drain(): Promise<void> }> = [];

  constructor(
    private readonly bus: Bus,
    private readonly database: Database,
  ) {}

  async start(): Promise<void> {
    this.subscriptions = [
      serveRpc(this.bus, readArrived, (request) => this.read(request)),
      serveRpc(this.bus, countArrived, (request) => this.count(request)),
    ];
  }

  async stop(): Promise<void> {
    for (const subscription of this.subscriptions) await subscription.drain();
  }

  private async read(request: Parameters<Arrivals['scan']>[0]): Promise<ArrivedPage> {
    const page = await this.scan(request, PAGE);
    return page.messages.length === 0 && page.next ? this.scan({ ...request, after: page.next }, SCANNED) : page;
  }

  private async scan(
    { tenantId, from, to, after }: ArrivalRange & { after?: ArrivalCursor },
    rowsScanned: number,
  ): Promise<ArrivedPage> {
    // The primary key is walked, which all tenants share: an index of its own would cost every write for what is rare.
    // The cursor holds milliseconds, as `created` does.
    const rows = await this.database.query<Row>(
      `WITH scanned AS (
         SELECT created, id, tenant_id, body FROM messages
         WHERE created >= $2 AND created < $3 AND ($4::timestamptz IS NULL OR (created, id) > ($4, $5))
         ORDER BY created, id LIMIT ${rowsScanned}
       ), found AS (
         SELECT created, id, body,
           row_number() OVER walk AS number, sum(octet_length(body)) OVER walk AS bytes
         FROM scanned WHERE tenant_id = $1 WINDOW walk AS (ORDER BY created, id)
       ), page AS (
         SELECT * FROM found WHERE number <= ${PAGE} AND (number = 1 OR bytes <= ${PAGE_BYTES})
       )
       SELECT to_json(created) #>> '{}' AS created, id, body FROM page
       UNION ALL
       -- Where the next page begins when the tenant has no more in what was looked at.
       (SELECT to_json(created) #>> '{}', id, NULL FROM scanned
        WHERE (SELECT count(*) FROM scanned) = ${rowsScanned} AND (SELECT count(*) FROM page) = (SELECT count(*) FROM found)
        ORDER BY created DESC, id DESC LIMIT 1)`,
      [tenantId, from, to, after?.created ?? null, after?.id ?? null],
    );
    const messages = rows.filter(({ body }) => body !== null);
    const end = rows.find(({ body }) => body === null) ?? messages.at(-1);
    return {
      messages: messages.map(({ body }) => body!),
      ...(end ? { next: { created: end.created, id: end.id } } : {}),
    };
  }

  private async count({ tenantId, from, to }: ArrivalRange): Promise<{ count: number }> {
    const [row] = await this.database.query<{ count: string }>(
      'SELECT count(*) FROM messages WHERE tenant_id = $1 AND created >= $2 AND created < $3',
      [tenantId, from, to],
    );
    return { count: Number(row!.count) };
  }
}
