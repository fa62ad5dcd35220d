import { Database } from '@orrery/core/database';
import { type Backend, startBackend } from '@orrery/core/testing';
import { ask, CASES, checkAnswer, contractDocuments } from '../testing/contract.js';
import { EmbeddedEngine, embeddedMigrations } from './index.js';

const schema = { name: 'search', entities: [], migrations: embeddedMigrations };

describe('the embedded engine', () => {
  let backend: Backend;
  let database: Database;
  let engine: EmbeddedEngine;

  beforeAll(async () => {
    const service = {
      name: 'search',
      schema,
      restPaths: [],
      build: () => ({ controllers: [], providers: [], running: [] }),
    };
    backend = await startBackend([service]);
    database = await Database.connect({ url: backend.config.DATABASE_URL, schema });
    engine = new EmbeddedEngine(database);
    const documents = contractDocuments();
    for (let start = 0; start < documents.length; start += 1000)
      await engine.index(documents.slice(start, start + 1000));
  });

  afterAll(async () => {
    await database?.close();
    await backend?.stop();
  });

  it.each(CASES.map((each) => [each.name, each] as const))('answers: %s', async (_name, each) => {
    checkAnswer(each, await ask(engine, each));
  });
});
