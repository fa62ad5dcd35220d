import { randomUUID } from 'node:crypto';
import type { Bus } from '@orrery/core/bus';
import { Database } from '@orrery/core/database';
import { apiClient, type Backend, type KeyRing, keyRing, startBackend } from '@orrery/core/testing';
import { enqueue, removeMessages } from '../fifos/queue.js';
import { routing } from '../index.js';
import { QueueStore } from './queue-store.js';

const FIFOS = '/api/v0/topics/fifo';
const MESSAGES = 20_000;
/** Far less than all, and more than what is wanted. */
const FEW = 1000;

let backend: Backend;
let bus: Bus;
let keys: KeyRing;
let url: string;
let database: Database;

beforeAll(async () => {
  backend = await startBackend([routing]);
  bus = await backend.bus();
  keys = keyRing(bus);
  ({ url } = await backend.boot([routing]));
  database = await Database.connect({ url: backend.config.DATABASE_URL, schema: routing.schema!, poolSize: 1 });
});
afterAll(async () => {
  await database.close();
  await backend.stop();
});

/** Rows that PostgreSQL has looked at until now. */
async function rowsRead(): Promise<number> {
  await database.query('SELECT pg_stat_force_next_flush()');
  const [row] = await database.query<{ rows: string }>(
    `SELECT coalesce(idx_tup_fetch, 0) + seq_tup_read AS rows FROM pg_stat_user_tables
     WHERE schemaname = current_schema() AND relname = 'fifo_messages'`,
  );
  return Number(row!.rows);
}

describe('a queue that has become long', () => {
  it('is not read beyond the page that is wanted, or what is acknowledged', async () => {
    const tenantId = randomUUID();
    const api = apiClient(url, keys.grant(tenantId).value);
    expect((await api.post(FIFOS, { name: 'f', maxLengthBytes: 10 << 20 })).status).toBe(200);
    // PostgreSQL knows nothing of them yet.
    const { wakes } = await database.transaction((manager) =>
      enqueue(
        manager,
        Array.from({ length: MESSAGES }, (_, i) => ({ tenantId, fifoName: 'f', body: String(i) })),
      ),
    );
    const [wake] = [...wakes.values()].flat();
    const { id } = wake!;
    const first = wake!.added![0]!.seq;
    const queue = new QueueStore(bus, database);

    let before = await rowsRead();
    const { messages } = await queue.after(id, first + 99, 250, 1 << 20);
    expect(messages.map(({ body }) => body)).toEqual(Array.from({ length: 250 }, (_, i) => String(100 + i)));
    expect(await rowsRead()).toBeLessThan(before + FEW);

    // Of two subscribers, each with its own pace.
    const acknowledged = Array.from({ length: 300 }, (_, i) => ({ fifoId: id, seq: first + i * 3 }));
    before = await rowsRead();
    await database.transaction((manager) => removeMessages(manager, acknowledged, true));
    expect(await rowsRead()).toBeLessThan(before + FEW);
    expect((await api.get<{ messages: number }>(`${FIFOS}/f`)).body.messages).toBe(MESSAGES - 300);
  });

  it('is not read beyond what it drops', async () => {
    const tenantId = randomUUID();
    const api = apiClient(url, keys.grant(tenantId).value);
    const kept = MESSAGES / 2;
    expect((await api.post(FIFOS, { name: 'full', maxLengthBytes: kept * 101 })).status).toBe(200);
    const fill = (count: number): Promise<unknown> =>
      database.transaction((manager) =>
        enqueue(
          manager,
          Array.from({ length: count }, () => ({ tenantId, fifoName: 'full', body: 'x' })),
        ),
      );
    await fill(kept);
    const before = await rowsRead();
    await fill(100);
    expect((await api.get<{ messages: number }>(`${FIFOS}/full`)).body.messages).toBe(kept);
    expect(await rowsRead()).toBeLessThan(before + FEW);
  });
});
