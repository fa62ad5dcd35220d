import { once } from 'node:events';
import { connect } from 'node:net';
import type { IDisconnectPacket, MqttClient } from 'mqtt';
import { connectNats } from '@orrery/core/bus';
import { apiClient, eventually } from '@orrery/core/testing';
import { startLoad } from '../tools/bench/mqtt-load.mjs';
import type { PlatformProcess } from '../tools/platform.mjs';
import { type EndToEnd, received } from './platform.js';
import { startTrial, type Trial } from './trial.js';

type Json = Record<string, unknown>;

// Instances that come and go share the work, see the same, and end without taking anything with them.

const PARTITIONS = 8;
const SCALED = ['store', 'routing', 'event-processing'];

let trial: Trial;
let e2e: EndToEnd;
let leases: LeaseWatch;
beforeAll(async () => {
  trial = await startTrial({
    separate: true,
    // As it is installed, but for the time to drain: load balancers are asked every second, on a busy machine too.
    env: { ORRERY_LEASE_TTL_MS: '6000', ORRERY_DRAIN_MS: '4000' },
  });
  ({ e2e } = trial);
  leases = await watchLeases(e2e.platform.services.natsUrl);
});
afterAll(async () => {
  await leases.stop();
  await trial.stop();
});

interface LeaseWatch {
  /** Longest time in which a partition had no owner, and which one it was. Starts anew. */
  longest(): string;
  stop(): Promise<void>;
}
/** Sees leases of partitions change hands. */
async function watchLeases(url: string): Promise<LeaseWatch> {
  const connection = await connectNats(url, 'e2e');
  const released = new Map<string, number>();
  let longest = { ms: 0, lease: 'none' };
  connection.subscribe('$KV.orrery_leases.*.lease.*', {
    callback: (_, { subject, headers }) => {
      const lease = subject.slice('$KV.orrery_leases.'.length);
      if (headers?.get('KV-Operation') === 'DEL') released.set(lease, performance.now());
      else if (released.has(lease)) {
        const ms = Math.round(performance.now() - released.get(lease)!);
        released.delete(lease);
        if (ms > longest.ms) longest = { ms, lease };
      }
    },
  });
  return {
    longest() {
      const text = `${longest.ms} ms (${longest.lease})`;
      longest = { ms: 0, lease: 'none' };
      return text;
    },
    stop: () => connection.close(),
  };
}

const processesOf = (service: string): PlatformProcess[] =>
  e2e.platform.processes.filter(({ name }) => name === service || name.startsWith(`${service}-`));

/** Partitions that a process owns, by reader. */
async function partitionsOf({ httpPort }: PlatformProcess): Promise<Map<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
  return new Map(
    [...text.matchAll(/^orrery_reader_partitions\{.*?reader="(.+?)".*?\} (\d+)$/gm)].map(([, reader, count]) => [
      reader!,
      Number(count),
    ]),
  );
}
/** Waits until the instances of the service share the partitions of each reader evenly. */
async function sharedEvenly(service: string, instances: number): Promise<void> {
  await eventually(async () => {
    const each = await Promise.all(processesOf(service).map(partitionsOf));
    expect(each).toHaveLength(instances);
    expect(each[0]!.size).toBeGreaterThan(0);
    for (const reader of each[0]!.keys())
      expect([reader, each.map((counts) => counts.get(reader))]).toEqual([
        reader,
        each.map(() => PARTITIONS / instances),
      ]);
    return true;
  });
}

const create = async (path: string, body: object): Promise<string> => {
  const answer = await e2e.api.post<{ id: string }>(path, body);
  if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body.id;
};
const route = async (fifoName: string, trigger: string, filter?: object): Promise<void> => {
  await create('/api/v0/topics/fifo', { name: fifoName, maxLengthBytes: 100_000_000 });
  await create('/api/v1/event2action/actionPolicies', {
    enabled: true,
    triggers: { [trigger]: { version: 1, ...(filter ? { filter } : {}) } },
    actions: { fifoPublish: [{ fifoName }] },
  });
};
const inFifo = async <Body>(name: string): Promise<Body[]> =>
  (
    await e2e.query<{ body: string }>(
      `SELECT m.body FROM routing.fifo_messages m JOIN routing.fifos f ON f.id = m.fifo_id WHERE f.name = $1 ORDER BY m.seq`,
      [name],
    )
  ).map(({ body }) => JSON.parse(body) as Body);

const closeOf = (client: MqttClient): Promise<void> => new Promise((resolve) => client.once('close', () => resolve()));

