import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build, installDependencies } from '../install.mjs';
import { startElasticsearch } from '../services/elasticsearch.mjs';
import { startServices } from '../services/index.mjs';
import { fuzzSearch } from './search-fuzz.mjs';
import { Reference } from './search-reference.mjs';

/** Indices are made anew after so many rounds: in those of one round no month lacks a field for long. */
const ROUNDS_PER_INDEX = 3;
const MONTHS = ['2026.01', '2026.02', '2026.03'];

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: '1' },
    round: { type: 'string' },
    'no-build': { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help) {
  console.log(`npm run fuzz:search [-- --minutes N] [--seed N] [--round N] [--no-build]

Random messages, and random searches in them, allowed and spoiled, asked of the embedded engine and of Elasticsearch, and
as they are written of a plain index of Elasticsearch. Fails when answers differ, when something else than an answer or a
400 that names the clause comes, when it takes too long, or when a message of another account is found. A search that
fails is made smaller, and shown with the round that has its messages: --round asks for that one alone.`);
  process.exit(0);
}
const minutes = Number(values.minutes);
const seed = Number(values.seed);
const round = values.round === undefined ? undefined : Number(values.round);
if (!(minutes > 0) || !Number.isInteger(seed) || !(round === undefined || (Number.isInteger(round) && round >= 0))) {
  console.error('--minutes, --seed and --round: expected a number greater than 0, and whole numbers');
  process.exit(1);
}
if (!values['no-build']) {
  installDependencies();
  build();
}

/** @param {string} path */
const built = (path) => import(new URL(`../../libs/${path}`, import.meta.url).href);
const { parseSearch, WORD_CHARACTERS } = await built('search/dist/dsl/index.js');
const { EmbeddedEngine, embeddedMigrations } = await built('search/dist/embedded/index.js');
const { ElasticsearchEngine } = await built('search/dist/elasticsearch/elasticsearch-engine.js');
const { elasticsearchClient } = await built('search/dist/elasticsearch/client.js');
const { leavesOf, TenantFields } = await built('search/dist/fields/index.js');
const { Database, migrate } = await built('core/dist/database/index.js');
/** @type {{ ApiError: new () => { status: number, details: unknown } }} */
const { ApiError } = await built('core/dist/http/index.js');
const { createLogger } = await built('core/dist/telemetry/index.js');

const dataDir = await mkdtemp(join(tmpdir(), 'orrery-fuzz-'));
const [services, server] = await Promise.all([
  startServices({ dataDir, log: console.log, only: ['postgres'] }),
  startElasticsearch({ dataDir, log: console.log }),
]);
let failed = server === undefined;
if (server) {
  const schema = { name: 'search_fuzz', entities: [], migrations: embeddedMigrations };
  const logger = createLogger('fuzz', 'silent');
  await migrate(services.databaseUrl, schema, logger);
  const database = await Database.connect({ url: services.databaseUrl, schema });
  const client = elasticsearchClient(server.url);
  const name = `fuzz-${randomBytes(6).toString('hex')}`;
  let index = '';
  /** @type {import('./search-fuzz.mjs').Engine | undefined} */
  let elasticsearch;
  /** @type {Map<string, import('./search-fuzz.mjs').Fields>} */
  const tenants = new Map();
  /** @param {string} tenantId */
  const fieldsOf = (tenantId) => {
    const fields = tenants.get(tenantId) ?? new TenantFields();
    tenants.set(tenantId, fields);
    return fields;
  };
  const registry = {
    /** @param {string} tenantId */
    of: async (tenantId) => fieldsOf(tenantId),
    /** @param {string} tenantId */
    known: async (tenantId) => fieldsOf(tenantId),
  };
  const dropIndices = async () => {
    for (const month of index === '' ? [] : MONTHS)
      await client.transport.request({
        method: 'DELETE',
        path: `/${index}-${month}`,
        querystring: { ignore_unavailable: true },
      });
  };
  /** @param {number} number of a round */
  const newIndices = async (number) => {
    await dropIndices();
    tenants.clear();
    index = `${name}-${number}`;
    elasticsearch = new ElasticsearchEngine({ client, index, shards: 2, registry, logger });
  };
  const reference = new Reference(client, `${name}-plain`, `[^${WORD_CHARACTERS}]+`);
  try {
    const counts = await fuzzSearch(
      {
        embedded: new EmbeddedEngine(database),
        get elasticsearch() {
          return /** @type {import('./search-fuzz.mjs').Engine} */ (elasticsearch);
        },
        reference,
        fieldsOf,
        leavesOf,
        parse: parseSearch,
        refusalOf: (error) => (error instanceof ApiError ? error : undefined),
        refresh: () => client.transport.request({ method: 'POST', path: `/${index}-*/_refresh` }),
      },
      {
        seed,
        until: Date.now() + minutes * 60_000,
        ...(round === undefined ? {} : { firstRound: round, rounds: 1 }),
        onProblem: (problem) => console.error(problem),
        onRound: async (number, { requests, problems }) => {
          if (index === '' || number % ROUNDS_PER_INDEX === 0) await newIndices(number);
          if (number % 10 === 0) console.log(`round ${number}: ${requests} searches, ${problems} problems`);
        },
      },
    );
    const { requests, compared, referenced, pages, refused, problems } = counts;
    console.log(
      `${requests} searches, ${compared} answers of both engines compared, ${referenced} with plain Elasticsearch, ` +
        `${pages} next pages, ${refused} refused; ${problems === 0 ? 'no problem found' : `${problems} problems`}`,
    );
    failed = problems > 0;
  } finally {
    await reference.drop();
    await dropIndices();
    await client.close();
    await database.query('DROP SCHEMA search_fuzz CASCADE');
    await database.close();
  }
  await server.stop();
}
await services.stop();
await rm(dataDir, { recursive: true, force: true });
process.exit(failed ? 1 : 0);
