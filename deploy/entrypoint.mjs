import { existsSync } from 'node:fs';
import { join } from 'node:path';

// Starts what the first argument names, in this process, so that signals reach it.

const apps = join(import.meta.dirname, '../apps');
const [name = 'platform'] = process.argv.splice(2, 1);
/** @type {Record<string, string>} */
const others = { migrate: 'platform/dist/migrate.js', gateway: 'platform/dist/gateway.js' };
// Parts of the platform, whose name it takes as its own argument.
if (name === 'edge' || name === 'processing') process.argv.splice(2, 0, name);
const program = name === 'edge' || name === 'processing' ? 'platform' : name;
const file = join(apps, others[program] ?? `${program}/dist/main.js`);
if (!/^[a-z][a-z0-9-]*$/.test(program) || !existsSync(file)) {
  process.stderr.write(`there is no "${name}": expected a service, platform, edge, processing, gateway or migrate\n`);
  process.exit(64);
}
await import(file);
