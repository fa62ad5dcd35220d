import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { UNLIMITED_OFFER } from '@orrery/core/limits';
import type { Service } from '@orrery/core/service';
import {
  apiClient,
  type Backend,
  type CollectedSpan,
  eventually,
  keyRing,
  startBackend,
  startTraceCollector,
  type TestPlatform,
  type TraceCollector,
} from '@orrery/core/testing';
import { deviceManager } from '@orrery/device-manager';
import { eventProcessing } from '@orrery/event-processing';
import { mqttConnector, mqttPorts } from '@orrery/mqtt-connector';
import { pipeline } from '@orrery/pipeline';
import { routing } from '@orrery/routing';
import { search } from '@orrery/search';
import { store } from '@orrery/store';

// Each service in a process of its own, as far as tracing can tell: what belongs together is found by the collector.

const services = [deviceManager, store, search, eventProcessing, routing, pipeline, mqttConnector];
const STREAMS = '/api/v0/data/streams';

let backend: Backend;
let collector: TraceCollector;
let hooks: Server;
let hookUrl: string;
const pushes: Array<{ path: string; headers: IncomingHttpHeaders; body: string }> = [];
const clients: MqttClient[] = [];
const platforms = new Map<Service, TestPlatform>();
let key: string;

/** As `message value`, to be looked for where it must not be. */
const SECRET = randomBytes(8).toString('hex');

beforeAll(async () => {
  collector = await startTraceCollector();
  hooks = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      pushes.push({ path: request.url!, headers: request.headers, body: Buffer.concat(chunks).toString() });
      response.end('{}');
    });
  }).listen(0, '127.0.0.1');
  await once(hooks, 'listening');
  hookUrl = `http://127.0.0.1:${(hooks.address() as AddressInfo).port}`;
  backend = await startBackend(services, { ORRERY_WEBHOOK_ALLOW: '127.0.0.1:*', OTEL_TRACES_SAMPLER_ARG: '0' });
  key = keyRing(await backend.bus()).grant('tenant', { limits: UNLIMITED_OFFER }).value;
  const tracing = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url };
  for (const service of services) platforms.set(service, await backend.boot([service], undefined, tracing));
});
afterAll(async () => {
  for (const client of clients) client.end(true);
  await backend.stop();
  hooks.closeAllConnections();
  hooks.close();
  await collector.close();
});

const api = (service: Service) => apiClient(platforms.get(service)!.url, key);
const newTrace = (flags = '01') => {
  const [traceId, spanId] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')];
  return { traceId, spanId, traceparent: `00-${traceId}-${spanId}-${flags}` };
};
const spansOf = (traceId: string): CollectedSpan[] => collector.spans.filter((span) => span.traceId === traceId);
const contextOf = ({ traceId, spanId }: CollectedSpan): string => `00-${traceId}-${spanId}-01`;

async function connect(options: IClientOptions, secure = false): Promise<MqttClient> {
  const ports = mqttPorts(platforms.get(mqttConnector)!.app);
  const client = await connectAsync(`${secure ? 'mqtts' : 'mqtt'}://localhost:${secure ? ports.tls : ports.plain}`, {
    password: key,
    protocolVersion: 5,
    reconnectPeriod: 0,
    rejectUnauthorized: false,
    ...options,
  });
  clients.push(client);
  return client;
}
const publish = (device: MqttClient, traceparent: string | string[], value: object): Promise<unknown> =>
  device.publishAsync('dev/data', JSON.stringify({ value, model: 'm' }), {
    qos: 1,
    properties: { userProperties: { traceparent } },
  });

async function create(service: Service, path: string, body: object): Promise<string> {
  const answer = await api(service).post<{ id: string }>(path, { enabled: true, ...body });
  expect([200, 201]).toContain(answer.status);
  return answer.body.id;
}
const policy = (name: string, triggers: object, actions: object): Promise<string> =>
  create(routing, '/api/v1/event2action/actionPolicies', { name, triggers, actions });
const DATA = { dataMessage: { version: 1 } };
const pushTo = (path: string): object => ({ httpPush: [{ webhookUrl: `${hookUrl}${path}` }] });

/** The spans of a trace as `parent > name` lines, with the process of each. */
function treeOf(traceId: string): string[] {
  const spans = spansOf(traceId);
  const named = (span: CollectedSpan): string => `${span.service}: ${span.name}`;
  return spans
    .map((span) => {
      const parent = spans.find(({ spanId }) => spanId === span.parent);
      const stream = span.attributes['messaging.destination.name'];
      return `${parent ? named(parent) : 'caller'} > ${named(span)}${stream === undefined ? '' : ` ${String(stream)}`}`;
    })
    .toSorted();
}

