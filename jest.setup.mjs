import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServices } from './tools/services/index.mjs';

/** Starts the PostgreSQL that all test files share; each file has a database, a NATS server and a Redis of its own. */
export default async function setup() {
  if (process.env.ORRERY_TEST_DATABASE_URL) return;
  const dataDir = await mkdtemp(join(tmpdir(), 'orrery-tests-'));
  const { DATABASE_URL: _database, ...env } = process.env;
  const services = await startServices({
    dataDir,
    log: (line) => process.stderr.write(`${line}\n`),
    only: ['postgres'],
    env,
  });
  process.env.ORRERY_TEST_DATABASE_URL = services.databaseUrl;
  Object.assign(globalThis, { orreryTestServices: services, orreryTestDir: dataDir });
}
