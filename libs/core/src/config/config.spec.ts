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
});
