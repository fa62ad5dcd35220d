import { loadConfig } from './index.js';

const SERVICES = {
  DATABASE_URL: 'postgres://127.0.0.1/orrery',
  NATS_URL: 'nats://127.0.0.1:4222',
  REDIS_URL: 'redis://127.0.0.1:6379',
};

describe('the configuration', () => {
  it.each([
    ['ORRERY_SESSION_TTL_MS', '2592000000'],
    ['ORRERY_LOCK_MS', '9e15'],
    ['ORRERY_LOGIN_FAILURES', '9999999999'],
  ])('refuses a %s that no login could be answered with', (variable, value) => {
    expect(() => loadConfig({ ...SERVICES, [variable]: value })).toThrow(variable);
    expect(() => loadConfig({ ...SERVICES, [variable]: '5000' })).not.toThrow();
  });

  it.each(['https://elastic:se#cret@search:9200', 'https://elastic:se%cret@search:9200', 'https://'])(
    'refuses ELASTICSEARCH_URL %s, and does not repeat it',
    (address) => {
      const load = (): unknown => loadConfig({ ...SERVICES, ELASTICSEARCH_URL: address });
      expect(load).toThrow('ELASTICSEARCH_URL');
      expect(load).not.toThrow('cret');
    },
  );

  it('takes an ELASTICSEARCH_URL with user and password', () => {
    const address = 'https://elastic:se%23cret@search:9200/behind';
    expect(loadConfig({ ...SERVICES, ELASTICSEARCH_URL: address }).ELASTICSEARCH_URL).toBe(address);
  });
});
