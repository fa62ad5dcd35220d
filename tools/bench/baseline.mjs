import { connect } from 'mqtt';
import { Pool } from 'pg';

// What a team would write itself: subscribe to a broker, batch into Postgres. Its own process, started by the bench
// with the broker's port, the database and the number of messages it may hold per INSERT.
const [port, databaseUrl, batch = '500'] = process.argv.slice(2);
const size = Number(batch);
const pool = new Pool({ connectionString: databaseUrl, max: 4 });
await pool.query(
  'CREATE TABLE IF NOT EXISTS baseline (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topic text, created timestamptz DEFAULT now(), body json)',
);

/** @type {Array<[string, string]>} */
let rows = [];
const flush = async () => {
  if (rows.length === 0) return;
  const taken = rows;
  rows = [];
  const places = taken.map((_, i) => `($${i * 2 + 1}, $${i * 2 + 2})`).join(',');
  await pool.query(`INSERT INTO baseline (topic, body) VALUES ${places}`, taken.flat());
};
setInterval(() => void flush(), 100);
const client = connect(`mqtt://127.0.0.1:${port}`, { clientId: 'baseline', clean: true, protocolVersion: 4 });
client.on('message', (topic, payload) => {
  rows.push([topic, payload.toString()]);
  if (rows.length >= size) void flush();
});
client.on('connect', () => client.subscribe('dev/#', { qos: 1 }, () => process.send?.('ready')));
