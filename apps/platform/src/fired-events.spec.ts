import { UNLIMITED_OFFER } from '@orrery/core/limits';
import { type ApiClient, apiClient, type Backend, eventually, keyRing, startBackend } from '@orrery/core/testing';
import { eventProcessing } from '@orrery/event-processing';
import { search } from '@orrery/search';
import { store } from '@orrery/store';

type Json = Record<string, unknown>;
interface Answer {
  hits: { total: number; hits: Array<{ _source: Json }> };
}

const RULES = '/api/v0/eventprocessing';

let backend: Backend;
let api: ApiClient;
beforeAll(async () => {
  const services = [store, search, eventProcessing];
  backend = await startBackend(services);
  const { value } = keyRing(await backend.bus()).grant('tenant', { limits: UNLIMITED_OFFER });
  api = apiClient((await backend.boot(services)).url, value);
});
afterAll(() => backend.stop());

it('SRC-018 events that rules have fired are found in the stream of events', async () => {
  const matching = await api.post<Json>(`${RULES}/matching-rule`, {
    name: 'high',
    enabled: true,
    dataPredicate: { '>': [{ var: 'value.NO2' }, 200] },
  });
  const firing = await api.post<Json>(`${RULES}/firing-rule`, {
    name: 'ALERT',
    enabled: true,
    matchingRuleIds: [matching.body['id']],
    firingType: 'ALWAYS',
  });
  for (const NO2 of [250, 100, 300]) {
    const message = { model: 'model_hourly', value: { NO2 } };
    expect((await api.post('/api/v0/data/streams/paris-centre-hourly', message)).status).toBe(202);
  }
  const day = 24 * 3600 * 1000;
  const dateOf = (time: number): string => new Date(time).toISOString().slice(0, 10);
  const found = await eventually(async () => {
    const { body } = await api.post<Answer>('/api/v0/data/search', {
      from: 0,
      size: 10,
      query: {
        filtered: {
          filter: {
            bool: {
              must: [
                { term: { streamId: 'event:paris-centre-hourly' } },
                { range: { timestamp: { gte: dateOf(Date.now() - day), lt: dateOf(Date.now() + 2 * day) } } },
              ],
            },
          },
        },
      },
    });
    return body.hits.total === 2 && body.hits.hits.map(({ _source }) => _source);
  });
  for (const event of found)
    expect(event).toMatchObject({
      streamId: 'event:paris-centre-hourly',
      tags: ['event'],
      value: { firingRule: { id: firing.body['id'], name: 'ALERT' } },
    });
});
