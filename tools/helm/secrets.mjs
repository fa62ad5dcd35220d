import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { passwordVariable } from './nats-permissions.mjs';

// Prints the secret that the chart refers to, with new passwords, for `kubectl apply -f -`. What is external is added by
// hand: DATABASE_URL, REDIS_URL, SMTP_URL, ELASTICSEARCH_URL. Keep a copy of ORRERY_SECRET_KEY with the backups.
//
//   node tools/helm/secrets.mjs [name]

/** Letters and digits, beginning with a letter, as nats-server's configuration and addresses take them. */
const password = () => `p${randomBytes(20).toString('hex')}`;

const [name = 'orrery'] = process.argv.slice(2);
const table = join(import.meta.dirname, '../../helm/orrery/files/services.json');
/** @type {{ services: Array<{ name: string }> }} */
const { services } = JSON.parse(readFileSync(table, 'utf8'));
const users = ['migrate', ...services.map((service) => service.name)];
const secret = {
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name },
  type: 'Opaque',
  stringData: {
    ORRERY_SECRET_KEY: randomBytes(32).toString('base64'),
    POSTGRES_PASSWORD: password(),
    REDIS_PASSWORD: password(),
    ELASTIC_PASSWORD: password(),
    ...Object.fromEntries(users.map((user) => [passwordVariable(user), password()])),
  },
};
process.stdout.write(`${JSON.stringify(secret, null, 2)}\n`);
