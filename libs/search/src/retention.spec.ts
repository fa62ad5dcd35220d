import { callRpc } from '@orrery/core/bus';
import { type Backend, eventually, startBackend } from '@orrery/core/testing';
import { identity } from '@orrery/identity';
import { createTenant } from '@orrery/identity/contract';
import { search } from './index.js';

let backend: Backend;
beforeAll(async () => {
  backend = await startBackend([identity, search]);
});
afterAll(() => backend.stop());

it('messages are searchable as long as any offer says, and no longer', async () => {
  await backend.boot([identity]);
  const { tenantId } = await callRpc(await backend.bus(), createTenant, {
    name: 'long',
    settings: { dataManagement: { enabled: true, searchRetentionDays: 800 } },
  });
  for (const days of [500, 900])
    await backend.query(
      `INSERT INTO search.documents (tenant_id, id, created, timestamp, stream_id, fields, source)
       VALUES ($1, $2::int::text, now() - $2::int * interval '1 day', now(), 's', '{}', '{}')`,
      [tenantId, days],
    );
  await backend.boot([search]);
  const left = await eventually(async () => {
    const rows = await backend.query<{ id: string }>('SELECT id FROM search.documents');
    return rows.length < 2 && rows;
  }, 60_000);
  expect(left).toEqual([{ id: '500' }]);
});
