import { setTimeout as delay } from 'node:timers/promises';
import { Controller, Get } from '@nestjs/common';
import { Requires } from '@orrery/core/http';
import { type LimitValues, limitsOf, newSettings } from '@orrery/core/limits';
import type { Service } from '@orrery/core/service';
import { type ApiAnswer, apiClient, eventually } from '@orrery/core/testing';
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

/** 200 REST calls and 121 publications of one connection within a minute. */
async function use(tenant: string, limits: LimitValues): Promise<Array<ApiAnswer<unknown>>> {
  const { value } = around.keys.grant(tenant, { limits });
  const left = MINUTE - (Date.now() % MINUTE);
  if (left < 20_000) await delay(left + 5);
  const client = await RawClient.open(port);
  clients.push(client);
  expect(await client.connect('json+device', value, tenant, { keepalive: 0 })).toBe(0);
  const answers: Array<ApiAnswer<unknown>> = [];
  for (let i = 0; i < REST_CALLS; i++) answers.push(await apiClient(url, value).get('/api/v0/things'));
  for (let i = 1; i <= PUBLICATIONS; i++) client.publish('dev/data', '{"v":{}}', i);
  for (let i = 1; i <= PUBLICATIONS; i++) await client.next('puback');
  await client.ping();
  await around.bus.connection.flush();
  return answers;
}
const passed = (answers: Array<ApiAnswer<unknown>>): number => answers.filter(({ status }) => status === 200).length;
const published = (tenant: string): number => around.messages.filter(({ header }) => header.tenantId === tenant).length;
const audited = (tenant: string): Array<[string, string]> =>
  around.audits.filter((entry) => entry.tenantId === tenant).map(({ type, level }) => [type, level]);

describe('the interfaces that an offer limits', () => {
  it('LIM-006 are MQTT alone', async () => {
    const answers = await use('mqtt-limited', rateLimiting('http'));
    expect(passed(answers)).toBe(REST_CALLS);
    expect(answers.some(({ headers }) => headers.has('x-ratelimit-limit'))).toBe(false);
    await eventually(() => audited('mqtt-limited').length > 0);
    expect(published('mqtt-limited')).toBe(120);
  });

  it('are HTTP alone', async () => {
    const answers = await use('http-limited', rateLimiting('mqtt'));
    expect(passed(answers)).toBe(120);
    expect(answers.every(({ headers }) => headers.has('x-ratelimit-limit'))).toBe(true);
    await eventually(() => published('http-limited') === PUBLICATIONS);
    expect(audited('http-limited')).toEqual([]);
  });

  it('LIM-017 are both, of which HTTP leaves nothing in the audit log, and MQTT one error', async () => {
    const answers = await use('both-limited', {});
    expect(passed(answers)).toBe(120);
    await eventually(() => audited('both-limited').length > 0);
    expect(published('both-limited')).toBe(120);
    expect(audited('both-limited')).toEqual([['rate_limit_reached', 'error']]);
  });
});
