import { limitsOf, newSettings } from '@orrery/core/limits';
import { apiClient, type Backend, eventually, type KeyRing, keyRing, startBackend } from '@orrery/core/testing';
import { search } from '../index.js';

describe('the compute time of searches', () => {
  let backend: Backend;
  let keys: KeyRing;
  let url: string;

  beforeAll(async () => {
    backend = await startBackend([search]);
    keys = keyRing(await backend.bus());
    url = (await backend.boot([search])).url;
  });
  afterAll(() => backend.stop());

  it('SRC-020 LIM-013 tells in headers how much compute time is left', async () => {
    const api = apiClient(url, keys.grant('headers', { limits: {} }).value);
    const { status, headers } = await api.post('/api/v1/data/search', {});
    expect(status).toBe(200);
    expect(headers.get('X-ResourceLimit-Limit')).toBe('10000');
    expect(headers.get('X-ResourceLimit-Resource')).toBe('SEARCH_DSL_QUERY');
    const remaining = Number(headers.get('X-ResourceLimit-Remaining'));
    expect(remaining).toBeLessThan(10_000);
    expect(remaining).toBeGreaterThanOrEqual(0);
    const reset = Number(headers.get('X-ResourceLimit-Reset'));
    expect(reset % 10_000).toBe(0);
    expect(reset).toBeGreaterThan(Date.now() - 10_000);
    expect(reset).toBeLessThanOrEqual(Date.now() + 10_000);
  });

  it('SRC-019 LIM-014 LIM-104 refuses a search beyond the compute time, with an empty body, until the window ends', async () => {
    const limits = { ...limitsOf(newSettings({ http: { rateLimiting: false } })), searchMs: 1 };
    const one = apiClient(url, keys.grant('quota', { limits }).value);
    const other = apiClient(url, keys.grant('quota', { limits }).value);
    // Both in one window: else the second has its own.
    const { first, second } = await eventually(async () => {
      const answers = {
        first: await one.post('/api/v1/data/search', {}),
        second: await one.post('/api/v1/data/search', {}),
      };
      const resets = Object.values(answers).map(({ headers }) => headers.get('X-ResourceLimit-Reset'));
      return answers.first.status === 200 && resets[0] === resets[1] && answers;
    });
    expect(first.status).toBe(200);
    expect(second.status).toBe(429);
    expect(second.body).toBeUndefined();
    expect(second.headers.get('X-ResourceLimit-Remaining')).toBe('0');
    expect(second.headers.get('X-ResourceLimit-Limit')).toBe('1');
    expect(second.headers.get('X-ResourceLimit-Resource')).toBe('SEARCH_DSL_QUERY');
    const reset = Number(second.headers.get('X-ResourceLimit-Reset'));
    // The account's sum is used up too.
    const elsewhere = await other.post('/api/v1/data/search/hits', {});
    if (Date.now() < reset) expect(elsewhere.status).toBe(429);
    await eventually(async () => Date.now() >= reset);
    await eventually(async () => (await one.post('/api/v1/data/search', {})).status === 200);
  });

  it('counts the compute time of all instances together', async () => {
    const second = await backend.boot([search], { api: true, worker: false });
    const limits = { ...limitsOf(newSettings({ http: { rateLimiting: false } })), searchMs: 1 };
    const { value } = keys.grant('instances', { limits });
    const [here, there] = [apiClient(url, value), apiClient(second.url, value)];
    await eventually(async () => {
      const first = await here.post('/api/v1/data/search', {});
      const next = await there.post('/api/v1/data/search', {});
      return first.status === 200 && next.status === 429;
    });
    await second.close();
  });
});
