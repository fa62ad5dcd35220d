import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { auditLog } from '@orrery/audit-log';
import { newMessageId } from '@orrery/core/messages';
import { type ApiClient, apiClient, type Backend, eventually, keyRing, startBackend } from '@orrery/core/testing';
import { decoder } from '@orrery/decoder';
import { eventProcessing } from '@orrery/event-processing';
import { pipeline } from '@orrery/pipeline';
import { routing } from '@orrery/routing';
import { search } from '@orrery/search';
import { store } from '@orrery/store';

interface Step {
  service: string;
  step: string;
  outcome: string;
  time?: string;
  reason?: string;
  [detail: string]: unknown;
}
interface Journey {
  messageId: string;
  streamId?: string;
  created?: string;
  cause?: string;
  steps: Step[];
}

const services = [auditLog, store, search, routing, eventProcessing, pipeline, decoder];

let backend: Backend;
let api: ApiClient;
let stranger: ApiClient;
let newApi: () => ApiClient;
let server: Server;
/** Answers with the status of its path; `/never` not at all. */
let url: string;

beforeAll(async () => {
  backend = await startBackend(services, { ORRERY_WEBHOOK_ALLOW: '127.0.0.1:*' });
  const keys = keyRing(await backend.bus());
  const platform = await backend.boot(services);
  newApi = () => apiClient(platform.url, keys.grant(randomUUID()).value);
  stranger = newApi();
  server = createServer((request, response) => {
    request.resume();
    if (request.url === '/never') return;
    response.statusCode = Number(request.url!.slice(1));
    response.end('{}');
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await backend.stop();
});
beforeEach(() => {
  api = newApi();
});

async function create(path: string, body: object): Promise<string> {
  const answer = await api.post<{ id: string }>(path, { enabled: true, ...body });
  expect([200, 201]).toContain(answer.status);
  return answer.body.id;
}
const policy = (name: string, triggers: object, actions: object): Promise<string> =>
  create('/api/v1/event2action/actionPolicies', { name, triggers, actions });
const send = async (message: object): Promise<string> =>
  (await api.post<{ id: string }>('/api/v0/data/streams/s', message)).body.id;
const path = (id: string): string => `/api/v1/data/messages/${id}/journey`;

/** The journey, once it is as far as that. */
const journey = (id: string, arrived: (steps: Step[]) => unknown): Promise<Journey> =>
  eventually(async () => {
    const { status, body } = await api.get<Journey>(path(id));
    return status === 200 && arrived(body.steps) ? body : undefined;
  });
const of = (steps: Step[], service: string): Step[] => steps.filter((each) => each.service === service);
const DATA = { dataMessage: { version: 1 } };

describe('the journey of a message', () => {
  it('shows what every service did, each attempt and what waits', async () => {
    const rules = '/api/v0/eventprocessing';
    const matching = await create(`${rules}/matching-rule`, { name: 'hot', dataPredicate: { '!!': [true] } });
    const firing = await create(`${rules}/firing-rule`, {
      name: 'alarm',
      firingType: 'ALWAYS',
      matchingRuleIds: [matching],
    });
    expect((await api.post('/api/v0/topics/fifo', { name: 'all' })).status).toBe(200);
    const kept = await policy('kept', DATA, { fifoPublish: [{ fifoName: 'all' }] });
    const pushed = await policy('pushed', DATA, { httpPush: [{ webhookUrl: `${url}/204` }] });
    const failing = await policy('failing', DATA, { httpPush: [{ webhookUrl: `${url}/404` }] });
    const retried = await policy('retried', DATA, { httpPush: [{ webhookUrl: `${url}/503`, retryOnFailure: true }] });
    const alarm = await policy(
      'alarm',
      { matchingFired: { version: 1 } },
      { httpPush: [{ webhookUrl: `${url}/200` }] },
    );
    const id = await send({ value: { temp: 99 }, model: 'm' });
    const { steps, ...message } = await journey(id, (steps) => {
      const pushes = of(steps, 'routing').filter((each) => each.step === 'httpPush');
      const ended = pushes.filter(({ time }) => time).length === 4 && pushes.some(({ due }) => due);
      return ended && of(steps, 'search')[0]?.outcome === 'done';
    });
    expect(message).toMatchObject({ messageId: id, streamId: 's', connector: 'http', created: expect.any(String) });
    const [fired] = of(steps, 'event-processing');
    expect(fired).toMatchObject({
      step: 'rules',
      outcome: 'done',
      type: 'matchingFired',
      rule: { id: firing, name: 'alarm' },
    });
    expect(steps.slice(0, 4).map(({ service, step, outcome }) => [service, step, outcome])).toEqual([
      ['decoder', 'decoding', 'none'],
      ['pipeline', 'transformation', 'none'],
      ['store', 'storing', 'done'],
      ['search', 'indexing', 'done'],
    ]);
    const pushes = of(steps, 'routing').filter((each) => each.step === 'httpPush');
    const ofPolicy = (policyId: string): Step[] =>
      pushes.filter((each) => (each['policy'] as { id: string }).id === policyId);
    const time = expect.any(String);
    const first = { attempt: 1, time };
    expect(ofPolicy(pushed)).toMatchObject([
      { outcome: 'done', reason: 'HTTP 204', policy: { name: 'pushed' }, ...first },
    ]);
    expect(ofPolicy(failing)).toMatchObject([{ outcome: 'failed', reason: expect.stringContaining('404'), ...first }]);
    expect(ofPolicy(retried)).toMatchObject([
      { outcome: 'retrying', reason: expect.stringContaining('503'), ...first },
      { outcome: 'waiting', attempt: 2, due: time },
    ]);
    expect(ofPolicy(alarm)).toMatchObject([{ outcome: 'done', reason: 'HTTP 200', eventId: fired!['eventId'] }]);
    const fifos = of(steps, 'routing').filter((each) => each.step === 'fifoPublish');
    expect(fifos).toMatchObject([{ outcome: 'waiting', fifoName: 'all' }, { outcome: 'notKept' }]);
    expect(kept).toEqual(expect.any(String));

    const event = await journey(String(fired!['eventId']), (found) => of(found, 'routing').length > 1);
    expect(event).toMatchObject({ cause: id });
    expect(of(event.steps, 'decoder')).toEqual([]);
    expect(of(event.steps, 'routing')[0]).toMatchObject({ step: 'httpPush', policy: { id: alarm } });
  });

  it('tells why a message was not decoded, not transformed and not indexed', async () => {
    const encoding = 'broken';
    await create('/api/v0/decoders/binary', { encoding, format: 'int pressure;' });
    const id = await create('/api/v0/pipelines', {
      name: 'failing',
      priorityLevel: 1,
      filter: { tags: [['piped']] },
      steps: [{ type: 'externalTransformation', url: `${url}/500` }],
    });
    await journey(await send({ value: { n: 1 }, model: 'm' }), (steps) => of(steps, 'search')[0]?.outcome === 'done');
    // Until filters of stages have reached the store.
    const steps = await eventually(async () => {
      const message = { value: { n: 'one', payload: '00' }, model: 'm', metadata: { encoding }, tags: ['piped'] };
      const sent = await send(message);
      const found = await journey(sent, (each) => of(each, 'store')[0]?.outcome === 'done');
      if (of(found.steps, 'pipeline')[0]?.outcome === 'none') return undefined;
      return (await journey(sent, (each) => of(each, 'audit-log').length === 3)).steps;
    });
    expect(of(steps, 'decoder')).toMatchObject([
      { outcome: 'failed', encoding, reason: expect.stringContaining('broken'), decoder: { kind: 'binary' } },
    ]);
    expect(of(steps, 'pipeline')).toMatchObject([
      { outcome: 'failed', pipeline: { id }, reason: expect.stringContaining('500') },
    ]);
    expect(of(steps, 'search')).toMatchObject([{ outcome: 'failed', reason: expect.stringContaining('field') }]);
    expect(of(steps, 'audit-log').map(({ entry }) => (entry as { type: string }).type)).toEqual(
      expect.arrayContaining(['decoding_failed', 'external_transformation_failed', 'not_indexed']),
    );
  });

  it('shows a message that waits for its pipeline, to nobody else', async () => {
    const pipelineId = await create('/api/v0/pipelines', {
      name: 'slow',
      priorityLevel: 1,
      steps: [{ type: 'externalTransformation', url: `${url}/never` }],
    });
    const { id, body } = await eventually(async () => {
      const sent = await send({ value: {} });
      const found = await journey(sent, (steps) => steps.length > 0);
      return found.steps[0]!.outcome === 'waiting' && { id: sent, body: found };
    });
    expect(body.steps).toMatchObject([
      { service: 'pipeline', step: 'transformation', outcome: 'waiting', pipeline: { id: pipelineId, name: 'slow' } },
      { service: 'store', step: 'storing', outcome: 'waiting' },
    ]);
    expect((await stranger.get(path(id))).status).toBe(404);
  });

  it('is not shown to others, nor of messages that do not exist', async () => {
    const id = await send({ value: {} });
    await journey(id, () => true);
    expect(await stranger.get(path(id))).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } });
    for (const unknown of [
      newMessageId(),
      'nope',
      'f'.repeat(24),
      '0'.repeat(24),
      id.toUpperCase(),
      `${id}0`,
      '%00',
      "'",
      '%7B%22id%22%3A1%7D',
    ])
      expect((await api.get(path(unknown))).status).toBe(404);
  });

  it('says so when a service does not answer', async () => {
    const alone = await startBackend([store]);
    try {
      const keys = keyRing(await alone.bus());
      const { url: at } = await alone.boot([store]);
      api = apiClient(at, keys.grant(randomUUID()).value);
      const id = await send({ value: {}, metadata: { encoding: 'x' } });
      const { steps } = await journey(id, () => true);
      const unknown = steps.filter(({ outcome }) => outcome === 'unknown').map(({ service }) => service);
      expect(unknown).toEqual(['decoder', 'search', 'routing', 'audit-log']);
      expect(of(steps, 'store')).toMatchObject([{ step: 'storing', outcome: 'done' }]);
    } finally {
      await alone.stop();
    }
  });
});
