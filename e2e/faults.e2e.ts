import { eventually } from '@orrery/core/testing';
import { holds } from './load.js';
import { type EndToEnd, startEndToEnd } from './platform.js';

// What was acknowledged is in the store and in the FIFO exactly once, and in the order of its device, whatever dies.

let e2e: EndToEnd;
beforeAll(async () => {
  // The smallest streams there are, so that one of them can be filled.
  e2e = await startEndToEnd({ separate: true, replicas: 2, env: { ORRERY_STREAM_MAX_BYTES: String(1 << 20) } });
}, 180_000);
afterAll(() => e2e.stop(), 60_000);

const signal = (name: string, kind: NodeJS.Signals): void => void e2e.process(name).child!.kill(kind);
const restarted = async (name: string, starts: number): Promise<void> => {
  const process = e2e.process(name);
  await eventually(
    async () => process.starts > starts && (await fetch(`http://127.0.0.1:${process.httpPort}/health/ready`)).ok,
    30_000,
  );
};
const kill = async (name: string): Promise<void> => {
  const { starts } = e2e.process(name);
  signal(name, 'SIGKILL');
  await restarted(name, starts);
};

describe('every acknowledged message is stored once and routed once', () => {
  it(
    'while both stores are killed',
    () =>
      holds(e2e, 'killed-store', async () => {
        await kill('store-1');
        await kill('store-2');
      }),
    120_000,
  );

  it(
    'while both routing instances are killed',
    () =>
      holds(e2e, 'killed-routing', async () => {
        await kill('routing-1');
        await kill('routing-2');
      }),
    120_000,
  );

  it('while the connectors are killed, and their devices become OFFLINE when they do not come back', async () => {
    const lonely = await e2e.device('lonely');
    lonely.on('error', () => undefined);
    await holds(e2e, 'killed-connector', async () => {
      await kill('mqtt-connector-1');
      await kill('mqtt-connector-2');
    });
    await eventually(async () => {
      const { body } = await e2e.api.get<{ interfaces: Array<{ status: string }> }>(
        '/api/v1/deviceMgt/devices/urn:lo:nsid:mqtt:lonely',
      );
      return body.interfaces[0]!.status === 'OFFLINE';
    }, 30_000);
  }, 120_000);

  it(
    'while device-manager and identity are killed',
    () =>
      holds(e2e, 'killed-inventory', async () => {
        for (const name of ['device-manager-1', 'device-manager-2', 'identity-1', 'identity-2'])
          signal(name, 'SIGKILL');
        await restarted('identity-1', 1);
        await restarted('device-manager-2', 1);
      }),
    120_000,
  );

  it(
    'while owners of partitions are paused beyond their lease and wake up again',
    () =>
      holds(e2e, 'paused-owner', async ({ settled }) => {
        signal('store-1', 'SIGSTOP');
        signal('routing-2', 'SIGSTOP');
        // The other instances take over: what is acknowledged until now is stored and routed without them.
        await settled();
        signal('store-1', 'SIGCONT');
        signal('routing-2', 'SIGCONT');
      }),
    120_000,
  );

  it(
    'while streams fill up because nobody routes: publishers wait, and HTTP answers 503',
    () =>
      holds(
        e2e,
        'full-stream',
        async ({ acknowledged }) => {
          signal('routing-1', 'SIGSTOP');
          signal('routing-2', 'SIGSTOP');
          // Publications stop being acknowledged: a second in which none is.
          let last = -1;
          await eventually(async () => {
            const now = acknowledged();
            await new Promise((resolve) => setTimeout(resolve, 1000));
            const still = last === now && now === acknowledged();
            last = acknowledged();
            return still;
          }, 60_000);
          const answers = await Promise.all(
            Array.from({ length: 8 }, (_, i) =>
              e2e.api.post(`/api/v0/data/streams/refused-${i}`, { value: { pad: 'x'.repeat(300_000) } }),
            ),
          );
          expect(answers.find(({ status }) => status === 503)).toMatchObject({ body: { code: 'SERVICE_UNAVAILABLE' } });
          signal('routing-1', 'SIGCONT');
          signal('routing-2', 'SIGCONT');
        },
        3000,
      ),
    180_000,
  );
});
