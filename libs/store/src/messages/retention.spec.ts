import { callRpc } from '@orrery/core/bus';
import { apiClient, type Backend, eventually, startBackend } from '@orrery/core/testing';
import { identity } from '@orrery/identity';
import { createTenant } from '@orrery/identity/contract';
import { store } from '../index.js';

let backend: Backend;
beforeAll(async () => {
  backend = await startBackend([identity, store]);
});
afterAll(() => backend.stop());

/** First of the month so long ago. */
const monthsAgo = (months: number): Date => {
  const now = new Date();
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - months, 1));
};
const nameOf = (months: number): string => `messages_${monthsAgo(months).toISOString().slice(0, 7).replace('-', '_')}`;

it('messages are kept as long as any offer says, and no longer, also when identity is there later than the store', async () => {
  const bus = await backend.bus();
  const first = await backend.boot([identity]);
  const { tenantId, masterKey } = await callRpc(bus, createTenant, {
    name: 'long',
    settings: { dataManagement: { enabled: true, storeRetentionDays: 800 } },
  });
  for (const months of [20, 40]) {
    const from = monthsAgo(months);
    await backend.query(
      `CREATE TABLE store.${nameOf(months)} PARTITION OF store.messages
       FOR VALUES FROM ('${from.toISOString()}') TO ('${monthsAgo(months - 1).toISOString()}')`,
    );
    await backend.query(
      `INSERT INTO store.messages (tenant_id, stream_id, timestamp, id, created, body)
       VALUES ($1, 's', $2, $3, $2, $4)`,
      [tenantId, from, from.getTime().toString(16).padStart(12, '0').padEnd(24, '0'), JSON.stringify({ months })],
    );
  }
  await first.close();
  const { url } = await backend.boot([store]);
  await backend.boot([identity]);
  await eventually(async () => {
    const tables = await backend.query<{ relname: string }>(
      `SELECT relname FROM pg_class WHERE relname IN ('${nameOf(20)}', '${nameOf(40)}')`,
    );
    return tables.length === 1 && tables[0]!.relname === nameOf(20);
  });
  expect((await apiClient(url, masterKey).get('/api/v0/data/streams/s')).body).toEqual([{ months: 20 }]);
});

it('an offer without retention delay shows everything', async () => {
  const { url } = await backend.boot([store]);
  const { masterKey } = await callRpc(await backend.bus(), createTenant, {
    name: 'for ever',
    settings: { dataManagement: { enabled: true, storeRetentionDays: null } },
  });
  const api = apiClient(url, masterKey);
  expect((await api.post('/api/v0/data/streams/s', { value: {} })).status).toBe(202);
  await eventually(async () => {
    const { status, body } = await api.get<unknown[]>('/api/v0/data/streams/s');
    expect(status).toBe(200);
    return body.length === 1;
  });
});
