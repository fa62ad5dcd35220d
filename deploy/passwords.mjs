import { randomBytes } from 'node:crypto';

// Prints new passwords for deploy/.env. Those of NATS begin with a letter and hold letters and digits alone, or
// nats-server takes them for something else.
const password = () => `p${randomBytes(20).toString('hex')}`;
const names = ['POSTGRES_PASSWORD', 'REDIS_PASSWORD', 'ELASTIC_PASSWORD'];
for (const user of ['MIGRATE', 'EDGE', 'PROCESSING']) names.push(`NATS_PASSWORD_${user}`);
const lines = names.map((name) => `${name}=${password()}`);
lines.push(`ORRERY_SECRET_KEY=${randomBytes(32).toString('base64')}`);
process.stdout.write(`${lines.join('\n')}\n`);
