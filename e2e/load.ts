import { eventually } from '@orrery/core/testing';
import { consumeFifo } from '../tools/bench/fifo-consumer.mjs';
import { startLoad } from '../tools/bench/mqtt-load.mjs';
import type { EndToEnd } from './platform.js';

const CONNECTIONS = 20;

export interface LoadUnderFault {
  acknowledged(): number;
  /** Waits until everything acknowledged so far is in the store and in the FIFO. */
  settled(): Promise<void>;
}

/** Publishes from twenty devices while `faults` happen, and checks every acknowledged message afterwards. */
export async function holds(
  e2e: EndToEnd,
  run: string,
  faults: (load: LoadUnderFault) => Promise<void>,
  rate = 600,
): Promise<void> {
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
