import { Controller, Get } from '@nestjs/common';
import { Requires } from '@orrery/core/http';
import { type LimitValues, limitsOf, newSettings } from '@orrery/core/limits';
import type { Service } from '@orrery/core/service';
import { type ApiAnswer, apiClient, eventually, withinWindow } from '@orrery/core/testing';
import { mqttConnector, mqttPorts } from '../mqtt-connector.js';
import { RawClient } from '../testing/raw-client.js';
import { startSurroundings, type Surroundings } from '../testing/surroundings.js';

const MINUTE = 60_000;

@Controller('api/v0/things')
class ThingsController {
  @Get()
  @Requires('DATA_R')
  list(): string[] {
    return [];
  }
}
const rest: Service = {
  name: 'rest',
  restPaths: ['/api/v0/things'],
  build: () => ({ controllers: [ThingsController], providers: [], running: [] }),
};

let around: Surroundings;
let url: string;
let port: number;
const clients: RawClient[] = [];
beforeAll(async () => {
  around = await startSurroundings();
  const platform = await around.backend.boot([mqttConnector, rest]);
  url = platform.url;
  port = mqttPorts(platform.app).plain;
});
afterAll(async () => {
  for (const client of clients) client.end();
  await around.backend.stop();
});

const REST_CALLS = 200;
const PUBLICATIONS = 121;
const rateLimiting = (section: 'http' | 'mqtt'): LimitValues =>
  limitsOf(newSettings({ [section]: { rateLimiting: false } }));

let tenants = 0;
/** 200 REST calls and 121 publications of one connection, of a tenant of their own. */
async function use(limits: LimitValues): Promise<{ tenant: string; answers: Array<ApiAnswer<unknown>> }> {
  const tenant = `limited-${++tenants}`;
  const { value } = around.keys.grant(tenant, { limits });
  const client = await RawClient.open(port);
  clients.push(client);
  expect(await client.connect('json+device', value, tenant, { keepalive: 0 })).toBe(0);
  const answers: Array<ApiAnswer<unknown>> = [];
  for (let i = 0; i < REST_CALLS; i++) answers.push(await apiClient(url, value).get('/api/v0/things'));
  for (let i = 1; i <= PUBLICATIONS; i++) client.publish('dev/data', '{"v":{}}', i);
  for (let i = 1; i <= PUBLICATIONS; i++) await client.next('puback');
  await client.ping();
  await around.bus.connection.flush();
  return { tenant, answers };
}
const passed = (answers: Array<ApiAnswer<unknown>>): number => answers.filter(({ status }) => status === 200).length;
const published = (tenant: string): number => around.messages.filter(({ header }) => header.tenantId === tenant).length;
const audited = (tenant: string): Array<[string, string]> =>
  around.audits.filter((entry) => entry.tenantId === tenant).map(({ type, level }) => [type, level]);

describe('the interfaces that an offer limits', () => {
  const within = (scenario: () => Promise<void>) => () => withinWindow(MINUTE, scenario, 20_000);

  it(
    'LIM-006 are MQTT alone',
    within(async () => {
      const { tenant, answers } = await use(rateLimiting('http'));
      expect(passed(answers)).toBe(REST_CALLS);
      expect(answers.some(({ headers }) => headers.has('x-ratelimit-limit'))).toBe(false);
      await eventually(() => audited(tenant).length > 0);
      expect(published(tenant)).toBe(120);
    }),
  );

  it(
    'are HTTP alone',
    within(async () => {
      const { tenant, answers } = await use(rateLimiting('mqtt'));
      expect(passed(answers)).toBe(120);
      expect(answers.every(({ headers }) => headers.has('x-ratelimit-limit'))).toBe(true);
      await eventually(() => published(tenant) === PUBLICATIONS);
      expect(audited(tenant)).toEqual([]);
    }),
  );

  it(
    'LIM-017 are both, of which HTTP leaves nothing in the audit log, and MQTT one error',
    within(async () => {
      const { tenant, answers } = await use({});
      expect(passed(answers)).toBe(120);
      await eventually(() => audited(tenant).length > 0);
      expect(published(tenant)).toBe(120);
      expect(audited(tenant)).toEqual([['rate_limit_reached', 'error']]);
    }),
  );
});
