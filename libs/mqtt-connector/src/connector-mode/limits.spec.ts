import { setTimeout as delay } from 'node:timers/promises';
import type { StoredAuditEntry } from '@orrery/core/audit';
import { limitOf, type LimitName, type LimitValues, UNLIMITED_OFFER } from '@orrery/core/limits';
import { eventually, withinWindow } from '@orrery/core/testing';
import { DATA, ExternalConnectors, marked } from '../testing/external-connectors.js';
import type { RawClient } from '../testing/raw-client.js';
import { startSurroundings, type Surroundings } from '../testing/surroundings.js';

const MINUTE = 60_000;
const HOUR = 3_600_000;

let around: Surroundings;
let connectors: ExternalConnectors;
beforeAll(async () => {
  around = await startSurroundings();
  connectors = new ExternalConnectors(around);
});
afterAll(async () => {
  connectors.end();
  await around.backend.stop();
});

/** A tenant whose offer has the default of this limit alone. */
let tenants = 0;
const tenantWith = (limit: LimitName): { tenant: string; grant(): string } => {
  const tenant = `limited-${++tenants}`;
  const limits: LimitValues = { ...UNLIMITED_OFFER, [limit]: limitOf({}, limit) };
  return { tenant, grant: () => around.keys.grant(tenant, { limits }).value };
};
const connect = async (key: string, username = 'connector'): Promise<RawClient> => {
  const client = await connectors.open();
  expect(await client.connect(username, key, 'limited', { keepalive: 0 })).toBe(0);
  return client;
};
const send = (client: RawClient, mark: string, messageId: number): void =>
  client.publish(DATA('limited'), JSON.stringify(marked(mark)), messageId);
async function publish(client: RawClient, prefix: string, count: number): Promise<void> {
  for (let i = 1; i <= count; i++) send(client, `${prefix}-${i}`, i);
  for (let i = 1; i <= count; i++) await client.next('puback');
}
const stored = (tenant: string): unknown[] =>
  around.messages.filter(({ header }) => header.tenantId === tenant).map(({ message }) => message.value!['mark']);
const entries = (tenant: string, limit: LimitName): StoredAuditEntry[] =>
  around.audits.filter((each) => each.tenantId === tenant && each.content?.['limit'] === limit);

describe('traffic', () => {
  it('LIM-011 LIM-012 LIM-053 MQT-054 closes a session at 121 publications of its key a minute, until the next', async () => {
    const limit = 'mqttConnectorPerKeyMinute';
    const scenario = async (): Promise<{ tenant: string; key: string }> => {
      const { tenant, grant } = tenantWith(limit);
      const key = grant();
      const [first, second, ofAnotherKey] = [await connect(key), await connect(key), await connect(grant())];
      await publish(first, 'first', 61);
      await publish(second, 'second', 59);
      send(second, 'over', 60);
      await second.isClosed();
      expect(second.packets).toEqual([]);
      await publish(ofAnotherKey, 'of another key', 10);
      const [entry] = await eventually(() => (entries(tenant, limit).length > 0 ? entries(tenant, limit) : undefined));
      expect(entry).toMatchObject({
        level: 'error',
        category: 'connectivity',
        subcategory: 'mqtt',
        type: 'rate_limit_reached',
        content: { allowed: 120, reset: expect.stringMatching(/:00\.000Z$/) },
      });
      const again = await connect(key);
      send(again, 'too early', 1);
      await again.isClosed();
      return { tenant, key };
    };
    const { tenant, key } = await withinWindow(MINUTE, scenario, 20_000);
    await delay(MINUTE - (Date.now() % MINUTE) + 5);
    const next = await connect(key);
    await publish(next, 'next', 1);
    await eventually(() => stored(tenant).includes('next-1'));
    expect(stored(tenant)).toHaveLength(131);
    expect(stored(tenant)).not.toContain('over');
    expect(stored(tenant)).not.toContain('too early');
    expect(entries(tenant, limit)).toHaveLength(1);
  });

  it('LIM-054 closes sessions at 3601 publications of the account an hour', async () => {
    const limit = 'mqttConnectorPerAccountHour';
    await withinWindow(HOUR, async () => {
      const { tenant, grant } = tenantWith(limit);
      const clients = [await connect(grant()), await connect(grant()), await connect(grant())];
      await Promise.all(clients.map((client, i) => publish(client, `client-${i}`, 1200)));
      send(clients[0]!, 'beyond', 1);
      await clients[0]!.isClosed();
      await eventually(() => entries(tenant, limit).length === 1);
      expect(entries(tenant, limit)[0]).toMatchObject({ type: 'rate_limit_reached', content: { allowed: 3600 } });
      await eventually(() => stored(tenant).length === 3600);
      expect(stored(tenant)).not.toContain('beyond');
      // What others do is counted apart.
      await clients[1]!.ping();
    });
  });
});

describe('connections', () => {
  it('LIM-052 MQT-053 are refused beyond a hundred of the account, and audited; other modes are counted apart', async () => {
    const limit = 'mqttConnectorConnections';
    const { tenant, grant } = tenantWith(limit);
    const key = grant();
    const clients: RawClient[] = [];
    for (let i = 0; i < 100; i++) clients.push(await connect(key));
    expect(await (await connectors.open()).connect('connector', grant(), 'limited')).toBe(3);
    await eventually(() => entries(tenant, limit).length === 1);
    expect(entries(tenant, limit)[0]).toMatchObject({
      category: 'connectivity',
      subcategory: 'mqtt',
      content: { allowed: 100, clientId: 'limited' },
    });
    await connect(key, 'application');
    clients[0]!.end();
    await eventually(async () => (await (await connectors.open()).connect('connector', key, 'limited')) === 0);
  });
});
