import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import type { DataMessage } from '@orrery/core/messages';
import { eventually } from '@orrery/core/testing';
import { type Surroundings, startSurroundings, type Tenant } from '../testing/surroundings.js';
import type { Answer, TransformerServer } from '../testing/transformer-server.js';
import { STEP_RULES } from './external-transformation.js';

const CONNECT_MS = 400;
const IDLE_MS = 800;

let surroundings: Surroundings;
let server: TransformerServer;
let tenant: Tenant;

beforeAll(async () => {
  surroundings = await startSurroundings();
  ({ server } = surroundings);
});
const closing: Array<() => Promise<void>> = [];
afterAll(async () => {
  await surroundings.stop();
  for (const close of closing) await close();
});
beforeEach(() => {
  tenant = surroundings.tenant();
});

const ORIGINAL = { value: { payload: 'p', x: 1 }, tags: ['own'], model: 'm', location: { lat: 1, lon: 2 } };

/** What becomes of a message when the server answers so, and what the audit log says. */
async function failure(
  url: string,
  by = surroundings,
): Promise<{ message: DataMessage; description: string; content: object }> {
  const owner = by.tenant();
  const { id } = await owner.create(url);
  const message = await owner.send(ORIGINAL);
  expect(message).toMatchObject({
    ...ORIGINAL,
    metadata: { connector: 'mqtt', transformation: { pipeline: { id, success: false } } },
  });
  expect(message.metadata.transformation).not.toHaveProperty('external');
  const [entry] = await eventually(() => owner.audited().length > 0 && owner.audited());
  expect(entry).toMatchObject({
    level: 'error',
    category: 'data',
    subcategory: 'pipeline',
    type: 'external_transformation_failed',
    source: { pipelineId: id, connector: 'mqtt' },
    content: { messageId: message.id, streamId: 's' },
  });
  expect(owner.audited()).toHaveLength(1);
  return { message, description: entry!.description, content: entry!.content! };
}
const described = async (answer: Answer): Promise<string> => (await failure(server.answer(answer))).description;

