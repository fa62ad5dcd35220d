import { setTimeout as delay } from 'node:timers/promises';
import type { IConnectPacket } from 'mqtt-packet';
import type { StoredAuditEntry } from '@orrery/core/audit';
import { type LimitName, limitsOf, type LimitValues, newSettings, UNLIMITED_OFFER } from '@orrery/core/limits';
import { eventually, type TestPlatform, withinWindow } from '@orrery/core/testing';
import { mqttConnector, mqttPorts } from '../mqtt-connector.js';
import type { MqttPorts } from '../server/listeners.js';
import { RawClient } from '../testing/raw-client.js';
import { startSurroundings, type Surroundings } from '../testing/surroundings.js';

const SECOND = 1000;
const MINUTE = 60_000;
const HOUR = 3_600_000;
const MQTT5: Partial<IConnectPacket> = { protocolVersion: 5 };

let around: Surroundings;
/** A second instance beside the one of the surroundings. */
let second: TestPlatform;
let secondPorts: MqttPorts;
const clients: RawClient[] = [];
beforeAll(async () => {
  around = await startSurroundings();
  second = await around.backend.boot([mqttConnector]);
  secondPorts = mqttPorts(second.app);
});
afterAll(async () => {
  for (const client of clients) client.end();
  await around.backend.stop();
});

let tenants = 0;
/** A tenant with a key whose offer limits nothing but this. */
function limited(limits: LimitValues): { tenant: string; key: string; grant(): string } {
  const tenant = `limited-${++tenants}`;
  const grant = (): string => around.keys.grant(tenant, { limits: { ...UNLIMITED_OFFER, ...limits } }).value;
  return { tenant, key: grant(), grant };
}
const open = async (port = around.ports.plain): Promise<RawClient> => {
  const tls = port === around.ports.tls || port === secondPorts.tls;
  const client = await RawClient.open(port, ...(tls ? [{ rejectUnauthorized: false }] : []));
  clients.push(client);
  return client;
};
const connect = async (key: string, clientId: string, port?: number, more?: Partial<IConnectPacket>): Promise<number> =>
  (await open(port)).connect('json+device', key, clientId, { keepalive: 0, ...more });
const device = async (key: string, clientId: string, port?: number): Promise<RawClient> => {
  const client = await open(port);
  expect(await client.connect('json+device', key, clientId, { keepalive: 0 })).toBe(0);
  return client;
};
const application = async (key: string, clientId: string, more?: Partial<IConnectPacket>): Promise<RawClient> => {
  const client = await open(around.ports.tls);
  expect(await client.connect('application', key, clientId, { keepalive: 0, ...more })).toBe(0);
  return client;
};

