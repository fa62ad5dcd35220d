import { setTimeout as delay } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { Redis } from 'ioredis';
import { connectNats } from '@orrery/core/bus';
import { apiClient, eventually } from '@orrery/core/testing';
import { createTenant } from '@orrery/identity/contract';
import { holds } from './load.js';
import { type EndToEnd, startEndToEnd } from './platform.js';

// The servers may end at any moment too: they come back, and no process of the platform is started again for it.

/** Twice the life of a lease (platform.ts). */
const BEYOND_LEASES_MS = 4000;

let e2e: EndToEnd;
let bus: NatsConnection;
beforeAll(async () => {
  e2e = await startEndToEnd();
  bus = await connectNats(e2e.platform.services.natsUrl, 'servers.e2e');
}, 180_000);
afterAll(async () => {
  await bus.close();
  await e2e.stop();
}, 60_000);

type Server = 'nats' | 'postgres' | 'redis';
const pid = (server: Server): number => e2e.platform.services.pids[server]!;

const health = async (): Promise<boolean[]> =>
  Promise.all(
    e2e.platform.processes.map(async ({ httpPort }) => (await fetch(`http://127.0.0.1:${httpPort}/health/ready`)).ok),
  );
const ready = (): Promise<unknown> => eventually(async () => (await health()).every((ok) => ok), 30_000);
const kill = async (server: Server): Promise<void> => {
  const killed = pid(server);
  process.kill(killed, 'SIGKILL');
  await eventually(() => pid(server) !== killed, 30_000);
};

/** REST reads what REST writes, by the processes that were there from the beginning. */
const works = async (stream: string): Promise<void> => {
  expect((await e2e.api.post(`/api/v0/data/streams/${stream}`, { value: { stream } })).status).toBe(202);
  await eventually(async () => (await e2e.api.get<unknown[]>(`/api/v0/data/streams/${stream}`)).body.length === 1);
  expect((await e2e.api.get('/api/v1/deviceMgt/devices')).status).toBe(200);
  expect(e2e.platform.processes.map(({ name, starts }) => [name, starts])).toEqual([
    ['edge', 1],
    ['processing', 1],
  ]);
};

describe('every acknowledged message is stored once and routed once', () => {
  it('while NATS is killed, and killed again as soon as it is back', async () => {
    await holds(e2e, 'killed-nats', async () => {
      for (let times = 0; times < 3; times++) await kill('nats');
      await ready();
    });
    await works('killed-nats');
  }, 120_000);

  it('while NATS is killed when all leases in it have expired', async () => {
    await holds(e2e, 'expired-nats', async () => {
      process.kill(pid('nats'), 'SIGSTOP');
      await delay(BEYOND_LEASES_MS);
      await kill('nats');
      await ready();
    });
    await works('expired-nats');
  }, 120_000);

  it('after NATS was killed when its streams were empty', async () => {
    const jsm = await jetstreamManager(bus);
    await eventually(async () => {
      let messages = 0;
      for await (const { config, state } of jsm.streams.list())
        if (/^(READY|EVENTS)_/.test(config.name)) messages += state.messages;
      return messages === 0;
    }, 30_000);
    await kill('nats');
    await ready();
    await works('empty-nats');
    await holds(e2e, 'empty-nats', async () => undefined);
  }, 120_000);

  it('while NATS is paused beyond the leases and wakes up again', async () => {
    await holds(e2e, 'paused-nats', async () => {
      process.kill(pid('nats'), 'SIGSTOP');
      const paused = delay(BEYOND_LEASES_MS);
      try {
        await eventually(async () => (await health()).every((up) => !up));
        await paused;
      } finally {
        process.kill(pid('nats'), 'SIGCONT');
      }
      await ready();
    });
    await works('paused-nats');
  }, 120_000);

  it('while PostgreSQL is killed, and killed again as soon as it is back', async () => {
    await holds(e2e, 'killed-postgres', async () => {
      for (let times = 0; times < 3; times++) await kill('postgres');
      await ready();
    });
    await works('killed-postgres');
  }, 120_000);

  it('while NATS and PostgreSQL are killed together', async () => {
    await holds(e2e, 'killed-both', async () => {
      await Promise.all([kill('nats'), kill('postgres')]);
      await ready();
    });
    await works('killed-both');
  }, 120_000);

  it('while Redis is killed and comes back empty; jobs and limits work afterwards', async () => {
    const redis = new Redis(e2e.platform.services.redisUrl, { lazyConnect: true });
    redis.on('error', () => undefined);
    await holds(e2e, 'killed-redis', async () => {
      await redis.flushall();
      redis.disconnect();
      await kill('redis');
      await ready();
    });
    await works('killed-redis');

    // A message that expires leaves its FIFO by a job.
    expect((await e2e.api.post('/api/v0/topics/fifo', { name: 'expiring', messageTtl: 1 })).status).toBe(200);
    const policy = {
      enabled: true,
      triggers: { dataMessage: { version: 1, filter: { connectors: ['http'] } } },
      actions: { fifoPublish: [{ fifoName: 'expiring' }] },
    };
    expect((await e2e.api.post('/api/v1/event2action/actionPolicies', policy)).status).toBe(200);
    expect((await e2e.api.post('/api/v0/data/streams/expiring', { value: { n: 1 } })).status).toBe(202);
    const waiting = async (): Promise<number> =>
      (await e2e.api.get<{ messages: number }>('/api/v0/topics/fifo/expiring')).body.messages;
    await eventually(async () => (await waiting()) === 1);
    await eventually(async () => (await waiting()) === 0);

    const tenant = { name: 'limited', settings: { http: { maximumBulksPerMinute: 3 } } };
    const answer = await bus.request(createTenant.subject, JSON.stringify(tenant), { timeout: 5000 });
    const { masterKey } = answer.json<{ ok: { masterKey: string } }>().ok;
    const limited = apiClient(e2e.platform.httpUrl, masterKey);
    await eventually(async () => (await limited.post('/api/v0/data/bulk', [])).status === 429);
  }, 120_000);
});