/** Asks over REST until it is stopped. @returns what was not answered as it should */
function restLoad(): { stop(): Promise<unknown[]> } {
  let stopped = false;
  const wrong: unknown[] = [];
  const ask = async (n: number): Promise<void> => {
    const path = `/api/v0/data/streams/rest-${n}`;
    while (!stopped) {
      try {
        const answers = [await e2e.api.post(path, { value: { n } }), await e2e.api.get(path)];
        wrong.push(...answers.map(({ status }) => status).filter((status) => status >= 300));
      } catch (error) {
        wrong.push(error);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const running = [1, 2].map(ask);
  return {
    async stop() {
      stopped = true;
      await Promise.all(running);
      return wrong;
    },
  };
}

it('services are scaled from one instance to two and back under load: nothing is lost, twice, or out of order', async () => {
  const rest = restLoad();
  await trial
    .holds(
      'scaled',
      async (traffic) => {
        for (const replicas of [2, 1]) {
          await Promise.all(SCALED.map((service) => e2e.platform.scale(service, replicas)));
          await Promise.all(SCALED.map((service) => sharedEvenly(service, replicas)));
          process.stdout.write(`to ${replicas}: longest time without an owner of a partition: ${leases.longest()}\n`);
          await traffic.flows();
        }
      },
      { rate: 150 },
    )
    .finally(() => rest.stop());
  expect(await rest.stop()).toEqual([]);
});

describe('two connectors', () => {
  let connectors: PlatformProcess[];
  beforeAll(async () => {
    await e2e.platform.scale('mqtt-connector', 2);
    connectors = processesOf('mqtt-connector');
  });
  const port = (instance: number, secure = false): number => connectors[instance]![secure ? 'mqttsPort' : 'mqttPort']!;

  it('take turns behind the one port that clients know', async () => {
    const clients = await Promise.all([1, 2, 3, 4].map((n) => e2e.device(`turn-${n}`)));
    for (const { httpPort } of connectors)
      await eventually(async () => {
        const text = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
        return Number(/^orrery_mqtt_sessions\{mode="device"\} (\d+)$/m.exec(text)?.[1]) >= 2;
      });
    await Promise.all(clients.map((client) => client.endAsync()));
  });

  it('deliver to each other what their clients publish', async () => {
    await route('across', 'dataMessage', { deviceIds: ['urn:lo:nsid:mqtt:across'] });
    const application = await e2e.application(e2e.apiKey, { port: port(0, true) });
    const messages = received(application);
    await application.subscribeAsync('fifo/across', { qos: 1 });
    const device = await e2e.device('across', { port: port(1) });
    for (let n = 1; n <= 5; n++) await device.publishAsync('dev/data', `{"value":{"n":${n}}}`, { qos: 1 });
    await eventually(() => messages.length === 5);
    expect(messages.map(({ payload }) => (payload['value'] as Json)['n'])).toEqual([1, 2, 3, 4, 5]);
    await Promise.all([device.endAsync(), application.endAsync()]);
  });

  it('let a client have one session in both together', async () => {
    const there = await e2e.device('roaming', { port: port(0) });
    const gone = closeOf(there);
    const here = await e2e.device('roaming', { port: port(1) });
    await gone;
    await here.publishAsync('dev/data', '{"value":{}}', { qos: 1 });
    await eventually(async () => {
      const { body } = await e2e.api.get<{ interfaces: Json[] }>('/api/v1/deviceMgt/devices/urn:lo:nsid:mqtt:roaming');
      return body.interfaces[0]!['status'] === 'ONLINE';
    });
    await here.endAsync();
  });

  it('both forget a key that is revoked', async () => {
    const { body } = await e2e.api.get<{ data: Array<{ id: string; masterKey: boolean }> }>('/api/v0/apiKeys');
    const master = body.data.find((key) => key.masterKey)!;
    const granted = await e2e.api.post<{ id: string; value: string }>('/api/v0/apiKeys', {
      parentId: master.id,
      label: 'revoked',
      roles: ['DEVICE_ACCESS', 'DEVICE_R'],
    });
    const { id, value } = granted.body;
    const clients = await Promise.all(
      [0, 1].map((instance) => e2e.device(`revoked-${instance}`, { port: port(instance), password: value })),
    );
    const rest = apiClient(e2e.platform.httpUrl, value);
    expect((await rest.get('/api/v1/deviceMgt/devices')).status).toBe(200);
    const closed = clients.map(closeOf);
    expect((await e2e.api.delete(`/api/v0/apiKeys/${id}`)).status).toBeLessThan(300);
    await Promise.all(closed);
    for (const instance of [0, 1])
      await expect(e2e.device('late', { port: port(instance), password: value })).rejects.toMatchObject({ code: 4 });
    await eventually(async () => (await rest.get('/api/v1/deviceMgt/devices')).status === 403);
  });

  it('one that ends has said so before, answers what it has read, and tells its clients', async () => {
    const ending = connectors[1]!;
    const modern = await e2e.device('told', { port: port(1), protocolVersion: 5 });
    const told = new Promise<IDisconnectPacket>((resolve) => modern.once('disconnect', resolve));
    const acknowledged = new Set<number>();
    const load = startLoad({
      port: port(1),
      connections: 10,
      window: 50,
      rate: 1000,
      device: (i) => ({ clientId: `ended-${i}`, username: 'json+device', password: e2e.apiKey, topic: 'dev/data' }),
      payload: (n) => JSON.stringify({ value: { n } }),
      onAck: (n) => acknowledged.add(n),
    });
    await eventually(() => acknowledged.size > 500);
    const { child, httpPort } = ending;
    const exited = once(child!, 'exit');
    const health = async (): Promise<string> =>
      ((await (await fetch(`http://127.0.0.1:${httpPort}/health/ready`)).json()) as { status: string }).status;
    expect(await health()).toBe('up');
    child!.kill('SIGTERM');
    await eventually(async () => (await health()) === 'stopping');
    // It serves on: who has not heard of it yet is not turned away.
    const before = acknowledged.size;
    await once(connect(port(1), '127.0.0.1'), 'connect').then(() => eventually(() => acknowledged.size > before));
    expect((await told).reasonCode).toBe(0x8b);
    expect(await exited).toEqual([0, null]);
    load.stop();
    await load.done;
    await eventually(async () => {
      const rows = await e2e.query<{ n: number; count: string }>(
        `SELECT (body::json->'value'->>'n')::int n, count(*) count FROM store.messages
         WHERE stream_id LIKE 'urn:lo:nsid:mqtt:ended-%' GROUP BY 1`,
      );
      const counts = new Map(rows.map(({ n, count }) => [n, count]));
      return [...acknowledged].every((n) => counts.get(n) === '1') && rows.every(({ count }) => count === '1');
    });
  });
});

it('two instances with timers and jobs do once what is due', async () => {
  await Promise.all(['event-processing', 'routing'].map((service) => e2e.platform.scale(service, 2)));
  await Promise.all(['event-processing', 'routing'].map((service) => sharedEvenly(service, 2)));
  const ids = Array.from({ length: 30 }, (_, n) => `urn:lo:nsid:mqtt:quiet-${n}`);
  for (const id of ids) await create('/api/v1/deviceMgt/devices', { id });
  const rule = await create('/api/v0/eventprocessing/activity/rules', {
    name: 'quiet',
    enabled: true,
    silentPolicy: { duration: 'PT10M' },
    targets: { deviceIds: ids },
  });
  await route('quiet', 'deviceActivity');
  const states = async (): Promise<unknown[]> =>
    e2e.query('SELECT 1 FROM event_processing.activity_states WHERE rule_id = $1', [rule]);
  await eventually(async () => (await states()).length === ids.length);
  /** Lets so much time pass for these that they are silent in two seconds. */
  const pass = (devices: string[]): Promise<unknown> =>
    e2e.query(
      `UPDATE event_processing.activity_states s SET next_alarm = next_alarm - i, quiet_since = quiet_since - i
       FROM (SELECT rule_id, device_id, next_alarm - now() - interval '2 seconds' AS i
             FROM event_processing.activity_states) p
       WHERE s.rule_id = $1 AND s.device_id = ANY($2) AND p.rule_id = s.rule_id AND p.device_id = s.device_id`,
      [rule, devices],
    );
  const told = async (): Promise<string[]> =>
    (await inFifo<{ deviceId: string }>('quiet')).map(({ deviceId }) => deviceId).toSorted();
  await pass(ids.slice(1));
  await eventually(async () => (await told()).length >= ids.length - 1);
  // By the time that this one is told of, what would have come twice has come.
  await pass(ids.slice(0, 1));
  await eventually(async () => (await told()).includes(ids[0]!));
  expect(await told()).toEqual(ids.toSorted());

  // The job that removes what is too old: messages and the sums of their FIFO go together.
  await e2e.query(
    `UPDATE routing.fifo_messages SET expires = now() WHERE fifo_id = (SELECT id FROM routing.fifos WHERE name = 'quiet')`,
  );
  const left = async (): Promise<unknown> => (await e2e.api.get<Json>('/api/v0/topics/fifo/quiet')).body['messages'];
  await eventually(async () => (await left()) === 0);
  expect(await told()).toEqual([]);
});
