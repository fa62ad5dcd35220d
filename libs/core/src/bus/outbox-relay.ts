import { headers as natsHeaders } from '@nats-io/transport-node';
import { Client } from 'pg';
import type { EntityManager } from 'typeorm';
import { outboxChannel, type Database } from '../database/index.js';
import { encodeEntry } from '../messages/index.js';
import { metrics, onScrape } from '../telemetry/index.js';
import type { Bus } from './bus.js';
import { LeaseManager } from './leases.js';
import { NUMBER_HEADER, ORIGIN_HEADER } from './publisher.js';

const MAX_ROWS = 2000;
/** Of a page, in memory at once. */
const MAX_PAGE_BYTES = 16 << 20;
const MAX_ITEMS = 200;
/** Of an entry, unless it is a single row: far below what the server takes. */
const MAX_ENTRY_BYTES = 1 << 20;
const RETRY_MS = 500;
/** A metric need not know more. */
const MAX_COUNTED = 100_000;

interface Row {
  id: string;
  subject: string;
  header: string;
  body: string;
  entry: string | null;
}

/**
 * Publishes a service's outbox, one instance at a time, woken by PostgreSQL's NOTIFY. Rows get their entry number
 * before they are first published and keep it, so that an entry that is published again is recognized by its readers.
 */
export class OutboxRelay {
  private readonly leases: LeaseManager;
  private listener?: Client;
  /** Subjects that failed in the last page: the next one is for the others, so that a full stream holds up its own. */
  private readonly refused = new Set<string>();
  private working = false;
  private again = false;
  private stopped = false;
  private retry?: NodeJS.Timeout;
  private endMeasuring?: () => void;
  /** The oldest row that was seen, and since when. */
  private oldest?: { id: string; since: number } | undefined;

  constructor(
    private readonly bus: Bus,
    private readonly database: Database,
  ) {
    this.leases = new LeaseManager(bus, `outbox-${database.options.schema.name}`, 1, {
      acquired: () => void this.listen(),
      lost: () => void this.unlisten(),
    });
  }

  async start(): Promise<void> {
    this.endMeasuring = onScrape(() => this.measure());
    await this.leases.start();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.endMeasuring?.();
    await this.unlisten();
    while (this.working) await new Promise((resolve) => setTimeout(resolve, 5));
    await this.leases.stop();
  }

  private async listen(): Promise<void> {
    if (this.stopped || this.listener) return;
    const client = new Client({
      connectionString: this.database.options.url,
      application_name: `${this.database.options.schema.name}-outbox`,
      keepAlive: true,
      // It is silent for long: without probes, whatever lies between may forget it and nobody would be woken.
      keepAliveInitialDelayMillis: 10_000,
    });
    this.listener = client;
    const restart = (error?: unknown): void => {
      if (this.listener !== client || this.stopped) return;
      this.bus.logger.warn(
        { schema: this.database.options.schema.name, error: String(error ?? 'connection ended') },
        'the outbox no longer hears PostgreSQL; connecting again',
      );
      delete this.listener;
      client.end().catch(() => undefined);
      this.retry = setTimeout(() => this.leases.epoch(0) !== undefined && void this.listen(), RETRY_MS);
    };
    client.on('error', restart);
    client.on('end', () => restart());
    client.on('notification', () => this.wake());
    try {
      await client.connect();
      await client.query(`LISTEN ${outboxChannel(this.database.options.schema.name)}`);
      this.wake();
    } catch (error) {
      restart(error);
    }
  }

  private async unlisten(): Promise<void> {
    clearTimeout(this.retry);
    const client = this.listener;
    delete this.listener;
    await client?.end().catch(() => undefined);
  }

  // By each instance: also when none holds the lease.
  private async measure(): Promise<() => void> {
    const [found] = await this.database.query<{ rows: string; id: string | null }>(
      `SELECT count(*) AS rows, min(id) AS id FROM (SELECT id FROM outbox ORDER BY id LIMIT ${MAX_COUNTED}) head`,
    );
    const { rows, id } = found!;
    const now = performance.now();
    if (id === null) this.oldest = undefined;
    else if (this.oldest?.id !== id) this.oldest = { id, since: now };
    const seconds = this.oldest ? (now - this.oldest.since) / 1000 : 0;
    const schema = this.database.options.schema.name;
    return () => {
      metrics.outboxRows.set({ schema }, Number(rows));
      metrics.outboxOldest.set({ schema }, seconds);
    };
  }

  private wake(): void {
    this.again = true;
    if (this.working) return;
    this.working = true;
    void (async () => {
      while (this.again && !this.stopped) {
        this.again = false;
        try {
          if (await this.relay()) this.again = true;
        } catch (error) {
          this.bus.logger.warn(
            { schema: this.database.options.schema.name, error: String(error) },
            'could not publish the outbox; trying again',
          );
          await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
          this.again = true;
        }
      }
      this.working = false;
    })();
  }

