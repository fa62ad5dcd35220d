import { setTimeout as delay } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { Redis } from 'ioredis';
import { connectNats } from '@orrery/core/bus';
import { apiClient, eventually } from '@orrery/core/testing';
import { createTenant } from '@orrery/identity/contract';
import type { EndToEnd } from './platform.js';
import { startTrial, type Trial } from './trial.js';

// The servers may end at any moment too: they come back, and no process of the platform is started again for it.

/** Twice the life of a lease (trial.ts). */
const BEYOND_LEASES_MS = 4000;

let trial: Trial;
let e2e: EndToEnd;
let bus: NatsConnection;
beforeAll(async () => {
  trial = await startTrial();
  e2e = trial.e2e;
  bus = await connectNats(e2e.platform.services.natsUrl, 'servers.e2e');
});
afterAll(async () => {
  await bus.close();
  await trial.stop();
});

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

describe('every acknowledged message comes to everything that it must come to, once', () => {
  it('while NATS is killed, and killed again as soon as it is back', async () => {
    await trial.holds('killed-nats', async () => {
      for (let times = 0; times < 3; times++) await trial.cluster.endServers(['nats']);
      await trial.cluster.ready();
    });
    await works('killed-nats');
  });

  it('while NATS is killed when all leases in it have expired', async () => {
    await trial.holds('expired-nats', async () => {
      process.kill(trial.cluster.pid('nats'), 'SIGSTOP');
      await delay(BEYOND_LEASES_MS);
      await trial.cluster.endServers(['nats']);
      await trial.cluster.ready();
    });
    await works('expired-nats');
  });

  it('after NATS was killed when its streams were empty', async () => {
    const jsm = await jetstreamManager(bus);
    await eventually(async () => {
      let messages = 0;
      for await (const { config, state } of jsm.streams.list())
        if (/^(READY|EVENTS)_/.test(config.name)) messages += state.messages;
      return messages === 0;
    });
    await trial.cluster.endServers(['nats']);
    await trial.cluster.ready();
    await works('empty-nats');
    await trial.holds('empty-nats', async () => undefined);
  });

  it('while NATS is paused beyond the leases and wakes up again', async () => {
    await trial.holds('paused-nats', async () => {
      process.kill(trial.cluster.pid('nats'), 'SIGSTOP');
      const paused = delay(BEYOND_LEASES_MS);
      try {
        await eventually(async () => (await trial.cluster.health()).every((up) => !up));
        await paused;
      } finally {
        process.kill(trial.cluster.pid('nats'), 'SIGCONT');
      }
      await trial.cluster.ready();
    });
    await works('paused-nats');
  });

  it('while PostgreSQL is killed, and killed again as soon as it is back', async () => {
    await trial.holds('killed-postgres', async () => {
      for (let times = 0; times < 3; times++) await trial.cluster.endServers(['postgres']);
      await trial.cluster.ready();
    });
    await works('killed-postgres');
  });

  it('while NATS and PostgreSQL are killed together', async () => {
    await trial.holds('killed-both', async () => {
      await trial.cluster.endServers(['nats', 'postgres']);
      await trial.cluster.ready();
    });
    await works('killed-both');
  });

  it('while Redis is killed and comes back empty; jobs and limits work afterwards', async () => {
    const redis = new Redis(e2e.platform.services.redisUrl, { lazyConnect: true });
    redis.on('error', () => undefined);
    await trial.holds('killed-redis', async () => {
      await redis.flushall();
      redis.disconnect();
      await trial.cluster.endServers(['redis']);
      await trial.cluster.ready();
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
    const answer = await bus.request(createTenant.subject, JSON.stringify(tenant), { timeout: 60_000 });
    const { masterKey } = answer.json<{ ok: { masterKey: string } }>().ok;
    const limited = apiClient(e2e.platform.httpUrl, masterKey);
    await eventually(async () => (await limited.post('/api/v0/data/bulk', [])).status === 429);
  });
});
