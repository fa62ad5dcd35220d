import { callRpc } from '@orrery/core/bus';
import { Database } from '@orrery/core/database';
import { type Backend, startBackend } from '@orrery/core/testing';
import { Client } from 'pg';
import { streamsOfDevice } from '../contract.js';
import { EmbeddedEngine } from '../embedded/index.js';
import { search } from '../index.js';
import { DeviceStreams } from './device-streams.js';

let backend: Backend;
beforeAll(async () => {
  backend = await startBackend([search]);
});
afterAll(() => backend?.stop());

it('who asks for the streams of a device that are not counted in time, is told nothing of a search', async () => {
  const url = backend.config.DATABASE_URL;
  const database = await Database.connect({ url, schema: search.schema! });
  const bus = await backend.bus();
  const streams = new DeviceStreams(bus, new EmbeddedEngine(database, { timeoutMs: 500 }));
  const busy = new Client({ connectionString: url });
  await busy.connect();
  try {
    await streams.start();
    const question = { tenantId: 't', deviceId: 'd', from: '2026-01-01T00:00:00.000Z', limit: 10 };
    expect(await callRpc(bus, streamsOfDevice, question, { timeoutMs: 60_000 })).toEqual({ streams: [] });
    await busy.query('BEGIN');
    await busy.query('LOCK TABLE search.documents');
    await expect(callRpc(bus, streamsOfDevice, question, { timeoutMs: 60_000 })).rejects.toMatchObject({
      code: 'SERVICE_UNAVAILABLE',
    });
  } finally {
    await busy.end();
    await streams.stop();
    await database.close();
  }
});