  /** Publishes one page. @returns whether there may be more. */
  private async relay(): Promise<boolean> {
    const epoch = this.leases.epoch(0);
    if (epoch === undefined) return false;
    const without = [...this.refused];
    this.refused.clear();
    const { origin, rows, more } = await this.number(epoch, without);
    if (!origin || rows.length === 0) return without.length > 0;
    const groups = new Map<string, Row[]>();
    for (const row of rows) {
      const group = groups.get(row.entry!);
      if (group) group.push(row);
      else groups.set(row.entry!, [row]);
    }
    // Entries of one subject one after the other, in the order of their numbers; subjects side by side.
    const subjects = new Map<string, Array<[string, Row[]]>>();
    for (const [entry, group] of groups) {
      const list = subjects.get(group[0]!.subject);
      if (list) list.push([entry, group]);
      else subjects.set(group[0]!.subject, [[entry, group]]);
    }
    const published: string[] = [];
    const results = await Promise.allSettled(
      [...subjects].map(async ([subject, entries]) => {
        this.refused.add(subject);
        for (const [entry, group] of entries) {
          const headers = natsHeaders();
          headers.set(ORIGIN_HEADER, origin);
          headers.set(NUMBER_HEADER, entry);
          await this.bus.js.publish(subject, encodeEntry(group), { headers });
          for (const row of group) published.push(row.id);
        }
        this.refused.delete(subject);
      }),
    );
    // Also when another subject failed: while one stream is full, the others must not be filled with repetitions.
    await this.database.query('DELETE FROM outbox WHERE id = ANY($1::bigint[])', [published]);
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    return without.length > 0 || more;
  }

  // Identity values become visible out of order when transactions overlap, so they cannot be the numbers: numbers are
  // given here, to what is visible, by the one relay that holds the newest epoch.
  private number(epoch: number, without: string[]): Promise<{ origin?: string; rows: Row[]; more: boolean }> {
    return this.database.transaction(async (manager) => {
      const [relay] = (await manager
        .query(
          `UPDATE outbox_relay SET epoch = $1, generation = $2 WHERE epoch <= $1 OR generation <> $2 RETURNING origin`,
          [epoch, this.bus.leaseGeneration],
        )
        .then((result: [Array<{ origin: string }>]) => result[0])) as Array<{ origin: string }>;
      if (!relay) {
        this.leases.forget(0);
        return { rows: [], more: false };
      }
      const page = (await manager.query(
        `SELECT id, subject, header, body, entry, found FROM (
           SELECT *, count(*) OVER () AS found, sum(octet_length(body)) OVER (ORDER BY entry NULLS LAST, id) - octet_length(body) AS before
           FROM (SELECT * FROM outbox WHERE subject <> ALL($1::text[]) ORDER BY entry NULLS LAST, id LIMIT ${MAX_ROWS}) next
         ) page WHERE before < ${MAX_PAGE_BYTES} ORDER BY entry NULLS LAST, id`,
        [without],
      )) as Array<Row & { found: string }>;
      const found = Number(page[0]?.found ?? 0);
      const more = found >= MAX_ROWS || found > page.length;
      const rows = await this.whole(manager, page);
      const open = new Map<string, { entry: string; count: number; bytes: number }>();
      const ids: string[] = [];
      const entries: string[] = [];
      for (const row of rows) {
        if (row.entry !== null) continue;
        let current = open.get(row.subject);
        const bytes = row.header.length + row.body.length;
        if (!current || current.count >= MAX_ITEMS || current.bytes + bytes > MAX_ENTRY_BYTES) {
          const [next] = (await manager.query(`SELECT nextval('outbox_entry') AS entry`)) as Array<{ entry: string }>;
          current = { entry: next!.entry, count: 0, bytes: 0 };
          open.set(row.subject, current);
        }
        current.count++;
        current.bytes += bytes;
        row.entry = current.entry;
        ids.push(row.id);
        entries.push(row.entry);
      }
      if (ids.length > 0)
        await manager.query(
          `UPDATE outbox o SET entry = v.entry FROM unnest($1::bigint[], $2::bigint[]) AS v(id, entry) WHERE o.id = v.id`,
          [ids, entries],
        );
      return { origin: relay.origin, rows, more };
    });
  }

  // An entry that a page cuts off would be published in parts of one number, and readers would skip all but the first.
  private async whole(manager: EntityManager, page: Row[]): Promise<Row[]> {
    const last = page.at(-1)?.entry ?? null;
    if (last === null) return page;
    const rest = (await manager.query(
      'SELECT id, subject, header, body, entry FROM outbox WHERE entry = $1 ORDER BY id',
      [last],
    )) as Row[];
    return [...page.filter(({ entry }) => entry !== last), ...rest];
  }
}
