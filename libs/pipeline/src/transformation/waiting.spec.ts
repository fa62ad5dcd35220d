import { LIMITS } from '@orrery/core/limits';
import { eventually } from '@orrery/core/testing';
import { PATH, type Surroundings, startSurroundings, type Tenant } from '../testing/surroundings.js';
import type { TransformerServer } from '../testing/transformer-server.js';

const ORIGINAL = { value: { payload: 'p', x: 1 }, tags: ['own'], model: 'm', location: { lat: 1, lon: 2 } };

let surroundings: Surroundings;
let server: TransformerServer;
let tenant: Tenant;

beforeAll(async () => {
  // Servers that never answer are given up after the tests, however slow the machine.
  surroundings = await startSurroundings({ idleMs: 110_000 });
  ({ server } = surroundings);
});
afterAll(() => surroundings.stop());
beforeEach(() => {
  tenant = surroundings.tenant();
});

describe('messages that wait', () => {
  it('PIP-018 LIM-056 are 10,000 at most: one more goes on as it came, and the audit log says so', async () => {
    expect(LIMITS.pipelineBuffer.value).toBe(10_000);
    const waiting: Array<() => void> = [];
    let blocked = true;
    const url = server.answer(({ body }, reply) => {
      const answer = (): void => void reply.end(JSON.stringify({ ...body, model: 'done' }));
      if (blocked) waiting.push(answer);
      else answer();
    });
    const owner = tenant;
    const { id } = await owner.create(url);
    const ids = Array.from({ length: 10_000 }, (_, i) => `urn:lo:nsid:d:${i}`);
    await Promise.all(ids.map((deviceId) => owner.publish({ device: { deviceId } })));
    const count = async (): Promise<number> =>
      (
        await surroundings.backend.query<{ waiting: number }>('SELECT waiting FROM pipeline.pipelines WHERE id = $1', [
          id,
        ])
      )[0]!.waiting;
    await eventually(async () => (await count()) === 10_000);
    expect(owner.arrived()).toEqual([]);
    const overflow = await owner.send(ORIGINAL);
    expect(overflow).toMatchObject({ ...ORIGINAL, metadata: { connector: 'mqtt' } });
    expect(overflow.metadata.transformation?.pipeline).toBeUndefined();
    await eventually(() => owner.audited().length > 0);
    expect(owner.audited()).toMatchObject([
      {
        category: 'data',
        subcategory: 'pipeline',
        level: 'error',
        type: 'too_many_pending_messages',
        description: expect.stringMatching(/^Too many pending data messages/),
        source: { pipelineId: id },
      },
    ]);
    // Another tenant has a buffer of its own.
    const other = surroundings.tenant();
    await other.create(server.answer({ tags: ['quick'] }));
    expect((await other.send()).tags).toEqual(['quick']);
    blocked = false;
    for (const answer of waiting) answer();
    await eventually(() => owner.arrived().length === 10_001);
    expect(new Set(owner.arrived().map(({ message }) => message.id)).size).toBe(10_001);
    expect(owner.arrived().filter(({ message }) => message.model === 'done')).toHaveLength(10_000);
    await eventually(async () => (await count()) === 0);
    expect(owner.audited()).toHaveLength(1);
  });

  it('are neither lost nor doubled when their instance ends, and two share the work', async () => {
    const own = await startSurroundings();
    try {
      const owner = own.tenant();
      let answers = false;
      const url = own.server.answer(async ({ body }, reply) => {
        if (!answers) return;
        await new Promise((resolve) => setTimeout(resolve, 5));
        reply.end(JSON.stringify({ value: body['value'], tags: ['done'] }));
      });
      await owner.create(url);
      const devices = Array.from({ length: 16 }, (_, i) => `urn:lo:nsid:d:${i}`);
      const publish = async (from: number, to: number): Promise<void> => {
        for (let n = from; n < to; n++)
          await Promise.all(devices.map((deviceId) => owner.publish({ device: { deviceId }, value: { n } })));
      };
      await publish(0, 10);
      await eventually(() => own.server.callsOf(url).length === 10);
      await own.platform.close();
      expect(owner.arrived()).toEqual([]);
      answers = true;
      const first = await own.boot();
      await own.boot();
      await publish(10, 20);
      await eventually(() => owner.arrived().length > 100);
      await first.close();
      await publish(20, 25);
      await eventually(() => owner.arrived().length >= 400);
      for (const deviceId of devices)
        expect(
          owner
            .arrived()
            .filter(({ header }) => header.deviceId === deviceId)
            .map(({ message }) => [message.value, message.tags]),
        ).toEqual(Array.from({ length: 25 }, (_, n) => [{ n }, ['done']]));
      const [{ rows }] = (await own.backend.query(
        'SELECT (SELECT count(*)::int FROM pipeline.waiting_messages) + (SELECT sum(waiting)::int FROM pipeline.pipelines) AS rows',
      )) as [{ rows: number }];
      expect(rows).toBe(0);
    } finally {
      await own.stop();
    }
  });

  it('of one tenant, whose server is dead, do not hold up another; disabled, they go on as they came', async () => {
    const dead = surroundings.tenant();
    const open: Array<() => void> = [];
    const url = server.answer((_, reply) => void open.push(() => reply.destroy()));
    const { id, created: _, ...pipeline } = await dead.create(url);
    const devices = Array.from({ length: 300 }, (_, i) => ({ deviceId: `urn:lo:nsid:d:${i}` }));
    await Promise.all(devices.map((device) => dead.publish({ device })));
    await eventually(() => server.callsOf(url).length === 10);
    await tenant.create(server.answer({ tags: ['quick'] }));
    expect((await tenant.send()).tags).toEqual(['quick']);
    expect([dead.arrived().length, server.callsOf(url).length]).toEqual([0, 10]);

    await dead.api.put(`${PATH}/${id}`, { ...pipeline, enabled: false });
    await eventually(() => {
      for (const end of open.splice(0)) end();
      return dead.arrived().length === 300;
    });
    const called = dead.arrived().filter(({ message }) => message.metadata.transformation?.pipeline);
    expect(called.length).toBeLessThan(300);
    expect(called.length).toBeGreaterThanOrEqual(10);
  });

  it('are handed on by one instance alone, also when two have called', async () => {
    let answer: (() => void) | undefined;
    const url = server.answer(({ body }, reply) => {
      if (body['model'] === 'first') answer = () => void reply.writeHead(503).end();
      else reply.end('{}');
    });
    await tenant.create(url);
    await tenant.publish({ model: 'first' });
    await eventually(() => answer);
    // What the other instance does.
    await surroundings.backend.query('DELETE FROM pipeline.waiting_messages WHERE tenant_id = $1', [tenant.id]);
    answer!();
    const next = await tenant.send({ model: 'next' });
    expect(tenant.arrived().map(({ message }) => message.id)).toEqual([next.id]);
    expect(tenant.audited()).toEqual([]);
  });
});
