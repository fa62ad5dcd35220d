import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '@orrery/core/testing';
import { memoryOf } from '../tools/chaos/memory.mjs';
import { startTrial, type Trial } from './trial.js';

// What was acknowledged is stored, indexed, evaluated and put into its FIFO exactly once, in the order of its device, and
// pushed to its webhook, whatever dies.

/** A message of which a stream of 1 MiB holds no more than a thousand. */
const PAD = 'x'.repeat(700);
/** Which a process may use more or less of at any moment, in MiB: the garbage of a few seconds. */
const MEMORY_NOISE = 96;

let trial: Trial;
beforeAll(async () => {
  // The smallest streams there are, so that one of them can be filled.
  trial = await startTrial({ separate: true, replicas: 2, env: { ORRERY_STREAM_MAX_BYTES: String(1 << 20) } });
});
afterAll(() => trial.stop());

describe('every acknowledged message comes to everything that it must come to, once', () => {
  it('while both stores are killed', () =>
    trial.holds('killed-store', async () => {
      await trial.cluster.kill('store-1');
      await trial.cluster.kill('store-2');
    }));

  it('while both routing instances are killed', () =>
    trial.holds('killed-routing', async () => {
      await trial.cluster.kill('routing-1');
      await trial.cluster.kill('routing-2');
    }));

  it('while what evaluates, indexes, decodes and transforms is killed', () =>
    trial.holds('killed-processing', () =>
      trial.cluster.kill(
        ...['event-processing', 'search', 'decoder', 'pipeline'].flatMap((service) => [`${service}-1`, `${service}-2`]),
      ),
    ));

  it('while the connectors are killed, and their devices become OFFLINE when they do not come back', async () => {
    const lonely = await trial.e2e.device('lonely');
    lonely.on('error', () => undefined);
    await trial.holds('killed-connector', async () => {
      await trial.cluster.kill('mqtt-connector-1');
      await trial.cluster.kill('mqtt-connector-2');
    });
    await eventually(async () => {
      const { body } = await trial.e2e.api.get<{ interfaces: Array<{ status: string }> }>(
        '/api/v1/deviceMgt/devices/urn:lo:nsid:mqtt:lonely',
      );
      return body.interfaces[0]!.status === 'OFFLINE';
    });
  });

  it('while device-manager and identity are killed', () =>
    trial.holds('killed-inventory', () =>
      trial.cluster.kill('device-manager-1', 'device-manager-2', 'identity-1', 'identity-2'),
    ));

  it('while owners of partitions are paused beyond their lease and wake up again', () =>
    // The other instances take over: what is acknowledged until now is stored and routed without them.
    trial.holds('paused-owner', (traffic) => trial.cluster.freeze(['store-1', 'routing-2'], () => traffic.settled())));

  it('while the webhook does not answer, answers 500, and refuses connections', () =>
    trial.holds('broken-webhook', async (traffic) => {
      for (const mode of ['hangs', 'fails', 'closed'] as const) {
        await trial.servers.setMode(mode);
        await traffic.flows();
      }
      await trial.servers.setMode('works');
    }));

  it('while streams fill up because nobody routes: publishers wait, and HTTP answers 503', () =>
    trial.holds(
      'full-stream',
      (traffic) =>
        trial.cluster.freeze(['routing-1', 'routing-2'], async () => {
          await traffic.blocked(1000);
          const refused = await eventually(async () => {
            const answers = await Promise.all(
              Array.from({ length: 8 }, (_, i) =>
                trial.e2e.api.post(`/api/v0/data/streams/refused-${i}`, { value: { pad: 'x'.repeat(300_000) } }),
              ),
            );
            return answers.find(({ status }) => status === 503);
          });
          expect(refused).toMatchObject({ body: { code: 'SERVICE_UNAVAILABLE' } });
        }),
      { rate: 2000, pad: PAD },
    ));

  it('while nobody stores and clients send more than the bus and the connector hold: they wait, and memory stays flat', () => {
    const { cluster, e2e } = trial;
    return trial.holds(
      'back-pressure',
      (traffic) =>
        cluster.freeze(['store-1', 'store-2'], async () => {
          await traffic.blocked(2000);
          // What the connector holds of all clients is bounded: it reads from none of them any more.
          const { httpPort } = cluster.process('mqtt-connector-1');
          const before = await eventually(async () => {
            const { published } = traffic;
            const memory = memoryOf(e2e.platform);
            await delay(4000);
            const metrics = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
            const held = Number(/orrery_bus_pending_messages\{stream="READY"\} (\d+)/.exec(metrics)?.[1]);
            return traffic.published === published && held > 4096 && memory;
          });
          const grown = [...memoryOf(e2e.platform)].filter(
            ([name, mib]) => mib - (before.get(name) ?? mib) > MEMORY_NOISE,
          );
          expect(grown).toEqual([]);
        }),
      {
        rate: 50_000,
        connections: 50,
        window: 200,
        pad: PAD,
        port: cluster.process('mqtt-connector-1').mqttPort!,
        stages: false,
      },
    );
  });
});