/** What was done within one second of the clock; done again, for another tenant, when the machine was too slow for that. */
async function inOneSecond<Result>(attempt: () => Promise<Result>): Promise<Result> {
  for (;;) {
    await delay(SECOND - (Date.now() % SECOND) + 5);
    const second = Math.floor(Date.now() / SECOND);
    const result = await attempt();
    if (Math.floor(Date.now() / SECOND) === second) return result;
  }
}
/** Publishes with QoS 1 from device or application, and waits for the acknowledgements. */
async function publish(client: RawClient, topic: string, marks: string[]): Promise<void> {
  marks.forEach((mark, i) => {
    const value = topic === 'dev/data' ? { v: { mark } } : { streamId: 's', value: { mark } };
    client.publish(topic, JSON.stringify(value), (i % 65_535) + 1);
  });
  for (const _ of marks) await client.next('puback');
}
const marks = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}-${i + 1}`);
const stored = (tenant: string): unknown[] =>
  around.messages.filter(({ header }) => header.tenantId === tenant).map(({ message }) => message.value!['mark']);
const entries = (tenant: string, limit: LimitName): StoredAuditEntry[] =>
  around.audits.filter((each) => each.tenantId === tenant && each.content?.['limit'] === limit);
const entry = (tenant: string, limit: LimitName): Promise<StoredAuditEntry> =>
  eventually(() => entries(tenant, limit)[0]);

describe('traffic in device mode', () => {
  it('LIM-009 LIM-049 MQT-051 AUD-012 drops publications beyond 120 of a connection a minute, until the next', async () => {
    const scenario = async (): Promise<{ tenant: string; client: RawClient }> => {
      const { tenant, key } = limited({});
      const { value } = around.keys.grant(tenant, { limits: {} });
      const client = await device(value, 'chatty');
      const other = await device(key, 'other');
      await publish(client, 'dev/data', marks('m', 121));
      expect(await entry(tenant, 'mqttDevicePerConnectionMinute')).toMatchObject({
        level: 'error',
        category: 'connectivity',
        subcategory: 'mqtt',
        type: 'rate_limit_reached',
        source: { nodeId: 'chatty', deviceId: 'urn:lo:nsid:mqtt:chatty' },
        content: { clientId: 'chatty', allowed: 120, reset: expect.stringMatching(/:00\.000Z$/) },
      });
      await publish(client, 'dev/data', marks('n', 3));
      client.publish('dev/data', '{"v":{"mark":"twice"}}', 7, 2);
      await client.next('pubrec');
      client.publish('dev/data', '{"v":{"mark":"at most once"}}');
      await client.ping();
      await publish(other, 'dev/data', ['of another']);
      await eventually(() => stored(tenant).includes('of another'));
      expect(stored(tenant)).toEqual([...marks('m', 120), 'of another']);
      return { tenant, client };
    };
    const { tenant, client } = await withinWindow(MINUTE, scenario, 15 * SECOND);
    await delay(MINUTE - (Date.now() % MINUTE) + 5);
    await publish(client, 'dev/data', ['next']);
    await eventually(() => stored(tenant).includes('next'));
    expect(stored(tenant)).toEqual([...marks('m', 120), 'of another', 'next']);
    expect(entries(tenant, 'mqttDevicePerConnectionMinute')).toHaveLength(1);
  });

  it('LIM-050 MQT-051 drops publications beyond 3600 of the account an hour', async () => {
    await withinWindow(HOUR, async () => {
      const { tenant, key } = limited(defaults('mqttDevicePerAccountHour'));
      const devices = await Promise.all(['a', 'b', 'c'].map((name) => device(key, name)));
      await Promise.all(devices.map((client, i) => publish(client, 'dev/data', marks(`d${i}`, 1200))));
      for (const client of devices) await publish(client, 'dev/data', ['beyond']);
      await devices[0]!.ping();
      await entry(tenant, 'mqttDevicePerAccountHour');
      await eventually(() => stored(tenant).length >= 3600);
      expect(stored(tenant)).toHaveLength(3600);
      expect(stored(tenant)).not.toContain('beyond');
      expect(entries(tenant, 'mqttDevicePerAccountHour')).toHaveLength(1);
    });
  });

  it('counts the account in all instances, and says so once', async () => {
    await withinWindow(HOUR, async () => {
      const { tenant, key } = limited({ mqttDevicePerAccountHour: 10 });
      const here = await device(key, 'here');
      const there = await device(key, 'there', secondPorts.plain);
      await publish(here, 'dev/data', marks('here', 10));
      let sent = 0;
      // The other instance learns of it in a moment.
      await eventually(async () => {
        await publish(there, 'dev/data', [`there-${++sent}`]);
        return entries(tenant, 'mqttDevicePerAccountHour').length > 0;
      });
      await publish(here, 'dev/data', ['beyond']);
      await here.ping();
      const before = stored(tenant).length;
      expect(before).toBeLessThan(10 + sent);
      await publish(there, 'dev/data', ['beyond']);
      await there.ping();
      expect(stored(tenant)).toHaveLength(before);
      expect(stored(tenant)).not.toContain('beyond');
      expect(entries(tenant, 'mqttDevicePerAccountHour')).toHaveLength(1);
    });
  });

  it('LIM-010 LIM-051 MQT-052 refuses each filter beyond ten SUBSCRIBEs of a connection a minute', async () => {
    const scenario = async (): Promise<void> => {
      const { tenant, key } = limited(defaults('mqttDeviceSubscribesPerMinute'));
      const client = await device(key, 'subscriber');
      for (let i = 1; i <= 10; i++) expect(await client.subscribe('dev/cmd', 1, i)).toEqual([1]);
      expect(await client.subscribe(['dev/cfg/upd', 'dev/rsc/upd'], 1, 11)).toEqual([0x80, 0x80]);
      expect(await client.subscribe('dev/cmd', 1, 12)).toEqual([0x80]);
      const { type, level } = await entry(tenant, 'mqttDeviceSubscribesPerMinute');
      expect([type, level]).toEqual(['rate_limit_reached', 'error']);
      await client.ping();
      expect(entries(tenant, 'mqttDeviceSubscribesPerMinute')).toHaveLength(1);
      expect(
        around.events.filter(({ header, event }) => header.tenantId === tenant && event.type === 'nodeSubscribed'),
      ).toHaveLength(10);
    };
    await withinWindow(MINUTE, scenario, 10 * SECOND);
  });

  it('MQT-055 follows the offer in how much is published, and nothing in how often is subscribed', async () => {
    const mqtt = {
      maximumDevicePublicationsPerConnectionMinute: 240,
      maximumDeviceSubscribesPerConnectionMinute: 1000,
      maximumDeviceSubscribesPerMinute: 1000,
      mqttDeviceSubscribesPerMinute: 1000,
      maximumDeviceConnectsPerDeviceSecond: 1000,
      mqttDeviceConnectsPerDeviceSecond: 1000,
    };
    const scenario = async (): Promise<string> => {
      const tenant = `limited-${++tenants}`;
      const { value } = around.keys.grant(tenant, { limits: limitsOf(newSettings({ mqtt })) });
      const client = await device(value, 'of-the-offer');
      await publish(client, 'dev/data', marks('m', 241));
      await entry(tenant, 'mqttDevicePerConnectionMinute');
      expect(stored(tenant)).toEqual(marks('m', 240));
      for (let i = 1; i <= 10; i++) expect(await client.subscribe('dev/cmd', 1, i)).toEqual([1]);
      expect(await client.subscribe('dev/cmd', 1, 11)).toEqual([0x80]);
      return value;
    };
    const value = await withinWindow(MINUTE, scenario, 20 * SECOND);
    // Whichever window an attempt falls into, three within a second take two of them at most.
    const codes = await eventually(async () => {
      const began = Date.now();
      const tried = [];
      for (let i = 0; i < 3; i++) tried.push(await connect(value, 'often'));
      return Date.now() - began < SECOND && tried;
    });
    expect(codes).toContain(3);
  });

  it('follows a change of the offer at once', async () => {
    const scenario = async (): Promise<void> => {
      const { tenant, key } = limited({ mqttDevicePerConnectionMinute: 2 });
      const client = await device(key, 'promoted');
      await publish(client, 'dev/data', marks('m', 3));
      around.keys.change(key, { limits: UNLIMITED_OFFER });
      await eventually(async () => {
        await publish(client, 'dev/data', ['free']);
        return stored(tenant).includes('free');
      });
      expect(stored(tenant)).not.toContain('m-3');
    };
    await withinWindow(MINUTE, scenario, 10 * SECOND);
  });
});

describe('traffic in application mode', () => {
  const TOPIC = 'application/v1/data';

  it('LIM-044 closes the session of the 121st publication of a key in a minute, and says why', async () => {
    const scenario = async (): Promise<void> => {
      const { tenant, key } = limited(defaults('mqttApplicationPerKeyMinute'));
      const first = await application(key, 'first');
      await publish(first, TOPIC, marks('m', 120));
      first.publish(TOPIC, '{"streamId":"s","value":{"mark":"beyond"}}', 121);
      await first.isClosed();
      expect(first.packets.filter(({ cmd }) => cmd === 'puback')).toEqual([]);
      expect(await entry(tenant, 'mqttApplicationPerKeyMinute')).toMatchObject({
        level: 'error',
        category: 'connectivity',
        subcategory: 'mqtt',
        type: 'rate_limit_reached',
        content: { clientId: 'first', allowed: 120 },
      });
      // Another session of the key may be opened, and is closed when it publishes.
      const second = await application(key, 'second', MQTT5);
      await second.ping();
      second.publish(TOPIC, '{"streamId":"s","value":{"mark":"beyond"}}', 1);
      expect(await second.next('disconnect')).toMatchObject({
        reasonCode: 0x96,
        properties: { reasonString: expect.stringContaining('120 MQTT publications of an API key a minute') },
      });
      await second.isClosed();
      expect(stored(tenant)).toEqual(marks('m', 120));
      expect(entries(tenant, 'mqttApplicationPerKeyMinute')).toHaveLength(1);
    };
    await withinWindow(MINUTE, scenario, 15 * SECOND);
  });

  it('LIM-045 closes the sessions of several keys beyond 3600 publications of the account an hour', async () => {
    await withinWindow(HOUR, async () => {
      const { tenant, key, grant } = limited(defaults('mqttApplicationPerAccountHour'));
      const one = await application(key, 'one');
      const two = await application(grant(), 'two', MQTT5);
      await Promise.all([one, two].map((client, i) => publish(client, TOPIC, marks(`a${i}`, 1800))));
      two.publish(TOPIC, '{"streamId":"s","value":{"mark":"beyond"}}', 1);
      expect(await two.next('disconnect')).toMatchObject({ reasonCode: 0x97 });
      one.publish(TOPIC, '{"streamId":"s","value":{"mark":"beyond"}}', 1);
      await one.isClosed();
      await entry(tenant, 'mqttApplicationPerAccountHour');
      expect(stored(tenant)).toHaveLength(3600);
      expect(entries(tenant, 'mqttApplicationPerAccountHour')).toHaveLength(1);
    });
  });

  it('adds up the sessions of a key', async () => {
    const scenario = async (): Promise<void> => {
      const { tenant, key, grant } = limited({ mqttApplicationPerKeyMinute: 20 });
      const sessions = [await application(key, 'one'), await application(key, 'two')];
      const other = await application(grant(), 'other');
      await Promise.all(sessions.map((client, i) => publish(client, TOPIC, marks(`s${i}`, 10))));
      sessions[1]!.publish(TOPIC, '{"streamId":"s","value":{"mark":"beyond"}}', 1);
      await sessions[1]!.isClosed();
      await publish(other, TOPIC, ['other key']);
      expect(stored(tenant)).toHaveLength(21);
    };
    await withinWindow(MINUTE, scenario, 10 * SECOND);
  });

  it('sends no reason text to a client that limits the size of packets', async () => {
    const { key } = limited({ mqttApplicationPerKeyMinute: 0 });
    const client = await application(key, 'small', { ...MQTT5, properties: { maximumPacketSize: 64 } });
    client.publish(TOPIC, '{}', 1);
    const { reasonCode, properties } = await client.next('disconnect');
    expect([reasonCode, properties?.reasonString]).toEqual([0x96, undefined]);
  });
});

describe('connections', () => {
  it('LIM-008 are counted for each mode', async () => {
    const { tenant, key } = limited({ mqttDeviceConnections: 2 });
    await device(key, 'one');
    const two = await device(key, 'two');
    expect(await connect(key, 'three')).toBe(3);
    expect(await connect(key, 'three', around.ports.plain, MQTT5)).toBe(0x97);
    expect(around.inventory.nodes.has(`${tenant}/three`)).toBe(false);
    await application(key, 'application');
    two.end();
    await eventually(async () => (await connect(key, 'three')) === 0);
    expect(entries(tenant, 'mqttDeviceConnections')).toHaveLength(1);
  });

  it('LIM-046 MQT-049 are at most a hundred devices by default', async () => {
    const { tenant, key } = limited(defaults('mqttDeviceConnections'));
    const devices: RawClient[] = [];
    for (let i = 0; i < 100; i++) devices.push(await device(key, `device-${i}`));
    expect(await connect(key, 'excess')).toBe(3);
    expect(await entry(tenant, 'mqttDeviceConnections')).toMatchObject({
      level: 'error',
      category: 'connectivity',
      subcategory: 'mqtt',
      type: 'rate_limit_reached',
      content: { clientId: 'excess', allowed: 100 },
    });
    await devices[50]!.ping();
  });

  it('LIM-043 are at most a hundred applications by default, until one ends', async () => {
    const { tenant, key } = limited(defaults('mqttApplicationConnections'));
    const applications: RawClient[] = [];
    for (let i = 0; i < 100; i++) applications.push(await application(key, 'same'));
    const excess = async (): Promise<number> => (await open(around.ports.tls)).connect('application', key, 'excess');
    expect(await excess()).toBe(3);
    const { category, subcategory } = await entry(tenant, 'mqttApplicationConnections');
    expect([category, subcategory]).toEqual(['connectivity', 'mqtt']);
    applications[0]!.end();
    await eventually(async () => (await excess()) === 0);
  });

  it('are counted in all instances, and given back by one that stops', async () => {
    const { key } = limited({ mqttDeviceConnections: 2 });
    const third = await around.backend.boot([mqttConnector]);
    await device(key, 'here');
    await device(key, 'there', mqttPorts(third.app).plain);
    expect(await connect(key, 'excess', secondPorts.plain)).toBe(3);
    await third.close();
    await eventually(async () => (await connect(key, 'excess', secondPorts.plain)) === 0);
    expect(await connect(key, 'more')).toBe(3);
  });

  it('that are refused, or given up, take no place', async () => {
    const { tenant, key } = limited({ mqttDeviceConnections: 1 });
    around.inventory.set(tenant, 'disabled', {}, false);
    for (let i = 0; i < 3; i++) expect(await connect(key, 'disabled')).toBe(5);
    const hasty = await open();
    hasty.send({ cmd: 'connect', clientId: 'hasty', username: 'json+device', password: Buffer.from(key) });
    hasty.end();
    await eventually(async () => (await connect(key, 'patient')) === 0);
    expect(await connect(key, 'late')).toBe(3);
  });

  it('let a device take its own session over when there is no place left', async () => {
    const { key } = limited({ mqttDeviceConnections: 1 });
    const old = await device(key, 'again');
    const young = await device(key, 'again');
    await old.isClosed();
    await young.ping();
    expect(await connect(key, 'other')).toBe(3);
    await device(key, 'again');
    await young.isClosed();
    expect(await connect(key, 'other')).toBe(3);
  });

  it('LIM-047 MQT-050 of a device are tried once a second', async () => {
    const { tenant, key, codes } = await inOneSecond(async () => {
      const { tenant, key } = limited(defaults('mqttDeviceConnectsPerDeviceSecond'));
      await device(key, 'hasty');
      const codes = [await connect(key, 'hasty'), await connect(key, 'hasty', secondPorts.plain, MQTT5)];
      return { tenant, key, codes };
    });
    expect(codes).toEqual([3, 0x9f]);
    await device(key, 'unhurried');
    expect(await entry(tenant, 'mqttDeviceConnectsPerDeviceSecond')).toMatchObject({
      type: 'rate_limit_reached',
      level: 'error',
      content: { clientId: 'hasty' },
    });
    expect(entries(tenant, 'mqttDeviceConnectsPerDeviceSecond')).toHaveLength(1);
    await eventually(async () => (await connect(key, 'hasty')) === 0);
  });

  it('LIM-048 MQT-050 of an account are tried five times a second', async () => {
    const { tenant, key, codes } = await inOneSecond(async () => {
      const { tenant, key } = limited(defaults('mqttDeviceConnectsPerAccountSecond'));
      const codes: number[] = [];
      for (let i = 0; i < 6; i++) codes.push(await connect(key, `device-${i}`));
      return { tenant, key, codes };
    });
    expect(codes).toEqual([0, 0, 0, 0, 0, 3]);
    const { type, content } = await entry(tenant, 'mqttDeviceConnectsPerAccountSecond');
    expect([type, content!['allowed'], content!['clientId']]).toEqual(['rate_limit_reached', 5, 'device-5']);
    await eventually(async () => (await connect(key, 'device-5')) === 0);
  });

  it('are not counted before the key is accepted', async () => {
    const { tenant, key } = limited({ mqttDeviceConnectsPerAccountSecond: 1, mqttDeviceConnections: 1 });
    const weak = around.keys.grant(tenant, { roles: ['DATA_R'], limits: { mqttDeviceConnectsPerAccountSecond: 1 } });
    for (let i = 0; i < 3; i++) expect(await connect(weak.value, 'x')).toBe(4);
    expect(await connect(key, 'x')).toBe(0);
  });
});

/** Puts one limit back to the default of the manual. */
function defaults(limit: LimitName): LimitValues {
  return { [limit]: undefined } as LimitValues;
}
