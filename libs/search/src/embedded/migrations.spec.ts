import { setTimeout as delay } from 'node:timers/promises';
import { migrate } from '@orrery/core/database';
import { createLogger } from '@orrery/core/telemetry';
import { type Backend, eventually, startBackend } from '@orrery/core/testing';
import { Client } from 'pg';
import { embeddedMigrations } from './index.js';

const logger = createLogger('test', 'silent');
const [documents, arrayMetric] = embeddedMigrations;
const schemaOf = (migrations: typeof embeddedMigrations) => ({ name: 'search', entities: [], migrations });

let backend: Backend;
let indexer: Client;
beforeAll(async () => {
  const schema = schemaOf([documents!, arrayMetric!]);
  backend = await startBackend([
    { name: 'search', schema, restPaths: [], build: () => ({ controllers: [], providers: [], running: [] }) },
  ]);
  indexer = new Client({ connectionString: backend.config.DATABASE_URL });
  await indexer.connect();
});
afterAll(async () => {
  await indexer?.end();
  await backend?.stop();
});

const INSERT = `INSERT INTO search.documents (tenant_id, id, created, timestamp, stream_id, fields, source)
  VALUES ('t', $1, now(), now(), 's', '{}', '{}')`;

interface Index {
  name: string;
  oid: number;
  columns: string;
  valid: boolean;
}
const indexes = (): Promise<Index[]> =>
  backend.query<Index>(
    `SELECT c.relname AS name, c.oid, substring(pg_get_indexdef(c.oid) FROM 'USING (.*)') AS columns,
       i.indisvalid AS valid
     FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
     WHERE i.indrelid = 'search.documents'::regclass AND c.relname <> 'documents_pkey' ORDER BY 1`,
  );
const rising = embeddedMigrations.find(({ name }) => name.startsWith('RisingIndexes'))!.name;
const run = (): Promise<void> => migrate(backend.config.DATABASE_URL, schemaOf(embeddedMigrations), logger);

const having = (column: string): string => `btree (tenant_id, ${column}, "timestamp") WHERE (${column} IS NOT NULL)`;
const MADE = [
  { name: 'documents_by_device_id', valid: true, columns: having('device_id') },
  { name: 'documents_by_model', valid: true, columns: having('model') },
  { name: 'documents_by_stream', valid: true, columns: 'btree (tenant_id, stream_id, "timestamp")' },
  { name: 'documents_by_time', valid: true, columns: 'btree (tenant_id, "timestamp")' },
  { name: 'documents_created', valid: true, columns: 'brin (created)' },
];

it('documents are indexed while their indexes are made, by one of two runs at once', async () => {
  await indexer.query('BEGIN');
  await indexer.query(INSERT, ['under way']);
  const runs = Promise.all([run(), run()]);
  try {
    // The one that makes them, for what is under way.
    await eventually(async () => {
      const waiting = await backend.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'orrery-migrate'
         AND wait_event_type = 'Lock' AND query LIKE 'CREATE INDEX%'`,
      );
      return waiting.length === 1;
    });
    await Promise.race([
      backend.query(INSERT, ['meanwhile']),
      delay(60_000, undefined, { ref: false }).then(() => Promise.reject(new Error('indexing waits'))),
    ]);
  } finally {
    await indexer.query('COMMIT');
    await runs;
  }
  expect(await indexes()).toMatchObject(MADE);
  expect(await backend.query('SELECT FROM search.documents')).toHaveLength(2);
});

it('a run after one that was killed makes again what is half made, and nothing else', async () => {
  const before = await indexes();
  // As PostgreSQL leaves it: written to, and not used.
  await backend.query('DROP INDEX search.documents_by_time');
  await backend.query('CREATE INDEX documents_by_time ON search.documents (id)');
  await backend.query(`UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'search.documents_by_time'::regclass`);
  await backend.query(`DELETE FROM search.migrations WHERE name = $1`, [rising]);
  await run();
  const after = await indexes();
  expect(after).toMatchObject(MADE);
  expect(after.filter(({ oid }, i) => oid !== before[i]!.oid)).toMatchObject([{ name: 'documents_by_time' }]);
});
