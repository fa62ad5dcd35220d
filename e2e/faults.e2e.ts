import { eventually } from '@orrery/core/testing';
import { consumeFifo } from '../tools/bench/fifo-consumer.mjs';
import { startLoad } from '../tools/bench/mqtt-load.mjs';
import { type EndToEnd, startEndToEnd } from './platform.js';

// What was acknowledged is in the store and in the FIFO exactly once, and in the order of its device, whatever dies.

const CONNECTIONS = 20;
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

interface LoadUnderFault {
  acknowledged(): number;
  /** Waits until everything acknowledged so far is in the store and in the FIFO. */
  settled(): Promise<void>;
}

/** Publishes from twenty devices while `faults` happen, and checks every acknowledged message afterwards. */
async function holds(run: string, faults: (load: LoadUnderFault) => Promise<void>, rate = 600): Promise<void> {
  expect((await e2e.api.post('/api/v0/topics/fifo', { name: run, maxLengthBytes: 500_000_000 })).status).toBe(200);
  const devices = Array.from({ length: CONNECTIONS }, (_, i) => `urn:lo:nsid:mqtt:${run}-${i}`);
  const policy = {
    enabled: true,
    triggers: { dataMessage: { version: 1, filter: { deviceIds: devices } } },
    actions: { fifoPublish: [{ fifoName: run }] },
  };
  expect((await e2e.api.post('/api/v1/event2action/actionPolicies', policy)).status).toBe(200);

  const acknowledged = new Set<number>();
  const load = startLoad({
    port: e2e.platform.mqttPort,
    connections: CONNECTIONS,
    window: 20,
    rate,
    device: (i) => ({ clientId: `${run}-${i}`, username: 'json+device', password: e2e.apiKey, topic: 'dev/data' }),
    payload: (n) => JSON.stringify({ value: { n, run }, tags: ['load'] }),
    onAck: (n) => acknowledged.add(n),
  });
  /** How often each number is there. */
  const counts = async (table: string, where: string, parameter: unknown): Promise<Map<number, number>> => {
    const rows = await e2e.query<{ n: number; count: string }>(
      `SELECT (body::json->'value'->>'n')::int n, count(*) count FROM ${table} WHERE ${where} GROUP BY 1`,
      [parameter],
    );
    return new Map(rows.map(({ n, count }) => [n, Number(count)]));
  };
  const inStore = () => counts('store.messages', 'stream_id = ANY($1)', devices);
  const inFifo = () => counts('routing.fifo_messages', 'fifo_id = (SELECT id FROM routing.fifos WHERE name = $1)', run);
  const settled = async (): Promise<void> => {
    const expected = [...acknowledged];
    for (const found of [inStore, inFifo])
      await eventually(async () => {
        const numbers = await found();
        return expected.every((n) => numbers.has(n));
      }, 40_000);
  };

  try {
    await eventually(() => acknowledged.size > 300, 30_000);
    await faults({ acknowledged: () => acknowledged.size, settled });
    const before = acknowledged.size;
    // Service is back: publications are acknowledged again.
    await eventually(() => acknowledged.size > before + 300, 30_000);
  } finally {
    load.stop();
  }
  await load.done;
  await settled();
  for (const found of [await inStore(), await inFifo()])
    expect([...found].filter(([, count]) => count !== 1)).toEqual([]);

  const delivered: Array<{ n: number; source: string }> = [];
  const consumer = await consumeFifo({
    port: e2e.platform.mqttsPort,
    ca: e2e.ca,
    apiKey: e2e.apiKey,
    fifo: run,
    onMessage: (payload) => {
      const message = JSON.parse(payload.toString()) as { value: { n: number }; metadata: { source: string } };
      delivered.push({ n: message.value.n, source: message.metadata.source });
    },
  });
  const stored = (await inStore()).size;
  await eventually(() => delivered.length >= stored, 30_000);
  await eventually(
    async () =>
      (
        await e2e.query<{ count: string }>(
          `SELECT count(*) FROM routing.fifo_messages m JOIN routing.fifos f ON f.id = m.fifo_id WHERE f.name = $1`,
          [run],
        )
      )[0]!.count === '0',
  );
  consumer.close();
  expect(delivered.length).toBe(stored);
  expect(new Set(delivered.map(({ n }) => n))).toEqual(new Set((await inStore()).keys()));
  for (const device of devices) {
    const numbers = delivered.filter(({ source }) => source === device).map(({ n }) => n);
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
  }
}

describe('every acknowledged message is stored once and routed once', () => {
  it(
    'while both stores are killed',
    () =>
      holds('killed-store', async () => {
        await kill('store-1');
        await kill('store-2');
      }),
    120_000,
  );

  it(
    'while both routing instances are killed',
    () =>
      holds('killed-routing', async () => {
        await kill('routing-1');
        await kill('routing-2');
      }),
    120_000,
  );

  it('while the connector is killed, and its devices become OFFLINE when they do not come back', async () => {
    const lonely = await e2e.device('lonely');
    lonely.on('error', () => undefined);
    await holds('killed-connector', () => kill('mqtt-connector-1'));
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
      holds('killed-inventory', async () => {
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
      holds('paused-owner', async ({ settled }) => {
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
