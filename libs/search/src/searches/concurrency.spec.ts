import { type ApiAnswer, apiClient, type Backend, eventually, keyRing, startBackend } from '@orrery/core/testing';
import { store } from '@orrery/store';
import { Client } from 'pg';
import { search } from '../index.js';

let backend: Backend;
let locking: Client;
beforeAll(async () => {
  backend = await startBackend([store, search]);
  locking = new Client({ connectionString: backend.config.DATABASE_URL });
  await locking.connect();
});
afterAll(async () => {
  await locking.end();
  await backend.stop();
});

it('LIM-038 refuses the sixth search of an account while five are under way, on whichever instance', async () => {
  const keys = keyRing(await backend.bus());
  const { value } = keys.grant('searcher', { limits: {} });
  const urls = [(await backend.boot([store, search])).url, (await backend.boot([store, search])).url];
  const ask = (i: number): Promise<ApiAnswer<unknown>> =>
    apiClient(urls[i % 2]!, value).post('/api/v1/data/search', { query: { match_all: {} } });
  expect((await ask(0)).status).toBe(200);
  // Searches wait for the table, as slow ones would for its rows.
  await locking.query('BEGIN');
  await locking.query('LOCK TABLE search.documents IN ACCESS EXCLUSIVE MODE');
  let answered = 0;
  const held = Array.from({ length: 6 }, async (_, i) => {
    const answer = await ask(i);
    answered++;
    return answer;
  });
  await eventually(() => answered === 1);
  await locking.query('ROLLBACK');
  const answers = await Promise.all(held);
  expect(answers.map(({ status }) => status).toSorted((x, y) => x - y)).toEqual([200, 200, 200, 200, 200, 429]);
  expect(answers.find(({ status }) => status === 429)!.body).toBeUndefined();
  // Another account has its own places, and this one has them again.
  expect((await ask(1)).status).toBe(200);
});