describe('a trace', () => {
  let device: MqttClient;
  const fifo: Array<{ text: string; traceparent: unknown }> = [];

  beforeAll(async () => {
    const rules = '/api/v0/eventprocessing';
    const hot = { '>': [{ var: 'value.temp' }, 90] };
    const matching = await create(eventProcessing, `${rules}/matching-rule`, { name: 'hot', dataPredicate: hot });
    const firing = { name: 'alarm', firingType: 'ALWAYS', matchingRuleIds: [matching] };
    await create(eventProcessing, `${rules}/firing-rule`, firing);
    expect((await api(routing).post('/api/v0/topics/fifo', { name: 'all' })).status).toBe(200);
    await policy('data', DATA, { ...pushTo(`/data?token=${SECRET}`), fifoPublish: [{ fifoName: 'all' }] });
    await policy('alarms', { matchingFired: { version: 1 } }, pushTo('/alarm'));
    device = await connect({ username: 'json+device', clientId: 'd1' });
    const application = await connect({ username: 'application', clientId: 'app' }, true);
    application.on('message', (_topic, payload, packet) => {
      fifo.push({ text: payload.toString(), traceparent: packet.properties?.userProperties?.['traceparent'] });
    });
    await application.subscribeAsync('fifo/all', { qos: 1 });
  });

  it('shows the whole way of a message that its device has asked to be traced', async () => {
    const { traceId, spanId, traceparent } = newTrace();
    await publish(device, traceparent, { temp: 99, [SECRET]: SECRET });
    await eventually(() => pushes.length >= 2 && fifo.length >= 1);
    const tree = [
      'caller > mqtt-connector: mqtt publish',
      'event-processing: event-processing process > routing: routing process EVENTS',
      'event-processing: event-processing process > search: search process EVENTS',
      'event-processing: event-processing process > store: store process EVENTS',
      'mqtt-connector: mqtt publish > event-processing: event-processing process READY',
      'mqtt-connector: mqtt publish > routing: routing process READY',
      'mqtt-connector: mqtt publish > search: search process READY',
      'mqtt-connector: mqtt publish > store: store process READY',
      'routing: routing process > routing: deliver fifo',
      'routing: routing process > routing: deliver httpPush',
      'routing: routing process > routing: deliver httpPush',
    ];
    // Some names are there twice.
    const shown = (): string[] => treeOf(traceId).filter((line) => tree.includes(line));
    await eventually(() => shown().length >= tree.length);
    expect(shown()).toEqual(tree);
    const spans = spansOf(traceId);
    const find = (name: string): CollectedSpan => spans.find((span) => span.name === name)!;
    expect(find('mqtt publish')).toMatchObject({ parent: spanId, kind: 4 });

    // Receivers go on with the trace.
    const delivered = spans.filter(({ name }) => name === 'deliver httpPush');
    expect(delivered.map(contextOf).toSorted()).toEqual(pushes.map(({ headers }) => headers['traceparent']).toSorted());
    expect(fifo[0]!.traceparent).toBe(contextOf(find('deliver fifo')));
    // The alarm comes from the message: its way leads over the rules.
    const alarm = spans.find(({ name, attributes }) => name === 'store process' && attributes['orrery.event.type'])!;
    expect(alarm.parent).toBe(find('event-processing process').spanId);
    expect(alarm.attributes['orrery.event.cause']).toBe(find('mqtt publish').attributes['messaging.message.id']);

    expect(find('store process').attributes).toMatchObject({
      'messaging.system': 'nats',
      'messaging.consumer.group.name': 'store',
      'messaging.batch.message_count': expect.any(Number),
      'orrery.tenant.id': 'tenant',
    });
    expect(find('mqtt publish').attributes).toMatchObject({ 'orrery.device.id': 'urn:lo:nsid:mqtt:d1' });
    expect(spans.every(({ failed }) => !failed)).toBe(true);
    for (const text of collector.received)
      for (const secret of [SECRET, key, hookUrl]) expect(text.includes(secret)).toBe(false);
  });

  it('is passed on, and not recorded, when nobody samples it, and ends where it is none', async () => {
    const { traceId, traceparent: unsampled } = newTrace('00');
    const before = pushes.length;
    const bad = newTrace();
    const wrong = [
      `00-${bad.traceId.toUpperCase()}-${bad.spanId}-01`,
      `00-${'0'.repeat(32)}-${bad.spanId}-01`,
      `00-${bad.traceId}-${'0'.repeat(16)}-01`,
      `ff-${bad.traceId}-${bad.spanId}-01`,
      `${bad.traceparent}-00`,
      ` ${bad.traceparent}`,
      `${bad.traceparent}\n`,
      '',
      '","traceparent":"',
    ];
    for (const text of [unsampled, ...wrong]) await publish(device, text, { temp: 1 });
    // Named twice, it is neither.
    await publish(device, [bad.traceparent, newTrace().traceparent], { temp: 1 });
    const arrived = await eventually(() => pushes.length >= before + wrong.length + 2 && pushes.slice(before));
    expect(arrived.map(({ headers }) => headers['traceparent']).filter(Boolean)).toEqual([unsampled]);
    // What comes after them is recorded, so that they would have been by now.
    const last = newTrace();
    await publish(device, last.traceparent, { temp: 1 });
    await eventually(() => spansOf(last.traceId).some(({ name }) => name === 'deliver httpPush'));
    expect([...spansOf(traceId), ...spansOf(bad.traceId), ...collector.spans.filter((span) => !span.parent)]).toEqual(
      [],
    );
  });

  it('begins with a REST request, and shows what a pipeline calls', async () => {
    await create(pipeline, '/api/v0/pipelines', {
      name: 'p',
      priorityLevel: 1,
      filter: { tags: [['piped']] },
      steps: [{ type: 'externalTransformation', url: `${hookUrl}/transform` }],
    });
    const message = { value: { temp: 1 }, tags: ['piped'] };
    // Until filters of stages have reached the store.
    const injected = await eventually(async () => {
      const { traceId, spanId, traceparent } = newTrace();
      const from = pushes.length;
      const { status } = await api(store).post(`${STREAMS}/s`, message, { traceparent });
      expect(status).toBe(202);
      const called = await eventually(() => pushes.slice(from).find(({ path }) => path.startsWith('/data')));
      expect(called.headers['traceparent']).toContain(traceId);
      return pushes.slice(from).some(({ path }) => path === '/transform') && { traceId, spanId, from };
    });
    const { traceId, spanId } = injected;
    const route = `store: POST ${STREAMS}/:streamId`;
    const tree = [
      `caller > ${route}`,
      `${route} > pipeline: pipeline process TRANSFORM`,
      'pipeline: pipeline process > pipeline: pipeline transform',
      'pipeline: pipeline transform > store: store process READY',
      'pipeline: pipeline transform > routing: routing process READY',
      'routing: routing process > routing: deliver httpPush',
    ];
    await eventually(() => tree.every((line) => treeOf(traceId).includes(line)));
    const spans = spansOf(traceId);
    const request = spans.find(({ kind }) => kind === 2)!;
    expect(request).toMatchObject({
      parent: spanId,
      attributes: { 'http.route': `${STREAMS}/:streamId`, 'http.response.status_code': 202 },
    });
    const transform = spans.find(({ name }) => name === 'pipeline transform')!;
    const called = pushes.slice(injected.from).find(({ path }) => path === '/transform')!;
    expect(called.headers['traceparent']).toBe(contextOf(transform));
  });

  it('is begun for so many who ask for it in a second, and the others leave no span anywhere', async () => {
    const traces = Array.from({ length: 600 }, () => newTrace());
    for (const { traceparent } of traces)
      device.publish('dev/data', JSON.stringify({ value: {} }), { properties: { userProperties: { traceparent } } });
    const told = (traceId: string): unknown =>
      pushes.find(({ headers }) => String(headers['traceparent']).includes(traceId))?.headers['traceparent'];
    await eventually(() => traces.every(({ traceId }) => told(traceId)));
    const silent = traces.filter(({ traceId, spanId }) => told(traceId) === `00-${traceId}-${spanId}-00`);
    expect(silent.length).toBeGreaterThan(0);
    expect(silent.flatMap(({ traceId }) => spansOf(traceId))).toEqual([]);
  });

  it('is not begun by those who have no key', async () => {
    const { traceId, traceparent } = newTrace();
    const { url } = platforms.get(store)!;
    expect((await apiClient(url, 'wrong').get(`${STREAMS}/s`, { traceparent })).status).toBe(403);
    const known = newTrace();
    await api(store).get(`${STREAMS}/s`, { traceparent: known.traceparent });
    await eventually(() => spansOf(known.traceId).length === 1);
    expect(spansOf(traceId)).toEqual([]);
  });

  it('is begun for a ratio of what nobody has asked for', async () => {
    const all = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_TRACES_SAMPLER_ARG: 1 };
    const platform = await backend.boot([store], { api: true, worker: false }, all);
    const { status } = await apiClient(platform.url, key).post(`${STREAMS}/ratio`, { value: {} });
    expect(status).toBe(202);
    const root = await eventually(() =>
      collector.spans.find(({ parent, kind, name }) => kind === 2 && parent === '' && name.startsWith('POST')),
    );
    await eventually(() => treeOf(root.traceId).some((line) => line.endsWith('store: store process READY')));
    // Also what is begun in vain is sent when the process stops.
    const failing = await apiClient(platform.url, key).get(`${STREAMS}/ratio?limit=x`);
    expect(failing.status).toBe(400);
    const count = collector.spans.length;
    await platform.close();
    expect(collector.spans.slice(count).some(({ name }) => name.startsWith(`GET ${STREAMS}`))).toBe(true);
  });

  it('goes through a process that is not told of a collector, which records nothing', async () => {
    const silent = await backend.boot([store], { api: true, worker: false });
    const { traceId, spanId, traceparent } = newTrace();
    const { status } = await apiClient(silent.url, key).post(`${STREAMS}/s`, { value: {} }, { traceparent });
    expect(status).toBe(202);
    const reader = await eventually(() => spansOf(traceId).find(({ name }) => name === 'store process'));
    expect(reader.parent).toBe(spanId);
    expect(spansOf(traceId).some(({ kind }) => kind === 2)).toBe(false);
  });
});