describe('a transformation that fails', () => {
  it('PIP-016 AUD-023 leaves the message as it came, is told in the audit log and not tried again', async () => {
    const replies: Answer[] = [
      (_, reply) => reply.writeHead(503).end('{"tags":["x"]}'),
      (_, reply) => reply.writeHead(302, { location: '/elsewhere' }).end('{"tags":["x"]}'),
      'not json',
    ];
    const told: string[] = [];
    for (const reply of replies) {
      const url = server.answer(reply);
      told.push((await failure(url)).description);
      expect(server.callsOf(url)).toHaveLength(1);
    }
    expect(told[0]).toMatch(/the server answered 503$/);
    expect(told[1]).toMatch(/the server answered 302$/);
    expect(told[2]).toMatch(/the answer is not JSON$/);
    expect(server.calls.filter(({ path }) => path === '/elsewhere')).toEqual([]);
    expect(await described((_, reply) => reply.writeHead(404).end())).toMatch(/answered 404$/);
  });

  it('shows the audit log what was answered, and no credentials', async () => {
    const url = server.answer((_, reply) => reply.writeHead(400).end(`KO${'x'.repeat(5000)}`));
    const { content } = await failure(`${url}?token=secret`);
    expect(content).toMatchObject({ url, responseStatusCode: 400, responseBody: expect.stringMatching(/^KOx{998}$/) });
    // Servers may tell what they were sent.
    const echo = server.answer(({ headers }, reply) =>
      reply.writeHead(401).end(`for ${headers['authorization']}, ${headers['x-n']}`),
    );
    await tenant.create([
      { type: 'externalTransformation', url: echo, headers: { authorization: ['Bearer hidden'], 'x-n': ['1'] } },
    ]);
    await tenant.send();
    const [entry] = await eventually(() => tenant.audited().length > 0 && tenant.audited());
    expect(entry!.content).toMatchObject({ responseBody: 'for ***, 1' });
  });

  it('is one whose answer is no data message', async () => {
    expect(await described('')).toMatch(/not JSON/);
    for (const text of ['[]', 'null', '7', '"x"']) expect(await described(text)).toMatch(/not a JSON object/);
    expect(await described({ tags: 'x' })).toMatch(/tags: expected an array of strings/);
    expect(await described({ tags: Array.from({ length: 11 }, String) })).toMatch(/tags: expected at most 10/);
    expect(await described({ value: [1] })).toMatch(/value: expected a JSON object/);
    expect(await described({ value: { 'a.b': 1 } })).toMatch(/without a dot/);
    expect(await described({ model: 'a b' })).toMatch(/model: expected/);
    expect(await described({ timestamp: 'yesterday' })).toMatch(/timestamp: expected/);
    expect(await described({ location: { lat: 'north', lon: 2 } })).toMatch(/location.lat: expected/);
    expect(await described(`{"value":${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}}`)).toMatch(/levels/);
  });

  it('is one whose answer is too large', async () => {
    const large = 'x'.repeat(1 << 20);
    expect(await described({ value: { large } })).toMatch(/value: expected at most 1048576 bytes/);
    expect(await described({ tags: [large, large, large] })).toMatch(/longer than 2097152 bytes/);
    expect(await described({ value: { large: large.slice(0, -16) } })).toMatch(/with the payload that is kept/);
    // Numbers that are longer when they are written again.
    expect(await described(`{"value":{"n":[${'1e20,'.repeat(100_000)}1]}}`)).toMatch(/at most 1048576 bytes/);
    const provider = 'x'.repeat(1_800_000);
    expect(await described({ location: { lat: 1, lon: 2, provider } })).toMatch(/more than 3145728 bytes/);
    const endless: Answer = (_, reply) => {
      const more = (): void => {
        if (reply.destroyed) return;
        if (reply.write('x'.repeat(100_000))) setImmediate(more);
        else reply.once('drain', more);
      };
      more();
    };
    expect(await described(endless)).toMatch(/longer than 2097152 bytes/);
  });

  it('is one whose connection breaks', async () => {
    expect(await described((_, reply) => reply.socket!.resetAndDestroy())).toMatch(/the connection failed/);
    const half: Answer = (_, reply) => {
      reply.writeHead(200, { 'content-length': 100 }).write('{');
      setTimeout(() => reply.destroy(), 20);
    };
    expect(await described(half)).toMatch(/the connection failed/);
    const url = new URL(server.answer({}));
    url.port = '1';
    expect((await failure(url.href)).description).toMatch(/refused the connection/);
    url.port = '80';
    url.hostname = 'nobody.invalid';
    expect((await failure(url.href)).description).toMatch(/could not be found|no connection within/);
  });

  it('PIP-019 waits 15 s for a connection and 30 s for an answer', async () => {
    expect([STEP_RULES.connectMs, STEP_RULES.idleMs]).toEqual([15_000, 30_000]);
    // The same with shorter times, of an instance of its own: on a slow machine no other answer comes within them.
    const hasty = await startSurroundings({ connectMs: CONNECT_MS, idleMs: IDLE_MS });
    closing.push(() => hasty.stop());
    const mute: Server = createServer((socket) => void socket.on('error', () => undefined));
    mute.listen(0, '127.0.0.1');
    await once(mute, 'listening');
    const secure = `https://127.0.0.1:${(mute.address() as AddressInfo).port}/`;
    const started = Date.now();
    expect((await failure(secure, hasty)).description).toMatch(`no connection within ${CONNECT_MS} ms`);
    expect(Date.now() - started).toBeGreaterThanOrEqual(CONNECT_MS);
    mute.close();
    let asked = 0;
    const silent: Answer = (_, reply) => {
      asked = Date.now();
      reply.writeHead(200).write('{');
    };
    const given = async (answer: Answer): Promise<string> => (await failure(server.answer(answer), hasty)).description;
    expect(await given(() => undefined)).toMatch(`no packet of an answer within ${IDLE_MS} ms`);
    expect(await given(silent)).toMatch(`no packet of an answer within ${IDLE_MS} ms`);
    // The clock of the client ticks in half seconds.
    expect(Date.now() - asked).toBeGreaterThanOrEqual(IDLE_MS - 500);
  });

  it('in a later step discards what the earlier ones did', async () => {
    const steps = [server.answer({ tags: ['s1'] }), server.answer('x')];
    const { id } = await tenant.create(steps.map((url) => ({ type: 'externalTransformation', url, name: url })));
    expect(await tenant.send(ORIGINAL)).toMatchObject({
      ...ORIGINAL,
      metadata: { transformation: { pipeline: { id, success: false } } },
    });
    await eventually(() => tenant.audited()[0]?.content?.['step'] === steps[1]);
  });
});
